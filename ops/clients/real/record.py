"""Writes down the requests of a client, byte for byte, as fixtures: `python record.py DIRECTORY NAME COMMAND..`.

Runs the command with SDK_BASE pointing here and answers every request as its sender expects. The requests become
DIRECTORY/NAME-1.http and so on; connections are closed after each, and the port in `Host` is made the same in all.
"""

import gzip
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

directory, name, *command = sys.argv[1:]
lock, count = Lock(), 0


class Recorder(BaseHTTPRequestHandler):
    def do_POST(self):
        global count
        body = self.rfile.read(int(self.headers["content-length"]))
        head = f"{self.command} {self.path} HTTP/1.1\r\n"
        for header, value in self.headers.items():
            value = {"host": "127.0.0.1:8008", "connection": "close"}.get(header.lower(), value)
            head += f"{header}: {value}\r\n"
        with lock:
            count += 1
            with open(f"{directory}/{name}-{count}.http", "wb") as file:
                file.write(head.encode() + b"\r\n" + body)
        if self.path.endswith("/analytics/events"):
            plain = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
            answer = {"results": {event["uuid"]: {"result": "ok"} for event in json.loads(plain)["batch"]}}
        else:
            answer = {"success": True, "status": "Ok"}
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self.send_error(404)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"
code = subprocess.run(command, env={**os.environ, "SDK_BASE": base}, check=False).returncode
print(f"{name}: {count} requests")
sys.exit(code)
