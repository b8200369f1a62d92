#!/usr/bin/env bash
# Imports the dashboards into a real Superset and opens them in a browser, over the tables of a
# demo. Needs `make build` first, Python 3.10 to 3.12, and ten minutes. Superset comes from PyPI
# into a folder below target/.
set -euo pipefail
cd "$(dirname "$0")/../../.."

browser="$(tests/browser.sh)"
venv="$(tests/venv.sh superset-venv deploy/bi/superset/requirements.txt)"
PYTHONPATH=deploy/bi exec "$venv/bin/python" deploy/bi/superset/check.py "$browser"
