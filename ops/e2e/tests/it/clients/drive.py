"""Makes the calls of a file with the Python client and prints what came of them: `python drive.py CLIENT FILE`."""

import importlib.util
import json
import sys
import threading
import time

client_file, plan_file = sys.argv[1:]
spec = importlib.util.spec_from_file_location("abstream", client_file)
abstream = importlib.util.module_from_spec(spec)
spec.loader.exec_module(abstream)
with open(plan_file, encoding="utf-8") as file:
    plan = json.load(file)

report = {"accepted": 0, "refused": 0, "pauses": [], "given_up": []}
called = threading.Event()


def pause(seconds):
    report["pauses"].append(seconds)
    if plan["hold"]:
        called.wait()
    time.sleep(0.005)


client = abstream.Client(
    plan["url"],
    plan["key"],
    queue_size=plan["queue_size"],
    batch_size=plan["batch_size"],
    interval=3600,
    pause=pause,
    on_error=lambda reason, events: report["given_up"].append([str(reason), len(events)]),
)
for kind, *call in plan["calls"]:
    if kind == "exposure":
        accepted = client.exposure(*call)
    else:
        user, metric, value = call
        accepted = client.conversion(user, metric, value=value)
    report["accepted" if accepted else "refused"] += 1
called.set()
report["closed"] = client.close(plan["close_ms"] / 1000)
print(json.dumps(report))
