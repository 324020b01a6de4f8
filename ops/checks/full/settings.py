"""The programs themselves judge the settings that manifests give them."""

import pathlib
import subprocess
import unittest

import stand
import tree

API_KEYS = "a-key-of-more-than-24-characters:default:ingest,events"


class Settings(unittest.TestCase):
    def test_every_tier_takes_what_its_overlay_sets(self):
        for overlay in tree.OVERLAYS:
            for tier in tree.TIERS:
                code, shown, said = self.check(overlay, tier, {})
                self.assertEqual(code, 0, f"{overlay}: {tier}: {said}")
                self.assertIn("AB_PARTITIONS=16 (environment)", shown)
                self.assertNotIn("a-key-of-more-than-24-characters", shown)

    def test_a_misspelt_one_is_refused(self):
        code, _, said = self.check("prod", "ingest-gateway", {"AB_PARTITION": "16"})
        self.assertEqual(code, 2)
        self.assertIn("AB_PARTITION", said)

    def test_production_refuses_a_key_that_is_too_short(self):
        code, _, said = self.check("prod", "ingest-gateway", {}, "short:default:ingest")
        self.assertEqual(code, 2)
        self.assertIn("AB_API_KEYS", said)

    def check(self, overlay, tier, more, keys=None):
        docs = tree.overlay(overlay)
        doc = tree.named(docs, "Deployment", tier)
        environment = tree.environment(docs, doc) | more
        here = stand.directory()
        # In production the stores are asked, too.
        places = stand.running().places
        secrets = {
            "redis-url": places["redis_url"],
            "database-url": places["database_url"],
            "api-keys": keys or API_KEYS,
        }
        for item in tree.pod(doc)["spec"]["volumes"][0]["secret"]["items"]:
            (here / item["path"]).write_text(secrets[item["key"]], encoding="utf-8")
        for name, value in environment.items():
            if name.endswith("_FILE"):
                environment[name] = str(here / pathlib.PurePath(value).name)
        done = subprocess.run(
            [stand.program(tier), "--check-config"], env=environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr


class Jobs(unittest.TestCase):
    def test_cron_jobs_run_commands_and_flags_that_there_are(self):
        docs = [doc for where in ("k8s/overlays/prod", "k8s/nightly-replay") for doc in tree.render(where)]
        jobs = tree.of_kind(docs, "CronJob")
        self.assertEqual(len(jobs), 2)
        for job in jobs:
            command, *arguments = tree.container(job)["args"]
            shown = subprocess.run(
                [stand.program("abctl"), command, "--help"], capture_output=True, text=True
            )
            self.assertEqual(shown.returncode, 0, shown.stderr)
            for flag in (argument for argument in arguments if argument.startswith("-")):
                self.assertRegex(shown.stdout, rf"(?m)^ +(-\w, )?{flag}\b", command)


class Health(unittest.TestCase):
    """What the images' health check runs."""

    def test_a_tier_that_runs_is_healthy_and_one_that_does_not_is_not(self):
        for tier in tree.TIERS:
            port = stand.running().public(tier).rpartition(":")[2]
            # One late answer on a busy machine is no illness: containers are asked more than once, too.
            stand.wait_for(lambda: self.check(tier, port) == 0, f"{tier} is healthy")
            self.assertEqual(self.check(tier, stand.free_port()), 1)

    def check(self, tier, port):
        places = stand.running().places
        environment = {
            "AB_HOST": "0.0.0.0",
            "AB_PORT": str(port),
            "AB_REDIS_URL": places["redis_url"],
            "AB_DATABASE_URL": places["database_url"],
        }
        return subprocess.run(
            [stand.program(tier), "--check-health"], env=environment, capture_output=True
        ).returncode
