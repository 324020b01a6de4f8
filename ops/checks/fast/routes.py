"""Ingress and HTTPRoute send each path to the tier that answers it."""

import re
import unittest

import paths
import tree
from tree import named, overlay


class Routes(unittest.TestCase):
    def test_the_ingress_sends_each_path_to_its_tier(self):
        for name in tree.OVERLAYS:
            spec = named(overlay(name), "Ingress", "abstream")["spec"]
            (rule,) = spec["rules"]
            # As ingress-nginx has it: from the start of the path, the longest expression first.
            table = sorted(
                ((p["path"], p["backend"]["service"]["name"]) for p in rule["http"]["paths"]),
                key=lambda entry: -len(entry[0]),
            )
            self.expect(lambda path: next(tier for pattern, tier in table if re.match(pattern, path)))

    def test_the_http_route_sends_each_path_to_its_tier(self):
        spec = named(tree.render("k8s/http-route"), "HTTPRoute", "abstream")["spec"]

        def tier(path):
            # A whole match of an expression comes before any prefix.
            for kind, fits in (("RegularExpression", re.fullmatch), ("PathPrefix", re.match)):
                for rule in spec["rules"]:
                    if any(
                        m["path"]["type"] == kind and fits(m["path"]["value"], path) for m in rule["matches"]
                    ):
                        (backend,) = rule["backendRefs"]
                        self.assertEqual(backend["port"], tree.ports()[backend["name"]][0])
                        return backend["name"]
            raise AssertionError(path)

        self.expect(tier)

    def test_the_ingress_lets_through_what_the_gateway_allows(self):
        largest = int(tree.settings()["AB_MAX_REQUEST_BODY_BYTES"])
        for name in tree.OVERLAYS:
            annotations = named(overlay(name), "Ingress", "abstream")["metadata"]["annotations"]
            self.assertGreaterEqual(
                int(annotations["nginx.ingress.kubernetes.io/proxy-body-size"].removesuffix("m")) << 20,
                largest,
            )
            self.assertEqual(annotations["nginx.ingress.kubernetes.io/proxy-buffering"], "off")
            # `Prefer: wait` may take 30 s.
            self.assertGreater(int(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]), 30)

    def expect(self, tier):
        for path in paths.GATEWAY:
            self.assertEqual(tier(path), "ingest-gateway", path)
        for path in paths.ANALYZER:
            self.assertEqual(tier(path), "analyzer", path)
