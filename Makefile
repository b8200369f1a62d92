# The commands of the README. `make demo` and `make test` install what is missing, or say what to install.

PROFILE = release
SEED = 1
FAULTS = 100
PREFIX = /usr/local

.PHONY: bench bench-lake build chaos check demo dist install lint prerequisites soak test

build: prerequisites
	cargo build --profile $(PROFILE) --workspace --bins
	BUILD_PROFILE=$(PROFILE) smartmodules/build.sh

# Only what the demo needs, in a profile that compiles fast; `PROFILE=release` measures.
demo: PROFILE = demo
demo: LAKE = $(if $(findstring --lake,$(ARGS)),--package lake-sink --features etl/lake)
demo: prerequisites
	cargo build --profile $(PROFILE) --no-default-features --bins \
		--package etl --package fluvio-node --package postgres-sink --package sqs-source $(LAKE)
	BUILD_PROFILE=$(PROFILE) smartmodules/build.sh
	target/$(PROFILE)/etl demo $(ARGS)

# `make install PREFIX=$$HOME/.local`, after `make build`; packagers add DESTDIR.
install:
	BUILD_PROFILE=$(PROFILE) deploy/package/install.sh "$(DESTDIR)$(PREFIX)"

# An archive and a Debian package, in target/dist-packages.
dist:
	deploy/package/dist.sh

test: build
	tests/run.sh

# Real processes, load, and a seeded series of faults; CONTRIBUTING.md says what it needs.
chaos: build
	target/$(PROFILE)/chaos --seed $(SEED) --faults $(FAULTS) $(ARGS)

# Measures the profile that images ship, which takes longer to build; PROFILE=release measures the
# one of `make build`.
bench: PROFILE = dist
bench: build
	cargo build --profile $(PROFILE) --workspace --examples
	BUILD_PROFILE=$(PROFILE) bench/run.sh $(ARGS)

# The same questions to the lake and to PostgreSQL.
bench-lake: build
	cargo build --profile $(PROFILE) --package postgres-sink --package lake-sink --examples
	BUILD_PROFILE=$(PROFILE) bench/lake_questions.sh $(ARGS)

# Two hours of steady load and restarts; exits with 1 if something grows.
soak: build
	BUILD_PROFILE=$(PROFILE) bench/soak.sh $(ARGS)

# Formatting, lints, unit tests and the tests of the event formats: without PyPI, browser and servers.
check: lint
	cargo test --release --workspace --lib --bins
	cargo test --release --package fact-model

lint:
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --workspace --bins --no-default-features -- -D warnings

prerequisites:
	deploy/local/prerequisites.sh
