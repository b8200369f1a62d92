#!/usr/bin/env bash
# Runs Grafana's questions and the dbt project against the tables of a demo. Wants `make build` first, and Python 3.10.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv="${CARGO_TARGET_DIR:-target}/bi-venv"
wanted=deploy/bi/requirements.txt
if ! cmp -s "$wanted" "$venv/installed.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
    cp "$wanted" "$venv/installed.txt"
fi
exec "$venv/bin/python" deploy/bi/check.py
