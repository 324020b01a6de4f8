"""The boards of ops/grafana: written from boards.py there, read as Grafana reads them."""

import json
import runpy

import tree

DIRECTORY = "ops/grafana/boards"


def written():
    """Name -> the board as the specification says."""
    made = runpy.run_path(str(tree.ROOT / "ops/grafana/boards.py"))
    return {name: made["board"](name) for name in made["BOARDS"]}


def read():
    """Name -> the board as it lies in the tree."""
    files = sorted((tree.ROOT / DIRECTORY).glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def queries():
    """(board, panel, expression) of every panel."""
    for name, board in read().items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield name, panel["title"], target["expr"]


def bless():
    for name, board in written().items():
        path = tree.ROOT / DIRECTORY / f"{name}.json"
        path.write_text(json.dumps(board, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
