"""The real Python clients, unmodified, sending a known set of events: `python clients.py CLIENT`.

What is sent is a function of SDK_USERS and SDK_PREFIX alone, told by `plan`; ops/e2e/src/sdks/plan.rs has the same.
Prints one line of JSON: `sent` (distinct exposures and conversions), `ignored` (other events), and for a client that
gives nothing an id `acknowledged` (conversions answered with 200). A client that gives an event up fails the run.
"""

import json
import logging
import os
import sys
import threading
import time
from datetime import datetime, timezone

BASE = os.environ["SDK_BASE"]
KEY = os.environ["SDK_KEY"]
EXPERIMENT = os.environ["SDK_EXPERIMENT"]
METRIC = os.environ["SDK_METRIC"]
PREFIX = os.environ["SDK_PREFIX"]
USERS = int(os.environ["SDK_USERS"])
# Between two groups of 50 users, so that what happens to the gateway falls among the events.
PAUSE = int(os.environ.get("SDK_PAUSE_MS", "0")) / 1000
VARIATIONS = ["control", "treatment"]
# Every so many users one event that is neither exposure nor conversion.
OTHER_EVERY = 100

given_up = []


def plan():
    """(user, variation, user who converts, value, other): one exposure and one conversion for each."""
    for i in range(USERS):
        if i % 50 == 0:
            time.sleep(PAUSE)
        j = i * i % USERS
        cents = i * 37 % 1000 + 50 * (j % 2)
        yield f"{PREFIX}-{i}", i % 2, f"{PREFIX}-{j}", cents / 100, i % OTHER_EVERY == 0


def gave_up(error, events):
    given_up.append(f"{error}: {len(events)} events")


def accepted(result):
    """What a client says of an event it was handed."""
    if result is None or result is False or (isinstance(result, tuple) and not result[0]):
        given_up.append("an event did not fit into the client's queue")


def segment(client):
    for user, variation, buyer, value, other in plan():
        viewed = {"experiment_id": EXPERIMENT, "variation_id": VARIATIONS[variation]}
        accepted(client.track(user, "Experiment Viewed", viewed))
        accepted(client.track(buyer, METRIC, {"revenue": value}))
        if other:
            accepted(client.identify(user, {"plan": "pro"}))
    client.flush()
    client.join()


def segment_python():
    from segment.analytics import Client

    segment(Client(KEY, host=BASE, on_error=gave_up))


def rudder_python():
    from rudderstack.analytics.client import Client

    segment(Client(KEY, host=BASE, on_error=gave_up))


def posthog_python(mode):
    from posthog import Posthog

    client = Posthog(KEY, host=BASE, on_error=gave_up, capture_mode=mode, max_queue_size=100_000)
    for user, variation, buyer, value, other in plan():
        called = {"$feature_flag": EXPERIMENT, "$feature_flag_response": VARIATIONS[variation]}
        accepted(client.capture("$feature_flag_called", distinct_id=user, properties=called))
        accepted(client.capture(METRIC, distinct_id=buyer, properties={"value": value}))
        if other:
            accepted(client.set(distinct_id=user, properties={"plan": "pro"}))
    client.flush()
    client.shutdown()


def growthbook_python():
    from growthbook import Experiment, GrowthBook
    from growthbook.plugins import GrowthBookTrackingPlugin

    # The plugin sends in threads of its own and only its log says how that went.
    done, lock = {"sent": 0, "failed": 0}, threading.Lock()

    class Outcomes(logging.Handler):
        def emit(self, record):
            with lock:
                if record.msg.startswith("Sent "):
                    done["sent"] += record.args[0]
                elif "HTTP" in record.msg or "Failed to send" in record.msg:
                    done["failed"] += 1

    log = logging.getLogger("growthbook.plugins.growthbook_tracking")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(Outcomes())

    def run(plugin, conversions):
        book = GrowthBook(client_key=KEY, api_host=BASE, features={"none": {"defaultValue": 0}}, plugins=[plugin])
        for user, variation, buyer, value, other in plan():
            book.set_attributes({"id": user})
            book.run(Experiment(key=EXPERIMENT, variations=VARIATIONS, weights=[1 - variation, variation]))
            if conversions:
                book.set_attributes({"id": buyer})
                book.log_event(METRIC, {"value": value})
            if other:
                book.eval_feature("none")
        book.destroy()
        # The last batch is in a thread that nobody joins.
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not isinstance(thread, threading.Timer):
                thread.join(30)

    options = {"ingestor_host": BASE, "batch_size": 50, "batch_timeout": 0.2}
    run(GrowthBookTrackingPlugin(**options), True)
    answered = done["sent"]
    if os.environ.get("SDK_AGAIN"):
        # What the gateway's end swallowed is never sent again: users come back, as they do.
        run(GrowthBookTrackingPlugin(track_feature_evaluated=False, **options), False)
    return {"answered": answered, "failed_requests": done["failed"]}


def cloudevents_python():
    import requests
    from cloudevents.core.bindings.http import to_binary_event, to_structured_event
    from cloudevents.core.v1.event import CloudEvent

    session = requests.Session()

    def post(headers, body):
        for attempt in range(100):
            try:
                headers = {**headers, "Authorization": f"Bearer {KEY}"}
                answer = session.post(f"{BASE}/api/v1/cloudevents", data=body, headers=headers, timeout=15)
                if answer.status_code < 300:
                    return
                if answer.status_code != 503:
                    return gave_up(f"{answer.status_code} {answer.text}", [body])
            except requests.exceptions.RequestException:
                pass
            time.sleep(0.1)
        gave_up("no answer", [body])

    def event(i, kind, user, data):
        attributes = {"id": f"{PREFIX}-{kind}-{i}", "source": "/shop", "type": f"com.example.{kind}", "subject": user}
        attributes |= {"specversion": "1.0", "time": datetime.now(timezone.utc)}
        return CloudEvent(attributes, data)

    waiting = []
    for i, (user, variation, buyer, value, _) in enumerate(plan()):
        seen = event(i, "exposure", user, {"experiment": EXPERIMENT, "variation": VARIATIONS[variation]})
        did = event(i, "conversion", buyer, {"metric": METRIC, "value": value})
        if i % 100 == 0:
            # One by one, in both forms; the package has no batch form, so the others are put together by hand.
            for message in (to_structured_event(seen), to_binary_event(did)):
                post(message.headers, message.body)
        else:
            waiting += [to_structured_event(seen).body, to_structured_event(did).body]
        if len(waiting) >= 100 or (i == USERS - 1 and waiting):
            batch = b"[" + b",".join(waiting) + b"]"
            post({"Content-Type": "application/cloudevents-batch+json"}, batch)
            waiting = []


CLIENTS = {
    "segment-python": segment_python,
    "rudder-python": rudder_python,
    "posthog-python": lambda: posthog_python("v0"),
    "posthog-python-v1": lambda: posthog_python("v1"),
    "growthbook-python": growthbook_python,
    "cloudevents-python": cloudevents_python,
}


def main():
    name = sys.argv[1]
    more = CLIENTS[name]() or {}
    others = 0 if name == "cloudevents-python" else -(-USERS // OTHER_EVERY)
    print(json.dumps({"sent": 2 * USERS, "ignored": others, **more}))
    for line in given_up:
        print(f"{name}: gave up: {line}", file=sys.stderr)
    sys.exit(1 if given_up else 0)


main()
