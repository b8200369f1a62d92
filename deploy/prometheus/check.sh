#!/usr/bin/env bash
# Has Prometheus scrape the running connectors, kills the PostgreSQL sink, and waits until its alert
# reaches a receiver of Alertmanager. Needs `make build`, and Debian's packages prometheus and
# prometheus-alertmanager.
set -euo pipefail
cd "$(dirname "$0")/../.."

for program in prometheus prometheus-alertmanager; do
    command -v "$program" >/dev/null && continue
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
            "$program" >/dev/null
    else
        echo "error: $program is missing; install it (Debian's package of this name)" >&2
        exit 1
    fi
done
exec python3 deploy/prometheus/check.py
