"""The manifests: valid by Kubernetes' own schemas, and true of the programs they run."""

import re
import unittest

import kubernetes_validate

import tree
from tree import container, named, of_kind, ours, overlay, pod, workloads

# The oldest release the manifests are written for (preStop sleep) and the newest whose schemas we have.
RELEASES = ("1.30", "1.37")
CUSTOM = {"ServiceMonitor", "PrometheusRule", "ScaledObject", "HTTPRoute"}
EXTRAS = ("k8s/worker-hpa", "k8s/http-route", "k8s/nightly-replay")
# For the kubelet, and for a process to end once its drain is over.
MARGIN = 2


def rendered():
    yield from ((name, overlay(name)) for name in tree.OVERLAYS)
    yield from ((directory, tree.render(directory)) for directory in EXTRAS)


class Manifests(unittest.TestCase):
    def test_every_core_object_is_valid_by_strict_schema(self):
        for where, docs in rendered():
            for doc in docs:
                if doc["kind"] not in CUSTOM:
                    for release in RELEASES:
                        with self.subTest(where, name=doc["metadata"]["name"], release=release):
                            kubernetes_validate.validate(doc, release, strict=True)

    def test_a_field_that_does_not_exist_is_found(self):
        wrong = {**named(overlay("prod"), "Deployment", "analyzer")}
        wrong["spec"] = {**wrong["spec"], "replica": 2}
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, RELEASES[0], strict=True)

    def test_no_two_objects_are_one(self):
        for where, docs in rendered():
            keys = [(doc["kind"], doc["metadata"]["name"]) for doc in docs]
            self.assertEqual(len(keys), len(set(keys)), where)

    def test_a_namespaced_overlay_puts_everything_into_its_namespace(self):
        for name, namespace in (("dev", "abstream-dev"), ("prod", "abstream")):
            for doc in overlay(name):
                found = doc["metadata"].get("namespace", doc["metadata"]["name"])
                self.assertEqual(found, namespace, doc)

    def test_every_tier_is_there(self):
        for name in tree.OVERLAYS:
            names = {doc["metadata"]["name"] for doc in of_kind(overlay(name), "Deployment")}
            self.assertEqual(names, set(tree.TIERS), name)


class Programs(unittest.TestCase):
    def test_every_variable_is_a_setting_of_the_code(self):
        for name, docs in rendered():
            for doc in ours(docs):
                unknown = set(tree.environment(docs, doc)) - set(tree.settings())
                self.assertEqual(unknown, set(), f"{name}: {doc['metadata']['name']}")

    def test_images_are_programs_of_the_tree_in_the_tree_s_version(self):
        tags = {"dev": "dev"}
        for name, docs in rendered():
            for doc in ours(docs):
                image, _, found = container(doc)["image"].partition(":")
                self.assertIn(image.removeprefix("abstream/"), tree.programs())
                self.assertEqual(found, tags.get(name, tree.version()))

    def test_ports_are_those_of_the_code(self):
        for name in tree.OVERLAYS:
            docs = overlay(name)
            for tier in tree.TIERS:
                public, internal = tree.ports()[tier]
                doc = named(docs, "Deployment", tier)
                found = {port["name"]: port["containerPort"] for port in container(doc)["ports"]}
                self.assertEqual(found, {"http": public, "metrics": internal}, tier)
                environment = tree.environment(docs, doc)
                self.assertEqual(environment["AB_INTERNAL_ADDR"], f"0.0.0.0:{internal}")
                self.assertEqual(environment["AB_HOST"], "0.0.0.0")
                self.assertNotIn("AB_PORT", environment)

    def test_probes_ask_paths_that_the_code_answers(self):
        source = tree.text("shared/service/src/health.rs")
        answered = set(
            re.search(r"fn is_path.*?matches!\(path, (.*?)\)", source, re.S)
            .group(1)
            .replace('"', "")
            .split(" | ")
        )
        for name in tree.OVERLAYS:
            for tier in tree.TIERS:
                it = container(named(overlay(name), "Deployment", tier))
                asked = {
                    probe: it[probe]["httpGet"]
                    for probe in ("startupProbe", "livenessProbe", "readinessProbe")
                }
                self.assertEqual({get["port"] for get in asked.values()}, {"http"})
                self.assertEqual(asked["livenessProbe"]["path"], "/health")
                self.assertEqual(asked["readinessProbe"]["path"], "/readyz")
                self.assertLessEqual({get["path"] for get in asked.values()}, answered)

    def test_a_start_is_not_cut_short_by_its_probe(self):
        for name in tree.OVERLAYS:
            docs = overlay(name)
            for tier in tree.TIERS:
                doc = named(docs, "Deployment", tier)
                probe = container(doc)["startupProbe"]
                patience = tree.seconds(setting(docs, doc, "AB_STARTUP_TIMEOUT"))
                self.assertGreater(
                    probe["periodSeconds"] * probe["failureThreshold"], patience + MARGIN, tier
                )

    def test_the_grace_period_covers_the_wait_the_drain_and_the_end(self):
        ends = int(
            re.search(
                r"WRITERS_END: Duration = Duration::from_secs\((\d+)\)",
                tree.text("ingest-gateway/src/part.rs"),
            ).group(1)
        )
        for name in tree.OVERLAYS:
            docs = overlay(name)
            for tier in tree.TIERS:
                doc = named(docs, "Deployment", tier)
                before = (
                    container(doc).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
                )
                drain = tree.seconds(setting(docs, doc, "AB_DRAIN_TIMEOUT"))
                grace = pod(doc)["spec"]["terminationGracePeriodSeconds"]
                self.assertGreaterEqual(grace, before + drain + ends + MARGIN, f"{name}: {tier}")
                if tier != "ingest-worker":
                    self.assertGreater(before, 0, f"{tier}: balancers still send requests when SIGTERM comes")

    def test_the_gateway_gets_no_database(self):
        for name in tree.OVERLAYS:
            docs = overlay(name)
            gateway = named(docs, "Deployment", "ingest-gateway")
            self.assertFalse([v for v in tree.environment(docs, gateway) if v.startswith("AB_DATABASE")])
            (volume,) = pod(gateway)["spec"]["volumes"]
            self.assertNotIn("database-url", [item["key"] for item in volume["secret"]["items"]])

    def test_secret_files_are_mounted_where_the_settings_look(self):
        for name in tree.OVERLAYS:
            docs = overlay(name)
            for doc in ours(docs):
                (mount,) = container(doc)["volumeMounts"]
                (volume,) = pod(doc)["spec"]["volumes"]
                self.assertEqual(mount["name"], volume["name"])
                mounted = {f"{mount['mountPath']}/{item['path']}" for item in volume["secret"]["items"]}
                files = {v for n, v in tree.environment(docs, doc).items() if n.endswith("_FILE")}
                self.assertEqual(mounted, files, doc["metadata"]["name"])

    def test_the_development_secret_has_every_key_that_is_mounted(self):
        docs = overlay("dev")
        for doc in ours(docs):
            (volume,) = pod(doc)["spec"]["volumes"]
            secret = named(docs, "Secret", volume["secret"]["secretName"])
            self.assertLessEqual({item["key"] for item in volume["secret"]["items"]}, set(secret["data"]))


