# The front door. `make` alone lists what there is.
#
# Every build uses the same target and flags, so that nothing is compiled twice, and the flags make static
# programs, so that what was built on any host runs in the guest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
export CARGO_BUILD_TARGET := $(TARGET)
export RUSTFLAGS := -C target-feature=+crt-static
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR

DEBUG := $(CARGO_TARGET_DIR)/$(TARGET)/debug
RELEASE := $(CARGO_TARGET_DIR)/$(TARGET)/release
GUEST := $(DEBUG)/thinly-guest
# The programs a user installs, as options of the guest runner; it takes those that exist.
PROGRAMS := --bin-if-built $(RELEASE)/thinly --bin-if-built $(RELEASE)/thinly-csi

# The kernel of the guest: 6.12 or 6.1.
KERNEL ?= 6.12
export KERNEL
# The fresh disks of `make vm`.
DISKS ?= 10G 10G
# `make powercut`: operations picked by chance, which ones, and pools that are opened.
STEPS ?= 900
SEED ?= 1
OPENS ?= 60
# `make soak`: how long; SEED as above.
MINUTES ?= 30
# Where `make bench-accounting` puts its images, up to 1 GiB at a time; a fresh directory when empty.
SCRATCH ?=
# `make image`: what it is called, what it starts from (empty: as deploy/image/Dockerfile says), a directory with static
# programs that were built before, and a file to write it to.
IMAGE ?= thinly-csi
BASE ?=
BUILDER ?=
BUILT ?=
ARCHIVE ?=
# A part of a kernel test's name.
T ?=
export T
# Taken as it stands, so that `make vm CMD='echo $HOME'` means the guest's.
override CMD := $(value CMD)
export CMD

.PHONY: help deps build guest runner vm demo test test-native test-bed test-doc test-monitoring test-manifests test-cluster test-kubelet test-package test-image test-docs test-reset test-kernel deb image release-pool fuzz fuzz-long powercut crash soak histories mutants bench bench-quick bench-micro bench-accept bench-build bench-accounting test-instructions lint clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

deps: ## install what the test bed needs (Debian, Ubuntu)
	@tools/guest/deps.sh

build: ## build the programs a user installs
	cargo build --release

runner:
	@cargo build --quiet --package thinly-guest

guest: deps runner ## build the guest's images, once
	@$(GUEST) build

vm: deps runner build ## CMD='...': run a command in a fresh guest with DISKS; without CMD: a shell
	@DISKS='$(DISKS)' $(GUEST) run --log $(PROGRAMS) --cargo-tests thinly-tests $${CMD:+-- "$$CMD"}

demo: ## the main job, on a real kernel: in the guest, or here with HOST=1
	@if [ "$${HOST:-}" != 1 ]; then $(MAKE) --no-print-directory deps runner; fi
	@$(MAKE) --no-print-directory build
	@cargo build --quiet --package thinly-tests --bin thinly-csi-demo
	@GUEST='$(GUEST)' THINLY='$(RELEASE)/thinly' THINLY_CSI='$(RELEASE)/thinly-csi' \
		CSI_DEMO='$(DEBUG)/thinly-csi-demo' tools/demo/run.sh

test: ## every test: native, instructions, documentation, monitoring, manifests, package, image, shell blocks, a reset, kernel
	@$(MAKE) --no-print-directory test-native
	@$(MAKE) --no-print-directory test-instructions
	@$(MAKE) --no-print-directory test-doc
	@$(MAKE) --no-print-directory test-monitoring
	@$(MAKE) --no-print-directory test-manifests
	@$(MAKE) --no-print-directory test-bed
	@$(MAKE) --no-print-directory test-package
	@$(MAKE) --no-print-directory test-docs
	@$(MAKE) --no-print-directory test-reset
	@$(MAKE) --no-print-directory test-image
	@$(MAKE) --no-print-directory test-kernel

test-native: deps ## the tests that need no particular kernel
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace --exclude thinly-tests --no-tests=pass; \
	else \
		cargo test --workspace --exclude thinly-tests --lib --bins --tests; \
	fi

test-instructions: deps ## the hot path needs no more instructions than were accepted
	@cargo build --quiet --release --package thinly-benches --bin thinly-bench
	@$(RELEASE)/thinly-bench instructions

test-doc: ## the examples in the documentation
	cargo test --workspace --doc

test-monitoring: deps ## alert rules on made-up series, and the dashboard's expressions, by promtool
	@tools/monitoring/run.sh

test-manifests: deps ## the Kubernetes manifests, rendered by two kubectls: schemas, rights, references
	@tools/manifests/run.sh

test-cluster: ## the controller and the manifests in Kubernetes' own control plane; the first time it is built, for minutes
	cargo test --package thinly-csi --test real_cluster --no-run
	@tools/cluster/run.sh cargo test --package thinly-csi --test real_cluster -- --ignored --test-threads=1

test-kubelet: deps runner build ## image and manifests under a real kubelet, in the guest; as above, and ten minutes
	@tools/image/deps.sh
	@cargo build --quiet --package thinly-tests --bin thinly-kubelet
	@GUEST='$(GUEST)' RELEASE='$(RELEASE)' WALK='$(DEBUG)/thinly-kubelet' tools/cluster/kubelet.sh

deb: build ## the Debian package of the command, in $(CARGO_TARGET_DIR)/debian
	@tools/package/deb.sh '$(RELEASE)/thinly' '$(CARGO_TARGET_DIR)/debian'

test-package: deps runner build ## the Debian package, made and installed in the guest
	@GUEST='$(GUEST)' THINLY='$(RELEASE)/thinly' tools/package/test.sh

