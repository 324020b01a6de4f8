// A client for abstream: one file, no dependencies, browsers and Node 18 or newer.
//
//   const client = new Client("https://events.example.com", "KEY");
//   client.exposure("checkout", "user-1", "treatment");
//   client.conversion("user-1", "purchase", { value: "19.90" });
//   await client.close();
//
// Events wait in a bounded queue and are sent in batches. Each has a key, so one that is sent twice counts once. A batch
// is sent again after 408, 429, 5xx and no answer at all, when the server's Retry-After says so, else backing off; one
// that is too large (413) in halves; any other refusal is final and told to `onError`.
//
// When a page is hidden, everything that is not delivered yet goes out by sendBeacon, which survives the page but has no
// answer. Should the page come back, the same events are sent again, with the same keys. A beacon carries its key in
// the address: in browsers use one with the scope `events` only.

// Milliseconds.
const [FIRST_BACKOFF, LONGEST_BACKOFF, LONGEST_RETRY_AFTER] = [500, 30_000, 300_000];
// Bytes from which a beacon takes no further event; browsers refuse more than 64 KiB under way.
const LONGEST_BEACON = 50_000;

export class Client {
  #url;
  #key;
  #options;
  // Texts of events in order, those being sent included.
  #waiting = [];
  // How many of them, from the first, went out by a beacon as well.
  #beaconed = 0;
  #timer;
  #sending;
  #abandoned = new AbortController();
  #closed = false;
  #hide = () => this.#beacon();
  #hidden = () => globalThis.document?.visibilityState === "hidden" && this.#beacon();

