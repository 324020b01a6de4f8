# `make` alone explains itself. On a fresh machine `make test` is the only command needed.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help setup build test e2e demo-services demo sdks schemathesis chaos backlog crowd loaded outage fuzz features bench bench-quick figures guard guard-bless fred otlp check ops-check-fast ops-check deny clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Install what the machine lacks: PostgreSQL, Redis, a C compiler, Python, Node, Chromium (nothing to do = no output)
	@sh ops/setup.sh

build: ## Build all programs, in target/debug; takes a C compiler, no server
	@sh ops/setup.sh c
	$(CARGO) build --locked --workspace --bins

# Always the whole workspace: naming one package would build its libraries anew with other features.
# Programs and tests are built in one go, so that both use the same build of every library, and the tests that
# start our programs never meet old ones. Tests live in tests/, none beside the code (`make check` sees to it).
test: setup ## Run all tests, end-to-end ones included, on servers of their own
	$(CARGO) build --locked --workspace --bins --test '*'
	$(CARGO) test --locked --workspace --no-fail-fast --test '*'

e2e: setup ## Run the end-to-end tests only
	$(CARGO) build --locked --workspace --bins --test '*'
	$(CARGO) test --locked --workspace --test e2e

# `--bin` and no `-p`, for the same reason.
demo: ## Run everything in one process, no server needed, and show the results of 200,000 simulated events
	@sh ops/setup.sh c
	$(CARGO) build --locked --bin abctl
	@$(CARGO) run --locked --quiet --bin abctl -- demo

demo-services: setup ## Run the same through three tiers, PostgreSQL and Redis as processes of their own
	$(CARGO) build --locked --workspace --bins
	@$(CARGO) run --locked --quiet --bin demo

sdks: setup ## Run real SDKs, unmodified, while the gateway is killed (installs them from PyPI and npm: network)
	$(CARGO) build --locked --workspace --bins
	@CARGO='$(CARGO)' sh ops/clients/real/run.sh

schemathesis: setup ## Send generated requests: no answer outside the API document, no 5xx (installs it from PyPI: network)
	$(CARGO) build --locked --workspace --bins
	@sh ops/contract/schemathesis.sh

SECONDS ?= 120
SEED ?= $(shell date +%s)
chaos: setup ## Break everything that can break for SECONDS (120), by SEED (another each time): nothing may be lost
	$(CARGO) build --locked --workspace --bins
	@$(CARGO) run --locked --quiet --bin chaos -- $(SECONDS) $(SEED)

EVENTS ?= 10000000
backlog: setup ## Have a worker catch up with EVENTS (10,000,000): its memory must not grow with them
	$(CARGO) build --locked --release --workspace --bins
	@$(CARGO) run --locked --release --quiet --bin backlog -- $(EVENTS)

IDLE ?= 10000
DRIPPING ?= 1000
crowd: setup ## Hold IDLE (10,000) idle and DRIPPING (1,000) slow connections to a gateway: its memory, and a client's p99
	$(CARGO) build --locked --release --workspace --bins
	@$(CARGO) run --locked --release --quiet --bin crowd -- $(IDLE) $(DRIPPING)

KNOWN ?= 100000
UNKNOWN ?= 1000000
loaded: setup ## Ask a gateway for KNOWN (100,000) experiments and UNKNOWN (1,000,000) that are not there: its memory, and what a miss costs
	$(CARGO) build --locked --release --workspace --bins
	@$(CARGO) run --locked --release --quiet --bin loaded -- $(KNOWN) $(UNKNOWN)

OUTAGE ?= 20
outage: setup ## Stop Redis under load, twice, for OUTAGE (20) seconds: what clients see, and how soon it goes on
	$(CARGO) build --locked --workspace --bins
	OUTAGE_SECONDS=$(OUTAGE) $(CARGO) test --locked --test e2e healing::outage -- --nocapture

FUZZ_SECONDS ?= 600
TARGETS ?=
fuzz: ## Fuzz what takes bytes apart, each of TARGETS (all seven) for FUZZ_SECONDS (600); takes a nightly compiler (network)
	@sh ops/setup.sh c
	@FUZZ_SECONDS=$(FUZZ_SECONDS) sh ops/fuzz/run.sh $(TARGETS)

# Built without a second client of Redis, which is compared by --part writers with --features abstream-bench/fred.
RUNS ?= 3
SOAK ?= 600
MEASURED = --bin bench --bin ingest-gateway --bin ingest-worker --bin analyzer --bin abctl
bench: setup ## Measure every target beside the machine's own ceilings, RUNS (3) times, and a load of SOAK (600) seconds
	$(CARGO) build --locked --release $(MEASURED)
	@$(CARGO) run --locked --release --quiet --bin bench -- --runs $(RUNS) --soak $(SOAK)

bench-quick: setup ## The same in about a minute, once built: for a first look, not for a verdict
	$(CARGO) build --locked --release $(MEASURED)
	@$(CARGO) run --locked --release --quiet --bin bench -- --events 200000 --seconds 5 --soak 5

figures: ## Write what `make bench` measured into ops/docs/performance.md
	@python3 ops/bench/figures.py

# `--bins` of the whole workspace: what `make test` has built.
guard: ## Count instructions per event along the pure paths, and compare them with those checked in (valgrind)
	@sh ops/setup.sh c valgrind
	$(CARGO) build --locked --workspace --bins
	@$(CARGO) run --locked --quiet --bin guard

guard-bless: ## The same, and check in what is counted
	@sh ops/setup.sh c valgrind
	$(CARGO) build --locked --workspace --bins
	@$(CARGO) run --locked --quiet --bin guard -- --bless

features: setup ## Check each program with no feature, with each feature alone, and with all: what compiles only together shows
	@CARGO='$(CARGO)' sh ops/checks/features.sh

fred: setup ## Lint the second client of Redis, which is not in the default build, and hold it to the queue's contract
	$(CARGO) clippy --locked -p abstream-queue --features fred --all-targets -- --deny warnings
	$(CARGO) test --locked -p abstream-queue --features fred --test it fred

# In the default build there are no traces. The programs with them stay in target/debug until the next build.
otlp: setup ## Lint the traces, which are not in the default build, and follow a request by them over three tiers
	$(CARGO) clippy --locked -p abstream-service -p abstream-e2e --features abstream-e2e/otlp --all-targets -- --deny warnings
	$(CARGO) test --locked -p abstream-service --features otlp --test it otlp::
	$(CARGO) build --locked --workspace --features abstream-e2e/otlp --bins --test e2e
	$(CARGO) test --locked --workspace --features abstream-e2e/otlp --test e2e traces::

check: setup ## Format, lints, and the rules of the tree; all warnings are errors
	@sh ops/check-tree.sh
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings

ops-check-fast: ## Check manifests, images, rules, boards and pages against the code, without running anything of ours
	@sh ops/setup.sh checks
	@sh ops/checks/run.sh fast

ops-check: setup ## The same, and a real Prometheus, nginx and Caddy beside three running tiers
	@sh ops/setup.sh checks
	$(CARGO) build --locked --workspace --bins
	@sh ops/checks/run.sh full

deny: ## Check the dependencies: bans, licences, sources (installs cargo-deny when missing: minutes)
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny@^0.20
	$(CARGO) deny --workspace --locked check bans licenses sources

clean: ## Remove all that was built, and the test kit's cache
	$(CARGO) clean
	rm -rf "$${TMPDIR:-/tmp}/abstream-testkit-$$(id -u)"
