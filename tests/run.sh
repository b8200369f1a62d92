#!/usr/bin/env bash
# Runs every test. Some need programs from PyPI: ministack (an SQS server that isn't ours) and
# Fluvio's Python client (a consumer that isn't ours). They go into a virtual environment below target/. The report
# is looked at in a real browser, which Playwright drives from there.
set -euo pipefail
cd "$(dirname "$0")/.."

venv="${CARGO_TARGET_DIR:-target}/venv"
wanted=tests/requirements.txt
if ! cmp -s "$wanted" "$venv/installed.txt"; then
    python3 -m venv --clear "$venv" || {
        echo "error: the tests need Python 3.9 or newer with venv (Debian, Ubuntu: apt-get install python3-venv)" >&2
        exit 1
    }
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
    cp "$wanted" "$venv/installed.txt"
fi

tests/browser.sh >/dev/null

# Two pipelines at once are as many as a small machine runs without tests waiting for each other.
ETL_TEST_VENV="$(cd "$venv" && pwd)" cargo test --release --workspace --no-fail-fast -- --test-threads=2

# A small run of the benchmark: it checks its tables by count and hash, and asserts no times.
bench/run.sh --quick
