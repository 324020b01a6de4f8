"""Real nginx and Caddy, with the configurations of ops/proxy, in front of running tiers and of upstreams that tell."""

import functools
import gzip
import http.client
import http.server
import json
import socket
import ssl
import subprocess
import threading
import unittest
import urllib.parse

import paths
import stand
import tree

SECRET = "a-browser-s-key-0123456789"


class Upstream:
    """Says what it was asked; `/..stream` sends a first event at once and a second one when told to."""

    def __init__(self, tier):
        self.second = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path.endswith("/stream"):
                    return self.stream()
                length = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(length)
                status = 503 if self.path.startswith("/full") else 200
                body = json.dumps(
                    {"tier": tier, "path": self.path, "headers": dict(self.headers.items())}
                ).encode()
                self.send_response(status)
                if status == 503:
                    self.send_header("Retry-After", "7")
                self.send_header("X-Request-ID", self.headers.get("X-Request-ID", ""))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def stream(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(b"data: first\n\n")
                self.wfile.flush()
                outer.second.wait(60)
                self.wfile.write(b"data: second\n\n")
                self.close_connection = True

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@functools.cache
def certificate():
    here = stand.directory()
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    command += [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        here / "key",
        "-out",
        here / "crt",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return here / "crt", here / "key"


def changed(path, changes):
    """A configuration with other names and addresses; every one of them has to be there."""
    text = tree.text(path)
    for old, new in changes.items():
        assert old in text, f"{path}: {old}"
        text = text.replace(old, str(new))
    return text


class Proxy:
    def __init__(self, gateway, analyzer):
        self.here, self.port = stand.directory(), stand.free_port()
        self.log = self.here / "access.log"
        self.crt, self.key = certificate()
        self.start(gateway, analyzer)

    def context(self):
        return ssl.create_default_context(cafile=str(self.crt))

    def ask(self, method, path, body=None, headers=None):
        connection = functools.partial(http.client.HTTPSConnection, context=self.context())
        return stand.request(f"localhost:{self.port}", method, path, body, headers, connection)


class Nginx(Proxy):
    def start(self, gateway, analyzer):
        site = changed(
            "ops/proxy/nginx.conf",
            {
                "listen 443 ssl http2": f"listen 127.0.0.1:{self.port} ssl http2",
                "abstream.example.com": "localhost",
                "/etc/nginx/abstream.crt": self.crt,
                "/etc/nginx/abstream.key": self.key,
                "/var/log/nginx/abstream.log": self.log,
                "/var/log/nginx/abstream-error.log": self.here / "site-error.log",
                "127.0.0.1:8008": gateway,
                "127.0.0.1:8009": analyzer,
            },
        )
        (self.here / "site.conf").write_text(site, encoding="utf-8")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{kind}_temp_path {self.here}/{kind};" for kind in kinds)
        # Its children read what only we may: certificates and logs in a directory of ours.
        main = (
            f"user root; pid {self.here}/pid; events {{}} http {{ {places} include {self.here}/site.conf; }}"
        )
        (self.here / "nginx.conf").write_text(main, encoding="utf-8")
        arguments = [
            "nginx",
            "-p",
            self.here,
            "-c",
            self.here / "nginx.conf",
            "-e",
            self.here / "error.log",
            "-g",
            "daemon off;",
        ]
        stand.start(arguments, self.port, self.here / "log")


class Caddy(Proxy):
    def start(self, gateway, analyzer):
        site = changed(
            "ops/proxy/Caddyfile",
            {
                "abstream.example.com {": f"https://localhost:{self.port} {{\n\tbind 127.0.0.1\n\ttls {self.crt} {self.key}",
                "/var/log/caddy/abstream.log": self.log,
                "127.0.0.1:8008": gateway,
                "127.0.0.1:8009": analyzer,
            },
        )
        options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
        (self.here / "Caddyfile").write_text(options + site, encoding="utf-8")
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.here), "XDG_DATA_HOME": str(self.here)}
        arguments = ["caddy", "run", "--adapter", "caddyfile", "--config", self.here / "Caddyfile"]
        stand.start(arguments, self.port, self.here / "log", env=environment)


@functools.cache
def upstreams():
    return Upstream("ingest-gateway"), Upstream("analyzer")


@functools.cache
def before_upstreams(kind):
    gateway, analyzer = upstreams()
    return kind(gateway.address, analyzer.address)


@functools.cache
def before_tiers(kind):
    return kind(stand.running().public("ingest-gateway"), stand.running().public("analyzer"))


def told(ask):
    """The first answer that says something else than to come again; nothing was done by those that do."""

    def answer():
        given = ask()
        again = given.status in (503, 504) and given.headers["Retry-After"]
        return None if again else given

    return stand.wait_for(answer, "an answer")