class Safety(unittest.TestCase):
    def test_every_pod_is_restricted(self):
        for name, docs in rendered():
            for doc in workloads(docs):
                with self.subTest(name, workload=doc["metadata"]["name"]):
                    spec, it = pod(doc)["spec"], container(doc)
                    self.assertIs(spec["automountServiceAccountToken"], False)
                    # A Service called `ab-..` would otherwise set AB_ variables that refuse the start.
                    self.assertIs(spec["enableServiceLinks"], False)
                    self.assertIs(spec["securityContext"]["runAsNonRoot"], True)
                    self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                    self.assertIs(it["securityContext"]["readOnlyRootFilesystem"], True)
                    self.assertIs(it["securityContext"]["allowPrivilegeEscalation"], False)
                    self.assertEqual(it["securityContext"]["capabilities"], {"drop": ["ALL"]})
                    self.assertIn("memory", it["resources"]["limits"])
                    self.assertLessEqual({"cpu", "memory"}, set(it["resources"]["requests"]))

    def test_service_accounts_carry_no_token(self):
        for name in tree.OVERLAYS:
            accounts = of_kind(overlay(name), "ServiceAccount")
            self.assertEqual({a["metadata"]["name"] for a in accounts}, set(tree.TIERS))
            self.assertTrue(all(a["automountServiceAccountToken"] is False for a in accounts))

    def test_production_says_so_and_holds_no_secret(self):
        docs = overlay("prod")
        self.assertEqual(of_kind(docs, "Secret"), [])
        for doc in ours(docs):
            environment = tree.environment(docs, doc)
            self.assertEqual(environment["AB_ENV"], "production")
            self.assertNotIn("AB_ALLOW_WEAK_DURABILITY", environment)

    def test_the_development_redis_loses_nothing(self):
        arguments = container(named(overlay("dev"), "StatefulSet", "redis"))["args"]
        found = dict(zip(arguments[::2], arguments[1::2]))
        for setting_, value in (
            ("appendonly", "yes"),
            ("appendfsync", "always"),
            ("no-appendfsync-on-rewrite", "no"),
            ("maxmemory-policy", "noeviction"),
        ):
            self.assertEqual(found[f"--{setting_}"], value)
        self.assertIn("--maxmemory", found)


