// The page: what comes from the service, what is shown of it, and what the reader can do with it.

import * as look from "./settings.js";
import { EventStream } from "./stream.js";
import { clock, Transcript } from "./transcript.js";

const TAIL = 8; // finals that captions may be made of
const $ = (id) => document.getElementById(id);
const make = (name, fields = {}, ...children) => {
  const made = Object.assign(document.createElement(name), fields);
  made.append(...children);
  return made;
};

let settings = look.load();
const transcript = new Transcript();
const rows = new Map(); // of finals, by key
const obs = new URLSearchParams(location.search).get("obs") === "1";
let made = []; // languages into which the service translates
let token = "";
let following = true;
let told = ""; // the state of the device, or a fault
let muted = false; // for all who listen, not for this page alone

try { token = sessionStorage.getItem("rtstream-token") ?? ""; } catch { /* asked for again */ }
// In the fragment, which is never sent: for OBS, which nobody can ask.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) token = given;

function languages() {
  return made.filter((language) => settings.languages === null || settings.languages.includes(language));
}

// What is shown.

function columns(parts) {
  const box = make("div", { className: "columns" }, ...parts);
  box.style.setProperty("--columns", parts.length);
  return box;
}

function row(entry) {
  const item = make("li");
  item.append(make("time", { dateTime: entry.time ?? "", textContent: clock(entry.time) }));
  if (entry.note) {
    item.append(make("p", { className: "note", textContent: entry.note }));
    return item;
  }
  const texts = [make("p", { textContent: entry.text })];
  for (const language of languages()) texts.push(make("p", { lang: language, textContent: entry.translations[language] ?? "" }));
  item.append(columns(texts));
  return item;
}

function show(entry) {
  const item = row(entry);
  const before = rows.get(entry.key);
  if (before) before.replaceWith(item);
  else {
    $("finals").append(item);
    $("empty").hidden = true;
  }
  rows.set(entry.key, item);
  for (const old of transcript.surplus()) {
    rows.get(old.key)?.remove();
    rows.delete(old.key);
  }
  if (query()) mark(entry, item);
  follow();
}

function showAll() {
  $("finals").replaceChildren();
  rows.clear();
  transcript.entries.forEach(show);
  captions();
  search();
}

function follow() {
  if (following) $("history").scrollTop = $("history").scrollHeight;
  $("newest").hidden = following;
}

function captions() {
  const finals = transcript.spoken().slice(-TAIL);
  const partial = settings.partials ? transcript.partial : null;
  const column = (language) => {
    const pick = (entry) => language ? entry.translations[language] : entry.text;
    const open = language ? (settings.partials ? transcript.partialTranslations[language] : "") : partial?.text;
    const line = make("p");
    if (language) line.lang = language;
    line.append(finals.map(pick).filter(Boolean).join(" "));
    if (open) line.append(" ", make("span", { className: "partial", textContent: open }));
    return make("div", { className: "column" }, line);
  };
  $("captions").replaceChildren(columns([column(""), ...languages().map(column)]));
}

// A screen reader hears finals, once, in whole sentences: what is still being spoken would be said over and over.
function speak(entry) {
  const spoken = $("spoken");
  spoken.append(make("p", { textContent: entry.text }));
  while (spoken.children.length > TAIL) spoken.firstChild.remove();
}

function status(state, text) {
  const line = $("status");
  line.dataset.state = state;
  line.classList.toggle("muted", muted);
  $("mute").disabled = state !== "live";
  if (line.textContent !== text) line.textContent = text;
}

function live() {
  status("live", told || (muted ? "Muted: what is said is dropped" : "Live"));
}

// The button keeps its name: aria-pressed tells its state.
function showMuted(now) {
  muted = now;
  $("mute").setAttribute("aria-pressed", String(muted));
}

// What comes.

let fresh = true; // nothing has come since the page was opened, or since what is shown began anew
const handlers = {
  service(event) {
    $("mute").hidden = !event.may_mute;
    showMuted(event.muted);
    live();
    if (made.join() !== event.languages.join()) {
      made = event.languages;
      languageChoices();
      showAll();
    }
  },
  partial(event) {
    transcript.partialText(event);
    captions();
  },
  final(event) {
    const entry = transcript.final(event);
    if (entry) {
      show(entry);
      if (!fresh) speak(entry);
    }
    captions();
  },
  translation(event) {
    const entry = transcript.translation(event);
    if (entry) show(entry);
    captions();
  },
  speech() { fresh = false; },
  gap(event) {
    const missed = event.missed === null ? "Some captions" : `${event.missed} captions`;
    show(transcript.note(`${missed} are no longer held by the service`));
  },
  audio_lost(event) {
    show(transcript.note(`${(event.end - event.start).toFixed(1)} s of audio were lost`, event.time));
  },
  device_state(event) {
    const detail = event.detail ? `, ${event.detail}` : "";
    told = ["capturing", "starting", "muted"].includes(event.state) ? "" : `${event.device}: ${event.state}${detail}`;
    if (["capturing", "muted"].includes(event.state)) showMuted(event.state === "muted");
    if (event.state === "stalled" || event.state === "lost") transcript.clearPartial();
    live();
  },
  fault(event) {
    if (!event.recovered) show(transcript.note(event.message, event.time));
  },
};

const stream = new EventStream({
  url: () => `events?since=${Number(settings.hours) * 3600}`,
  token: () => token,
  onEvent: (kind, event) => handlers[kind]?.(event),
  onState(state, detail, code) {
    if (state === "live") {
      live();
      setTimeout(() => { fresh = false; }, 2_000);
    } else if (state === "connecting") status(state, "Connecting");
    else if (state === "lost") {
      transcript.clearPartial();
      captions();
      status(state, `Not connected: ${detail}`);
    } else {
      status(state, `Refused: ${detail}`);
      if (code === 401) askToken(detail);
    }
  },
});

