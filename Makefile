# Everything a developer or CI does with the project. `make run` and `make test` are all the set-up.

# Outside the checkout, so that a fresh clone and CI reuse what is compiled.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/shanghai/target
BINARY := $(CARGO_TARGET_DIR)/debug/shanghai
ARGS ?=

.PHONY: build run demo test soak bench lint fmt bless setup

## setup: the system packages that are missing (asks apt only if something is)
setup:
	@scripts/setup

## build: the optimised binary; prints its path last
build: setup
	cargo build --package shanghai
	@echo $(BINARY)

## run: one node on 127.0.0.1:5433
run: build
	$(BINARY) start $(ARGS)

## demo: three nodes on this machine
demo: build
	scripts/demo $(BINARY)

## test: everything CI checks
test: setup
	cargo fmt --all --check
	cargo build --workspace --all-targets
	cargo nextest run --workspace --no-fail-fast

## soak: the long versions of the process-level tests
soak: setup
	cargo build --package shanghai
	SHANGHAI_SOAK=1 cargo nextest run --package shanghai --no-fail-fast

## bench: ratios against PostgreSQL on this machine
bench: build
	scripts/bench $(BINARY)

lint:
	cargo clippy --workspace --all-targets -- --deny warnings

fmt:
	cargo fmt --all

## bless: accept the golden scripts' new output
bless:
	UPDATE_GOLDENFILES=1 cargo nextest run --workspace --no-fail-fast
