# What people type. `make` alone lists it.

CARGO ?= cargo
# A CSV file of purchases for the demo; empty: its own.
INPUT ?=

.DEFAULT_GOAL := help
.PHONY: help build nats demo test conformance chaos mutations bench bench-scale lint docs clean

help: ## this list
	@echo "make demo INPUT=FILE.csv runs the demo on your own purchases; the rest takes no arguments:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## every program, for development
	$(CARGO) build --workspace --bins

nats: ## print the path of a nats-server, fetched if there is none that is recent enough
	@deploy/get-nats-server

demo: build ## purchase requisitions from start to payment, with policies, and kills in the middle
	@nats=$$(deploy/get-nats-server) && \
	  BATON_NATS_SERVER="$$nats" exec "$${CARGO_TARGET_DIR:-target}/debug/baton-demo" $(if $(INPUT),--input "$(INPUT)")

# The tests run the programs as processes of their own, so they are built first.
test: build ## every test, with a real nats-server
	@nats=$$(deploy/get-nats-server) && BATON_NATS_SERVER="$$nats" $(CARGO) test --workspace

conformance: build ## the language's conformance kit and our scenarios, into target/conformance.json
	@nats=$$(deploy/get-nats-server) && \
	  BATON_NATS_SERVER="$$nats" exec "$${CARGO_TARGET_DIR:-target}/debug/baton-conformance"

chaos: ## the crash test at full size
	$(CARGO) build --release --workspace --bins
	@nats=$$(deploy/get-nats-server) && \
	  BATON_NATS_SERVER="$$nats" exec "$${CARGO_TARGET_DIR:-target}/release/baton-chaos"

mutations: ## take away what enforces governance, place by place: a test must notice; into target/mutations.json
	$(CARGO) build --workspace --bin baton-mutations
	@nats=$$(deploy/get-nats-server) && \
	  BATON_NATS_SERVER="$$nats" exec "$${CARGO_TARGET_DIR:-target}/debug/baton-mutations"

bench: ## speed against the bare loop, the cost of the language and of policies, into target/bench*.json
	$(CARGO) build --release --workspace --bins
	@nats=$$(deploy/get-nats-server) && export BATON_NATS_SERVER="$$nats" && missed=0 && \
	  for what in speed language policy; do \
	    "$${CARGO_TARGET_DIR:-target}/release/baton-bench" $$what || missed=1; \
	  done && exit $$missed

bench-scale: ## 100,000 waiting instances, into target/bench-scale.json
	$(CARGO) build --release --workspace --bins
	@nats=$$(deploy/get-nats-server) && \
	  BATON_NATS_SERVER="$$nats" exec "$${CARGO_TARGET_DIR:-target}/release/baton-bench" scale

lint: ## formatting and clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

docs: ## the pages of the code
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

clean: ## what was built, and the data of `baton dev`
	$(CARGO) clean
	rm -rf .baton
