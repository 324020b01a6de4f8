"""Log lines: the same thing has the same name everywhere, and every name is explained."""

import re
import unittest

import tree

PAGE = "ops/docs/logs.md"
PLACES = ("shared", "ingest-gateway", "ingest-worker", "analyzer")
# What the formatter adds to each line by itself.
OWN = {"timestamp", "level", "message", "target"}


def calls():
    """(file, arguments) of every event that is logged."""
    for place in PLACES:
        for file in (tree.ROOT / place).rglob("src/**/*.rs"):
            if "testkit" not in file.parts:
                source = file.read_text(encoding="utf-8")
                for call in re.finditer(r"tracing::(?:error|warn|info|debug|trace)!\(", source):
                    yield file, arguments(source, call.end())


def arguments(source, at):
    """The arguments of a call, each without its strings; `"` stands for the message."""
    found, current, depth = [], "", 0
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '"', source[at : at + 2000], flags=re.S)
    for letter in text:
        if depth == 0 and letter in ",)":
            found.append(current.strip())
            current = ""
            if letter == ")":
                return [argument for argument in found if argument]
            continue
        depth += (letter in "([{") - (letter in ")]}")
        current += letter
    raise AssertionError(text[:100])


def fields():
    found = {}
    for file, given in calls():
        for argument in given:
            if argument != '"':
                name = argument.split("=")[0].strip().lstrip("%?").split(".")[-1]
                found.setdefault(name, file)
    return found


class Logs(unittest.TestCase):
    def test_every_field_is_on_the_page_and_the_other_way_round(self):
        rows = set(re.findall(r"(?m)^\| `(\w+)` \|", tree.text(PAGE)))
        self.assertEqual(set(fields()), rows - OWN)
        self.assertLessEqual(OWN, rows)

    def test_no_field_hides_one_of_the_formatter(self):
        hidden = {name: str(file) for name, file in fields().items() if name in OWN}
        self.assertEqual(hidden, {}, "the line would have the name twice")

    def test_every_line_says_a_fact_in_words(self):
        for file, given in calls():
            self.assertTrue(
                given and given[-1] == '"',
                f"{file}: {given}: the message stands alone, last, without values in it",
            )
