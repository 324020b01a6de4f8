"""As much of PromQL as is needed to find the selectors of an expression."""

import functools
import re

import yaml

import metrics
import tree

WORDS = {
    "and",
    "or",
    "unless",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "by",
    "without",
    "bool",
    "offset",
    "inf",
    "nan",
}
# What Prometheus, node_exporter and KEDA's own world name.
FOREIGN = {
    "up": {"job", "instance"},
    "node_filesystem_avail_bytes": {"job", "instance", "device", "mountpoint", "fstype"},
    "node_filesystem_size_bytes": {"job", "instance", "device", "mountpoint", "fstype"},
}
SCRAPED = {"job", "instance"}
NAME = re.compile(r"(?<![\w:$])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?(\s*\()?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')


def selectors(expression):
    """(name, [(label, operator, value)]) of every selector."""
    # Lists of labels are no selectors.
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", expression)
    text = re.sub(r"\[[^\]]*\]", " ", text)
    found = []
    for match in NAME.finditer(text):
        name, labels, call = match.groups()
        if inside_quotes(text, match.start()) or call or name.lower() in WORDS:
            continue
        found.append((name, MATCHER.findall(labels or "")))
    return found


def inside_quotes(text, at):
    return text[:at].count('"') % 2 == 1


def grouped(expression):
    """The labels that the expression groups by."""
    lists = re.findall(r"\bby\s*\(([^)]*)\)", expression)
    return {label.strip() for group in lists for label in group.split(",") if label.strip()}


@functools.cache
def groups(file):
    return yaml.safe_load(tree.text(f"ops/prometheus/rules/{file}.yml"))["groups"]


def recorded():
    """Rule name -> expression."""
    return {rule["record"]: rule["expr"] for group in groups("recording") for rule in group["rules"]}


def alerts():
    return {rule["alert"]: rule for group in groups("alerts") for rule in group["rules"]}


def known_labels(name):
    """The labels that series of a name may carry; None: there is no such name."""
    if name in FOREIGN:
        return FOREIGN[name]
    if name in recorded():
        return grouped(recorded()[name])
    if name in metrics.samples():
        return metrics.samples()[name] | SCRAPED
    return None


def faults(expression):
    """What the expression asks for that nothing exposes."""
    found = []
    for name, matchers in selectors(expression):
        labels = known_labels(name)
        if labels is None:
            found.append(f"nothing is called {name}")
            continue
        found += [f"{name} has no label {label}" for label, _, _ in matchers if label not in labels]
    names = [name for name, _ in selectors(expression)]
    every = set().union(*(known_labels(name) or set() for name in names))
    found += [f"nothing in it has the label {label}" for label in grouped(expression) - every]
    return found


RULES = "k8s/overlays/prod/rules.yaml"


def for_operator():
    """All rules as the operator of Prometheus reads them."""
    labels = {"app.kubernetes.io/name": "abstream", "app.kubernetes.io/part-of": "abstream"}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "abstream", "labels": labels},
        "spec": {"groups": [*groups("recording"), *groups("alerts")]},
    }


def bless():
    head = "# From ops/prometheus/rules: `sh ops/checks/run.sh bless` writes it anew.\n"
    made = yaml.safe_dump(for_operator(), sort_keys=False, width=1000)
    (tree.ROOT / RULES).write_text(head + made, encoding="utf-8")
