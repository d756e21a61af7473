# Every command a developer or CI needs. `make help` lists them.

CARGO ?= cargo
PLUGIN := rollouts-plugin-trafficrouter-alb
TRIPLE := $(shell uname -m)-unknown-linux-gnu
DIST := target/$(TRIPLE)/dist/$(PLUGIN)
HOST := target/hosts/argo-1.10.2
# One program a folder: the controllers of four releases, a host that offers gRPC, and a plugin in Go to compare with.
HOSTS := $(addprefix target/hosts/, argo-1.7.2 argo-1.8.5 argo-1.9.3 argo-1.10.2 grpc)
PEER := target/hosts/peer
TOOLS := target/tools/bin
DENY_VERSION := 0.20.2
FUZZ_VERSION := 0.13.2
FUZZ_TARGETS := gob stream session handshake entry
FUZZ_SECONDS ?= 60

# The Go programs need a newer Go than many machines have; Go fetches it by itself.
export GOTOOLCHAIN := auto
export CGO_ENABLED := 0
# Servers of tests are on this machine; a proxy would not find them.
export NO_PROXY := 127.0.0.1,localhost

.PHONY: help demo test lint e2e dist ci hosts proto advisories

help: ## lists the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: ## plays the user's story on a load balancer of this machine, three ways side by side; DEMO="--lag 30s" changes it
	$(CARGO) build --locked -p $(PLUGIN)
	$(CARGO) build --locked --release -p lab
	@target/release/lab demo --plugin target/debug/$(PLUGIN) --out target/demo $(DEMO)

test: $(HOSTS) ## unit and integration tests
	$(CARGO) test --locked

lint: $(TOOLS)/cargo-deny ## format, clippy, Go vet, licences and banned crates
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	cd tests/hosts/grpc && go vet ./... hosts.test/host/... && test -z "$$(gofmt -l ..)"
	cd tests/hosts/peer && go vet .
	cd tests/hosts/generate && go vet . && go run . -check
	$(TOOLS)/cargo-deny --locked check --hide-inclusion-graph bans licenses sources

advisories: $(TOOLS)/cargo-deny ## known vulnerabilities; needs the network
	$(TOOLS)/cargo-deny --locked check advisories

dist: $(DIST) ## the fully static binary, and a test that starts it in an empty root
	DIST_BINARY=$(abspath $(DIST)) $(CARGO) test --locked --test integration -- --ignored static_binary

e2e: $(DIST) ## the stock rollouts controller, a real API server, our static binary
	$(CARGO) test --locked -p e2e --bins
	$(CARGO) run --locked --quiet -p e2e -- --plugin $(DIST)

.PHONY: e2e-story
e2e-story: $(DIST) ## the built-in path and the plugin side by side, with 25 busy ingress groups beside them
	$(CARGO) run --locked --quiet -p e2e -- --plugin $(DIST) --ignored side_by_side

$(DIST): Cargo.toml Cargo.lock build.rs $(shell find src proto -type f)
	$(CARGO) build --locked --profile dist --target $(TRIPLE) --bin $(PLUGIN) \
		--config 'target.$(TRIPLE).rustflags=["-Ctarget-feature=+crt-static"]'
	@touch $@

hosts: $(HOSTS) $(PEER) ## the Go programs that play the rollouts controller in tests

$(HOSTS) $(PEER): target/hosts/%: $(shell find tests/hosts -name '*.go' -o -name 'go.*')
	@echo "building the Go program $* (a minute or two the first time)"
	cd tests/hosts/$* && nice -n 5 go build -trimpath -o $(abspath $@) .

proto: ## writes the Go code of proto/ that the hosts use
	cd tests/hosts/generate && go run .

$(TOOLS)/cargo-deny:
	@echo "installing cargo-deny $(DENY_VERSION) (about 4 minutes, once)"
	$(CARGO) install --locked --quiet --root target/tools cargo-deny --version $(DENY_VERSION)

ci: ## everything; ends with the time of each part and what the test runners said last
	@mkdir -p target/ci && rm -f target/ci/*
	@for part in lint test dist e2e; do \
		began=$$(date +%s); \
		{ $(MAKE) --no-print-directory $$part 2>&1; echo $$? > target/ci/status; } | tee target/ci/$$part.log; \
		[ "$$(cat target/ci/status)" = 0 ] || exit 1; \
		echo "make $$part took $$(( $$(date +%s) - began )) s" >> target/ci/times; \
	done
	@cat target/ci/times
	@cd target/ci && grep -h '^test result' test.log dist.log e2e.log

BOTO := target/boto/bin/python

.PHONY: boto
boto: $(BOTO) ## the lab's answers beside those of moto, through boto3
	$(CARGO) build --locked -p lab --bins
	@$(BOTO) -B tests/boto/compare.py target/debug/lab

$(BOTO): tests/boto/requirements.txt
	@echo "installing boto3 and moto into target/boto (about a minute, once)"
	python3 -m venv target/boto
	target/boto/bin/pip install --quiet --disable-pip-version-check -r tests/boto/requirements.txt
	@touch $@

.PHONY: simulate
simulate: ## more stories of the simulation than `make test` plays; SEEDS=100000, or SEED=7 for one and its story
	SEEDS=$(SEEDS) SEED=$(SEED) $(CARGO) test --locked --test integration -- --nocapture simulation::the_router

.PHONY: soak
soak: ## a minute of everything at once in the lab, after which all its books must agree
	$(CARGO) test --locked -p lab --test soak -- --ignored --nocapture

.PHONY: measure
measure: $(DIST) $(HOST) ## the numbers in the README
	DIST_BINARY=$(abspath $(DIST)) $(CARGO) test --locked --test integration -- --ignored --nocapture measure

.PHONY: bench-doors
bench-doors: $(DIST) target/hosts/grpc $(PEER) ## our doors against a plugin in Go, in one run
	DIST_BINARY=$(abspath $(DIST)) $(CARGO) test --locked --test integration -- --ignored --nocapture bench::doors

.PHONY: bench-shift
bench-shift: $(DIST) $(HOST) ## a raise beside the SDK calls that it cannot do without, in one run
	DIST_BINARY=$(abspath $(DIST)) $(CARGO) test --locked --test integration -- --ignored --nocapture bench::shift

.PHONY: bench-many
bench-many: $(DIST) $(HOST) ## 200 Rollouts that a fresh plugin has to find everything for
	DIST_BINARY=$(abspath $(DIST)) $(CARGO) test --locked --test integration -- --ignored --nocapture bench::many

.PHONY: fuzz
fuzz: $(TOOLS)/cargo-fuzz ## each fuzz target for FUZZ_SECONDS (60), from the bytes in tests/data/wire; needs a nightly toolchain
	fuzz/seed.sh
	for target in $(FUZZ_TARGETS); do \
		PATH="$(abspath $(TOOLS)):$$PATH" $(CARGO) +nightly fuzz run $$target -- \
			-max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=512 -timeout=10 || exit 1; \
	done

$(TOOLS)/cargo-fuzz:
	@echo "installing cargo-fuzz $(FUZZ_VERSION) (about 2 minutes, once)"
	$(CARGO) install --locked --quiet --root target/tools cargo-fuzz --version $(FUZZ_VERSION)
