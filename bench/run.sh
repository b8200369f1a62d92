#!/usr/bin/env bash
# Measures the product beside the plain way and beside COPY; arguments go to run.py. Needs the
# programs of BUILD_PROFILE (default: release), which `make bench` builds first.
set -euo pipefail
cd "$(dirname "$0")/.."

venv="$(tests/venv.sh bench-venv bench/requirements.txt)"
exec "$venv/bin/python" bench/run.py "$@"
