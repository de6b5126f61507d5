// Server-sent events over fetch: unlike EventSource it can send a token, and says why it fails.

const SILENCE_MS = 40_000; // heartbeats come every 15 s
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

export class EventStream {
  // url(): where to ask; token(): or ""; onEvent(kind, fields); onState("connecting"|"live"|"lost"|"refused", detail).
  constructor({ url, token, onEvent, onState }) {
    Object.assign(this, { url, token, onEvent, onState });
    this.lastId = "";
    this.pause = FIRST_PAUSE_MS;
    this.stopped = true;
  }

  start() {
    this.stop();
    this.stopped = false;
    this.run(this.aborter = new AbortController());
  }

  stop() {
    this.stopped = true;
    this.aborter?.abort();
    this.wake?.();
  }

  async run(aborter) {
    while (!aborter.signal.aborted) {
      let why = "the service ended the connection";
      try {
        why = await this.listen(aborter.signal);
        if (why === null) return; // refused: nothing to try again for now
      } catch (error) {
        if (aborter.signal.aborted) return;
        if (error.name !== "TypeError") why = error.message;
        else why = "the service cannot be reached";
      }
      const seconds = Math.max(1, Math.round(this.pause / 1000));
      this.onState("lost", `${why}; trying again in ${seconds} s`);
      await new Promise((resolve) => { this.wake = resolve; setTimeout(resolve, this.pause * (0.75 + Math.random() / 2)); });
      this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
      if (!aborter.signal.aborted) this.onState("connecting", "");
    }
  }

  // Listens until the connection ends; gives the reason, or null if the service does not want us.
  async listen(signal) {
    const headers = { Accept: "text/event-stream" };
    if (this.lastId) headers["Last-Event-ID"] = this.lastId;
    if (this.token()) headers.Authorization = `Bearer ${this.token()}`;
    const watch = new AbortController();
    let timer;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => watch.abort(new Error("nothing was heard of the service")), SILENCE_MS);
    };
    signal.addEventListener("abort", () => watch.abort(signal.reason), { once: true, signal: watch.signal });
    alive();
    try {
      const response = await fetch(this.url(), { headers, signal: watch.signal, cache: "no-store" });
      if (!response.ok) {
        const body = await response.json().catch(() => null);
        const message = body?.error?.message ?? `the service answered ${response.status}`;
        if (response.status >= 500 || response.status === 429 || response.status === 408) return message;
        this.onState("refused", message, response.status);
        return null;
      }
      this.onState("live", "");
      let why = "the service ended the connection";
      const parser = new Parser((kind, data) => {
        if (kind === "end") why = data.error.message;
        else this.onEvent(kind, data);
      }, (id) => { this.lastId = id; });
      const decoder = new TextDecoder();
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return why;
        this.pause = FIRST_PAUSE_MS;
        alive();
        parser.push(decoder.decode(value, { stream: true }));
      }
    } finally {
      clearTimeout(timer);
      if (!watch.signal.aborted) watch.abort();
    }
  }
}

class Parser {
  constructor(onEvent, onId) {
    Object.assign(this, { onEvent, onId, rest: "", kind: "message", data: [] });
  }

  push(text) {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop();
    lines.forEach((line) => this.line(line));
  }

  line(line) {
    if (line === "") {
      if (this.data.length) this.onEvent(this.kind, JSON.parse(this.data.join("\n")));
      if (this.id !== undefined) this.onId(this.id);
      Object.assign(this, { kind: "message", data: [], id: undefined });
    } else if (line.startsWith("event: ")) this.kind = line.slice(7);
    else if (line.startsWith("data: ")) this.data.push(line.slice(6));
    else if (line.startsWith("id: ")) this.id = line.slice(4);
  }
}