test-docs: deps runner build ## every shell block of the README and the quick start, in the guest
	@GUEST='$(GUEST)' THINLY='$(RELEASE)/thinly' tools/docs/run.sh

image: ## the driver's container image, by buildah, podman or docker; IMAGE=name BASE= BUILDER= BUILT=dir ARCHIVE=file
	@BASE='$(BASE)' BUILDER='$(BUILDER)' PROGRAMS='$(BUILT)' ARCHIVE='$(ARCHIVE)' tools/image/build.sh '$(IMAGE)'

test-image: deps runner build ## the image from what is built, what is in it, and the driver's tests against it, as a container
	@tools/image/deps.sh
	@GUEST='$(GUEST)' RELEASE='$(RELEASE)' tools/image/test.sh

test-reset: deps runner build ## the guest is cut off while a disk is emptied under fio, which then finds all that was acknowledged
	@GUEST='$(GUEST)' THINLY='$(RELEASE)/thinly' tools/crash/evacuation.sh

test-bed: deps runner ## the guest runner itself, with real guests
	cargo test --package thinly-guest --test bed -- --ignored --test-threads=1

test-kernel: deps runner build ## the kernel tests in the guest; T=name picks, KERNEL=6.1 changes the kernel
	@$(GUEST) test --package thinly-tests $(PROGRAMS) $${T:+--filter "$$T"}

release-pool: deps runner build ## the pool that stands for this release in tests/pools, made once
	@GUEST='$(GUEST)' THINLY='$(RELEASE)/thinly' tools/release/pool.sh

fuzz: ## arbitrary bytes to everything that reads bytes; FUZZ_SECONDS=20 for each target, T=label picks one
	@FUZZ_SECONDS='$(or $(FUZZ_SECONDS),20)' fuzz/run.sh $(T)

fuzz-long: ## the same for an hour each
	@FUZZ_SECONDS='$(or $(FUZZ_SECONDS),3600)' fuzz/run.sh $(T)

crash: deps runner build ## every proof that nothing is lost, leaked or frozen: half an hour or more, ends with a table
	@cargo build --quiet --package thinly-tests --bin thinly-powercut
	@GUEST='$(GUEST)' THINLY='$(RELEASE)/thinly' PROGRAMS='$(PROGRAMS)' POWERCUT='$(DEBUG)/thinly-powercut' \
		tools/crash/run.sh

soak: deps runner build ## everything a pool can do, at once and with faults; MINUTES=30 SEED=1
	@$(GUEST) run --log --timeout $$(($(MINUTES) * 60 + 900)) $(PROGRAMS) --cargo-tests thinly-tests -- \
		'RUST_BACKTRACE=0 THINLY_SOAK_MINUTES=$(MINUTES) THINLY_SOAK_SEED=$(SEED) soak --nocapture'

histories: deps runner build ## random histories and a busy pool, judged by thin-provisioning-tools: hours
	@for part in histories diffs; do \
		THINLY_SOAK=full $(GUEST) test --package thinly-tests $(PROGRAMS) --timeout 14400 --filter "engine $$part"; \
	done

mutants: deps runner ## takes the lines away that the promises stand on: a test must fail for each; T=name picks
	@GUEST='$(GUEST)' T='$(T)' tools/crash/mutants.sh

powercut: deps runner ## nothing acknowledged is lost at any flush; STEPS=900 SEED=1 OPENS=60
	@cargo build --quiet --package thinly-tests --bin thinly-powercut
	@GUEST='$(GUEST)' POWERCUT='$(DEBUG)/thinly-powercut' STEPS='$(STEPS)' SEED='$(SEED)' OPENS='$(OPENS)' \
		tools/powercut/run.sh

bench: bench-build ## the hot path against the kernel's floor and every rival, in the guest; writes docs/benchmarks.md; G=groups RESULTS=dir
	@GUEST='$(GUEST)' BIN='$(RELEASE)' EXTENT=full GROUPS_WANTED='$(G)' RESULTS='$(RESULTS)' tools/bench/run.sh

bench-quick: bench-build ## the same in a few minutes, for a first look; writes nothing
	@GUEST='$(GUEST)' BIN='$(RELEASE)' EXTENT=quick GROUPS_WANTED='$(G)' RESULTS='$(RESULTS)' tools/bench/run.sh

bench-micro: ## pieces of the hot path that need no kernel, timed by criterion
	cargo bench --package thinly-benches --bench micro

bench-accept: deps ## takes the instruction counts of now for those that test-instructions holds
	@cargo build --quiet --release --package thinly-benches --bin thinly-bench
	@$(RELEASE)/thinly-bench instructions --accept

bench-build: deps runner
	@cargo build --quiet --release --package thinly-benches --bin thinly-bench
	@cargo build --quiet --release --package thinly-csi --package thinly-tests --bin thinly-csi --bin thinly-csi-rate

bench-accounting: deps ## reading metadata against thin-provisioning-tools, on this host; SCRATCH=dir RUNS=5
	cargo build --release --package thinly --bin thinly
	cargo build --release --package thinly-benches --bin thinly-accounting
	@scratch='$(SCRATCH)'; \
	if [ -z "$$scratch" ]; then scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; fi; \
	$(RELEASE)/thinly-accounting "$$scratch" --thinly $(RELEASE)/thinly --runs $(or $(RUNS),5)

lint: ## format, clippy, documentation, licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet
	@if cargo deny --version >/dev/null 2>&1; then \
		cargo deny check; \
	else \
		echo 'cargo-deny is not installed: licences and advisories were not checked'; \
	fi

clean: ## remove what cargo built (the guest's images stay in the cache)
	cargo clean
