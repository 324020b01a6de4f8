"""The real Python clients, unmodified, sending a known set of events: `python clients.py CLIENT`.

What is sent is a function of SDK_USERS and SDK_PREFIX alone, told by `send`; ops/e2e/src/sdks/plan.rs has the same.
Prints one line of JSON: `sent` (distinct exposures and conversions), `ignored` (other events), and for a client that
gives events no ids `acknowledged` (conversions it saw answered with 200). A client that gives an event up fails the run.
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
# Between two groups of 50 events, so that what happens to the gateway falls among them.
PAUSE = int(os.environ.get("SDK_PAUSE_MS", "0")) / 1000
# Clients that never send twice see every user once more.
AGAIN = bool(os.environ.get("SDK_AGAIN"))
VARIATIONS = ["control", "treatment"]
# Every so many users one event that is neither exposure nor conversion.
OTHER_EVERY = 100

given_up = []


def numbers():
    for i in range(USERS):
        if i % 50 == 0:
            time.sleep(PAUSE)
        yield i


def see(view, other):
    """Every user sees a variation, every second one the treatment."""
    for i in numbers():
        view(f"{PREFIX}-{i}", i % 2)
        if i % OTHER_EVERY == 0:
            other(f"{PREFIX}-{i}")


def act(do):
    """As many conversions as users: some have several, some none."""
    for i in numbers():
        j = i * i % USERS
        do(f"{PREFIX}-{j}", (i * 37 % 1000 + 50 * (j % 2)) / 100)


def gave_up(error, events):
    given_up.append(f"{error}: {len(events)} events")


def accepted(result):
    """What a client says of an event it was handed."""
    if result is None or result is False or (isinstance(result, tuple) and not result[0]):
        given_up.append("an event did not fit into the client's queue")


def segment(client):
    def view(user, variation):
        properties = {"experiment_id": EXPERIMENT, "variation_id": VARIATIONS[variation]}
        accepted(client.track(user, "Experiment Viewed", properties))

    see(view, lambda user: accepted(client.identify(user, {"plan": "pro"})))
    act(lambda user, value: accepted(client.track(user, METRIC, {"revenue": value})))
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

    client = Posthog(KEY, host=BASE, on_error=gave_up, capture_mode=mode)

    def view(user, variation):
        properties = {"$feature_flag": EXPERIMENT, "$feature_flag_response": VARIATIONS[variation]}
        accepted(client.capture("$feature_flag_called", distinct_id=user, properties=properties))

    see(view, lambda user: accepted(client.set(distinct_id=user, properties={"plan": "pro"})))
    act(lambda user, value: accepted(client.capture(METRIC, distinct_id=user, properties={"value": value})))
    client.flush()
    client.shutdown()


def growthbook_python():
    from growthbook import Experiment, GrowthBook
    from growthbook.plugins import GrowthBookTrackingPlugin

    # The plugin sends in threads of its own, and only its log says how that went.
    answered, lock = [0], threading.Lock()

    class Outcomes(logging.Handler):
        def emit(self, record):
            with lock:
                if record.msg.startswith("Sent "):
                    answered[0] += record.args[0]

    log = logging.getLogger("growthbook.plugins.growthbook_tracking")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(Outcomes())

    def book(**options):
        options = {"ingestor_host": BASE, "batch_size": 50, "batch_timeout": 0.2, **options}
        plugin = GrowthBookTrackingPlugin(**options)
        return GrowthBook(client_key=KEY, api_host=BASE, features={"none": {"defaultValue": 0}}, plugins=[plugin])

    def see_with(book, other):
        def view(user, variation):
            book.set_attributes({"id": user})
            book.run(Experiment(key=EXPERIMENT, variations=VARIATIONS, weights=[1 - variation, variation]))

        see(view, other)
        sent(book)

    def sent(book):
        book.destroy()
        # The last batch is in a thread that nobody else joins.
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not isinstance(thread, threading.Timer):
                thread.join(30)

    first = book()
    see_with(first, lambda _: first.eval_feature("none"))
    if AGAIN:
        see_with(book(track_feature_evaluated=False), lambda _: None)
    answered[0] = 0
    last = book()

    def do(user, value):
        last.set_attributes({"id": user})
        last.log_event(METRIC, {"value": value})

    act(do)
    sent(last)
    return {"acknowledged": answered[0]}


def cloudevents_python():
    import requests
    from cloudevents.core.bindings.http import to_binary_event, to_structured_event
    from cloudevents.core.v1.event import CloudEvent

    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {KEY}"

    def post(headers, body):
        """The package sends nothing itself."""
        for _ in range(100):
            try:
                answer = session.post(f"{BASE}/api/v1/cloudevents", data=body, headers=headers, timeout=15)
                if answer.status_code < 300:
                    return
                if answer.status_code != 503:
                    return gave_up(f"{answer.status_code} {answer.text}", [body])
            except requests.exceptions.RequestException:
                pass
            time.sleep(0.1)
        gave_up("no answer", [body])

    waiting, made = [], [0]

    def send(to_message, kind, user, data):
        attributes = {"id": f"{PREFIX}-{made[0]}", "source": "/shop", "type": f"com.example.{kind}", "subject": user}
        attributes |= {"specversion": "1.0", "time": datetime.now(timezone.utc)}
        message = to_message(CloudEvent(attributes, data))
        if made[0] % 100 == 0:
            post(message.headers, message.body)
        else:
            # The package has no batch form: one is put together by hand.
            waiting.append(to_structured_event(CloudEvent(attributes, data)).body)
        made[0] += 1
        if len(waiting) == 100:
            flush()

    def flush():
        if waiting:
            post({"Content-Type": "application/cloudevents-batch+json"}, b"[" + b",".join(waiting) + b"]")
            waiting.clear()

    def view(user, variation):
        data = {"experiment": EXPERIMENT, "variation": VARIATIONS[variation]}
        send(to_structured_event, "exposure", user, data)

    see(view, lambda _: None)
    flush()
    made[0] = 100 * USERS
    act(lambda user, value: send(to_binary_event, "conversion", user, {"metric": METRIC, "value": value}))
    flush()


def openfeature_python():
    """Their SDK, with our hook and client."""
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../python"))
    from abstream import Client
    from abstream_openfeature import ExposureHook, tracked
    from openfeature import api
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.flag_evaluation import FlagResolutionDetails
    from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
    from openfeature.track import TrackingEventDetails

    def choose(flag, context):
        variant = VARIATIONS[context.attributes["variation"]]
        return FlagResolutionDetails(value=flag.variants[variant], variant=variant)

    flag = InMemoryFlag("control", {"control": "old", "treatment": "new"}, context_evaluator=choose)
    client = Client(BASE, KEY, queue_size=100_000, interval=0.1, on_error=gave_up)
    api.set_provider(tracked(InMemoryProvider({EXPERIMENT: flag, "plain": flag}), client))
    api.add_hooks([ExposureHook(client, experiments={EXPERIMENT})])
    flags = api.get_client()

    def view(user, variation):
        context = EvaluationContext(user, {"variation": variation})
        assert flags.get_string_value(EXPERIMENT, "", context) == ["old", "new"][variation]

    see(view, lambda user: flags.get_string_value("plain", "", EvaluationContext(user, {"variation": 0})))
    act(lambda user, value: flags.track(METRIC, EvaluationContext(user), TrackingEventDetails(value)))
    if not client.close(120):
        given_up.append("closed in vain")


CLIENTS = {
    "segment-python": segment_python,
    "rudder-python": rudder_python,
    "posthog-python": lambda: posthog_python("v0"),
    "posthog-python-v1": lambda: posthog_python("v1"),
    "growthbook-python": growthbook_python,
    "cloudevents-python": cloudevents_python,
    "openfeature-python": openfeature_python,
}


def main():
    name = sys.argv[1]
    more = CLIENTS[name]() or {}
    others = 0 if name in ("cloudevents-python", "openfeature-python") else -(-USERS // OTHER_EVERY)
    print(json.dumps({"sent": 2 * USERS, "ignored": others, **more}))
    for line in given_up:
        print(f"{name}: gave up: {line}", file=sys.stderr)
    sys.exit(1 if given_up else 0)


main()