class Scaling(unittest.TestCase):
    def test_budgets_and_spread_select_the_pods_of_their_tier(self):
        for name in tree.OVERLAYS:
            docs = overlay(name)
            for tier in tree.TIERS:
                labels = pod(named(docs, "Deployment", tier))["metadata"]["labels"]
                budget = named(docs, "PodDisruptionBudget", tier)["spec"]
                self.assertTrue(selects(budget["selector"], labels))
                self.assertEqual(budget["maxUnavailable"], 1)
                spread = pod(named(docs, "Deployment", tier))["spec"]["topologySpreadConstraints"]
                self.assertTrue(all(selects(rule["labelSelector"], labels) for rule in spread))
                self.assertEqual(
                    {rule["topologyKey"] for rule in spread},
                    {"topology.kubernetes.io/zone", "kubernetes.io/hostname"},
                )

    def test_workloads_and_services_select_their_own_pods_only(self):
        for name in tree.OVERLAYS:
            docs = overlay(name)
            labels = {doc["metadata"]["name"]: pod(doc)["metadata"]["labels"] for doc in workloads(docs)}
            for doc in of_kind(docs, "Deployment", "StatefulSet"):
                chosen = [n for n, found in labels.items() if selects(doc["spec"]["selector"], found)]
                self.assertEqual(chosen, [doc["metadata"]["name"]])
            for service in of_kind(docs, "Service"):
                chosen = [
                    n
                    for n, found in labels.items()
                    if selects({"matchLabels": service["spec"]["selector"]}, found)
                ]
                self.assertEqual(chosen, [service["metadata"]["name"]])
                (it,) = [container(doc) for doc in workloads(docs) if doc["metadata"]["name"] in chosen]
                offered = {port["name"] for port in it["ports"]}
                self.assertLessEqual({port["targetPort"] for port in service["spec"]["ports"]}, offered)

    def test_nothing_but_the_autoscaler_sets_replicas_in_production(self):
        docs = overlay("prod")
        scaled = [
            doc["spec"]["scaleTargetRef"]["name"]
            for doc in of_kind(docs, "HorizontalPodAutoscaler", "ScaledObject")
        ]
        self.assertEqual(sorted(scaled), sorted(tree.TIERS))
        for tier in tree.TIERS:
            self.assertNotIn("replicas", named(docs, "Deployment", tier)["spec"])

    def test_workers_are_at_least_one_and_at_most_the_partitions(self):
        docs = overlay("prod")
        partitions = int(setting(docs, named(docs, "Deployment", "ingest-worker"), "AB_PARTITIONS"))
        keda = named(docs, "ScaledObject", "ingest-worker")["spec"]
        plain = named(tree.render("k8s/worker-hpa"), "HorizontalPodAutoscaler", "ingest-worker")["spec"]
        for lowest, highest in (
            (keda["minReplicaCount"], keda["maxReplicaCount"]),
            (plain["minReplicas"], plain["maxReplicas"]),
        ):
            self.assertGreaterEqual(lowest, 1)
            self.assertLessEqual(highest, partitions)

    def test_the_scaled_object_says_what_keda_reads(self):
        spec = named(overlay("prod"), "ScaledObject", "ingest-worker")["spec"]
        known = {
            "scaleTargetRef",
            "minReplicaCount",
            "maxReplicaCount",
            "pollingInterval",
            "cooldownPeriod",
            "fallback",
            "advanced",
            "triggers",
        }
        self.assertLessEqual(set(spec), known)
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        self.assertGreaterEqual(behavior["scaleDown"]["stabilizationWindowSeconds"], 300)
        self.assertEqual({trigger["type"] for trigger in spec["triggers"]}, {"prometheus"})
        for trigger in spec["triggers"]:
            self.assertEqual(set(trigger["metadata"]), {"serverAddress", "query", "threshold"})
            # KEDA wants text.
            self.assertGreater(float(trigger["metadata"]["threshold"]), 0)
            self.assertIsInstance(trigger["metadata"]["threshold"], str)

    def test_the_service_monitor_finds_every_tier_s_metrics(self):
        docs = overlay("prod")
        spec = named(docs, "ServiceMonitor", "abstream")["spec"]
        (endpoint,) = spec["endpoints"]
        chosen = [s for s in of_kind(docs, "Service") if selects(spec["selector"], s["metadata"]["labels"])]
        self.assertEqual(sorted(s["metadata"]["name"] for s in chosen), sorted(tree.TIERS))
        for service in chosen:
            self.assertIn(endpoint["port"], [port["name"] for port in service["spec"]["ports"]])
            self.assertEqual(service["metadata"]["labels"][spec["jobLabel"]], service["metadata"]["name"])


def setting(docs, doc, name):
    return tree.environment(docs, doc).get(name, tree.settings()[name])


def selects(selector, labels):
    return all(labels.get(key) == value for key, value in selector["matchLabels"].items())