class Passing:
    """What every proxy has to do."""

    kind = None

    def test_each_path_goes_to_its_tier_unchanged(self):
        proxy = before_upstreams(self.kind)
        for tier, those in (("ingest-gateway", paths.GATEWAY), ("analyzer", paths.ANALYZER)):
            for path in those:
                if not path.endswith("/stream"):
                    asked = proxy.ask("POST", path + "?partial=true", "{}").json()
                    self.assertEqual((asked["tier"], asked["path"]), (tier, path + "?partial=true"))

    def test_a_request_id_is_kept_or_made(self):
        proxy = before_upstreams(self.kind)
        given = proxy.ask("GET", "/", headers={"X-Request-ID": "mine-1"})
        self.assertEqual(
            given.json()["headers"]["X-Request-Id" if self.kind is Caddy else "X-Request-ID"], "mine-1"
        )
        self.assertEqual(given.headers["X-Request-ID"], "mine-1")
        made = [proxy.ask("GET", "/").headers["X-Request-ID"] for _ in range(2)]
        self.assertEqual(len({*made, "", None}), 4, made)

    def test_the_client_s_address_comes_last_whatever_it_claims(self):
        asked = before_upstreams(self.kind).ask("GET", "/", headers={"X-Forwarded-For": "203.0.113.9"}).json()
        self.assertEqual(asked["headers"]["X-Forwarded-For"].split(",")[-1].strip(), "127.0.0.1")
        self.assertEqual(asked["headers"]["X-Forwarded-Proto"], "https")

    def test_a_refusal_comes_through_as_it_is(self):
        answer = before_upstreams(self.kind).ask("GET", "/full")
        self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "7"))
        self.assertEqual(answer.json()["tier"], "analyzer")

    def test_server_sent_events_are_not_held_back(self):
        _, analyzer = upstreams()
        analyzer.second.clear()
        proxy = before_upstreams(self.kind)
        connection = http.client.HTTPSConnection("localhost", proxy.port, timeout=30, context=proxy.context())
        connection.request("GET", "/api/v1/experiments/checkout/live-stats/stream")
        answer = connection.getresponse()
        # The second is not sent before the first has arrived.
        self.assertEqual(answer.readline(), b"data: first\n")
        analyzer.second.set()
        self.assertEqual(answer.read(), b"\ndata: second\n\n")
        connection.close()

    def test_http_2_is_offered(self):
        proxy = before_upstreams(self.kind)
        context = proxy.context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with socket.create_connection(("127.0.0.1", proxy.port)) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                self.assertEqual(secure.selected_alpn_protocol(), "h2")

    def test_a_key_in_the_query_stays_out_of_the_logs(self):
        proxy = before_upstreams(self.kind)
        marked = "/api/v1/events?" + urllib.parse.urlencode({"key": SECRET, "partial": "true"})
        asked = proxy.ask(
            "POST",
            marked,
            "{}",
            {"X-API-Key": SECRET, "Authorization": f"Bearer {SECRET}", "X-Request-ID": "logged-1"},
        ).json()
        self.assertIn(SECRET, asked["path"])
        stand.wait_for(lambda: "logged-1" in proxy.log.read_text(encoding="utf-8"), "the request is logged")
        for file in proxy.here.rglob("*"):
            if file.is_file():
                self.assertNotIn(SECRET.encode(), file.read_bytes(), file)

    def test_events_and_results_come_through(self):
        proxy, places = before_tiers(self.kind), stand.running().places
        sender = {"Authorization": f"Bearer {places['api_token']}", "Content-Type": "application/json"}
        reader = {"Authorization": f"Bearer {places['admin_token']}"}
        key = proxy.ask("GET", "/api/v1/experiments", headers=reader).json()["items"][0]["key"]
        # A metric that nothing uses and a user of our own: the oracle of the load knows nothing of them, nor of the experiment.
        name = f"proxy-{self.kind.__name__.lower()}"
        experiment = {
            "key": name,
            "variations": [{"key": "a"}, {"key": "b"}],
            "metrics": [{"key": name, "type": "proportion"}],
        }
        made = proxy.ask(
            "POST",
            "/api/v1/experiments",
            json.dumps(experiment),
            {**reader, "Content-Type": "application/json"},
        )
        self.assertEqual(made.status, 201, made.body)
        self.assertEqual(proxy.ask("POST", f"/api/v1/experiments/{name}/start", "", reader).status, 200)
        # On a busy machine an answer may be past its budget, or the queue too slow for one: then it is told to come again.
        results = told(lambda: proxy.ask("GET", f"/api/v1/experiments/{key}/live-stats", headers=reader))
        self.assertEqual(results.status, 200, results.body)
        answer = told(lambda: proxy.ask("POST", f"/api/v1/experiments/{name}/exposures", "{}", sender))
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (422, "application/problem+json"))

    def test_what_is_too_large_is_refused_by_the_gateway(self):
        proxy, places = before_tiers(self.kind), stand.running().places
        limit = int(tree.settings()["AB_MAX_REQUEST_BODY_BYTES"])
        sender = {"Authorization": f"Bearer {places['api_token']}", "Content-Type": "application/json"}
        answer = told(lambda: proxy.ask("POST", "/api/v1/events", b" " * (limit + 1), sender))
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (413, "application/problem+json"))
        packed = {**sender, "Content-Encoding": "gzip"}
        bad = told(lambda: proxy.ask("POST", "/api/v1/events", gzip.compress(b"{"), packed))
        self.assertEqual((bad.status, bad.json()["error_code"]), (400, "malformed_json"))


class BehindNginx(Passing, unittest.TestCase):
    kind = Nginx


class BehindCaddy(Passing, unittest.TestCase):
    kind = Caddy
