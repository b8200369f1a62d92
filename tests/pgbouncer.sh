#!/usr/bin/env bash
# Prints the path of PgBouncer. Installs it where that is possible without asking (root on Debian or Ubuntu), else says
# what to install.
set -euo pipefail

# Debian has it where only root looks.
PATH="$PATH:/usr/sbin:/usr/local/sbin"
command -v "${ETL_TEST_PGBOUNCER:-pgbouncer}" && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing pgbouncer" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends pgbouncer >&2
    command -v pgbouncer && exit 0
fi
echo "error: the sink is tested behind PgBouncer; please install it, or name it in ETL_TEST_PGBOUNCER" >&2
echo "  Debian, Ubuntu: sudo apt-get install pgbouncer    Fedora: sudo dnf install pgbouncer    macOS: brew install pgbouncer" >&2
exit 1
