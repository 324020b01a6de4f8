// The real clients for Node, unmodified, sending a known set of events: `node clients.mjs CLIENT`. What they send,
// and what is printed, is told in clients.py. Packages are found in SDK_MODULES.

import { createRequire } from "node:module";

const env = process.env;
const require = createRequire(`${env.SDK_MODULES}/`);
const { SDK_BASE: BASE, SDK_KEY: KEY, SDK_EXPERIMENT: EXPERIMENT, SDK_METRIC: METRIC, SDK_PREFIX: PREFIX } = env;
const USERS = Number(env.SDK_USERS);
const PAUSE = Number(env.SDK_PAUSE_MS ?? 0);
const VARIATIONS = ["control", "treatment"];
const OTHER_EVERY = 100;

const givenUp = [];
const gaveUp = (error) => givenUp.push(String(error?.message ?? error?.reason ?? error));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function* numbers() {
  for (let i = 0; i < USERS; i++) {
    if (i % 50 === 0) await sleep(PAUSE);
    yield i;
  }
}

async function see(view, other) {
  for await (const i of numbers()) {
    await view(`${PREFIX}-${i}`, i % 2);
    if (i % OTHER_EVERY === 0) other(`${PREFIX}-${i}`);
  }
}

async function act(perform) {
  for await (const i of numbers()) {
    const j = (i * i) % USERS;
    await perform(`${PREFIX}-${j}`, (((i * 37) % 1000) + 50 * (j % 2)) / 100);
  }
}

async function segmentNode() {
  const { Analytics } = require("@segment/analytics-node");
  const client = new Analytics({ writeKey: KEY, host: BASE, flushAt: 50, maxRetries: 10 });
  client.on("error", gaveUp);
  const track = (userId, event, properties) => void client.track({ userId, event, properties });
  const view = (user, variation) =>
    track(user, "Experiment Viewed", { experiment_id: EXPERIMENT, variation_id: VARIATIONS[variation] });
  await see(view, (userId) => client.page({ userId, name: "Home" }));
  await act((user, value) => track(user, METRIC, { revenue: value }));
  await client.closeAndFlush();
}

async function rudderNode() {
  const Analytics = require("@rudderstack/rudder-sdk-node");
  const client = new Analytics(KEY, { dataPlaneUrl: BASE, flushAt: 50, flushInterval: 100, logLevel: "none" });
  const outcomes = [];
  const track = (userId, event, properties) => {
    const done = (resolve) => client.track({ userId, event, properties }, (error) => resolve(error && gaveUp(error)));
    outcomes.push(new Promise(done));
  };
  const view = (user, variation) =>
    track(user, "Experiment Viewed", { experiment_id: EXPERIMENT, variation_id: VARIATIONS[variation] });
  await see(view, (userId) => client.identify({ userId, traits: { plan: "pro" } }));
  await act((user, value) => track(user, METRIC, { revenue: value }));
  await client.flush();
  await Promise.all(outcomes);
}

// The mode comes from POSTHOG_CAPTURE_MODE.
async function posthogNode() {
  const { PostHog } = require("posthog-node");
  const client = new PostHog(KEY, { host: BASE, flushAt: 100, maxQueueSize: 100_000 });
  client.on("error", gaveUp);
  const view = (distinctId, variation) => {
    const properties = { $feature_flag: EXPERIMENT, $feature_flag_response: VARIATIONS[variation] };
    client.capture({ distinctId, event: "$feature_flag_called", properties });
  };
  await see(view, (distinctId) => client.identify({ distinctId, properties: { plan: "pro" } }));
  await act((distinctId, value) => client.capture({ distinctId, event: METRIC, properties: { value } }));
  await client.shutdown(120_000);
}

async function growthbookNode() {
  const { GrowthBook } = require("@growthbook/growthbook");
  const { growthbookTrackingPlugin } = require("@growthbook/growthbook/plugins");
  // The plugin keeps to itself how its requests went.
  let [answered, under] = [0, 0];
  const { fetch } = globalThis;
  globalThis.fetch = async (url, options) => {
    under++;
    try {
      const answer = await fetch(url, options);
      if (answer.ok) answered += JSON.parse(options.body).length;
      return answer;
    } finally {
      under--;
    }
  };
  console.error = () => {};
  const book = () => {
    const plugin = growthbookTrackingPlugin({ ingestorHost: BASE, queueFlushInterval: 20 });
    return new GrowthBook({ clientKey: KEY, plugins: [plugin] });
  };
  const sent = async (book) => {
    book.destroy();
    do await sleep(50);
    while (under > 0);
  };
  const seeWith = async (book, other) => {
    const view = async (id, variation) => {
      await book.setAttributes({ id });
      book.run({ key: EXPERIMENT, variations: VARIATIONS, weights: [1 - variation, variation] });
    };
    await see(view, other);
    await sent(book);
  };
  const first = book();
  await seeWith(first, (user) => first.evalFeature(`none-${user}`));
  // What the gateway's end swallowed is never sent again: users come back, as they do.
  if (env.SDK_AGAIN) await seeWith(book(), () => {});
  answered = 0;
  const last = book();
  await act(async (id, value) => {
    await last.setAttributes({ id });
    last.logEvent(METRIC, { value });
  });
  await sent(last);
  return { acknowledged: answered };
}

