#!/usr/bin/env bash
# Registers the SPU of compose.yaml, creates the topic and loads the SmartModules. Safe to repeat.
set -euo pipefail
cd "$(dirname "$0")"

fluvio profile add compose sc:9003 docker

listed() { fluvio "$@" list --output json | tr -d ' \n'; }

if ! listed cluster spu | grep -q '"id":5001'; then
  fluvio cluster spu register --id 5001 --public-server spu:9010 --private-server spu:9011
fi
# Creating a topic chooses its leader, so the SPU has to be online first.
for _ in $(seq 60); do
  if listed cluster spu | grep -qi '"online"'; then break; fi
  sleep 1
done
if ! listed topic | grep -q '"shop-events"'; then
  fluvio topic create --config topic.yaml
fi
# Loading them again replaces them.
for name in flatten-items raw-events; do
  fluvio smartmodule create "$name" --wasm-file "$name.wasm"
done
