"""Starts the product with `etl up` and measures its processes."""

import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Callable

import boto3
import psycopg

ROOT = Path(__file__).resolve().parent.parent
#: The cargo profile of the programs.
PROFILE = os.environ.get("BUILD_PROFILE", "release")
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / PROFILE
#: The profile of a Fluvio cluster to measure instead of the local node.
CLUSTER = os.environ.get("FLUVIO")
TICKS = os.sysconf("SC_CLK_TCK")
#: Names of the parts in the process table, and in the results.
PARTS = {
    "sqs_source": "sqs-source",
    "postgres_sink": "postgres-sink",
    "lake_sink": "lake-sink",
    "fluvio-node": "Fluvio node with the SmartModule",
    "postgres": "PostgreSQL",
    "etl": "SQS endpoint",
}


def profile_of(cluster: str, folder: Path) -> Path:
    """Copies the Fluvio CLI's profiles to a file whose current one is that of the cluster."""
    own = Path(os.environ.get("FLV_PROFILE_PATH", Path.home() / ".fluvio/config"))
    text, found = re.subn(
        r"(?m)^current_profile = .*$", f'current_profile = "{cluster}"', own.read_text()
    )
    if not found or not re.search(rf'(?m)^\[profile\."?{re.escape(cluster)}"?\]$', text):
        raise SystemExit(f"FLUVIO={cluster}: {own} has no such profile; `fluvio profile list`")
    file = folder / "fluvio.toml"
    file.touch(mode=0o600)
    file.write_text(text)
    return file


