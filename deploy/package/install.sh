#!/usr/bin/env bash
# install.sh FOLDER: installs the built programs of BUILD_PROFILE (default: release) into FOLDER/bin,
# and what people do not start themselves into FOLDER/lib/ecommerce-etl.
set -euo pipefail
prefix=${1:?usage: install.sh FOLDER}
[[ $prefix = /* ]] || prefix=$PWD/$prefix
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

built=${CARGO_TARGET_DIR:-target}/${BUILD_PROFILE:-release}
programs=(etl sqs_source postgres_sink lake_sink)
parts=(fluvio-node flatten-items.wasm list-items.wasm raw-events.wasm)

for name in "${programs[@]}" "${parts[@]}"; do
    [ -f "$built/$name" ] || {
        echo "error: no $built/$name; \`make build PROFILE=${BUILD_PROFILE:-release}\` builds it" >&2
        exit 1
    }
done
install -d "$prefix/bin" "$prefix/lib/ecommerce-etl"
for name in "${programs[@]}"; do install -m 755 "$built/$name" "$prefix/bin/"; done
install -m 755 "$built/fluvio-node" "$prefix/lib/ecommerce-etl/"
for name in "${parts[@]:1}"; do install -m 644 "$built/$name" "$prefix/lib/ecommerce-etl/"; done
