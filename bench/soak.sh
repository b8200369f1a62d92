#!/usr/bin/env bash
# Runs the product for hours under load and restarts; arguments go to soak.py. Needs the programs of
# BUILD_PROFILE (default: release).
set -euo pipefail
cd "$(dirname "$0")/.."

venv="$(tests/venv.sh bench-venv bench/requirements.txt)"
exec "$venv/bin/python" bench/soak.py "$@"
