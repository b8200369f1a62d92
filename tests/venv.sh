#!/usr/bin/env bash
# venv.sh NAME REQUIREMENTS: prints the folder of a Python virtual environment below target/ with
# the packages of the file. Recreates it if the file has changed.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p "${CARGO_TARGET_DIR:-target}"
venv="$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/$1"
wanted=$2
if ! cmp -s "$wanted" "$venv/installed.txt"; then
    python3 -m venv --clear "$venv" >&2 || {
        echo "error: Python 3.9 or newer with venv is needed" >&2
        echo "  Debian, Ubuntu: apt-get install python3-venv" >&2
        exit 1
    }
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted" >&2
    cp "$wanted" "$venv/installed.txt"
fi
printf '%s\n' "$venv"
