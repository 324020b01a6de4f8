"""Checks of what operates abstream: manifests, images, metrics, rules, boards, proxies, pages.

Usage: run.sh [fast|full|bless]. Fast reads files only; full also runs the programs built by `make build`. The last
line is `ops-check: N passed, M failed`. Bless writes anew what is made from the code, the rules and boards.py.
"""

import importlib
import sys
import time
import unittest

import boards
import metrics
import promql

MODULES = {
    "fast": ["kubernetes", "network", "routes", "proxies", "images", "prometheus", "logs", "pages"],
    "full": ["settings", "prometheus", "proxies", "ending"],
}


class Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed = 0

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1
        self._say("ok", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._say("FAILED", test)

    def addError(self, test, err):
        super().addError(test, err)
        self._say("FAILED", test)

    def _say(self, verdict, test):
        took = time.monotonic() - self.began
        print(f"{verdict:6} {test.id().partition('.')[2]} ({took:.1f} s)", flush=True)


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else "full"
    if wanted == "bless":
        metrics.bless()
        boards.bless()
        promql.bless()
        return 0
    parts = {"fast": ["fast"], "full": ["fast", "full"]}[wanted]
    suite = unittest.TestSuite()
    for part in parts:
        for name in MODULES[part]:
            module = importlib.import_module(f"{part}.{name}")
            suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(module))
    result = Result()
    suite.run(result)
    for test, trace in result.failures + result.errors:
        print(f"\n{test}\n{trace}")
    failed = len(result.failures) + len(result.errors)
    print(f"ops-check: {result.passed} passed, {failed} failed")
    return 1 if failed or not result.passed else 0


sys.exit(main())
