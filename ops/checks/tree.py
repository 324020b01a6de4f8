"""What the checks know of the tree: files, the code's settings, the programs, rendered manifests."""

import functools
import pathlib
import re
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
OVERLAYS = ("dev", "prod")
TIERS = ("ingest-gateway", "ingest-worker", "analyzer")


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


@functools.cache
def settings():
    """Every variable the code reads -> the default of all tiers, or None."""
    entries = re.split(r"\b(setting|secret)!\(", text("shared/service/src/settings/spec.rs"))
    found = {}
    for kind, entry in zip(entries[1::2], entries[2::2]):
        name = re.match(r'\s*"(AB_\w+)"', entry)
        if not name:  # the macros themselves
            continue
        default = re.search(r'\bSame\("([^"]*)"\)', entry)
        found[name[1]] = default and default[1]
        if kind == "secret":
            found[name[1] + "_FILE"] = None
    assert len(found) > 30, "the table of settings is written in another way"
    return found


@functools.cache
def ports():
    """Tier -> (public, internal) port of the code's defaults."""
    source = text("shared/service/src/settings/spec.rs")
    of = lambda tier, value: re.search(rf"Tier::{tier}\b[^=]*=> Some\(\"{value}\"\)", source).group(1)
    names = zip(TIERS, ("Gateway", "Worker", "Analyzer"))
    return {name: (int(of(tier, r"(\d+)")), int(of(tier, r"127\.0\.0\.1:(\d+)"))) for name, tier in names}


def seconds(duration):
    """As the settings read it: 25s, 24h, 500ms."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h|d)", duration).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


@functools.cache
def programs():
    """The workspace's programs: a package with src/main.rs, or a [[bin]]."""
    found = set()
    for manifest in [*ROOT.glob("*/Cargo.toml"), *ROOT.glob("*/*/Cargo.toml")]:
        source = manifest.read_text(encoding="utf-8")
        found.update(re.findall(r'\[\[bin\]\]\s*name = "([^"]+)"', source))
        if (manifest.parent / "src/main.rs").exists():
            found.add(re.search(r'name = "([^"]+)"', source).group(1))
    return found


@functools.cache
def version():
    return re.search(r'\[workspace\.package\]\s*version = "([^"]+)"', text("Cargo.toml")).group(1)


@functools.cache
def render(directory):
    """What `kubectl kustomize` makes of a directory."""
    made = subprocess.run(["kubectl", "kustomize", str(ROOT / directory)], capture_output=True, text=True)
    if made.returncode:
        raise AssertionError(f"{directory}: {made.stderr}")
    return [doc for doc in yaml.safe_load_all(made.stdout) if doc]


def overlay(name):
    return render(f"k8s/overlays/{name}")


def of_kind(docs, *kinds):
    return [doc for doc in docs if doc["kind"] in kinds]


def named(docs, kind, name):
    (found,) = [doc for doc in docs if doc["kind"] == kind and doc["metadata"]["name"] == name]
    return found


def pod(doc):
    """The pod template of a workload."""
    if doc["kind"] == "CronJob":
        return doc["spec"]["jobTemplate"]["spec"]["template"]
    return doc["spec"]["template"]


def workloads(docs):
    return of_kind(docs, "Deployment", "StatefulSet", "CronJob")


def ours(docs):
    """Workloads that run programs of this tree."""
    return [doc for doc in workloads(docs) if container(doc)["image"].startswith("abstream/")]


def container(doc):
    (only,) = pod(doc)["spec"]["containers"]
    return only


def environment(docs, doc):
    """What the container finds set: the ConfigMap, then its own variables."""
    found = {}
    for source in container(doc).get("envFrom", []):
        found.update(named(docs, "ConfigMap", source["configMapRef"]["name"])["data"])
    found.update({entry["name"]: entry["value"] for entry in container(doc).get("env", [])})
    return found
