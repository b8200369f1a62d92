#!/usr/bin/env bash
# Compares the dbt models over a demo's lake with those over its PostgreSQL tables. Needs `make
# build` first, and Python 3.10.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv="$(tests/venv.sh lake-venv deploy/lake/requirements.txt)"
exec "$venv/bin/python" deploy/lake/check.py
