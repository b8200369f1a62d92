#!/usr/bin/env bash
# Runs every test. Some need programs from PyPI: ministack (a server of SQS and S3), Fluvio's Python
# client, DuckDB, ClickHouse and PyIceberg, which read the lake, and Playwright, which drives a
# browser to check the report. They are installed in a virtual environment below target/. PostgreSQL
# servers of other versions come from npm.
set -euo pipefail
cd "$(dirname "$0")/.."

venv="$(tests/venv.sh venv tests/requirements.txt)"
tests/browser.sh >/dev/null
servers="$(tests/servers.sh)"
pgbouncer="$(tests/pgbouncer.sh)"

export ETL_TEST_VENV="$venv" ETL_TEST_SERVERS="$servers" ETL_TEST_PGBOUNCER="$pgbouncer"
log="${CARGO_TARGET_DIR:-target}/tests.log"
packages="${CARGO_TARGET_DIR:-target}/tests.packages"
status=0
# Cargo's log names a test binary and not its package, and several packages have one called `it`.
cargo test --release --workspace --no-run --message-format=json-render-diagnostics | python3 -c '
import json, pathlib, sys
for line in sys.stdin:
    built = json.loads(line)
    if built.get("executable") and built["profile"]["test"]:
        folder = pathlib.Path(built["manifest_path"]).parent.name
        package, at, _ = built["package_id"].rpartition("#")[2].partition("@")
        print(pathlib.Path(built["executable"]).name, package if at else folder)
' >"$packages"
# Four at once, also on a machine with two cores: most tests wait more than they compute.
cargo test --release --workspace --no-fail-fast -- --test-threads=4 2>&1 | tee "$log" || status=$?

# The time of each test binary, the longest first, and then cargo's own last lines.
echo
awk '
    NR == FNR { package[$1] = $2; next }
    $1 == "Running" {
        binary = $NF
        gsub(/.*\/|\)/, "", binary)
        part = package[binary] " (" ($2 == "unittests" ? $3 : $2) ")"
    }
    $1 == "Doc-tests" { part = $2 " (doc tests)" }
    /^test result: .* finished in / {
        seconds = $NF + 0
        total += seconds
        if (seconds >= 1) printf "%8.1f s  %s\n", seconds, part
        else { rest += seconds; others++ }
    }
    END {
        printf "%8.1f s  %d others\n%8.1f s  in all\n", rest, others, total
    }
' "$packages" "$log" | sort -rn
if [ "$status" -eq 0 ]; then
    echo "All tests passed."
else
    sed -n '/^error: [0-9]* targets\{0,1\} failed/,$p' "$log"
fi
exit "$status"
