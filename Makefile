# Every command a person needs. `make` alone lists them.

# cargo's folder. CI keeps it outside of the clone, so that the next clone does not compile everything again.
export CARGO_TARGET_DIR ?= $(CURDIR)/target

# cargo's folder for WebAssembly: another compiler may be at work there, see `upkeep plugin build --help`.
WASM_TARGET := $(CARGO_TARGET_DIR)/wasm

UPKEEP := $(CARGO_TARGET_DIR)/debug/upkeep

# Plugins and guests have workspaces of their own, since they are compiled for another machine.
WORKSPACES := Cargo.toml plugins/Cargo.toml tests/guests/Cargo.toml

# So have fuzz targets, which are compiled with sanitizers; only their format is checked with the rest.
FUZZ := $(wildcard */fuzz/Cargo.toml */*/fuzz/Cargo.toml)

# How long `make fuzz` runs each target, in seconds; FUZZ_TARGETS names some, without it all are run.
FUZZ_SECONDS ?= 60

# `--workspace` everywhere, also for one binary: so all commands share one choice of features and compile things once.
CARGO_BUILD := cargo build --locked --workspace

# cargo-nextest runs the tests of all binaries side by side; without it cargo runs one binary after the other.
ifneq ($(shell command -v cargo-nextest),)
CARGO_TEST := cargo nextest run --locked --workspace
else
CARGO_TEST := cargo test --locked --workspace --no-fail-fast --lib --bins --tests --examples
endif

# What a target needs is made in the order in which it is written; cargo uses all cores by itself.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo test build plugins guests format lint doc deny fuzz bench package check-toolchain setup-demo setup-test setup-fuzz \
        setup-bench clean

## This list
help:
	@awk '/^## / { text = substr($$0, 4); next } \
	      /^[a-z-]+:/ && text { split($$1, name, ":"); printf "make %-16s %s\n", name[1], text } { text = "" }' Makefile

## A small backend, backed up every minute by upkeep and restored to look at; Ctrl-C ends it
demo: setup-demo build plugins
	@UPKEEP=$(UPKEEP) config/demo/run

## All checks and tests: format, lints, licences, unit tests, documentation, plugins, end to end
test: setup-test format build plugins guests lint doc
	cargo test --locked --manifest-path plugins/Cargo.toml
	cargo test --locked --workspace --doc
	$(CARGO_TEST)

## The `upkeep` binary for trying out, in target/debug
build: check-toolchain
	$(CARGO_BUILD) --bin upkeep

## The plugins that come with upkeep, in target/plugins
plugins: build
	$(UPKEEP) plugin build plugins --out target/plugins --target-dir $(WASM_TARGET) --install

## The plugins that test the host, in target/guests
guests: build
	$(UPKEEP) plugin build tests/guests --out target/guests --target-dir $(WASM_TARGET) --install
	$(UPKEEP) plugin build tests/guests/many-memories --component tests/guests/many-memories/component.wat --out target/guests

## Check the format of all code (`cargo fmt --all` sets it right)
format: check-toolchain
	for it in $(WORKSPACES); do cargo fmt --all --check --manifest-path $$it || exit 1; done
	for it in $(FUZZ); do cargo fmt --check --manifest-path $$it || exit 1; done

## Check all code with clippy; a warning is an error
lint: check-toolchain
	for it in $(WORKSPACES); do cargo clippy --locked --workspace --all-targets --manifest-path $$it -- -D warnings || exit 1; done

## The documentation of all modules, in target/doc; a warning is an error
doc: check-toolchain
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --locked --workspace --no-deps --document-private-items

## Licences and advisories by cargo-deny, which has to be installed (`make test` checks the licences without it)
deny:
	for it in $(WORKSPACES); do cargo deny --locked --manifest-path $$it check --config $(CURDIR)/deny.toml || exit 1; done

## Run each fuzz target over its corpus for FUZZ_SECONDS, by cargo-fuzz, which has to be installed
fuzz: setup-fuzz
	tests/fuzz.sh $(FUZZ_SECONDS) $(FUZZ_TARGETS)

## Measure sandbox and daemon, backups beside restic and borg, a million files and rows, the scan, messages; our own crates are optimised for it
bench: export CARGO_PROFILE_DEV_OPT_LEVEL = 2
bench: setup-bench plugins guests
	cargo bench --locked --workspace --profile dev --bench '*'
	UPKEEP=$(UPKEEP) tests/benches/backup.sh 3
	UPKEEP=$(UPKEEP) tests/benches/many.sh
	UPKEEP=$(UPKEEP) tests/benches/databases.sh
	UPKEEP=$(UPKEEP) tests/benches/cleanup.sh
	UPKEEP=$(UPKEEP) tests/benches/rows.sh
	cargo build --locked --release -p upkeep-secrets --examples
	cargo build --locked --release -p upkeep-accesslog --example generate
	UPKEEP=$(UPKEEP) tests/benches/stats.sh
	tests/benches/secrets.sh
	UPKEEP=$(UPKEEP) tests/benches/scan.sh
	UPKEEP=$(UPKEEP) tests/benches/push.sh

## What is installed on a server, as dist/upkeep-VERSION.tar.gz
package: plugins
	$(CARGO_BUILD) --release --bin upkeep
	tests/package.sh $(CARGO_TARGET_DIR)/release/upkeep target/plugins dist

check-toolchain:
	@tests/setup.sh rust

setup-demo:
	@tests/setup.sh rust demo

setup-test:
	@tests/setup.sh rust test

setup-fuzz:
	@tests/setup.sh rust fuzz

setup-bench:
	@tests/setup.sh rust test bench

## Remove all that was built
clean:
	cargo clean
	rm -rf target dist
