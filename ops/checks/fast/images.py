"""Dockerfile and compose file: everything they name exists, and says what the code says."""

import json
import re
import shlex
import unittest

import yaml

import tree

DOCKERFILE = "ops/docker/Dockerfile"
COMPOSE = "ops/docker/compose.yaml"
# What the Compose specification knows, as far as this file goes.
SERVICE_KEYS = {
    "image",
    "build",
    "environment",
    "ports",
    "restart",
    "read_only",
    "cap_drop",
    "security_opt",
    "stop_grace_period",
    "depends_on",
    "command",
    "volumes",
    "healthcheck",
}


def stages():
    """Stage -> (image it is from, [(instruction, arguments)])."""
    source = re.sub(r"\\\n", " ", tree.text(DOCKERFILE))
    found, current = {}, None
    for line in source.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, rest = line.split(None, 1)
        if word == "FROM":
            image, _, current = re.fullmatch(r"(\S+) (AS) (\S+)", rest).groups()
            found[current] = (image, [])
        else:
            found[current][1].append((word, rest))
    return found


def of(stage, word):
    return [rest for found, rest in stages()[stage][1] if found == word]


class Images(unittest.TestCase):
    def test_there_is_one_for_every_program_that_is_shipped(self):
        self.assertEqual(set(stages()) - {"build", "base"}, {*tree.TIERS, "abctl"})

    def test_each_holds_its_own_program_and_nothing_else(self):
        built = set(re.search(r"cp (.*) /programs/", of("build", "RUN")[0]).group(1).split())
        self.assertLessEqual(built, tree.programs())
        for stage in {*tree.TIERS, "abctl"}:
            self.assertEqual(stages()[stage][0], "base")
            self.assertIn(stage, built)
            self.assertEqual(of(stage, "COPY"), [f"--from=build /programs/{stage} /{stage}"])
            self.assertEqual(json.loads(of(stage, "ENTRYPOINT")[0]), [f"/{stage}"])
            self.assertEqual(of(stage, "RUN"), [])

    def test_they_run_as_nobody_special_without_a_shell(self):
        image, _ = stages()["base"]
        self.assertRegex(image, r"^gcr\.io/distroless/.*:nonroot$")
        self.assertFalse([1 for stage in stages() if of(stage, "USER")])

    def test_the_compiler_is_one_the_workspace_takes_and_its_c_library_that_of_the_image(self):
        found, release = re.match(r"rust:(\d+\.\d+)-(\w+)$", stages()["build"][0]).groups()
        wanted = re.search(r'rust-version = "([^"]+)"', tree.text("Cargo.toml")).group(1)
        self.assertGreaterEqual(number(found), number(wanted))
        self.assertEqual((release, stages()["base"][0].rpartition("-")[2]), ("bookworm", "debian12:nonroot"))

    def test_ports_and_health_are_those_of_the_code(self):
        for tier in tree.TIERS:
            public, internal = tree.ports()[tier]
            self.assertEqual(of(tier, "EXPOSE"), [f"{public} {internal}"])
            self.assertEqual(of(tier, "ENV"), [f"AB_INTERNAL_ADDR=0.0.0.0:{internal}"])
            command = json.loads(of(tier, "HEALTHCHECK")[0].partition("CMD ")[2])
            self.assertEqual(command, [f"/{tier}", "--check-health"])
        flags = re.findall(r'"(check-\w+)"', tree.text("shared/service/src/settings/sources.rs"))
        self.assertIn("check-health", flags)

    def test_every_variable_is_a_setting(self):
        for stage in stages():
            for line in of(stage, "ENV"):
                self.assertIn(line.partition("=")[0], tree.settings())

    def test_the_build_gets_every_crate_of_the_workspace_and_nothing_it_does_not_need(self):
        lines = tree.text(DOCKERFILE + ".dockerignore").splitlines()
        self.assertIn("*", lines)
        kept = {line[1:] for line in lines if line.startswith("!")}
        self.assertTrue(all((tree.ROOT / path).exists() for path in kept), kept)
        members = re.search(r"members = \[(.*?)\]", tree.text("Cargo.toml"), re.S).group(1)
        for member in re.findall(r'"([^"]+)"', members):
            self.assertTrue(any(member == path or member.startswith(path + "/") for path in kept), member)
        self.assertIn("migrations", kept)

    def test_nothing_built_reads_a_file_that_is_not_sent(self):
        """`include_str!` and the like, in src/ only: tests are not built."""
        kept = [
            line[1:] for line in tree.text(DOCKERFILE + ".dockerignore").splitlines() if line.startswith("!")
        ]
        looked_at = 0
        for file in tree.ROOT.glob("*/**/src/**/*.rs"):
            if "target" in file.parts:
                continue
            for name in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', file.read_text(encoding="utf-8")):
                path = (file.parent / name).resolve().relative_to(tree.ROOT)
                self.assertTrue(
                    any(path.as_posix() == k or path.as_posix().startswith(k + "/") for k in kept),
                    f"{file}: {path}",
                )
                looked_at += 1
        self.assertGreater(looked_at, 0)


