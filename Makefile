# SPDX-License-Identifier: Apache-2.0
# `make` lists what there is. What is downloaded or built as a tool is kept in TIPHYS_CACHE, outside the checkout.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export TIPHYS_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tiphys
export TIPHYS_ENVOY ?= $(TIPHYS_CACHE)/envoy
# `cargo deny` is found here.
export PATH := $(TIPHYS_CACHE)/tools/bin:$(PATH)

# The cluster that the targets cluster-... are about, and how many nodes it has.
export CLUSTER ?= tiphys
export NODES ?= 1

TARGET := $(or $(CARGO_TARGET_DIR),target)
BIN := $(TARGET)/debug
# Cargo unifies the features of what it builds together: everything is built as part of the workspace, so that nothing is built twice.
# Reference inputs and outputs of Istio's control plane, kept beside the checkout; without them `make parity` says that it is skipped.
PARITY ?= ../shared/parity
# Contracts of Istio's charts and endpoints, kept beside the checkout likewise.
INTEROP ?= ../shared/interop

.PHONY: help
help: ## this list
	@echo "Tiphys: an Istio-compatible control plane. make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 18

.PHONY: demo
demo: setup build ## starts the mesh of samples/bookinfo on loopback and says what to try; CHECK=1 tries it all, compares and exits
	@$(BIN)/demo $(if $(CHECK),--check)

.PHONY: test
test: ## all tests; installs what they need and prints how long each step took
	@scripts/steps setup format lint build unit e2e demo-check cluster-test parity generated deny

.PHONY: check
check: format lint unit ## formatting, clippy without a warning, unit and golden tests

.PHONY: build
build: ## the programs, unoptimised, into target/debug
	cargo build --workspace --bins

.PHONY: format
format: ## fails on a file that rustfmt would change
	cargo fmt --all -- --check

.PHONY: lint
lint: ## clippy; a warning is an error
	cargo clippy --workspace --all-targets -- -D warnings

.PHONY: unit
unit: ## unit, golden, property and layering tests, and those of the charts
	@scripts/setup helm
	cargo test --workspace --exclude tiphys-e2e --no-fail-fast

.PHONY: e2e
e2e: build ## end-to-end tests on real Envoy
	cargo test --workspace --test 'e2e_*' -- --nocapture

.PHONY: charts-test
charts-test: ## the tests of the charts alone; builds Helm into the cache once
	@scripts/setup helm
	cargo test --package tiphys-charts --no-fail-fast -- --nocapture

.PHONY: demo-check
demo-check: build
	@$(BIN)/demo --check

.PHONY: parity
parity: build ## renders the reference inputs and scores them against what Istio's control plane makes of them
	@scripts/parity $(PARITY)
	TIPHYS_REFERENCE=$(wildcard $(abspath $(PARITY))) TIPHYS_INTEROP=$(wildcard $(abspath $(INTEROP))) cargo test --workspace --test reference -- --nocapture

.PHONY: cluster-up
cluster-up: cluster-setup build ## brings a Kubernetes up on this machine (as root); CLUSTER=name, NODES=2, PROFILE=release: see tests/cluster
	@$(BIN)/cluster up

.PHONY: cluster-down
cluster-down: ## ends it and removes all that it left
	@[ -x $(BIN)/cluster ] || cargo build --workspace --bins
	@$(BIN)/cluster down

.PHONY: cluster-test
cluster-test: build ## tests on a Kubernetes of their own, which is gone afterwards; KEEP=1 keeps it
	@scripts/cluster-test $(BIN)/cluster

.PHONY: istio-programs
istio-programs: ## Istio's istioctl, pilot-agent and pilot-discovery, for the tests that TIPHYS_ISTIO=FOLDER switches on
	@scripts/setup istio

.PHONY: cluster-setup
cluster-setup:
	@scripts/setup cluster

.PHONY: bench
bench: ## the load generator and the micro benchmarks, optimised
	cargo bench --workspace
	cargo build --release --package tiphys-server --package tiphys-bench
	target/release/tiphys-bench run

.PHONY: crds
crds: ## writes the CustomResourceDefinitions from the types of api/
	cargo xtask crds

.PHONY: settings
settings: ## writes docs/settings.md from the tables of the programs
	UPDATE_GOLDENS=1 cargo test --workspace --test settings

.PHONY: generated
generated: build ## fails when a generated file in the repository is stale
	cargo metadata --locked --format-version 1 >/dev/null
	$(BIN)/xtask protos --check
	$(BIN)/xtask crds --check
	cargo test --quiet --workspace --test settings

.PHONY: deny
deny: ## licences, sources and who may depend on what (cargo-deny is built into the cache once)
	@scripts/setup deny
	cargo deny check --allow unused-wrapper --hide-inclusion-graph bans licenses sources

.PHONY: setup
setup: ## installs what building and testing need: Debian packages (as root), the Rust toolchain, Envoy
	@scripts/setup
