#!/usr/bin/env bash
# Measures the product beside the plain way and beside COPY; arguments go to run.py. Wants `make build` first.
set -euo pipefail
cd "$(dirname "$0")/.."

venv="${CARGO_TARGET_DIR:-target}/bench-venv"
wanted=bench/requirements.txt
if ! cmp -s "$wanted" "$venv/installed.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
    cp "$wanted" "$venv/installed.txt"
fi
exec "$venv/bin/python" bench/run.py "$@"