class Compose(unittest.TestCase):
    def setUp(self):
        self.file = yaml.safe_load(tree.text(COMPOSE))
        self.services = self.file["services"]

    def test_the_stack_is_complete(self):
        self.assertEqual(set(self.services), {*tree.TIERS, "redis", "postgresql", "prometheus", "grafana"})
        self.assertLessEqual(set(self.file), {"name", "services", "volumes", "x-tier", "x-settings"})
        for name, service in self.services.items():
            self.assertLessEqual(set(service), SERVICE_KEYS, name)

    def test_images_are_built_from_their_targets(self):
        for tier in tree.TIERS:
            build = self.services[tier]["build"]
            self.assertIn(build["target"], stages())
            self.assertEqual(self.services[tier]["image"], f"abstream/{build['target']}")
            context = (tree.ROOT / "ops/docker" / build["context"]).resolve()
            self.assertEqual(context, tree.ROOT)
            self.assertTrue((context / build["dockerfile"]).is_file())

    def test_every_variable_is_a_setting_and_every_host_a_service(self):
        for tier in tree.TIERS:
            environment = self.services[tier]["environment"]
            self.assertLessEqual(set(environment), set(tree.settings()))
            for name in ("AB_REDIS_URL", "AB_DATABASE_URL"):
                if name in environment:
                    self.assertIn(
                        re.search(r"//(?:[^@]*@)?([\w-]+):", environment[name]).group(1), self.services
                    )
        self.assertNotIn("AB_DATABASE_URL", self.services["ingest-gateway"]["environment"])

    def test_a_tier_gets_the_time_its_drain_takes(self):
        drain = tree.seconds(tree.settings()["AB_DRAIN_TIMEOUT"])
        for tier in tree.TIERS:
            self.assertGreater(tree.seconds(self.services[tier]["stop_grace_period"]), drain + 2)

    def test_mounted_files_exist_and_named_volumes_are_declared(self):
        for service in self.services.values():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith("."):
                    self.assertTrue((tree.ROOT / "ops/docker" / source).resolve().exists(), source)
                else:
                    self.assertIn(source, self.file["volumes"])

    def test_ports_are_published_on_the_loopback_address_only(self):
        for name, service in self.services.items():
            for port in service.get("ports", []):
                address, outside, inside = port.split(":")
                self.assertEqual((address, outside), ("127.0.0.1", inside))
                if name in tree.TIERS:
                    self.assertEqual(int(inside), tree.ports()[name][0])

    def test_redis_loses_nothing(self):
        found = self.services["redis"]["command"]
        for setting, value in (
            ("appendonly", "yes"),
            ("appendfsync", "always"),
            ("no-appendfsync-on-rewrite", "no"),
            ("maxmemory-policy", "noeviction"),
        ):
            self.assertEqual(found[found.index(f"--{setting}") + 1], value)

    def test_health_commands_are_of_their_images(self):
        for service, program in (("redis", "redis-cli"), ("postgresql", "pg_isready")):
            self.assertEqual(self.services[service]["healthcheck"]["test"][:2], ["CMD", program])
        self.assertEqual(shlex.join(self.services["redis"]["command"][:1]), "redis-server")


def number(version):
    return tuple(int(part) for part in version.split("."))