async function cloudeventsNode() {
  const { CloudEvent, HTTP } = require("cloudevents");
  const post = async (headers, body) => {
    for (let attempt = 0; attempt < 100; attempt++) {
      try {
        const all = { ...headers, authorization: `Bearer ${KEY}` };
        const answer = await fetch(`${BASE}/api/v1/cloudevents`, { method: "POST", headers: all, body });
        if (answer.ok) return;
        if (answer.status !== 503) return gaveUp(`${answer.status} ${await answer.text()}`);
      } catch {
        // Not there at the moment.
      }
      await sleep(100);
    }
    gaveUp("no answer");
  };
  let [waiting, made] = [[], 0];
  const flush = async () => {
    if (waiting.length === 0) return;
    await post({ "content-type": "application/cloudevents-batch+json" }, JSON.stringify(waiting));
    waiting = [];
  };
  const send = async (form, kind, subject, data) => {
    const event = new CloudEvent({ id: `${PREFIX}-${made}`, source: "/shop", type: `com.example.${kind}`, subject, data });
    if (made++ % 100 === 0) {
      const message = form(event);
      await post(message.headers, message.body);
    } else {
      // The package has no batch form: one is put together by hand.
      waiting.push(event);
    }
    if (waiting.length === 100) await flush();
  };
  const view = (user, variation) =>
    send(HTTP.structured, "exposure", user, { experiment: EXPERIMENT, variation: VARIATIONS[variation] });
  await see(view, () => {});
  await flush();
  made = 100 * USERS;
  await act((user, value) => send(HTTP.binary, "conversion", user, { metric: METRIC, value }));
  await flush();
}

// Their SDK, with our hook and client.
async function openfeatureNode() {
  const { InMemoryProvider, OpenFeature } = require("@openfeature/server-sdk");
  const { Client } = await import("../js/abstream.js");
  const { exposureHook, tracked } = await import("../js/abstream-openfeature.js");
  const client = new Client(BASE, KEY, { queueSize: 100_000, interval: 100, onError: gaveUp });
  const flag = {
    variants: { control: "old", treatment: "new" },
    defaultVariant: "control",
    contextEvaluator: (context) => VARIATIONS[context.variation],
    disabled: false,
  };
  await OpenFeature.setProviderAndWait(tracked(new InMemoryProvider({ [EXPERIMENT]: flag, plain: flag }), client));
  OpenFeature.addHooks(exposureHook(client, { experiments: [EXPERIMENT] }));
  const flags = OpenFeature.getClient();
  const view = async (targetingKey, variation) => {
    const value = await flags.getStringValue(EXPERIMENT, "", { targetingKey, variation });
    if (value !== ["old", "new"][variation]) gaveUp(`not the variation asked for: ${value}`);
  };
  await see(view, (targetingKey) => flags.getStringValue("plain", "", { targetingKey, variation: 0 }));
  await act((targetingKey, value) => flags.track(METRIC, { targetingKey }, { value }));
  if (!(await client.close(120_000))) gaveUp("closed in vain");
}

const CLIENTS = {
  "segment-node": segmentNode,
  "rudder-node": rudderNode,
  "posthog-node": posthogNode,
  "posthog-node-v1": posthogNode,
  "growthbook-node": growthbookNode,
  "cloudevents-node": cloudeventsNode,
  "openfeature-node": openfeatureNode,
};

// As in a server: posthog-node's waits for another attempt keep no process alive.
setInterval(() => {}, 1000);

const name = process.argv[2];
const more = (await CLIENTS[name]()) ?? {};
const others = ["cloudevents-node", "openfeature-node"].includes(name) ? 0 : Math.ceil(USERS / OTHER_EVERY);
console.log(JSON.stringify({ sent: 2 * USERS, ignored: others, ...more }));
for (const line of givenUp) process.stderr.write(`${name}: gave up: ${line}\n`);
process.exit(givenUp.length ? 1 : 0);
