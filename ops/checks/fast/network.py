"""The network policies: exactly the edges of the picture, computed as a cluster would."""

import unittest

import tree
from tree import container, of_kind, overlay, pod, workloads

OUTSIDE = {
    "ingress controller": ({"kubernetes.io/metadata.name": "ingress-nginx"}, {}),
    "prometheus": ({"kubernetes.io/metadata.name": "monitoring"}, {"app.kubernetes.io/name": "prometheus"}),
    "other pod in monitoring": ({"kubernetes.io/metadata.name": "monitoring"}, {}),
    "stranger": ({"kubernetes.io/metadata.name": "default"}, {}),
}
PUBLIC = {("ingress controller", "ingest-gateway", "http"), ("ingress controller", "analyzer", "http")}
INTERNAL = {("prometheus", tier, "metrics") for tier in tree.TIERS}
STORES = {
    *((source, "redis", "redis") for source in (*tree.TIERS, "accounting")),
    *((source, "postgresql", "postgresql") for source in ("ingest-worker", "analyzer", "accounting")),
}
REDIS, POSTGRESQL, WEBHOOKS = 6379, 5432, 443


class Edges(unittest.TestCase):
    def test_nothing_is_open_but_the_edges(self):
        docs = overlay("dev")
        pods = {doc["metadata"]["name"]: doc for doc in workloads(docs)}
        own = ({"kubernetes.io/metadata.name": "abstream-dev"}, None)
        sources = {
            **OUTSIDE,
            **{name: (own[0], pod(doc)["metadata"]["labels"]) for name, doc in pods.items()},
        }
        found = set()
        for source, (namespace, labels) in sources.items():
            for target, doc in pods.items():
                for port in container(doc).get("ports", []):
                    goes_out = source in OUTSIDE or allowed(
                        docs, "Egress", labels, (own[0], pod(doc)["metadata"]["labels"]), port
                    )
                    if goes_out and allowed(
                        docs, "Ingress", pod(doc)["metadata"]["labels"], (namespace, labels), port
                    ):
                        found.add((source, target, port["name"]))
        self.assertEqual(found, PUBLIC | INTERNAL | STORES)

    def test_the_nightly_replay_reaches_the_gateway_and_nothing_else(self):
        docs = overlay("dev") + tree.render("k8s/nightly-replay")
        namespace = {"kubernetes.io/metadata.name": "abstream-dev"}
        labels = {doc["metadata"]["name"]: pod(doc)["metadata"]["labels"] for doc in workloads(docs)}
        found = {
            (doc["metadata"]["name"], port["name"])
            for doc in workloads(docs)
            for port in container(doc).get("ports", [])
            if allowed(
                docs, "Egress", labels["nightly-replay"], (namespace, pod(doc)["metadata"]["labels"]), port
            )
            and allowed(
                docs, "Ingress", pod(doc)["metadata"]["labels"], (namespace, labels["nightly-replay"]), port
            )
        }
        self.assertEqual(found, {("ingest-gateway", "http")})

    def test_every_pod_is_closed_both_ways_and_may_ask_for_names(self):
        for name in tree.OVERLAYS:
            docs = overlay(name)
            for doc in workloads(docs):
                labels = pod(doc)["metadata"]["labels"]
                directions = {d for p in policies(docs, labels) for d in p["policyTypes"]}
                self.assertEqual(directions, {"Ingress", "Egress"})
                dns = ({"kubernetes.io/metadata.name": "kube-system"}, {"k8s-app": "kube-dns"})
                self.assertTrue(
                    allowed(
                        docs, "Egress", labels, dns, {"name": "dns", "containerPort": 53, "protocol": "UDP"}
                    )
                )

    def test_in_production_only_stores_and_webhooks_lead_out(self):
        docs = overlay("prod")
        for doc in workloads(docs):
            name = doc["metadata"]["name"]
            blocks = {
                port["port"]
                for policy in policies(docs, pod(doc)["metadata"]["labels"])
                for rule in policy.get("egress", [])
                if any("ipBlock" in peer for peer in rule["to"])
                for port in rule["ports"]
            }
            stores = {REDIS} if name == "ingest-gateway" else {REDIS, POSTGRESQL}
            self.assertEqual(blocks, stores | ({WEBHOOKS} if name == "analyzer" else set()), name)


def policies(docs, labels):
    return [p["spec"] for p in of_kind(docs, "NetworkPolicy") if matches(p["spec"]["podSelector"], labels)]


def allowed(docs, direction, labels, peer, port):
    """Whether some rule of the policies on these pods lets `peer` = (namespace labels, pod labels) through."""
    chosen = [p for p in policies(docs, labels) if direction in p["policyTypes"]]
    if not chosen:
        return True
    side, key = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    rules = [rule for policy in chosen for rule in policy.get(side, [])]
    return any(
        any(is_peer(p, peer) for p in rule[key]) and any(is_port(p, port) for p in rule["ports"])
        for rule in rules
    )


def is_peer(rule, peer):
    namespace, labels = peer
    if "ipBlock" in rule:
        return False
    inside = (
        matches(rule["namespaceSelector"], namespace)
        if "namespaceSelector" in rule
        else namespace["kubernetes.io/metadata.name"].startswith("abstream")
    )
    return inside and matches(rule.get("podSelector", {}), labels)


def is_port(rule, port):
    return rule["protocol"] == port.get("protocol", "TCP") and rule["port"] in (
        port["name"],
        port["containerPort"],
    )


def matches(selector, labels):
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In", rule
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return True
