#!/usr/bin/env bash
# Builds what is released, into target/dist-packages:
#
#   ecommerce-etl-VERSION-TRIPLE.tar.gz   programs, SmartModules, sql/, deploy/, docs/, SBOMs
#   ecommerce-etl_VERSION-1_ARCH.deb      programs with systemd units, for Debian and Ubuntu
#   SHA256SUMS
#
# BUILD_PROFILE selects cargo's profile (default: dist), PACKAGES what is made (default: "tar deb").
# With BUILD=no the programs have to be there. The same commit, toolchain and folder make the same
# files: times are those of the commit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

export BUILD_PROFILE=${BUILD_PROFILE:-dist}
target=${CARGO_TARGET_DIR:-target}
built=$target/$BUILD_PROFILE
packages=$target/dist-packages
tools=$target/packaging-tools
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
triple=$(rustc -vV | sed -n 's/^host: //p')
name=ecommerce-etl-$version-$triple
# cargo-cyclonedx and cargo-deb take their times from it, and the archive its own.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
# The packages that have a program, and where.
crates=(cli connectors/sqs-source connectors/postgres-sink connectors/lake-sink
    deploy/local/fluvio-node)

say() { printf 'dist: %s\n' "$*" >&2; }

# The versions are fixed, so that a release does not depend on its day.
tool() {
    local command=$1 at=$2
    grep -qsF "\"$command $at " "$tools/.crates.toml" && return
    say "installing $command $at"
    cargo install --quiet --locked --root "$tools" --target-dir "$tools/build" "$command@$at"
    rm -rf "$tools/build"
}

# The crates of each program, in CycloneDX, below sbom/ beside the programs.
sboms() {
    local crate name
    tool cargo-cyclonedx 0.5.9
    # It writes a file into each package of the workspace.
    trap 'find . -name dist-sbom.json -not -path "./target/*" -delete' RETURN
    "$tools/bin/cargo-cyclonedx" cyclonedx --quiet --format json --no-build-deps --target "$triple" \
        --override-filename dist-sbom
    rm -rf "$built/sbom"
    install -d "$built/sbom"
    for crate in "${crates[@]}"; do
        name=$(basename "$crate" | sed 's/^cli$/etl/')
        install -m 644 "$crate/dist-sbom.json" "$built/sbom/$name.cdx.json"
    done
}

# The licences of the crates ask for their texts in what is distributed.
licences() {
    python3 deploy/package/licences.py "$triple" etl sqs-source postgres-sink lake-sink fluvio-node \
        flatten-items list-items raw-events >"$built/LICENSES.third-party.txt"
}

# The files of an operator: what the pages link to, and nothing that only builds or checks.
files() {
    git ls-files -- sql deploy docs examples connectors/*/README.md connectors/*/sample-config.yaml \
        README.md LICENSE SECURITY.md CONTRIBUTING.md bench/README.md smartmodules/README.md |
        grep -vE '^deploy/local/|^deploy/package/[^Rc]|^deploy/.*check\.(py|sh)$|requirements\.txt$' |
        grep -vE '^docs/check\.py$|^sql/generate/|^examples/Cargo\.toml$'
}

tarball() {
    local folder=$packages/$name
    rm -rf "$folder"
    deploy/package/install.sh "$folder"
    files | tar --create --files-from=- | tar --extract --directory="$folder"
    cp -r "$built/sbom" "$built/LICENSES.third-party.txt" "$folder"
    (cd "$folder" && find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum) \
        >"$packages/sums"
    mv "$packages/sums" "$folder/SHA256SUMS"
    tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --mode=go=rX,u+rw --directory="$packages" "$name" | gzip --no-name -9 >"$packages/$name.tar.gz"
    rm -rf "$folder"
}

deb() {
    tool cargo-deb 3.8.0
    "$tools/bin/cargo-deb" deb --quiet --package etl --profile "$BUILD_PROFILE" --no-build --no-dbgsym \
        --output "$packages/"
}

if [ "${BUILD:-yes}" != no ]; then
    make build "PROFILE=$BUILD_PROFILE"
fi
sboms
licences
rm -rf "$packages"
mkdir -p "$packages"
for each in ${PACKAGES:-tar deb}; do
    case $each in
    tar) tarball ;;
    deb) deb ;;
    *)
        say "error: PACKAGES is '$PACKAGES'; it can have tar and deb"
        exit 2
        ;;
    esac
done
(cd "$packages" && sha256sum -- ecommerce-etl* >SHA256SUMS)
(cd "$packages" && ls -lh -- *)