class Stack:
    """A running pipeline; as a context manager it ends with the block."""

    def __init__(
        self, partitions: int = 1, lake: Path | None = None, data: Path | None = None
    ) -> None:
        self.environment = dict(os.environ)
        self.folder = tempfile.TemporaryDirectory()
        self.log = Path(self.folder.name) / "etl-up.log"
        command = [PROGRAMS / "etl", "up", f"--partitions={partitions}"]
        if CLUSTER:
            profile = profile_of(CLUSTER, Path(self.folder.name))
            self.environment["FLV_PROFILE_PATH"] = str(profile)
            command.append("--cluster")
        if lake:
            command.append(f"--lake={lake}")
        if data:
            command.append(f"--data-dir={data}")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            export = re.match(r"export (\w+)='?([^'\n]*)'?$", line)
            if export:
                self.environment[export[1]] = export[2]
            elif line.startswith("# then"):
                break
        if "QUEUE_URL" not in self.environment:
            code = self.process.wait()
            raise SystemExit(f"`etl up` did not start: exit code {code}\n{self.log.read_text()}")
        self.database_url = self.environment["DATABASE_URL"]
        self.queue_url = self.environment["QUEUE_URL"]
        self.sqs = boto3.client(
            "sqs",
            endpoint_url=self.environment["AWS_ENDPOINT_URL_SQS"],
            region_name=self.environment["AWS_REGION"],
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.folder.cleanup()

    def processes(self) -> dict[int, str]:
        """Returns every process of the stack with its name."""
        children: dict[int, list[int]] = {}
        names: dict[int, str] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            name = stat[stat.index("(") + 1 : stat.rindex(")")]
            parent = int(stat[stat.rindex(")") + 2 :].split()[1])
            names[int(entry.name)] = name
            children.setdefault(parent, []).append(int(entry.name))
        found: dict[int, str] = {}
        waiting = [self.process.pid]
        while waiting:
            pid = waiting.pop()
            if names.get(pid) in PARTS:
                found[pid] = names[pid]
            waiting += children.get(pid, [])
        return found

    def pid(self, name: str) -> int:
        """Returns the process of that name."""
        return next(pid for pid, found in self.processes().items() if found == name)

    def stopped(self, name: str) -> "Connector":
        """Stops the connector of that name and returns it, to be started again."""
        return Connector(self.pid(name))

    def send(self, file: Path, queue_url: str | None = None) -> None:
        """Sends each line of the file to the queue."""
        environment = self.environment | {"QUEUE_URL": queue_url or self.queue_url}
        subprocess.run(
            [PROGRAMS / "etl", "send", file], env=environment, check=True, capture_output=True
        )

    def undeleted(self, queue_url: str | None = None) -> int:
        """Returns the number of messages in the queue, received or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        asked = self.sqs.get_queue_attributes(
            QueueUrl=queue_url or self.queue_url, AttributeNames=names
        )
        return sum(int(count) for count in asked["Attributes"].values())

    def until_empty(self, queue_url: str | None = None, limit: float = 900) -> None:
        """Waits until the queue is empty. With `delete-after: tables` all facts are committed."""
        self.until(lambda: self.undeleted(queue_url) == 0, "the queue is empty", limit)

    def until(self, holds: Callable[[], bool], what: str, limit: float = 900) -> None:
        deadline = time.monotonic() + limit
        while not holds():
            if time.monotonic() > deadline:
                raise SystemExit(f"timed out after {limit:.0f} s waiting until {what}")
            # Polling takes CPU away from the product.
            time.sleep(0.1)

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.database_url, autocommit=True)


class Connector:
    """A stopped connector, with its command and environment."""

    def __init__(self, pid: int) -> None:
        proc = Path(f"/proc/{pid}")
        self.command = (proc / "cmdline").read_bytes().decode().split("\0")[:-1]
        pairs = (proc / "environ").read_bytes().decode().split("\0")[:-1]
        self.environment = dict(pair.split("=", 1) for pair in pairs)
        os.kill(pid, signal.SIGTERM)
        # It is a zombie until `etl up` reaps it.
        while proc.exists() and ") Z " not in (proc / "stat").read_text():
            time.sleep(0.02)
        self.process: subprocess.Popen | None = None

    def changed(self, file: Path, **replaced: str) -> "Connector":
        """Changes keys of its configuration, which is written to `file`. Underscores stand for the
        hyphens of the keys."""
        at = self.command.index("--config") + 1
        text = Path(self.command[at]).read_text()
        for key, value in replaced.items():
            key = key.replace("_", "-")
            text, found = re.subn(rf"(?m)^(\s*{key}:).*$", rf"\1 {value}", text)
            assert found, f"no {key} in {self.command[at]}"
        file.write_text(text)
        self.command[at] = str(file)
        return self

    def start(self, log: IO | int = subprocess.DEVNULL) -> int:
        self.process = subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.DEVNULL, stderr=log
        )
        return self.process.pid

    def stop(self, by: int = signal.SIGTERM) -> None:
        if self.process:
            self.process.send_signal(by)
            self.process.wait(40)


class Cost:
    """Measures CPU and memory of processes between two moments."""

    def __init__(self, processes: dict[int, str]) -> None:
        self.before = {pid: (name, cpu(pid)) for pid, name in processes.items()}

    def until_now(self) -> dict[str, dict[str, float]]:
        """Returns CPU seconds and maximum resident memory in MiB by part. PostgreSQL's memory is
        left out, because each process counts the shared buffers."""
        parts: dict[str, dict[str, float]] = {}
        for pid, (name, before) in self.before.items():
            part = parts.setdefault(PARTS[name], {"cpu_s": 0.0, "memory_mib": 0.0})
            part["cpu_s"] += max(0.0, cpu(pid) - before)
            if name != "postgres":
                part["memory_mib"] = max(part["memory_mib"], most_memory(pid))
        return parts


def cpu(pid: int) -> float:
    """Returns CPU seconds of a process; 0 if it has ended."""
    user, system, *_ = times(pid)
    return (user + system) / TICKS


def cpu_of_ended_children(pid: int) -> float:
    """Returns CPU seconds of a process's ended children."""
    *_, user, system = times(pid)
    return (user + system) / TICKS


def times(pid: int) -> list[int]:
    """Returns utime, stime, cutime and cstime of proc(5)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return [0, 0, 0, 0]
    return [int(ticks) for ticks in stat[stat.rindex(")") + 2 :].split()[11:15]]


def most_memory(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0
