#!/usr/bin/env bash
# Prints the path of PgBouncer. Installs it as root on Debian or Ubuntu, else prints how to
# install it.
set -euo pipefail

# Debian installs it in a folder that is in the PATH of root only.
PATH="$PATH:/usr/sbin:/usr/local/sbin"
command -v "${ETL_TEST_PGBOUNCER:-pgbouncer}" && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing pgbouncer" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends pgbouncer >&2
    command -v pgbouncer && exit 0
fi
cat >&2 <<'END'
error: the tests need PgBouncer; install it, or set ETL_TEST_PGBOUNCER to its path
  Debian, Ubuntu: sudo apt-get install pgbouncer
  Fedora: sudo dnf install pgbouncer
  macOS: brew install pgbouncer
END
exit 1
