#!/usr/bin/env bash
# Runs Grafana's queries and the dbt project on the tables of a demo. Needs `make build` first, and
# Python 3.10.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv="$(tests/venv.sh bi-venv deploy/bi/requirements.txt)"
exec "$venv/bin/python" deploy/bi/check.py
