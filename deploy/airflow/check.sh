#!/usr/bin/env bash
# Runs the DAG once in a real Airflow, on the tables and the lake of a demo. Needs `make build`
# first, Python 3.10 to 3.13, and ten minutes. Airflow comes from PyPI into a folder below target/.
set -euo pipefail
cd "$(dirname "$0")/../.."

airflow="$(tests/venv.sh airflow-venv deploy/airflow/requirements.txt)"
venv="$(tests/venv.sh lake-venv deploy/lake/requirements.txt)"
exec "$venv/bin/python" deploy/airflow/check.py "$airflow"
