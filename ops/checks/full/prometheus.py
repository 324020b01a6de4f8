"""A real Prometheus beside three running tiers: what they expose, every rule, every query of every panel."""

import functools
import re
import unittest
import urllib.parse

import yaml

import boards
import metrics
import promql
import stand
import tree

# What Grafana puts in; enough for a rate of samples a second apart.
VARIABLES = {"$__rate_interval": "1m"}
# The machine's own disks are none of abstream's business.
NOT_OURS = {"AbstreamDiskFillsUp"}
TYPES = {"counter", "gauge", "histogram"}


@functools.cache
def server():
    """Prometheus' port: the configuration of the tree, with the addresses of what runs here, and a shorter pulse."""
    here, port, node = stand.directory(), stand.free_port(), stand.free_port()
    stand.start(
        ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{node}"], node, here / "node.log"
    )
    configuration = yaml.safe_load(tree.text("ops/prometheus/prometheus.yml"))
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [
        str(tree.ROOT / "ops/prometheus" / pattern) for pattern in configuration["rule_files"]
    ]
    for job in configuration["scrape_configs"]:
        name = job["job_name"]
        target = f"127.0.0.1:{node}" if name == "node" else stand.running().internal(name)
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": [target]}]
    file = here / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    arguments = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={here / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    stand.start(arguments, port, here / "prometheus.log")
    # It listens before it has read its data, and answers everything else with 503 until then.
    stand.wait_for(
        lambda: stand.request(f"127.0.0.1:{port}", "GET", "/-/ready").status == 200, "Prometheus is ready"
    )
    return port


@functools.cache
def seen():
    """Expression -> its series, of every query and selector that has any.

    Each has them at a moment of its own: a rate once two scrapes have seen its counter, which has a series once there was
    something to count; and a scrape that comes late takes all of its target's series away for as long.
    """
    clients()
    found = {}

    def all_have():
        for expression in asked() - set(found):
            if some := series(expression):
                found[expression] = some
        return len(found) == len(asked())

    try:
        stand.wait_for(all_have, "every query has series")
    except RuntimeError:
        print(f"       without series: {sorted(asked() - set(found))}")
    return found


@functools.cache
def asked():
    expressions = [*promql.recorded().values(), *(rule["expr"] for rule in promql.alerts().values())]
    names = {name for e in expressions for name, _ in promql.selectors(e)}
    return {*promql.recorded(), *(expression for _, _, expression in boards.queries()), *names}


def clients():
    """What clients do, besides the load."""
    places = stand.running().places
    reader = {"Authorization": f"Bearer {places['admin_token']}"}
    sender = {"Authorization": f"Bearer {places['api_token']}", "Content-Type": "application/json"}
    analyzer, gateway = stand.running().public("analyzer"), stand.running().public("ingest-gateway")
    listed = stand.wait_for(lambda: experiments(analyzer, reader), "experiments are listed")
    for experiment in listed:
        stand.request(analyzer, "GET", f"/api/v1/experiments/{experiment['key']}/live-stats", headers=reader)
    stand.request(gateway, "POST", "/api/v1/events", '{"events": [{"type": "nothing"}]}', sender)
    stand.request(gateway, "POST", "/api/v1/events", "{}", {"Authorization": "Bearer nobody"})


def experiments(analyzer, reader):
    answer = stand.request(analyzer, "GET", "/api/v1/experiments", headers=reader)
    return answer.json()["items"] if answer.status == 200 else None


def ask(path, **parameters):
    query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
    answer = stand.request(f"127.0.0.1:{server()}", "GET", f"/api/v1/{path}{query}").json()
    if answer["status"] != "success":
        raise AssertionError(f"{parameters}: {answer}")
    return answer["data"]


def series(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return ask("query", query=expression)["result"]


class Exposed(unittest.TestCase):
    def test_each_tier_exposes_what_the_table_says_and_nothing_else(self):
        tiers = {"gateway": "ingest-gateway", "worker": "ingest-worker", "analyzer": "analyzer"}
        clients()
        for short, tier in tiers.items():
            text = stand.request(stand.running().internal(tier), "GET", "/metrics").body.decode()
            types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
            found = {}
            for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, re.M):
                found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
            mine = {n: m for n, m in metrics.registered().items() if m[4] == "all" or short in m[4]}
            for name, kind in types.items():
                self.assertIn(name, mine, f"{tier} exposes it and the table does not know it")
                self.assertEqual(kind, mine[name][0], name)
            for name, labels in found.items():
                self.assertEqual(labels, metrics.samples()[name], name)
            # One with labels may wait for its first value.
            missing = {name for name, (_, labels, *_) in mine.items() if not labels and name not in types}
            self.assertEqual(missing, set(), tier)
            print(
                f"       {tier}: {len(types)} metrics, {sum(1 for l in text.splitlines() if l[:1] != '#')} samples"
            )


class Rules(unittest.TestCase):
    def test_every_rule_is_evaluated_without_an_error(self):
        def evaluated():
            found = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
            return found if all(rule["health"] != "unknown" for rule in found) else None

        found = stand.wait_for(evaluated, "every rule is evaluated")
        self.assertEqual(len(found), len(promql.recorded()) + len(promql.alerts()))
        for rule in found:
            self.assertEqual((rule["health"], rule.get("lastError", "")), ("ok", ""), rule["name"])

    def test_every_recorded_name_has_series(self):
        for name in promql.recorded():
            found = seen().get(name, [])
            print(f"       {name}: {len(found)} series")
            self.assertTrue(found, name)

    def test_every_selector_of_every_rule_has_series(self):
        """One that asks for a trouble by a label's value may match none now: then its name has to."""
        expressions = [*promql.recorded().values(), *(rule["expr"] for rule in promql.alerts().values())]
        chosen = {
            selector(name, matchers): name for e in expressions for name, matchers in promql.selectors(e)
        }
        self.assertGreater(len(chosen), 20)
        for text, name in sorted(chosen.items()):
            exactly, by_name = len(series(text)), len(seen().get(name, []))
            print(f"       {text}: {exactly} series" + (f", {by_name} of the name" if text != name else ""))
            self.assertGreater(by_name, 0, text)

    def test_a_healthy_system_fires_nothing(self):
        seen()
        firing = [a["labels"]["alertname"] for a in ask("alerts")["alerts"] if a["state"] == "firing"]
        self.assertEqual([name for name in firing if name not in NOT_OURS], [])


class Boards(unittest.TestCase):
    def test_every_query_of_every_panel_returns_series(self):
        empty = []
        for board, panel, expression in boards.queries():
            found = seen().get(expression, [])
            print(f"       {board} / {panel}: {len(found)} series of {expression}")
            if not found:
                empty.append((board, panel, expression))
            for one in series(expression) or found:
                # A share of nothing is no number; a board would show a hole.
                self.assertNotIn(one["value"][1], ("+Inf", "-Inf"), expression)
        self.assertEqual(empty, [])


def selector(name, matchers):
    inside = ",".join(f'{label}{operator}"{value}"' for label, operator, value in matchers)
    return f"{name}{{{inside}}}" if inside else name
