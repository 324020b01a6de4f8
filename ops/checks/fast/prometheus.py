"""Metrics table, rules, alerts and boards: true of the code, and of each other."""

import re
import subprocess
import unittest

import yaml

import boards
import metrics
import promql
import tree

TESTS = "ops/prometheus/tests/alerts.yml"
SEVERITIES = {"page", "ticket"}
PAGE = ("## What it means", "## Look at", "## Do")


class Metrics(unittest.TestCase):
    def test_the_table_is_what_the_code_registers(self):
        shown = tree.text(metrics.TABLE).partition(metrics.MARK)[2]
        self.assertEqual(shown, metrics.table(), "sh ops/checks/run.sh bless")

    def test_names_follow_the_conventions_of_prometheus(self):
        for name, (kind, labels, _, help_, _) in metrics.registered().items():
            with self.subTest(name):
                self.assertRegex(name, r"^abstream_[a-z][a-z0-9_]*$")
                self.assertEqual(name.endswith("_total"), kind == "counter")
                self.assertNotRegex(name, r"_(bucket|sum|count|ms|millis|kb|mb)$")
                self.assertGreater(len(help_), 8)
                # Values of these would be without bound, or a tenant's secret.
                # Of tenants the first hundred only (decision 36).
                bounded = {"tenant"} if name.startswith("abstream_ingest_tenant_") else set()
                self.assertFalse((set(labels) - bounded) & {"tenant", "user", "experiment", "key", "path"})

    def test_every_name_in_the_code_is_one_that_is_found(self):
        """So that the table cannot miss one that is registered in another way."""
        for place in metrics.PLACES:
            for file in (tree.ROOT / place).rglob("*.rs"):
                for name in re.findall(r'"(abstream_[a-z0-9_]+)"', file.read_text(encoding="utf-8")):
                    self.assertIn(name, metrics.registered(), file)


