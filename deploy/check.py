"""What no linter knows: that files which have to agree do."""

import json
import pathlib
import re

import yaml

deploy = pathlib.Path(__file__).parent
faults = []


class Template(yaml.SafeLoader):
    """CloudFormation's short forms, as plain values."""


Template.add_multi_constructor("!", lambda loader, tag, node: getattr(node, "value", None))

# One policy, as a file of its own and in the template.
alone = json.loads((deploy / "aws/source-policy.json").read_text())
stack = yaml.load((deploy / "aws/queue.yaml").read_text(), Template)
whole = stack["Resources"]["SourcePolicy"]["Properties"]["PolicyDocument"]
if alone["Statement"][0]["Action"] != whole["Statement"][0]["Action"]:
    faults.append("source-policy.json and queue.yaml allow different actions")

# An alert leads to a section that is there.
titles = re.findall(r"^## (.+)$", (deploy / "RUNBOOK.md").read_text(), re.MULTILINE)
anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
rules = yaml.safe_load((deploy / "prometheus/rules.yml").read_text())
alerts = [rule for group in rules["groups"] for rule in group["rules"]]
for alert in alerts:
    anchor = alert["annotations"]["runbook"].partition("#")[2]
    if anchor not in anchors:
        faults.append(f"{alert['alert']}: RUNBOOK.md has no section #{anchor}")

# Alerts and panels ask for metrics that the connectors have.
known = set()
for connector in ("sqs-source", "postgres-sink"):
    metrics = (deploy.parent / f"connectors/{connector}/src/metrics.rs").read_text()
    namespace = connector.replace("-", "_")
    known |= {f"{namespace}_{name}" for name in re.findall(r'new\s*\.\w+\(\s*"(\w+)"', metrics)}
board = json.loads((deploy / "grafana/dashboards/operators.json").read_text())
asked = [alert["expr"] for alert in alerts]
asked += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
for metric in set(re.findall(r"(?:sqs_source|postgres_sink)_\w+", " ".join(asked))):
    if re.sub(r"_(bucket|count|sum)$", "", metric) not in known:
        faults.append(f"no connector has a metric {metric}")

for fault in faults:
    print(fault)
print(f"{len(alerts)} alerts and {len(board['panels'])} panels looked at")
raise SystemExit(bool(faults))
