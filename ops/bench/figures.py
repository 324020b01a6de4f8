#!/usr/bin/env python3
"""Writes the figures of target/bench.json, and what they predict, into ops/docs/performance.md: `make figures`.

The prediction is a model, not a measurement; its assumptions stand beside it on the page.
"""

import json
import math
import sys
from pathlib import Path

PAGE = Path("ops/docs/performance.md")
# Processors are planned for this share of their time: the rest is for bursts, vacuum, and for catching up.
BUSY = 0.6
GATEWAY_CORES = 2
# More than this much in one PostgreSQL is spread over several (Citus), so much in each.
POSTGRES_CORES = 32
CITUS_CORES = 16
# Seconds of events that Redis has memory for, AB_QUEUE_KEEP and an outage of the database included.
KEPT = 60 + 600
# An entry of 3.7 kB takes 1.07 times as much in memory as in the append-only file it was appended to.
IN_MEMORY = 1.1
SHARD_GB = 16
# Of the benchmark's mixed load, this share of the events changes something; of real traffic, mostly repeated
# exposures, about one in five.
CHANGING = 0.7 * 0.8 + 0.3
REAL = 0.2


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def targets(rows):
    lines = ["| | measured | goal | share of its ceiling |", "|---|---|---|---|"]
    for row in rows:
        if row["goal"] is None and ": CPU of" in row["target"]:
            continue
        goal = row["goal"] or ""
        if row["met"] is not None:
            goal += ", met" if row["met"] else f", **missed**: {row['reason']}"
        share = f"{row['ratio']:.2f} of {row['ceiling_is']}" if row["ratio"] is not None else ""
        lines.append(f"| {row['target']} | {number(row['measured'])} {row['unit']} | {goal} | {share} |")
    return lines


def processors(rows):
    """CPU seconds per million events, by phase and process."""
    found = {}
    for row in rows:
        phase, found_cpu, process = row["target"].partition(": CPU of ")
        if found_cpu and not phase.startswith("growth"):
            found.setdefault(phase, {})[process] = row["measured"]
    names = ["load generator", "gateway", "Redis", "worker", "PostgreSQL", "analyzer"]
    lines = ["| CPU seconds per million events | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for phase, used in found.items():
        cells = [number(used[name]) if name in used else "" for name in names]
        lines.append(f"| {phase} | " + " | ".join(cells) + " |")
    return lines


def cores(rate, seconds_per_million):
    return rate * seconds_per_million / 1e6 / BUSY


def model(rows):
    by = {row["target"]: row["measured"] for row in rows}
    gateway = by["T1 accepted and fsynced, batches of 100: CPU of gateway"]
    redis = by["T1 accepted and fsynced, batches of 100: CPU of Redis"]
    worker, postgres = by["T4: CPU of worker"], by["T4: CPU of PostgreSQL"]
    queued = by["T1: Redis, append-only file"]
    stored, wal = by["T4: PostgreSQL, disk"], by["T4: PostgreSQL, WAL"]
    columns = [(rate, share) for rate in (100_000, 1_000_000) for share in (1.0, REAL / CHANGING)]
    table = {"": [f"{rate:,} events/s, {'all' if share == 1.0 else 'a fifth'} new" for rate, share in columns]}
    for rate, share in columns:
        needed = cores(rate, postgres * share)
        memory = rate * KEPT * queued * IN_MEMORY / 1e9
        shards = max(math.ceil(cores(rate, redis)), math.ceil(memory / SHARD_GB))
        # A lane waits for the database most of the time; the database's work bounds how many there must be.
        workers = math.ceil(cores(rate, worker * (0.3 + 0.7 * share)) / 2)
        nodes = "one" if needed <= POSTGRES_CORES else f"Citus, {math.ceil(needed / CITUS_CORES)} of {CITUS_CORES} cores"
        for name, cell in [
            ("gateways of 2 cores", max(2, math.ceil(cores(rate, gateway) / GATEWAY_CORES))),
            ("Redis: masters", f"{shards}, {memory / shards:.0f} GB each"),
            ("workers of 2 cores", max(2, workers)),
            ("partitions (four times the workers' lanes)", max(16, 2 ** math.ceil(math.log2(8 * max(2, workers))))),
            ("PostgreSQL: cores", f"{math.ceil(needed)}"),
            ("PostgreSQL: nodes", nodes),
            ("PostgreSQL: WAL", f"{rate * share * wal / 1e6:.0f} MB/s"),
            ("PostgreSQL: disk a day", f"{rate * share * stored * 86_400 / 1e12:.1f} TB"),
        ]:
            table.setdefault(name, []).append(str(cell))
    rows = [f"| {name} | " + " | ".join(cells) + " |" for name, cells in table.items()]
    return [rows[0], "|---|" + "---|" * len(columns), *rows[1:]]


def main():
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "target/bench.json")
    rows = json.loads(source.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    for name, lines in [("targets", targets(rows)), ("processors", processors(rows)), ("model", model(rows))]:
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = before + begin + "\n".join(lines) + "\n" + end + after
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