class Rules(unittest.TestCase):
    def test_promtool_takes_configuration_and_rules(self):
        self.promtool("check", "config", "--syntax-only", "ops/prometheus/prometheus.yml")
        self.promtool(
            "check", "rules", *sorted(str(file) for file in tree.ROOT.glob("ops/prometheus/rules/*.yml"))
        )

    def test_alerts_fire_when_they_must_and_not_otherwise(self):
        self.promtool("test", "rules", TESTS)

    def test_every_alert_has_cases_of_both_kinds(self):
        fires, quiet = set(), set()
        for case in yaml.safe_load(tree.text(TESTS))["tests"]:
            for expected in case["alert_rule_test"]:
                (fires if expected["exp_alerts"] else quiet).add(expected["alertname"])
        self.assertEqual(fires, set(promql.alerts()))
        self.assertEqual(quiet, set(promql.alerts()))

    def test_everything_asked_for_exists(self):
        expressions = {**promql.recorded(), **{name: rule["expr"] for name, rule in promql.alerts().items()}}
        for name, expression in expressions.items():
            self.assertTrue(promql.selectors(expression), name)
            self.assertEqual(promql.faults(expression), [], name)

    def test_a_name_that_does_not_exist_is_found(self):
        self.assertEqual(promql.faults("sum(abstream_nothing) > 0"), ["nothing is called abstream_nothing"])
        self.assertEqual(
            promql.faults('sum by (tenant) (rate(abstream_ingest_events_total{user="x"}[5m]))'),
            ["abstream_ingest_events_total has no label user", "nothing in it has the label tenant"],
        )

    def test_every_alert_has_a_page_that_says_what_to_do(self):
        pages = set()
        for name, rule in promql.alerts().items():
            self.assertIn(rule["labels"]["severity"], SEVERITIES)
            self.assertTrue(rule["annotations"]["summary"])
            path = rule["annotations"]["runbook_url"]
            page = tree.text(path)
            pages.add(path.rpartition("/")[2])
            self.assertIn(name, page, path)
            for heading in PAGE:
                self.assertIn(heading + "\n", page, path)
        found = {file.name for file in (tree.ROOT / "ops/docs/runbook").glob("*.md")} - {"README.md"}
        self.assertEqual(found, pages, "pages without an alert")
        index = tree.text("ops/docs/runbook/README.md")
        for name in promql.alerts():
            self.assertIn(name, index)

    def test_the_operator_gets_the_same_rules(self):
        self.assertEqual(
            yaml.safe_load(tree.text(promql.RULES)), promql.for_operator(), "sh ops/checks/run.sh bless"
        )
        found = tree.named(tree.overlay("prod"), "PrometheusRule", "abstream")
        self.assertEqual(found["spec"], promql.for_operator()["spec"])

    def test_autoscalers_ask_for_what_is_recorded(self):
        for trigger in tree.named(tree.overlay("prod"), "ScaledObject", "ingest-worker")["spec"]["triggers"]:
            self.assertIn(trigger["metadata"]["query"], promql.recorded())

    def test_jobs_are_named_as_the_tiers(self):
        jobs = [
            job["job_name"]
            for job in yaml.safe_load(tree.text("ops/prometheus/prometheus.yml"))["scrape_configs"]
        ]
        self.assertEqual(jobs, [*tree.TIERS, "node"])
        for job in yaml.safe_load(tree.text("ops/prometheus/prometheus.yml"))["scrape_configs"][:3]:
            (found,) = job["dns_sd_configs"]
            self.assertEqual(
                (found["names"], found["port"]), ([job["job_name"]], tree.ports()[job["job_name"]][1])
            )

    def promtool(self, *arguments):
        done = subprocess.run(["promtool", *arguments], cwd=tree.ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Boards(unittest.TestCase):
    def test_files_are_as_the_specification_says(self):
        self.assertEqual(boards.read(), boards.written(), "sh ops/checks/run.sh bless")

    def test_there_is_one_for_the_flow_each_tier_and_experiments(self):
        self.assertEqual(set(boards.read()), {"flow", "gateway", "worker", "analyzer", "experiments"})

    def test_everything_asked_for_exists(self):
        for board, panel, expression in boards.queries():
            self.assertEqual(promql.faults(expression), [], f"{board}: {panel}")

    def test_ids_are_unique_and_panels_do_not_overlap(self):
        self.assertEqual(len({board["uid"] for board in boards.read().values()}), len(boards.read()))
        for board in boards.read().values():
            places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]]
            self.assertEqual(len(set(places)), len(places))
            self.assertEqual(len({p["id"] for p in board["panels"]}), len(places))

    def test_every_metric_is_on_a_board_or_in_a_rule(self):
        """A metric nobody looks at is one too many. The internal listener's are its own."""
        expressions = [expression for _, _, expression in boards.queries()]
        expressions += [*promql.recorded().values(), *(rule["expr"] for rule in promql.alerts().values())]
        asked = {name for expression in expressions for name, _ in promql.selectors(expression)}
        forgotten = {
            n for n in metrics.registered() if not metrics.exposed(n) & asked and "internal_http" not in n
        }
        self.assertEqual(forgotten, set())

    def test_provisioning_leads_to_the_boards(self):
        source = yaml.safe_load(tree.text("ops/grafana/provisioning/datasources/prometheus.yml"))[
            "datasources"
        ][0]
        used = {
            target["datasource"]["uid"]
            for b in boards.read().values()
            for p in b["panels"]
            for target in p["targets"]
        }
        self.assertEqual(used, {source["uid"]})
        path = yaml.safe_load(tree.text("ops/grafana/provisioning/dashboards/abstream.yml"))["providers"][0][
            "options"
        ]["path"]
        volumes = yaml.safe_load(tree.text("ops/docker/compose.yaml"))["services"]["grafana"]["volumes"]
        self.assertIn(f"../grafana/boards:{path}:ro", volumes)
