"""A client for abstream: one file, no dependencies, Python 3.8 or newer.

    client = Client("https://events.example.com", "KEY")
    client.exposure("checkout", "user-1", "treatment")
    client.conversion("user-1", "purchase", value="19.90")
    client.close()

Events wait in a bounded queue and are sent in batches by a thread of the client's own. Each has a key, so one that is
sent twice counts once. A batch is sent again after 408, 429, 5xx and no answer at all, when the server's Retry-After
says so, else backing off; one that is too large (413) in halves; any other refusal is final and told to `on_error`.
"""

import collections
import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.request
import uuid

# Seconds.
FIRST_BACKOFF, LONGEST_BACKOFF, LONGEST_RETRY_AFTER = 0.5, 30.0, 300.0


class Client:
    def __init__(self, url, key, *, queue_size=10_000, batch_size=500, interval=1.0, timeout=15.0, on_error=None, pause=None):
        """`interval`: seconds an event waits for company. `timeout`: of a request, in seconds.

        `on_error(reason, events)` is told of events that are given up, on the client's thread; `reason` is a status, a
        server's error code for single events, or "closed". `pause(seconds)` stands in for waiting, for tests.
        """
        self._url = url.rstrip("/") + "/api/v1/events"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._queue_size, self._batch_size = queue_size, batch_size
        self._interval, self._timeout = interval, timeout
        self._on_error = on_error or (lambda reason, events: None)
        self._abandoned = threading.Event()
        self._pause = pause or self._abandoned.wait
        self._changed = threading.Condition()
        self._waiting = collections.deque()
        # Events taken off the queue, not yet delivered or given up.
        self._under_way = 0
        self._flushing = self._closing = False
        self._thread = threading.Thread(target=self._run, name="abstream", daemon=True)
        self._thread.start()

    def exposure(self, experiment, user_id, variation, *, occurred_at=None):
        """The user saw a variation, given by its key, or by its index if that is an int. False: the queue is full."""
        name = "variation_index" if isinstance(variation, int) else "variation"
        return self._put({"type": "exposure", "experiment": experiment, "user_id": user_id, name: variation}, None, occurred_at)

    def conversion(self, user_id, metric, *, value=None, experiment=None, key=None, occurred_at=None):
        """The user did something, worth `value` (a number, a Decimal or a decimal string; 1 unless given).

        `key` makes it this conversion and no other wherever it is sent from, such as an order's number. False: the
        queue is full.
        """
        event = {"type": "conversion", "user_id": user_id, "metric": metric}
        if value is not None:
            event["value"] = value if isinstance(value, (int, float)) else str(value)
        if experiment is not None:
            event["experiment"] = experiment
        return self._put(event, key, occurred_at)

    def flush(self, timeout=None):
        """Waits until everything sent before is delivered or given up. False: not within `timeout` seconds."""
        with self._changed:
            self._flushing = bool(self._waiting or self._under_way)
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._waiting and not self._under_way, timeout)

    def close(self, timeout=15.0):
        """Delivers what is waiting, within `timeout` seconds; the rest is given up. False: something was."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        in_time = not self._thread.is_alive()
        self._abandoned.set()
        self._thread.join(self._timeout)
        return in_time

    def _put(self, event, key, occurred_at):
        event["idempotency_key"] = key or str(uuid.uuid4())
        event["occurred_at"] = _instant(occurred_at)
        # What cannot be written as JSON fails here, at its caller, and not with a batch of others.
        text = json.dumps(event, allow_nan=False, separators=(",", ":"))
        with self._changed:
            if self._closing or len(self._waiting) + self._under_way >= self._queue_size:
                return False
            self._waiting.append(text)
            if len(self._waiting) in (1, self._batch_size):
                self._changed.notify_all()
            return True

    def _run(self):
        while True:
            batch = self._take()
            if not batch:
                return
            self._deliver(batch)
            with self._changed:
                self._under_way = 0
                if not self._waiting:
                    self._flushing = False
                self._changed.notify_all()

    def _take(self):
        """The next batch; none: the client is closed and the queue empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            full = lambda: len(self._waiting) >= self._batch_size or self._flushing or self._closing
            self._changed.wait_for(full, self._interval)
            batch = [self._waiting.popleft() for _ in range(min(self._batch_size, len(self._waiting)))]
            self._under_way = len(batch)
            return batch

    def _deliver(self, batch):
        parts, attempt = [batch], 0
        while parts:
            part = parts[-1]
            if self._abandoned.is_set():
                for part in parts:
                    self._give_up("closed", part)
                return
            status, retry_after, answer = self._post(part)
            if status in (200, 202):
                parts.pop()
                attempt = 0
                codes = {error["index"]: error["error_code"] for error in answer.get("errors", [])}
                for index in answer.get("rejected_indexes", []):
                    self._give_up(codes.get(index, "rejected"), [part[index]])
            elif status == 413 and len(part) > 1:
                half = len(part) // 2
                parts[-1:] = [part[half:], part[:half]]
            elif status is None or status in (408, 429) or status >= 500:
                backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(attempt, 10)) * random.uniform(0.5, 1)
                self._pause(backoff if retry_after is None else retry_after)
                attempt += 1
            else:
                parts.pop()
                self._give_up(status, part)

    def _post(self, part):
        """Status (None: no answer), Retry-After in seconds or None, and the answer."""
        body = f'{{"sent_at":{_instant(None)},"events":[{",".join(part)}]}}'.encode()
        request = urllib.request.Request(self._url, body, self._headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                return answer.status, None, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                text = error.headers.get("Retry-After") or ""
                return error.code, min(int(text), LONGEST_RETRY_AFTER) if text.isdecimal() else None, {}
        except (OSError, ValueError, http.client.HTTPException):
            return None, None, {}

    def _give_up(self, reason, part):
        try:
            self._on_error(reason, [json.loads(text) for text in part])
        except Exception:  # somebody else's code must not end the thread
            pass


def _instant(at):
    """Unix milliseconds of a datetime, of unix seconds, or of now."""
    if at is None:
        at = time.time()
    return int((at.timestamp() if hasattr(at, "timestamp") else at) * 1000)
