# The commands of the README. `make demo` and `make test` install what is missing, or say what to install.

.PHONY: bench build demo test lint prerequisites

build: prerequisites
	cargo build --release --workspace --bins
	smartmodules/build.sh

demo: build
	target/release/etl demo $(ARGS)

test: build
	tests/run.sh

bench: build
	cargo build --release --workspace --examples
	bench/run.sh $(ARGS)

lint:
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings

prerequisites:
	deploy/local/prerequisites.sh
