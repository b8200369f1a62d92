"""Checks that files agree which no linter compares."""

import json
import pathlib
import re

import yaml

deploy = pathlib.Path(__file__).parent
faults = []


class Template(yaml.SafeLoader):
    """Reads CloudFormation's short forms as plain values."""


Template.add_multi_constructor("!", lambda loader, tag, node: getattr(node, "value", None))

# Each policy is a file and a part of a template.
policies = [("aws", "queue.yaml", ["source"])]
policies += [("lake/aws", "lake.yaml", ["sink", "maintenance", "reader"])]
for folder, template, names in policies:
    stack = yaml.load((deploy / folder / template).read_text(), Template)
    for name in names:
        alone = json.loads((deploy / folder / f"{name}-policy.json").read_text())
        resource = stack["Resources"][f"{name.title()}Policy"]
        whole = resource["Properties"]["PolicyDocument"]["Statement"]
        for ours, theirs in zip(alone["Statement"], whole):
            if (ours["Sid"], ours["Action"]) != (theirs["Sid"], theirs["Action"]):
                faults.append(f"{name}-policy.json and {template} allow different actions")

# The view of Trino and Spark names the columns of the table.
schema = (deploy.parent / "connectors/lake-sink/src/schema.rs").read_text()
schema = schema.partition("pub const FACTS")[2].partition("pub const RAW")[0]
columns = re.findall(r'(?:required|optional)\(\s*"(\w+)"', schema)
view = (deploy / "lake/views/facts_distinct.sql").read_text()
view = view.partition("AS\nSELECT")[2].partition("FROM")[0]
if re.findall(r"\w+", view) != columns:
    faults.append("facts_distinct.sql and the sink's table have different columns")

# Each alert names a section of the runbook.
titles = re.findall(r"^## (.+)$", (deploy / "RUNBOOK.md").read_text(), re.MULTILINE)
anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
rules = yaml.safe_load((deploy / "prometheus/rules.yml").read_text())
alerts = [rule for group in rules["groups"] for rule in group["rules"]]
for alert in alerts:
    anchor = alert["annotations"]["runbook"].partition("#")[2]
    if anchor not in anchors:
        faults.append(f"{alert['alert']}: RUNBOOK.md has no section #{anchor}")

# Alerts and panels query metrics that the connectors have.
known = set()
meter = re.compile(r'(?:new\s*\.\w+|counter|of_table|options)\(\s*"(\w+)"')
for connector in ("sqs-source", "postgres-sink", "lake-sink"):
    sources = (deploy.parent / f"connectors/{connector}/src").rglob("*.rs")
    metrics = "".join(source.read_text() for source in sources)
    namespace = connector.replace("-", "_")
    known |= {f"{namespace}_{name}" for name in meter.findall(metrics)}
board = json.loads((deploy / "grafana/dashboards/operators.json").read_text())
asked = [alert["expr"] for alert in alerts]
asked += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
for metric in set(re.findall(r"(?:sqs_source|postgres_sink|lake_sink)_\w+", " ".join(asked))):
    if re.sub(r"_(bucket|count|sum)$", "", metric) not in known:
        faults.append(f"no connector has a metric {metric}")

# The shipped files of both connectors sign commit notifications with the same declared secret.
kubernetes = yaml.safe_load((deploy / "kubernetes/config.yaml").read_text())["data"]
for place in ("cluster", "containers/config", "kubernetes"):
    for connector, section in (("sqs-source", "sqs"), ("postgres-sink", "postgres")):
        name = f"{connector}.yaml"
        text = kubernetes[name] if place == "kubernetes" else (deploy / place / name).read_text()
        config = yaml.safe_load(text)
        secret = config[section].get("notifications-secret")
        declared = {"name": "NOTIFICATIONS_SECRET"} in config["meta"]["secrets"]
        if secret != "${{ secrets.NOTIFICATIONS_SECRET }}" or not declared:
            faults.append(f"{place}: {name} does not set `notifications-secret`")

# Whoever fills in the example of the secrets has all that the files ask for.
example = (deploy / "cluster/secrets.example.txt").read_text()
for connector in ("sqs-source", "postgres-sink", "lake-sink"):
    lines = (deploy / f"cluster/{connector}.yaml").read_text().splitlines()
    code = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    environment = (deploy / f"systemd/{connector}.env").read_text()
    for secret in sorted(set(re.findall(r"\$\{\{ *secrets\.(\w+) *\}\}", code))):
        for name, text in ((f"{connector}.env", environment), ("secrets.example.txt", example)):
            if not re.search(rf"^{secret}=", text, re.MULTILINE):
                faults.append(f"{name} lacks {secret}, which {connector}.yaml asks for")

for fault in faults:
    print(fault)
print(f"{len(alerts)} alerts and {len(board['panels'])} panels checked")
raise SystemExit(bool(faults))
