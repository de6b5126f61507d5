// What was said, newest last; as text, SubRip and Markdown.

const MOST = 5_000; // finals that are kept, so that a page which is open for days stays small
const COLUMNS = 42;

export class Transcript {
  constructor() {
    this.entries = []; // {key, segment, epoch, sequence, start, end, time, text, translations: {es: text}} or {note, time}
    this.seen = new Map(); // epoch: last sequence
    this.partial = null;
    this.partialTranslations = {};
  }

  // Takes a final; null if it was there already, or if it only takes back what partials showed.
  final(event) {
    if (this.partial?.segment === event.segment) this.clearPartial();
    if ((this.seen.get(event.epoch) ?? 0) >= event.sequence) return null;
    this.seen.set(event.epoch, event.sequence);
    if (!event.text) return null;
    const entry = { ...event, key: `${event.epoch}:${event.sequence}`, translations: {} };
    return this.add(entry);
  }

  note(text, time) {
    return this.add({ note: text, time: time ?? new Date().toISOString(), key: `note-${Math.random()}` });
  }

  add(entry) {
    this.entries.push(entry);
    return entry;
  }

  // The entries that are one too many, which are forgotten.
  surplus() {
    return this.entries.splice(0, Math.max(0, this.entries.length - MOST));
  }

  partialText(event) {
    if (this.partial?.segment !== event.segment) this.partialTranslations = {};
    this.partial = event;
  }

  clearPartial() {
    this.partial = null;
    this.partialTranslations = {};
  }

  // Takes a translation; gives the entry that it belongs to, if it is of a final.
  translation(event) {
    if (!event.final) {
      if (!this.partial || this.partial.segment === event.segment) this.partialTranslations[event.language] = event.text;
      return null;
    }
    for (let i = this.entries.length - 1; i >= 0; i -= 1) {
      const entry = this.entries[i];
      if (entry.sequence === event.sequence && entry.epoch === event.epoch) {
        entry.translations[event.language] = event.text;
        return entry;
      }
    }
    return null;
  }

  spoken() {
    return this.entries.filter((entry) => !entry.note);
  }

  text(format, languages) {
    return { txt: asText, srt: asSubRip, md: asMarkdown }[format](this.entries, languages);
  }
}

export function clock(time) {
  return time ? new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false }) : "";
}

function lines(entry, languages) {
  return [entry.text, ...languages.map((language) => entry.translations[language]).filter(Boolean)];
}

function asText(entries, languages) {
  return entries.map((entry) => entry.note ? `[${clock(entry.time)}] (${entry.note})`
    : `[${clock(entry.time)}] ${lines(entry, languages).join("\n           ")}`).join("\n") + "\n";
}

function asMarkdown(entries, languages) {
  const escaped = (text) => text.replace(/([\\`*_{}[\]<>#|])/g, "\\$1");
  let day = "";
  return entries.map((entry) => {
    const date = entry.time ? new Date(entry.time).toLocaleDateString("sv") : "";
    const title = date && date !== day ? `## ${date}\n\n` : "";
    day = date || day;
    if (entry.note) return `${title}*${escaped(entry.note)}*\n`;
    const [text, ...translated] = lines(entry, languages).map(escaped);
    return `${title}**${clock(entry.time)}** ${text}\n${translated.map((line) => `> ${line}\n`).join("")}`;
  }).join("\n");
}

// Captions count from the first one, by times of day: several runs of the service may follow one another.
function asSubRip(entries, languages) {
  const finals = entries.filter((entry) => !entry.note);
  if (!finals.length) return "";
  const at = (entry) => entry.time ? Date.parse(entry.time) / 1000 : entry.start;
  const origin = at(finals[0]);
  const cues = [];
  let until = 0;
  for (const entry of finals) {
    const parts = languages.length ? [lines(entry, languages).join("\n")] : split(entry.text);
    const length = Math.max(entry.end - entry.start, parts.length);
    const begin = Math.max(at(entry) - origin, until);
    parts.forEach((part, index) => {
      until = begin + (length * (index + 1)) / parts.length;
      cues.push(`${cues.length + 1}\n${stamp(begin + (length * index) / parts.length)} --> ${stamp(until)}\n${safe(part)}\n`);
    });
  }
  return cues.join("\n");
}

// SubRip knows no escapes: what players take for mark-up is kept from being it.
function safe(text) {
  return text.replace(/-->/g, "--\u2060>").replace(/</g, "<\u2060").replace(/\{/g, "{\u2060");
}

// Captions of two lines at most.
function split(text) {
  const rows = [];
  for (const word of text.split(" ")) {
    const last = rows.length - 1;
    if (last >= 0 && rows[last].length + 1 + word.length <= COLUMNS) rows[last] += ` ${word}`;
    else rows.push(word);
  }
  const parts = [];
  for (let i = 0; i < rows.length; i += 2) parts.push(rows.slice(i, i + 2).join("\n"));
  return parts;
}

function stamp(seconds) {
  const ms = Math.round(seconds * 1000);
  const pad = (value, digits = 2) => String(value).padStart(digits, "0");
  return `${pad(Math.floor(ms / 3_600_000))}:${pad(Math.floor(ms / 60_000) % 60)}:${pad(Math.floor(ms / 1000) % 60)},${pad(ms % 1000, 3)}`;
}
