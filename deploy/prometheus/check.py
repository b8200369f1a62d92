"""Runs the pipeline, Prometheus with the shipped files, and Alertmanager; see check.sh.

The connectors have the files of deploy/cluster. Only addresses differ, and times, which promtool
tests: Prometheus asks each second, and an alert waits for two.
"""

import contextlib
import http.server
import json
import os
import queue
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", DEPLOY.parent / "target"))
PROGRAMS = TARGET / os.environ.get("BUILD_PROFILE", "release")
#: Of each step, also on a busy machine.
TIMEOUT_S = 120
CONNECTORS = ("sqs-source", "postgres-sink", "lake-sink")
ALERT = "ConnectorDown"


def main() -> None:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        stack.push(lambda kind, *_: kind and print_logs(folder))
        environment = pipeline(stack)
        ports = {connector: free_port() for connector in CONNECTORS}
        commands = {
            connector: connector_command(folder, connector, port)
            for connector, port in ports.items()
        }
        environments = {
            connector: environment | {"FLUVIO_METRIC_CONNECTOR": str(folder / f"{connector}.sock")}
            for connector in CONNECTORS
        }
        running = {
            connector: start(stack, folder, connector, command, environments[connector])
            for connector, command in commands.items()
        }
        received = receiver(stack)
        alertmanager = f"127.0.0.1:{start_alertmanager(stack, folder, received.port)}"
        prometheus = Prometheus(start_prometheus(stack, folder, ports, alertmanager))

        send(folder, environment)
        until("all three are scraped", lambda: prometheus.value("sum(up)") == 3)
        for metric in ("postgres_sink_facts_inserted_total", "lake_sink_rows_total"):
            until(f"{metric} rises", lambda: prometheus.value(f"sum({metric})") > 0)
        print(f"scraped: {', '.join(CONNECTORS)}")
        prometheus.check_queries()
        assert ALERT not in prometheus.firing(), "an alert fires before anything is wrong"

        running["postgres-sink"].kill()
        alert = received.wait(ALERT, "firing")
        assert alert["labels"]["job"] == "postgres-sink", alert
        runbook(alert["annotations"]["runbook"])
        print(f"received: {alert['annotations']['summary']}")

        sink = "postgres-sink"
        start(stack, folder, sink, commands[sink], environments[sink])
        received.wait(ALERT, "resolved")
        print("received: it is resolved after the sink was started again")


