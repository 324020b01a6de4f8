// The public API, by the key of this tab. Paths are relative to the page, so a prefix in front of it is kept.
const STORED = "abstream-key";
const here = location.pathname.endsWith("/") ? location.pathname : `${location.pathname}/`;
const at = (path) => `${location.origin}${here}api/v1${path}`;

const key = {
  get: () => sessionStorage.getItem(STORED),
  set: (value) => sessionStorage.setItem(STORED, value),
  forget: () => sessionStorage.removeItem(STORED),
};

class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || `the service answered ${status}`);
    this.status = status;
    this.code = problem.error_code || "";
  }
}

async function ask(path, signal, headers = {}) {
  let answer;
  try {
    answer = await fetch(at(path), { signal, headers: { ...headers, authorization: `Bearer ${key.get()}` } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { detail: "the service cannot be reached" });
  }
  if (answer.ok) return answer;
  throw new Refused(answer.status, await answer.json().catch(() => ({})));
}

const get = async (path, signal) => (await ask(path, signal)).json();

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

// Server-sent events by fetch, because EventSource cannot send a key. Comes back where it was after a break, a little
// later each time; ends when `signal` does or when there is nothing to follow any more.
async function follow(path, signal, { event, state }) {
  let last = null, wait = 1000;
  while (!signal.aborted) {
    try {
      const answer = await ask(path, signal, last ? { "last-event-id": last } : {});
      state("on");
      wait = 1000;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) {
          const fields = new Map(block.split("\n").filter((line) => !line.startsWith(":")).map((line) => {
            const colon = line.indexOf(": ");
            return [line.slice(0, colon), line.slice(colon + 2)];
          }));
          if (!fields.has("data")) continue;
          last = fields.get("id") || last;
          event(JSON.parse(fields.get("data")));
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status >= 400 && error.status < 500 && error.status !== 429) { state("gone", error); return; }
    }
    state("off");
    await pause(wait, signal);
    wait = Math.min(wait * 2, 30000);
  }
}
