# Every command a developer or CI needs. `make help` lists them.

CARGO ?= cargo
PLUGIN := rollouts-plugin-trafficrouter-alb
TRIPLE := $(shell uname -m)-unknown-linux-gnu
DIST := target/$(TRIPLE)/dist/$(PLUGIN)
HOST := target/hosts/argo-1.10.2
TOOLS := target/tools/bin
DENY_VERSION := 0.20.2

# The Go programs need a newer Go than many machines have; Go fetches it by itself.
export GOTOOLCHAIN := auto
export CGO_ENABLED := 0
# Servers of tests are on this machine; a proxy would not find them.
export NO_PROXY := 127.0.0.1,localhost

.PHONY: help demo test lint e2e dist ci hosts advisories

help: ## lists the targets
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(HOST) ## shows five weight shifts on a load balancer in memory, through the real plugin
	$(CARGO) build --locked --quiet --bin $(PLUGIN)
	$(CARGO) run --locked --quiet -p lab -- demo --plugin target/debug/$(PLUGIN) --host $(HOST)

test: $(HOST) ## unit and integration tests
	$(CARGO) test --locked

lint: $(TOOLS)/cargo-deny ## format, clippy, Go vet, licences and banned crates
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	cd tests/hosts/argo-1.10.2 && go vet . hosts.test/host/... && test -z "$$(gofmt -l ..)"
	$(TOOLS)/cargo-deny --locked check --hide-inclusion-graph bans licenses sources

advisories: $(TOOLS)/cargo-deny ## known vulnerabilities; needs the network
	$(TOOLS)/cargo-deny --locked check advisories

dist: $(DIST) ## the fully static binary, and a test that starts it in an empty root
	DIST_BINARY=$(abspath $(DIST)) $(CARGO) test --locked --test integration -- --ignored static_binary

e2e: $(DIST) ## the stock rollouts controller, a real API server, our static binary
	$(CARGO) test --locked --quiet -p e2e --bins
	$(CARGO) run --locked --quiet -p e2e -- --plugin $(DIST)

$(DIST): Cargo.toml Cargo.lock $(shell find src -type f)
	$(CARGO) build --locked --profile dist --target $(TRIPLE) --bin $(PLUGIN) \
		--config 'target.$(TRIPLE).rustflags=["-Ctarget-feature=+crt-static"]'
	@touch $@

hosts: $(HOST) ## the Go programs that play the rollouts controller in tests

$(HOST): $(shell find tests/hosts -name '*.go' -o -name 'go.*')
	@echo "building the Go host (about 2 minutes the first time)"
	cd tests/hosts/argo-1.10.2 && go build -trimpath -o $(abspath $@) .

$(TOOLS)/cargo-deny:
	@echo "installing cargo-deny $(DENY_VERSION) (about 4 minutes, once)"
	$(CARGO) install --locked --quiet --root target/tools cargo-deny --version $(DENY_VERSION)

ci: ## everything, with the time of each part
	@for part in lint test dist e2e; do \
		began=$$(date +%s); \
		$(MAKE) --no-print-directory $$part || exit 1; \
		echo "make $$part took $$(( $$(date +%s) - began )) s" | tee -a target/ci-times; \
	done

.PHONY: measure
measure: $(DIST) $(HOST) ## the numbers in the README
	DIST_BINARY=$(abspath $(DIST)) $(CARGO) test --locked --test integration -- --ignored --nocapture measure
