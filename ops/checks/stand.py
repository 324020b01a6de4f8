"""A running abstream under load (the program `stand` of ops/e2e), and other servers beside it. One for all checks."""

import atexit
import functools
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import tree

PATIENCE = 120
_children = []
_directories = []
_ports = set()


def program(name):
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", tree.ROOT / "target"))
    return str(target / "debug" / name)


class Stand:
    def __init__(self):
        self.process = subprocess.Popen(
            [program("stand")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        _children.append(self.process)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("stand did not start: " + self.process.stderr.read())
        self.places = json.loads(line)

    def public(self, tier):
        return self.places["tiers"][tier]["public"]

    def internal(self, tier):
        return self.places["tiers"][tier]["internal"]

    def end(self):
        """Lets it finish and says how it went: (exit code, what it said)."""
        self.process.stdin.close()
        said = self.process.stderr.read()
        return self.process.wait(PATIENCE), said


@functools.cache
def running():
    return Stand()


def directory():
    path = pathlib.Path(tempfile.mkdtemp(prefix="abstream-ops-check-"))
    _directories.append(path)
    return path


def free_port():
    """One that nobody listens on; each is given once."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        if port not in _ports:
            _ports.add(port)
            return port


def start(arguments, port, log, **more):
    """A server of somebody else's; ready when its port answers."""
    with open(log, "wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT, **more)
    _children.append(process)
    wait_for(lambda: process.poll() is not None or answers(port), f"{arguments[0]} answers")
    if process.poll() is not None:
        raise RuntimeError(
            f"{arguments[0]} ended: {pathlib.Path(log).read_text(encoding='utf-8', errors='replace')[-2000:]}"
        )
    return process


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {PATIENCE} s: {what}")
        time.sleep(0.2)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)


def request(address, method, path, body=None, headers=None, connection=http.client.HTTPConnection, **options):
    made = connection(address, timeout=30, **options)
    try:
        made.request(method, path, body, headers or {})
        return Answer(made.getresponse())
    finally:
        made.close()


def tear_down():
    for process in reversed(_children):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in _children:
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
    for path in _directories:
        shutil.rmtree(path, ignore_errors=True)


atexit.register(tear_down)
