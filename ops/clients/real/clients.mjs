// The real clients for Node, unmodified, sending a known set of events: `node clients.mjs CLIENT`. What they send,
// and what is printed, is told in clients.py. Packages are found in SDK_MODULES.

import { createRequire } from "node:module";

const env = process.env;
const require = createRequire(`${env.SDK_MODULES}/`);
const [BASE, KEY, EXPERIMENT, METRIC, PREFIX] =
  [env.SDK_BASE, env.SDK_KEY, env.SDK_EXPERIMENT, env.SDK_METRIC, env.SDK_PREFIX];
const USERS = Number(env.SDK_USERS);
const PAUSE = Number(env.SDK_PAUSE_MS ?? 0);
const VARIATIONS = ["control", "treatment"];
const OTHER_EVERY = 100;

const givenUp = [];
const gaveUp = (error) => givenUp.push(String(error?.message ?? error?.reason ?? error));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function* plan() {
  for (let i = 0; i < USERS; i++) {
    if (i % 50 === 0) await sleep(PAUSE);
    const j = (i * i) % USERS;
    const cents = ((i * 37) % 1000) + 50 * (j % 2);
    yield [`${PREFIX}-${i}`, i % 2, `${PREFIX}-${j}`, cents / 100, i % OTHER_EVERY === 0, i];
  }
}

async function segmentNode() {
  const { Analytics } = require("@segment/analytics-node");
  const client = new Analytics({ writeKey: KEY, host: BASE, flushAt: 50, maxRetries: 10 });
  client.on("error", gaveUp);
  for await (const [user, variation, buyer, value, other] of plan()) {
    const properties = { experiment_id: EXPERIMENT, variation_id: VARIATIONS[variation] };
    client.track({ userId: user, event: "Experiment Viewed", properties });
    client.track({ userId: buyer, event: METRIC, properties: { revenue: value } });
    if (other) client.page({ userId: user, name: "Home" });
  }
  await client.closeAndFlush();
}

async function rudderNode() {
  const Analytics = require("@rudderstack/rudder-sdk-node");
  const client = new Analytics(KEY, { dataPlaneUrl: BASE, flushAt: 50, flushInterval: 100, logLevel: "none" });
  const under = [];
  const track = (message) =>
    under.push(new Promise((resolve) => client.track(message, (error) => resolve(error && gaveUp(error)))));
  for await (const [user, variation, buyer, value, other] of plan()) {
    const properties = { experiment_id: EXPERIMENT, variation_id: VARIATIONS[variation] };
    track({ userId: user, event: "Experiment Viewed", properties });
    track({ userId: buyer, event: METRIC, properties: { revenue: value } });
    if (other) client.identify({ userId: user, traits: { plan: "pro" } });
  }
  await client.flush();
  await Promise.all(under);
}

// The mode comes from POSTHOG_CAPTURE_MODE.
async function posthogNode() {
  const { PostHog } = require("posthog-node");
  const client = new PostHog(KEY, { host: BASE, flushAt: 100, maxQueueSize: 100_000 });
  client.on("error", gaveUp);
  for await (const [user, variation, buyer, value, other] of plan()) {
    const properties = { $feature_flag: EXPERIMENT, $feature_flag_response: VARIATIONS[variation] };
    client.capture({ distinctId: user, event: "$feature_flag_called", properties });
    client.capture({ distinctId: buyer, event: METRIC, properties: { value } });
    if (other) client.identify({ distinctId: user, properties: { plan: "pro" } });
  }
  await client.shutdown(120_000);
}

async function growthbookNode() {
  const { GrowthBook } = require("@growthbook/growthbook");
  const { growthbookTrackingPlugin } = require("@growthbook/growthbook/plugins");
  // The plugin keeps to itself how its requests went.
  const done = { answered: 0, failed_requests: 0 };
  const { fetch } = globalThis;
  globalThis.fetch = async (url, options) => {
    try {
      const answer = await fetch(url, options);
      if (answer.ok) done.answered += JSON.parse(options.body).length;
      else done.failed_requests++;
      return answer;
    } catch (error) {
      done.failed_requests++;
      throw error;
    }
  };
  console.error = () => {};
  const run = async (conversions) => {
    const plugin = growthbookTrackingPlugin({ ingestorHost: BASE, queueFlushInterval: 20 });
    const book = new GrowthBook({ clientKey: KEY, plugins: [plugin] });
    for await (const [user, variation, buyer, value, other] of plan()) {
      await book.setAttributes({ id: user });
      book.run({ key: EXPERIMENT, variations: VARIATIONS, weights: [1 - variation, variation] });
      if (conversions) {
        await book.setAttributes({ id: buyer });
        book.logEvent(METRIC, { value });
      }
      if (other) book.evalFeature(`none-${user}`);
    }
    book.destroy();
    await sleep(1000);
  };
  await run(true);
  const { answered } = done;
  // What the gateway's end swallowed is never sent again: users come back, as they do.
  if (env.SDK_AGAIN) await run(false);
  return { ...done, answered };
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
  const event = (i, kind, subject, data) =>
    new CloudEvent({ id: `${PREFIX}-${kind}-${i}`, source: "/shop", type: `com.example.${kind}`, subject, data });
  let waiting = [];
  for await (const [user, variation, buyer, value, , i] of plan()) {
    const seen = event(i, "exposure", user, { experiment: EXPERIMENT, variation: VARIATIONS[variation] });
    const did = event(i, "conversion", buyer, { metric: METRIC, value });
    if (i % 100 === 0) {
      // One by one, in both forms; the package has no batch form, so the others are put together by hand.
      for (const message of [HTTP.structured(seen), HTTP.binary(did)]) await post(message.headers, message.body);
    } else {
      waiting.push(seen, did);
    }
    if (waiting.length >= 100 || (i === USERS - 1 && waiting.length)) {
      await post({ "content-type": "application/cloudevents-batch+json" }, JSON.stringify(waiting));
      waiting = [];
    }
  }
}

const CLIENTS = {
  "segment-node": segmentNode,
  "rudder-node": rudderNode,
  "posthog-node": posthogNode,
  "posthog-node-v1": posthogNode,
  "growthbook-node": growthbookNode,
  "cloudevents-node": cloudeventsNode,
};

const name = process.argv[2];
const more = (await CLIENTS[name]()) ?? {};
const others = name === "cloudevents-node" ? 0 : Math.ceil(USERS / OTHER_EVERY);
console.log(JSON.stringify({ sent: 2 * USERS, ignored: others, ...more }));
for (const line of givenUp) process.stderr.write(`${name}: gave up: ${line}\n`);
process.exit(givenUp.length ? 1 : 0);