def pipeline(stack: contextlib.ExitStack) -> dict[str, str]:
    """Starts `etl up` and ends its connectors; returns the environment for others."""
    up = subprocess.Popen(
        [PROGRAMS / "etl", "up"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    stack.callback(end, up)
    environment = os.environ | {"NOTIFICATIONS_SECRET": "only-for-this-check"}
    assert up.stdout is not None
    for line in up.stdout:
        if export := re.match(r"export (\w+)='?([^'\n]*)'?$", line):
            environment[export[1]] = export[2]
        elif line.startswith("# then"):
            break
    if "QUEUE_URL" not in environment:
        raise SystemExit(f"`etl up` did not start: exit code {up.wait()}")
    # Its connectors have no address for metrics.
    children = Path(f"/proc/{up.pid}/task").glob("*/children")
    for pid in " ".join(each.read_text() for each in children).split():
        if Path(f"/proc/{pid}/comm").read_text().strip() in ("sqs_source", "postgres_sink"):
            os.kill(int(pid), signal.SIGTERM)
            until(f"process {pid} ends", lambda: ended(pid))
    return environment


def ended(pid: str) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def connector_command(folder: Path, connector: str, port: int) -> list:
    changed = {
        "metrics-address": f"127.0.0.1:{port}",
        "warehouse": (folder / "lake").as_uri(),
        "commit-interval": "1s",
    }
    text = (DEPLOY / f"cluster/{connector}.yaml").read_text()
    for key, value in changed.items():
        text = re.sub(rf"(?m)^(  {key}:).*$", rf"\1 {value}", text)
    file = folder / f"{connector}.yaml"
    file.write_text(text)
    return [PROGRAMS / connector.replace("-", "_"), "--config", file]


def start_alertmanager(stack: contextlib.ExitStack, folder: Path, webhook: int) -> int:
    file, port = folder / "alertmanager.yml", free_port()
    url = f"http://127.0.0.1:{webhook}/"
    file.write_text(
        json.dumps(
            {
                "route": {"receiver": "check", "group_wait": "0s", "group_interval": "1s"},
                "receivers": [{"name": "check", "webhook_configs": [{"url": url}]}],
            }
        )
    )
    command = [
        "prometheus-alertmanager", f"--config.file={file}", f"--storage.path={folder / 'alerts'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ]  # fmt: skip
    start(stack, folder, "alertmanager", command, dict(os.environ))
    return port


def start_prometheus(
    stack: contextlib.ExitStack, folder: Path, ports: dict[str, int], alertmanager: str
) -> int:
    port = free_port()
    rules = (DEPLOY / "prometheus/rules.yml").read_text()
    (folder / "rules.yml").write_text(re.sub(r"for: \d+m", "for: 2s", rules))
    text = (DEPLOY / "prometheus/prometheus.yml").read_text()
    lake = f'static_configs: [{{targets: ["127.0.0.1:{ports["lake-sink"]}"]}}]'
    changed = {
        '"source:9465"': f'"127.0.0.1:{ports["sqs-source"]}"',
        '"sink:9466"': f'"127.0.0.1:{ports["postgres-sink"]}"',
        "dns_sd_configs: [{names: [lake], type: A, port: 9467}]": lake,
        "targets: []": f'targets: ["{alertmanager}"]',
        "15s": "1s",
    }
    for part, other in changed.items():
        assert part in text, f"prometheus.yml has no {part}"
        text = text.replace(part, other)
    (folder / "prometheus.yml").write_text(text)
    command = [
        "prometheus", f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    start(stack, folder, "prometheus", command, dict(os.environ))
    return port


class Prometheus:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/v1"
        until("Prometheus answers", lambda: self.get("query", query="1"))

    def get(self, path: str, **parameters: str) -> dict:
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/{path}?{query}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return {}
            raise SystemExit(f"{parameters}: {error.read().decode()}") from error
        except OSError:
            return {}

    def value(self, query: str) -> float:
        result = self.get("query", query=query).get("result")
        return float(result[0]["value"][1]) if result else 0

    def firing(self) -> list[str]:
        alerts = self.get("alerts")["alerts"]
        return [each["labels"]["alertname"] for each in alerts if each["state"] == "firing"]

    def check_queries(self) -> None:
        """Has Prometheus evaluate all rules, and the panels of the operators' dashboard."""
        groups = self.get("rules")["groups"]
        for rule in (rule for group in groups for rule in group["rules"]):
            assert rule["health"] == "ok", f"{rule['name']}: {rule.get('lastError')}"
        board = json.loads((DEPLOY / "grafana/dashboards/operators.json").read_text())
        for target in (target for panel in board["panels"] for target in panel["targets"]):
            self.get("query", query=target["expr"].replace("$__rate_interval", "1m"))


class Receiver(http.server.ThreadingHTTPServer):
    """Receives what Alertmanager sends."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        self.alerts: queue.Queue[dict] = queue.Queue()

    def wait(self, name: str, status: str) -> dict:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                alert = self.alerts.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise SystemExit(f"Alertmanager sent no {name} that is {status}") from None
            if (alert["labels"]["alertname"], alert["status"]) == (name, status):
                return alert


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in body["alerts"]:
            self.server.alerts.put(alert)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def receiver(stack: contextlib.ExitStack) -> Receiver:
    server = Receiver()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shutdown)
    return server


def runbook(link: str) -> None:
    file, _, anchor = link.partition("#")
    titles = re.findall(r"(?m)^## (.+)$", (DEPLOY.parent / file).read_text())
    anchors = [re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles]
    assert anchor in anchors, f"{file} has no section #{anchor}"


def send(folder: Path, environment: dict[str, str]) -> None:
    events = folder / "events.jsonl"
    with events.open("w") as file:
        command = [PROGRAMS / "etl", "generate", "--messages", "300"]
        subprocess.run(command, stdout=file, check=True, timeout=TIMEOUT_S)
    subprocess.run(
        [PROGRAMS / "etl", "send", events],
        env=environment, check=True, capture_output=True, timeout=TIMEOUT_S,
    )  # fmt: skip


def start(
    stack: contextlib.ExitStack, folder: Path, name: str, command: list, environment: dict
) -> subprocess.Popen:
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    stack.callback(end, process)
    return process


def print_logs(folder: Path) -> None:
    for log in sorted(folder.glob("*.log")):
        print(f"== {log.name}", *log.read_text().splitlines()[-15:], sep="\n")


def end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()


def until(what: str, holds) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"timed out after {TIMEOUT_S} s waiting until {what}")
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


if __name__ == "__main__":
    main()
