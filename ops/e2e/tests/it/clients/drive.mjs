// Makes the calls of a file with the JavaScript client and prints what came of them: `node drive.mjs CLIENT FILE`.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [clientFile, planFile] = process.argv.slice(2);
const plan = JSON.parse(readFileSync(planFile, "utf8"));

// As much of a page as the client looks at.
const [beacons, listeners] = [[], new Map()];
if (plan.page) {
  const sendBeacon = (url, body) => beacons.push(fetch(url, { method: "POST", body })) > 0;
  Object.defineProperty(globalThis, "navigator", { value: { sendBeacon }, configurable: true });
  globalThis.addEventListener = (name, listener) => listeners.set(name, listener);
  globalThis.removeEventListener = (name) => listeners.delete(name);
}

const { Client } = await import(pathToFileURL(clientFile));
const report = { accepted: 0, refused: 0, pauses: [], given_up: [] };
let allCalled;
const called = new Promise((resolve) => (allCalled = resolve));

const client = new Client(plan.url, plan.key, {
  queueSize: plan.queue_size,
  batchSize: plan.batch_size,
  interval: 3_600_000,
  async pause(ms) {
    report.pauses.push(ms / 1000);
    if (plan.hold) await called;
    await new Promise((resolve) => setTimeout(resolve, 5));
  },
  onError: (reason, events) => report.given_up.push([String(reason), events.length]),
});
for (const [kind, ...call] of plan.calls) {
  const [user, metric, value] = call;
  const accepted = kind === "exposure" ? client.exposure(...call) : client.conversion(user, metric, { value });
  report[accepted ? "accepted" : "refused"]++;
}
allCalled();
if (plan.page) {
  listeners.get("pagehide")();
  // Once more, as pages that are shown and hidden again do: nothing new, nothing sent.
  listeners.get("pagehide")();
  report.beacons = (await Promise.all(beacons)).map((answer) => answer.status);
}
report.closed = await client.close(plan.close_ms);
console.log(JSON.stringify(report));
