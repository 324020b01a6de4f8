"""Pages: what they point to exists."""

import re
import unittest

import metrics
import promql
import tree


class Pages(unittest.TestCase):
    def pages(self):
        found = [
            *tree.ROOT.glob("ops/docs/**/*.md"),
            *tree.ROOT.glob("ops/*/README.md"),
            *tree.ROOT.glob("k8s/**/*.md"),
            tree.ROOT / "README.md",
        ]
        self.assertGreater(len(found), 20)
        return found

    def test_every_link_leads_somewhere(self):
        for page in self.pages():
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
                if "://" not in target:
                    self.assertTrue((page.parent / target).exists(), f"{page}: {target}")

    def test_every_path_of_the_tree_that_is_named_exists(self):
        looked_at = 0
        for page in self.pages():
            for path in re.findall(
                r"`((?:shared|ingest-gateway|ingest-worker|analyzer|ops|k8s|migrations)/[\w./-]+)`",
                page.read_text(encoding="utf-8"),
            ):
                self.assertTrue((tree.ROOT / path).exists(), f"{page}: {path}")
                looked_at += 1
        self.assertGreater(looked_at, 20)

    def test_every_setting_that_is_named_exists(self):
        for page in self.pages():
            for name in re.findall(r"\bAB_[A-Z_]+[A-Z]\b", page.read_text(encoding="utf-8")):
                self.assertTrue(
                    name in tree.settings() or name in {"AB_TEST_PG_BIN"} or name.endswith("_FILE"),
                    f"{page}: {name}",
                )

    def test_every_metric_that_is_named_exists(self):
        for page in self.pages():
            for name in re.findall(
                r"`((?:abstream|ab)[_:][a-z0-9_:]+)(?:\{[^`]*\})?`", page.read_text(encoding="utf-8")
            ):
                known = name in metrics.registered() or promql.known_labels(name) is not None
                self.assertTrue(known or name == "abstream_", f"{page}: {name}")
