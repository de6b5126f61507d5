// How captions look: kept in this browser, and overruled by the address (?lines=2&size=48&colours=yellow).

const KEY = "rtstream-captions";
export const DEFAULTS = {
  lines: "3", size: "32", font: "sans", colours: "dark", text: "#ffffff", background: "#000000",
  partials: true, times: true, keys: true, hours: "8", languages: null, // null: all
};
const COLOURS = {
  dark: ["#ffffff", "#000000"], light: ["#000000", "#ffffff"], yellow: ["#ffff00", "#000000"],
  blue: ["#ffffff", "#00257a"], sepia: ["#3b2a1a", "#f8f0dc"],
};
const FONTS = {
  sans: "system-ui, sans-serif", serif: "Georgia, 'Times New Roman', serif", mono: "ui-monospace, monospace",
  easy: "'Atkinson Hyperlegible', Verdana, Tahoma, sans-serif",
};
export const LEAST_CONTRAST = 4.5; // WCAG AA for text; large text may have 3

export function load() {
  let stored = {};
  try { stored = JSON.parse(localStorage.getItem(KEY)) ?? {}; } catch { /* it is lost, or may not be read */ }
  const settings = { ...DEFAULTS };
  for (const key of Object.keys(DEFAULTS)) if (typeof stored[key] === typeof DEFAULTS[key] || key === "languages") settings[key] = stored[key] ?? DEFAULTS[key];
  const query = new URLSearchParams(location.search);
  for (const [key, value] of query) {
    if (key === "languages") settings.languages = value.split(",").filter(Boolean);
    else if (typeof DEFAULTS[key] === "boolean") settings[key] = value !== "0";
    else if (key in DEFAULTS) settings[key] = value;
  }
  if (!(settings.lines in { 2: 1, 3: 1, 4: 1, 5: 1 })) settings.lines = DEFAULTS.lines;
  settings.size = String(Math.min(120, Math.max(16, Number(settings.size) || 32)));
  if (!(settings.font in FONTS)) settings.font = DEFAULTS.font;
  if (!(settings.colours in COLOURS) && settings.colours !== "own") settings.colours = DEFAULTS.colours;
  for (const key of ["text", "background"]) if (!/^#[0-9a-f]{6}$/i.test(settings[key])) settings[key] = DEFAULTS[key];
  return settings;
}

export function save(settings) {
  try { localStorage.setItem(KEY, JSON.stringify(settings)); } catch { /* they last as long as the page */ }
}

export function colours(settings) {
  return COLOURS[settings.colours] ?? [settings.text, settings.background];
}

export function apply(settings) {
  const [text, background] = colours(settings);
  const style = document.documentElement.style;
  style.setProperty("--text", text);
  style.setProperty("--background", background);
  style.setProperty("--partial", lighter(text, background));
  style.setProperty("--edge", mix(text, background, 0.5));
  style.setProperty("--size", `${settings.size}px`);
  style.setProperty("--lines", settings.lines);
  style.setProperty("--font", FONTS[settings.font]);
  document.body.classList.toggle("no-times", !settings.times);
}

// Partials are as faint as they can be read well.
function lighter(text, background) {
  for (let share = 0.62; share < 1; share += 0.04) {
    const colour = mix(text, background, share);
    if (contrast(colour, background) >= LEAST_CONTRAST) return colour;
  }
  return text;
}

function channels(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

function mix(first, second, share) {
  const other = channels(second);
  return "#" + channels(first).map((value, i) => Math.round(value * share + other[i] * (1 - share)).toString(16).padStart(2, "0")).join("");
}

// WCAG's contrast, 1 to 21.
export function contrast(first, second) {
  const luminance = (colour) => {
    const [r, g, b] = channels(colour).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [low, high] = [luminance(first), luminance(second)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
