#!/usr/bin/env bash
# Builds the SmartModules to WebAssembly, beside the binaries of BUILD_PROFILE: target/release/flatten-items.wasm
# and list-items.wasm, unless it says another than release.
#
# The one place that finds a toolchain for WebAssembly. WASM_TOOLCHAIN chooses:
#   rustup   rustup's target wasm32-wasip1, added where it is missing (2 s, 91 MB)
#   debian   Debian's packages, where rustup's server is out of reach (0.8 GB; only root can install them)
#   auto     whichever is there, else rustup, else debian (the default)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target_dir=${CARGO_TARGET_DIR:-target}
smartmodules=(flatten-items list-items)

say() { printf 'smartmodules: %s\n' "$*" >&2; }

has_rustup_target() {
    command -v rustup >/dev/null && rustup target list --installed 2>/dev/null | grep -qx wasm32-wasip1
}

add_rustup_target() {
    if ! command -v rustup >/dev/null; then
        say "rustup is not installed"
        return 1
    fi
    say "adding rustup's target wasm32-wasip1"
    if ! timeout 300 rustup target add wasm32-wasip1 >&2; then
        say "rustup could not add its target wasm32-wasip1; its server may be out of reach"
        return 1
    fi
}

# The newest linker for WebAssembly among Debian's: wasm-ld-22, say.
debian_linker() {
    find /usr/bin -name 'wasm-ld-*' -printf '%f\n' 2>/dev/null | sort -V | tail -n 1
}

has_debian_packages() {
    dpkg-query --show rustc-web cargo-web rust-web-src >/dev/null 2>&1 && [ -n "$(debian_linker)" ]
}

add_debian_packages() {
    if ! command -v apt-get >/dev/null; then
        say "this is no Debian"
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        say "only root can install the packages rustc-web, cargo-web, rust-web-src and the newest lld-<version>"
        return 1
    fi
    say "installing Debian's rustc-web, cargo-web, rust-web-src and lld"
    export DEBIAN_FRONTEND=noninteractive
    timeout 300 apt-get update -q >&2 || return 1
    local lld
    lld=$(apt-cache search --names-only '^lld-[0-9]+$' | cut -d ' ' -f 1 | sort -V | tail -n 1)
    timeout 1200 apt-get install -q -y --no-install-recommends rustc-web cargo-web rust-web-src "${lld:-lld}" >&2
}

# A rustc that has the target's standard library.
build_with_rustup() {
    cargo build "$@" --profile release-lto --target wasm32-wasip1
    built=$target_dir/wasm32-wasip1/release-lto
}

# Debian has no wasm32-wasip1, and its rustc no standard library for wasm32-unknown-unknown: cargo builds
# it from Debian's sources, which takes a flag that only a bootstrapping compiler allows.
build_with_debian() {
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$(debian_linker) \
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
    say "or, on Debian, as root: apt-get install rustc-web cargo-web rust-web-src lld-<newest version>"
    exit 1
fi

packages=()
for name in "${smartmodules[@]}"; do packages+=(-p "$name"); done
"build_with_$toolchain" "${packages[@]}"

beside=$target_dir/${BUILD_PROFILE:-release}
mkdir -p "$beside"
for name in "${smartmodules[@]}"; do
    wasm=$beside/$name.wasm
    # An unchanged file keeps its time. The new one appears whole or not at all: a test may be reading.
    if ! cmp -s "$built/${name//-/_}.wasm" "$wasm"; then
        cp "$built/${name//-/_}.wasm" "$wasm.new"
        mv "$wasm.new" "$wasm"
    fi
    say "$wasm, $(stat -c %s "$wasm") bytes, built with $toolchain's toolchain"
done
