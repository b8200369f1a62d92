#!/usr/bin/env bash
# Asks the lake and PostgreSQL the same questions; arguments go to lake_questions.py. Needs the
# programs and examples of BUILD_PROFILE (default: release).
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
wanted="$(cd "$target" && pwd)/bench-lake-requirements.txt"
cat bench/requirements.txt deploy/lake/requirements.txt >"$wanted"
venv="$(tests/venv.sh bench-lake-venv "$wanted")"
exec "$venv/bin/python" bench/lake_questions.py "$@"
