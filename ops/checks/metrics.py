"""Every metric of the code, read where it is registered, and the table of them in ops/docs/metrics.md."""

import functools
import re

import tree

TABLE = "ops/docs/metrics.md"
MARK = "<!-- From the code: `sh ops/checks/run.sh bless` writes it anew. -->\n"
# A call of shared/service/src/metrics.rs, or a closure named like one: name, help, and labels.
CALL = re.compile(
    r"\b(counter|gauge|histogram)(?:_vec|_by_name)?\(\s*"
    r'(?:"(?P<name>\w+)"|&name\("(?P<suffix>\w+)"\)),\s*'
    r'"(?P<help>(?:[^"\\]|\\.)*)"'
    r"(?:,\s*(?P<labels>&\[[^\]]*\]|\"\w+\"))?"
)
# Directory -> tier.
PLACES = {
    "ingest-gateway/src": "gateway",
    "ingest-worker/src": "worker",
    "analyzer/src": "analyzer",
    "shared/service/src": "all",
}
# Of the kit, and not in every tier: who takes no requests knows no issued keys.
APART = {"shared/service/src/auth/issued.rs": "gateway, analyzer"}
# The listeners of a tier, as boot.rs names them.
LISTENERS = ("http", "internal_http")
UNITS = {
    "seconds": "seconds",
    "bytes": "bytes",
    "percent": "percent",
    "events": "events",
    "entries": "entries",
    "units": "users",
}


@functools.cache
def registered():
    """Name -> (type, labels, unit, help, tier)."""
    found = {}
    for place, tier in PLACES.items():
        for file in sorted((tree.ROOT / place).rglob("*.rs")):
            for call in CALL.finditer(file.read_text(encoding="utf-8")):
                labels = tuple(re.findall(r'"(\w+)"', call["labels"] or ""))
                names = (
                    [call["name"]]
                    if call["name"]
                    else [f"abstream_{port}_{call['suffix']}" for port in LISTENERS]
                )
                for name in names:
                    assert name not in found, f"{name} is registered twice"
                    help_ = re.sub(r"\\\n\s*", "", call["help"]).rstrip(".")
                    of = APART.get(str(file.relative_to(tree.ROOT)), tier)
                    found[name] = (call[1], labels, unit(name), help_, of)
    assert len(found) > 20, "metrics are registered in another way"
    return found


def unit(name):
    words = name.removesuffix("_total").split("_")
    return next((UNITS[word] for word in reversed(words) if word in UNITS), "")


def exposed(name):
    """The names of its samples."""
    kind = registered()[name][0]
    return {name} if kind != "histogram" else {f"{name}_{part}" for part in ("bucket", "sum", "count")}


def samples():
    """Sample name -> labels it may carry, `le` included."""
    found = {}
    for name, (kind, labels, *_) in registered().items():
        for sample in exposed(name):
            found[sample] = {
                *labels,
                *(("le",) if sample.endswith("_bucket") and kind == "histogram" else ()),
            }
    return found


def table():
    lines = ["| Metric | Type | Labels | Unit | Tier | Meaning |", "|---|---|---|---|---|---|"]
    order = {"gateway": 0, "worker": 1, "analyzer": 2, "gateway, analyzer": 3, "all": 4}
    for name, (kind, labels, unit_, help_, tier) in sorted(
        registered().items(), key=lambda m: (order[m[1][4]], m[0])
    ):
        lines.append(
            f"| `{name}` | {kind} | {', '.join(f'`{l}`' for l in labels)} | {unit_} | {tier} | {help_} |"
        )
    return "\n".join(lines) + "\n"


def bless():
    path = tree.ROOT / TABLE
    head = path.read_text(encoding="utf-8").partition(MARK)[0]
    path.write_text(head + MARK + table(), encoding="utf-8")
