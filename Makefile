# `make help` lists what there is. Needs git, make, a C toolchain, Rust and Go; everything else is built from pinned sources.

.DEFAULT_GOAL := help
SHELL := /usr/bin/env bash

TOOLS_BIN := target/tools/bin
# Programs of the test bench; cargo-deny is built only for `make lint`.
BENCH_TOOLS := kubernetes etcd kwok helm3 helm4 kustomize crane sops cosign notation flux prometheus

.PHONY: help tools test lint demo bench fuzz

help: ## list the commands
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

tools: ## build the pinned tools into target/tools/bin (once; kept in ~/.cache/fairlead/tools)
	@tools/build.sh $(TOOLS_BIN) $(BENCH_TOOLS)

test: tools ## all tests: unit, property, and black-box ones on a real control plane
	cargo test --workspace

lint: ## formatting, clippy, licences and sources, generated files
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@tools/build.sh $(TOOLS_BIN) cargo-deny
	$(TOOLS_BIN)/cargo-deny --workspace check licenses bans sources
	cargo run --quiet -- crds --check crds
	cargo run --quiet -- crds --check charts/fairlead/crds

demo: tools ## the story of a commit, in under 90 s (KEEP=1 leaves it running)
	cargo build --release --bin fairlead
	@cargo run --quiet --package fairlead-testbench --bin demo -- --fairlead target/release/fairlead $(if $(KEEP),--keep)

bench: tools ## speed and size, against a bare loop of `helm install` in the same run
	cargo build --release --bin fairlead
	@cargo run --quiet --package fairlead-testbench --bin bench -- --fairlead target/release/fairlead

fuzz: ## libFuzzer on every reader, TIME seconds each (60); findings are kept in target/fuzz-findings
	@tools/build.sh $(TOOLS_BIN) cargo-fuzz
	@tools/fuzz.sh $(TOOLS_BIN)/cargo-fuzz $(or $(TIME),60)