function askToken(why) {
  if (obs) return;
  $("token-why").textContent = token ? why : "This service asks for a token.";
  $("token-dialog").showModal();
}

$("token-form").addEventListener("submit", () => {
  token = $("token").value.trim();
  $("token").value = "";
  try { sessionStorage.setItem("rtstream-token", token); } catch { /* it lasts as long as the page */ }
  stream.start();
});
window.addEventListener("online", () => stream.wake?.());

// What the reader does.

$("history").addEventListener("scroll", () => {
  const box = $("history");
  following = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  $("newest").hidden = following;
});
function newest() {
  following = true;
  follow();
}
$("newest").addEventListener("click", newest);

const query = () => $("search").value.trim().toLowerCase();

function mark(entry, item) {
  const wanted = query();
  let hits = 0;
  item.querySelectorAll("p").forEach((line) => {
    const text = line.textContent;
    const parts = [];
    let from = 0;
    for (let at = text.toLowerCase().indexOf(wanted); wanted && at >= 0; at = text.toLowerCase().indexOf(wanted, from)) {
      parts.push(text.slice(from, at), make("mark", { textContent: text.slice(at, at + wanted.length) }));
      from = at + wanted.length;
      hits += 1;
    }
    line.replaceChildren(...parts, text.slice(from));
  });
  item.hidden = Boolean(wanted) && !hits;
  return hits > 0;
}

function search() {
  let found = 0;
  for (const entry of transcript.entries) found += mark(entry, rows.get(entry.key));
  $("found").textContent = query() ? `${found} found` : "";
  following = !query();
  follow();
}
$("search").addEventListener("input", search);
$("search").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  $("search").value = "";
  search();
  $("history").focus();
});

async function copy() {
  const text = transcript.text("txt", languages());
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a browser gives the clipboard to encrypted pages alone
    const area = make("textarea", { value: text, className: "hidden" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  $("found").textContent = "Copied";
}
$("copy").addEventListener("click", copy);

// What the button shows is what the service says, also when somebody else mutes it.
async function mute() {
  if ($("mute").hidden || $("mute").disabled) return;
  try {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const response = await fetch("mute", { method: muted ? "DELETE" : "PUT", headers });
    const body = await response.json();
    if (!response.ok) throw new Error(body.error.message);
    showMuted(body.muted);
    live();
  } catch (error) {
    $("found").textContent = `Not ${muted ? "unmuted" : "muted"}: ${error.message}`;
  }
}
$("mute").addEventListener("click", mute);

function download() {
  const format = $("format").value;
  const types = { txt: "text/plain", srt: "application/x-subrip", md: "text/markdown" };
  const url = URL.createObjectURL(new Blob([transcript.text(format, languages())], { type: `${types[format]};charset=utf-8` }));
  const name = `captions-${new Date().toLocaleString("sv").replace(/[: ]/g, "-")}.${format}`;
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
$("download").addEventListener("click", download);

const form = $("settings-form");

function languageChoices() {
  const box = $("languages");
  box.hidden = !made.length;
  box.replaceChildren(make("legend", { textContent: "Translations" }));
  for (const language of made) {
    const check = make("input", { type: "checkbox", name: "language", value: language, checked: languages().includes(language) });
    box.append(make("label", {}, check, new Intl.DisplayNames([], { type: "language" }).of(language)));
  }
}

function fill() {
  for (const [key, value] of Object.entries(settings)) {
    const field = form.elements[key];
    if (field && field.type === "checkbox") field.checked = value;
    else if (field && key !== "languages") field.value = value;
  }
  languageChoices();
  contrast();
}

function contrast() {
  const [text, background] = look.colours(settings);
  const ratio = look.contrast(text, background);
  $("own-colours").hidden = settings.colours !== "own";
  $("contrast").textContent = `Contrast ${ratio.toFixed(1)} : 1${ratio < look.LEAST_CONTRAST ? ", too little to read well: at least 4.5 is advised" : ""}`;
}

function change() {
  const before = settings.hours;
  for (const key of Object.keys(look.DEFAULTS)) {
    const field = form.elements[key];
    if (field && key !== "languages") settings[key] = field.type === "checkbox" ? field.checked : field.value;
  }
  const chosen = [...form.querySelectorAll("[name=language]")];
  if (chosen.length) settings.languages = chosen.every((c) => c.checked) ? null : chosen.filter((c) => c.checked).map((c) => c.value);
  use();
  if (settings.hours !== before) location.reload();
}

function use() {
  look.save(settings);
  look.apply(settings);
  contrast();
  showAll();
}
form.addEventListener("input", change);
$("defaults").addEventListener("click", () => {
  settings = { ...look.DEFAULTS };
  fill();
  use();
});
function openSettings() {
  fill();
  $("settings").showModal();
}
$("open-settings").addEventListener("click", openSettings);

function size(by) {
  settings.size = String(Math.min(120, Math.max(16, Number(settings.size) + by)));
  look.save(settings);
  look.apply(settings);
}

const keys = {
  "/": () => $("search").focus(), c: copy, d: download, m: mute, s: openSettings, End: newest, "+": () => size(4), "-": () => size(-4),
};
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea, dialog");
  if (!settings.keys || typing || event.ctrlKey || event.altKey || event.metaKey || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});

// It begins.

document.documentElement.classList.toggle("obs", obs);
look.apply(settings);
$("bar").hidden = $("main").hidden = false;
captions();
stream.start();
