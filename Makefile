# The commands of the README. `make demo` and `make test` install what is missing, or say what to install.

PROFILE = release

.PHONY: bench build demo test lint prerequisites

build: prerequisites
	cargo build --profile $(PROFILE) --workspace --bins
	BUILD_PROFILE=$(PROFILE) smartmodules/build.sh

demo: build
	target/$(PROFILE)/etl demo $(ARGS)

test: build
	tests/run.sh

# Measured is what ships; it takes longer to build. PROFILE=release measures what `make build` makes.
bench: PROFILE = dist
bench: build
	cargo build --profile $(PROFILE) --workspace --examples
	BUILD_PROFILE=$(PROFILE) bench/run.sh $(ARGS)

lint:
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings

prerequisites:
	deploy/local/prerequisites.sh
