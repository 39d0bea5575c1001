# Everything a developer or CI does with the project. `make run` and `make test` are all the set-up.

# Outside the checkout, so that a fresh clone and CI reuse what is compiled.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/shanghai/target
BINARY := $(CARGO_TARGET_DIR)/debug/shanghai

# RocksDB is compiled once a machine and version, then linked: see scripts/rocksdb.
ROCKSDB_VERSION := $(shell sed -n '/^name = "librocksdb-sys"/{n;s/.*"\(.*\)"/\1/p}' Cargo.lock)
export ROCKSDB_LIB_DIR ?= $(HOME)/.cache/shanghai/rocksdb-$(ROCKSDB_VERSION)
export ROCKSDB_STATIC := 1
ARGS ?=

.PHONY: build run demo test soak bench lint fmt bless setup env

## env: what to evaluate in a shell that calls cargo directly: eval $(make -s env)
env:
	@echo export CARGO_TARGET_DIR=$(CARGO_TARGET_DIR) ROCKSDB_LIB_DIR=$(ROCKSDB_LIB_DIR) ROCKSDB_STATIC=1

## setup: the system packages that are missing (asks apt only if something is)
setup:
	@scripts/setup
	@scripts/rocksdb $(ROCKSDB_LIB_DIR) $(CARGO_TARGET_DIR)

## build: the optimised binary; prints its path last
build: setup
	cargo build --workspace
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
	cargo nextest run --workspace --no-fail-fast

## soak: the long versions of the process-level tests
soak: setup
	SHANGHAI_SOAK=1 cargo nextest run --workspace --profile soak --no-fail-fast

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
