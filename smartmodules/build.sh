#!/usr/bin/env bash
# Builds the SmartModules to WebAssembly, next to the binaries of BUILD_PROFILE (default: release):
# target/release/flatten-items.wasm, list-items.wasm and raw-events.wasm.
#
# WASM_TOOLCHAIN selects the toolchain:
#   rustup   rustup's target wasm32-wasip1, added if it is missing (2 s, 91 MB)
#   debian   Debian's packages, if rustup's server is unreachable (0.8 GB; installing needs root)
#   auto     the first that is installed, else rustup, else debian (default)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target_dir=${CARGO_TARGET_DIR:-target}
smartmodules=(flatten-items list-items raw-events)

say() { printf 'smartmodules: %s\n' "$*" >&2; }

has_rustup_target() {
    command -v rustup >/dev/null &&
        rustup target list --installed 2>/dev/null | grep -qx wasm32-wasip1
}

add_rustup_target() {
    if ! command -v rustup >/dev/null; then
        say "rustup is not installed"
        return 1
    fi
    say "adding rustup's target wasm32-wasip1"
    if ! timeout 300 rustup target add wasm32-wasip1 >&2; then
        say "rustup could not add its target wasm32-wasip1; its server may be unreachable"
        return 1
    fi
}

# Prints Debian's newest linker for WebAssembly, for example wasm-ld-22.
debian_linker() {
    find /usr/bin -name 'wasm-ld-*' -printf '%f\n' 2>/dev/null | sort -V | tail -n 1
}

has_debian_packages() {
    dpkg-query --show rustc-web cargo-web rust-web-src >/dev/null 2>&1 && [ -n "$(debian_linker)" ]
}

add_debian_packages() {
    if ! command -v apt-get >/dev/null; then
        say "this is not a Debian system"
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        say "only root can install rustc-web, cargo-web, rust-web-src and the newest lld-<version>"
        return 1
    fi
    say "installing Debian's rustc-web, cargo-web, rust-web-src and lld"
    export DEBIAN_FRONTEND=noninteractive
    timeout 300 apt-get update -q >&2 || return 1
    local lld
    lld=$(apt-cache search --names-only '^lld-[0-9]+$' | cut -d ' ' -f 1 | sort -V | tail -n 1)
    timeout 1200 apt-get install -q -y --no-install-recommends \
        rustc-web cargo-web rust-web-src "${lld:-lld}" >&2
}

# rustup's rustc has the target's standard library.
build_with_rustup() {
    cargo build "$@" --profile release-lto --target wasm32-wasip1
    built=$target_dir/wasm32-wasip1/release-lto
}

# Debian has no wasm32-wasip1, and its rustc no standard library for wasm32-unknown-unknown: cargo
# builds it from Debian's sources, with a flag that only a bootstrapping compiler allows.
build_with_debian() {
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$(debian_linker) \
        /usr/bin/cargo build "$@" --profile release-lto --target wasm32-unknown-unknown \
        -Zbuild-std=std,panic_abort
    built=$target_dir/wasm32-unknown-unknown/release-lto
}

choose() {
    case ${WASM_TOOLCHAIN:-auto} in
    rustup) has_rustup_target || add_rustup_target && toolchain=rustup ;;
    debian) has_debian_packages || add_debian_packages && toolchain=debian ;;
    auto)
        if has_rustup_target; then
            toolchain=rustup
        elif has_debian_packages; then
            toolchain=debian
        elif add_rustup_target; then
            toolchain=rustup
        elif add_debian_packages; then
            toolchain=debian
        else
            return 1
        fi
        ;;
    *)
        say "error: WASM_TOOLCHAIN is '$WASM_TOOLCHAIN'; it can be rustup, debian or auto"
        exit 2
        ;;
    esac
}

if ! choose; then
    say "error: no toolchain for WebAssembly. Either: rustup target add wasm32-wasip1"
    say "or, on Debian, as root: apt-get install rustc-web cargo-web rust-web-src lld-<newest>"
    exit 1
fi

packages=()
for name in "${smartmodules[@]}"; do packages+=(-p "$name"); done
"build_with_$toolchain" "${packages[@]}"

beside=$target_dir/${BUILD_PROFILE:-release}
mkdir -p "$beside"
for name in "${smartmodules[@]}"; do
    wasm=$beside/$name.wasm
    # An unchanged file keeps its time. A new one is renamed into place: a test may be reading.
    if ! cmp -s "$built/${name//-/_}.wasm" "$wasm"; then
        cp "$built/${name//-/_}.wasm" "$wasm.new"
        mv "$wasm.new" "$wasm"
    fi
    say "$wasm, $(stat -c %s "$wasm") bytes, built with $toolchain's toolchain"
done