  // `interval`: milliseconds an event waits for company. `timeout`: of a request, in milliseconds.
  // `onError(reason, events)` is told of events that are given up; `reason` is a status, a server's error code for
  // single events, or "closed". `pause(ms)` stands in for waiting, for tests.
  constructor(url, key, options = {}) {
    this.#url = `${url.replace(/\/$/, "")}/api/v1/events`;
    this.#key = key;
    const defaults = { queueSize: 10_000, batchSize: 500, interval: 1_000, timeout: 15_000, onError() {} };
    this.#options = { ...defaults, pause: (ms) => sleep(ms, this.#abandoned.signal), ...options };
    globalThis.addEventListener?.("pagehide", this.#hide);
    globalThis.document?.addEventListener("visibilitychange", this.#hidden);
  }

  // The user saw a variation, given by its key, or by its index if that is a number. False: the queue is full.
  exposure(experiment, userId, variation, { occurredAt } = {}) {
    const name = typeof variation === "number" ? "variation_index" : "variation";
    return this.#put({ type: "exposure", experiment, user_id: userId, [name]: variation }, undefined, occurredAt);
  }

  // The user did something, worth `value` (a number or a decimal string; 1 unless given). `key` makes it this
  // conversion and no other wherever it is sent from, such as an order's number. False: the queue is full.
  conversion(userId, metric, { value, experiment, key, occurredAt } = {}) {
    if (typeof value === "number" && !Number.isFinite(value)) throw new RangeError("a value is a finite number");
    return this.#put({ type: "conversion", user_id: userId, metric, value, experiment }, key, occurredAt);
  }

  // Resolves when everything sent before is delivered or given up.
  async flush() {
    while (this.#waiting.length > 0) await this.#send();
  }

  // Delivers what is waiting, within `timeout` milliseconds; the rest is given up. Resolves to whether nothing was.
  async close(timeout = 15_000) {
    this.#closed = true;
    globalThis.removeEventListener?.("pagehide", this.#hide);
    globalThis.document?.removeEventListener("visibilitychange", this.#hidden);
    const timer = setTimeout(() => this.#abandoned.abort(), timeout);
    await this.flush();
    clearTimeout(timer);
    clearTimeout(this.#timer);
    return !this.#abandoned.signal.aborted;
  }

  #put(event, key, occurredAt = Date.now()) {
    if (this.#closed || this.#waiting.length >= this.#options.queueSize) return false;
    const named = { ...event, idempotency_key: key ?? uuid(), occurred_at: Number(occurredAt) };
    this.#waiting.push(JSON.stringify(named));
    if (this.#waiting.length >= this.#options.batchSize) this.#send();
    else this.#schedule();
    return true;
  }

  #schedule() {
    if (this.#timer || this.#sending) return;
    this.#timer = setTimeout(() => this.#send(), this.#options.interval);
  }

  // Sends the next batch, unless one is being sent; resolves when it is delivered or given up.
  #send() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sending ??= this.#deliver().finally(() => {
      this.#sending = undefined;
      if (this.#waiting.length >= this.#options.batchSize) this.#send();
      else if (this.#waiting.length > 0) this.#schedule();
    });
    return this.#sending;
  }

  async #deliver() {
    let attempt = 0;
    const sizes = [Math.min(this.#options.batchSize, this.#waiting.length)];
    while (sizes.length > 0) {
      const size = sizes.at(-1);
      const part = this.#waiting.slice(0, size);
      const { status, retryAfter, answer } = this.#abandoned.signal.aborted ? { status: "closed" } : await this.#post(part);
      if (status === 200 || status === 202) {
        attempt = 0;
        const codes = new Map((answer.errors ?? []).map((error) => [error.index, error.error_code]));
        for (const index of answer.rejected_indexes ?? []) {
          this.#giveUp(codes.get(index) ?? "rejected", [part[index]]);
        }
      } else if (status === 413 && size > 1) {
        const half = size >> 1;
        sizes.splice(-1, 1, size - half, half);
        continue;
      } else if (status === undefined || status === 408 || status === 429 || status >= 500) {
        const backoff = Math.min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** Math.min(attempt++, 10)) * (0.5 + Math.random() / 2);
        await this.#options.pause(retryAfter ?? backoff);
        continue;
      } else {
        this.#giveUp(status, part);
      }
      sizes.pop();
      this.#waiting.splice(0, size);
      this.#beaconed = Math.max(0, this.#beaconed - size);
    }
  }

  // Status (undefined: no answer), Retry-After in milliseconds if there is one, and the answer.
  async #post(part) {
    const headers = { "Authorization": `Bearer ${this.#key}`, "Content-Type": "application/json" };
    const given = new AbortController();
    const stop = () => given.abort();
    const timer = setTimeout(stop, this.#options.timeout);
    this.#abandoned.signal.addEventListener("abort", stop);
    try {
      const answer = await fetch(this.#url, { method: "POST", headers, body: body(part), signal: given.signal });
      const seconds = answer.headers.get("retry-after") ?? "";
      const retryAfter = /^\d+$/.test(seconds) ? Math.min(seconds * 1000, LONGEST_RETRY_AFTER) : undefined;
      return { status: answer.status, retryAfter, answer: answer.ok ? await answer.json() : {} };
    } catch {
      return {};
    } finally {
      clearTimeout(timer);
      this.#abandoned.signal.removeEventListener("abort", stop);
    }
  }

  // Everything not delivered yet, in pieces that browsers take.
  #beacon() {
    if (!globalThis.navigator?.sendBeacon) return;
    const url = `${this.#url}?key=${encodeURIComponent(this.#key)}`;
    while (this.#beaconed < this.#waiting.length) {
      let [end, bytes] = [this.#beaconed, 0];
      do bytes += new Blob([this.#waiting[end++]]).size + 1;
      while (end < this.#waiting.length && bytes < LONGEST_BEACON);
      const text = body(this.#waiting.slice(this.#beaconed, end));
      // The browser's quota is used up; the rest waits for the page to come back.
      if (!navigator.sendBeacon(url, new Blob([text], { type: "text/plain" }))) return;
      this.#beaconed = end;
    }
  }

  #giveUp(reason, part) {
    try {
      this.#options.onError(reason, part.map((text) => JSON.parse(text)));
    } catch {
      // Somebody else's code must not end the sending.
    }
  }
}

const body = (part) => `{"sent_at":${Date.now()},"events":[${part.join(",")}]}`;

function sleep(ms, signal) {
  if (signal.aborted) return undefined;
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

// Browsers know randomUUID on secure pages only.
function uuid() {
  const random = () => Math.random().toString(36).slice(2);
  return globalThis.crypto?.randomUUID?.() ?? `${Date.now().toString(36)}-${random()}${random()}`;
}
