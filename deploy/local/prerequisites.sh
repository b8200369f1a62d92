#!/usr/bin/env bash
# Checks for the system packages that the build, the demo and the tests need: a C compiler (for
# crates with C code) and a PostgreSQL server. Installs missing ones as root on Debian or Ubuntu;
# else prints what to install.
set -euo pipefail

missing=()

command -v cargo >/dev/null || {
    echo "error: no Rust toolchain; install it from https://rustup.rs" >&2
    exit 1
}
command -v cc >/dev/null || missing+=(gcc libc6-dev)

has_postgres() {
    local program
    for program in "$(command -v postgres || true)" \
        /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres \
        /opt/homebrew/opt/postgresql@*/bin/postgres /usr/local/opt/postgresql@*/bin/postgres \
        /usr/local/pgsql/bin/postgres; do
        [ -x "$program" ] && return 0
    done
    return 1
}
has_postgres || missing+=(postgresql)

[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing ${missing[*]}" >&2
    # Only the programs are needed: prevents Debian's default database service.
    mkdir -p /etc/postgresql-common/createcluster.d
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/no-main-cluster.conf
    apt-get update -qq
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
elif [ "${missing[*]}" = postgresql ]; then
    echo "note: no PostgreSQL on this machine; the first start downloads one to a cache." >&2
    echo "      To install the system's: apt-get install postgresql," >&2
    echo "      dnf install postgresql-server, or brew install postgresql@17" >&2
else
    echo "error: please install: ${missing[*]}" >&2
    echo "  Debian, Ubuntu: sudo apt-get install ${missing[*]}" >&2
    echo "  Fedora:         sudo dnf install gcc postgresql-server" >&2
    echo "  macOS:          xcode-select --install && brew install postgresql@17" >&2
    exit 1
fi
