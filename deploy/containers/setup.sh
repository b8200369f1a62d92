#!/usr/bin/env bash
# Prepares the cluster of compose.yaml: its SPU, the topic, the SmartModule. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")"

fluvio profile add compose sc:9003 docker

listed() { fluvio "$@" list --output json | tr -d ' \n'; }

if ! listed cluster spu | grep -q '"id":5001'; then
  fluvio cluster spu register --id 5001 --public-server spu:9010 --private-server spu:9011
fi
# A topic is given its leader when it is created, so the SPU has to be there.
for _ in $(seq 60); do
  if listed cluster spu | grep -qi '"online"'; then break; fi
  sleep 1
done
if ! listed topic | grep -q '"shop-events"'; then
  fluvio topic create --config topic.yaml
fi
# Loading it again replaces it.
fluvio smartmodule create flatten-items --wasm-file flatten-items.wasm
