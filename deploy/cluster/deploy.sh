#!/usr/bin/env bash
# Deploys the pipeline on the Fluvio cluster of the current profile, one step at a time, with
# Fluvio's own tools. Every step is safe to repeat.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: deploy.sh [--dry-run] STEP...

  packages     build the SmartModules, pack source and sink   (smdk, cdk)
  topic        create the topic                               (fluvio topic create)
  smartmodule  load flatten-items and raw-events, or replace  (smdk load)
  source       start sqs-source                               (cdk deploy start)
  sink         start postgres-sink                            (cdk deploy start)
  check        show what runs, and the lag of each part
  all          the five above, from topic to check

  for the lake, which is no part of the others:
  lake-package pack lake-sink                                 (cdk publish --pack)
  lake         start lake-sink, after topic and smartmodule   (cdk deploy start)

  and back: stop-source, stop-sink, stop-lake, remove-smartmodule, remove-topic

--dry-run shows the commands, and lets the tools check them where they can.
SECRETS names the file of secrets (default: secrets.txt beside this script).
USAGE
}

cd "$(dirname "${BASH_SOURCE[0]}")"
here=$PWD
root=$(cd ../.. && pwd)
secrets=${SECRETS:-$here/secrets.txt}
topic=shop-events
# The sink's SmartModule, and the one for other consumers.
smartmodules=(flatten-items raw-events)
built=${CARGO_TARGET_DIR:-$root/target}/wasm32-wasip1/release-lto
# The folder into which cdk builds the connectors.
programs=${CARGO_TARGET_DIR:-$root/target}/$(uname -m)-unknown-linux-gnu/release
dry_run=

run() {
    printf '+ %s\n' "$*" >&2
    [ -n "$dry_run" ] || "$@"
}

# Runs the command even in a dry run: it has its own --dry-run.
run_always() {
    printf '+ %s\n' "$*" >&2
    "$@"
}

need() {
    command -v "$1" >/dev/null || {
        echo "error: no \`$1\` on the PATH; it comes with Fluvio 0.18.1, see README.md" >&2
        exit 1
    }
}

package_of() { echo "$root/connectors/$1/.hub/$1-0.1.0.ipkg"; }

packages() {
    need smdk && need cdk
    cd "$root"
    local smartmodule
    for smartmodule in "${smartmodules[@]}"; do
        run smdk build -p "$smartmodule"
    done
    cd "$here"
    pack sqs-source postgres-sink
}

pack() {
    need cdk
    cd "$root"
    local connector
    for connector; do
        run cdk publish --pack -p "$connector" --readme "connectors/$connector/README.md"
    done
    cd "$here"
}

topic_exists() { fluvio topic list 2>/dev/null | awk '{print $1}' | grep -qx "$1"; }

topic() {
    need fluvio
    if topic_exists "$topic"; then
        echo "topic \"$topic\" exists already"
    else
        run_always fluvio topic create --config topic.yaml ${dry_run:+--dry-run}
    fi
}

smartmodule() {
    need smdk
    cd "$root"
    local smartmodule wasm
    for smartmodule in "${smartmodules[@]}"; do
        wasm=$built/${smartmodule//-/_}.wasm
        [ -f "$wasm" ] || {
            echo "error: $wasm does not exist; \`deploy.sh packages\` builds it" >&2
            exit 1
        }
        run_always smdk load -p "$smartmodule" ${dry_run:+--dry-run}
    done
    cd "$here"
}

# Running, Stopped, or nothing for a connector that was never started or was shut down.
state_of() { cdk deploy list | awk -v name="$1" '$1 == name {print $2}'; }

# `cdk deploy start` starts a second process of a name that it knows before it refuses the name, so
# it must not be asked to.
start() {
    local connector=$1 name=$2 packed_by=$3 package
    need cdk
    package=$(package_of "$connector")
    [ -f "$package" ] || {
        echo "error: $package does not exist; \`deploy.sh $packed_by\` builds it" >&2
        exit 1
    }
    [ -f "$secrets" ] || {
        echo "error: no file $secrets; secrets.example.txt shows its contents" >&2
        exit 1
    }
    case $(state_of "$name") in
        Running) echo "connector \`$name\` is running already" && return ;;
        Stopped) run cdk deploy shutdown --name "$name" ;;
    esac
    if [ -n "$dry_run" ]; then
        run_always "$programs/${connector//-/_}" \
            --config "$connector.yaml" --secrets "$secrets" --dry-run
    fi
    run cdk deploy start --ipkg "$package" --config "$connector.yaml" --secrets "$secrets"
}

stop() {
    need cdk
    if [ -n "$(state_of "$1")" ]; then
        run cdk deploy shutdown --name "$1"
    else
        echo "connector \`$1\` is not deployed"
    fi
}

check() {
    need fluvio && need cdk
    run_always fluvio topic describe "$topic" || true
    run_always fluvio partition list
    run_always fluvio smartmodule list
    run_always cdk deploy list
    local name value
    if [ -f "$secrets" ] && [ -x "$root/target/release/etl" ]; then
        while IFS='=' read -r name value; do
            case $name in
            '' | '#'*) ;;
            *) export "$name=$value" ;;
            esac
        done <"$secrets"
        run_always "$root/target/release/etl" status
        run_always "$root/target/release/etl" doctor --source-config sqs-source.yaml \
            --sink-config postgres-sink.yaml --secrets "$secrets" || true
        if [ -n "$(state_of shop-events-lake)" ]; then
            run_always "$root/target/release/etl" lake status --config lake-sink.yaml \
                --secrets "$secrets" || true
        fi
    fi
}

# The connectors created the second topic, for commit notifications.
remove_topic() {
    need fluvio
    local each
    for each in "$topic" "$topic-committed"; do
        if topic_exists "$each"; then
            run fluvio topic delete "$each"
        else
            echo "topic \"$each\" does not exist"
        fi
    done
}

remove_smartmodule() {
    need fluvio
    local smartmodule package
    for smartmodule in "${smartmodules[@]}"; do
        if package=$(fluvio smartmodule list 2>/dev/null | awk '{print $1}' |
            grep "/$smartmodule@"); then
            run fluvio smartmodule delete "$package"
        else
            echo "SmartModule $smartmodule is not loaded"
        fi
    done
}

step() {
    case $1 in
        packages) packages ;;
        topic) topic ;;
        smartmodule) smartmodule ;;
        source) start sqs-source shop-events-source packages ;;
        sink) start postgres-sink shop-events-sink packages ;;
        lake-package) pack lake-sink ;;
        lake) start lake-sink shop-events-lake lake-package ;;
        check) check ;;
        all) for each in topic smartmodule source sink check; do step "$each"; done ;;
        stop-source) stop shop-events-source ;;
        stop-sink) stop shop-events-sink ;;
        stop-lake) stop shop-events-lake ;;
        remove-smartmodule) remove_smartmodule ;;
        remove-topic) remove_topic ;;
        -h | --help | help) usage ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
}

[ $# -gt 0 ] || {
    usage >&2
    exit 2
}
steps=()
for argument; do
    if [ "$argument" = --dry-run ]; then dry_run=yes; else steps+=("$argument"); fi
done
for each in "${steps[@]}"; do step "$each"; done
