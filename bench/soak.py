"""Runs the product for hours under a steady load and restarts, and measures what grows. See
README.md."""

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import IO

import psycopg

import soak_plot
from events import event, facts_of
from run import machine, report
from stack import PROGRAMS, ROOT, Connector, Stack

#: The largest growth in an hour of each series, in its unit. Facts, the bytes of database and node,
#: and the node's open segments grow by design; bytes a fact or event do not. pg_wal has a limit of
#: its own.
LIMITS = {
    "sqs-source, MiB": 16,
    "postgres-sink, MiB": 16,
    "Fluvio node, MiB": 16,
    "SQS endpoint, MiB": 16,
    "PostgreSQL, MiB": 32,
    "sqs-source, open files": 2,
    "postgres-sink, open files": 2,
    "SQS endpoint, open files": 20,
    "PostgreSQL, open files": 100,
    "connections": 1,
    "waiting events": 500,
    "age of the aggregates, s": 30,
    "node, bytes an event": 10,
}
#: The part of max_wal_size by which pg_wal may exceed it, since checkpoints take their time.
WAL_TOLERANCE = 0.25
#: The most bytes a fact in the database, with indexes, dimensions and aggregates. They grow when an
#: hour's aggregates are stored, half an hour after it.
MOST_BYTES_A_FACT = 700
#: The age of a process from which its samples count for growth. Until then it fills its buffers.
WARM_UP_S = 180.0
#: The processes of the stack by their names in the process table.
PROCESSES = {
    "sqs_source": "sqs-source",
    "postgres_sink": "postgres-sink",
    "fluvio-node": "Fluvio node",
    "etl": "SQS endpoint",
    "postgres": "PostgreSQL",
}
#: Turns of restarts: each connector is stopped, and the next time killed.
TURNS = [
    ("postgres_sink", signal.SIGTERM),
    ("sqs_source", signal.SIGTERM),
    ("postgres_sink", signal.SIGKILL),
    ("sqs_source", signal.SIGKILL),
]
#: A tenth of the events are late: of one hour of the last two days, another one each minute. An
#: hour that nobody writes to is stored in the aggregates soon.
LATE, LATE_HOURS = 0.1, 48
REPEATS, UNREADABLE = 0.01, 0.001
#: A person has one session in this time.
SESSION_S = 1800
#: Sent events that can be repeated, of the whole run.
REMEMBERED = 10_000
#: Seconds between two writes to `etl send`.
TICK_S = 0.1
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--rate", type=int, default=2_000, help="events a second")
    parser.add_argument("--items", type=int, default=1, help="items of an event")
    parser.add_argument(
        "--restart-every", type=float, default=10, metavar="MINUTES", help="one connector in turn"
    )
    parser.add_argument("--sample-every", type=float, default=10, metavar="SECONDS")
    parser.add_argument(
        "--data", type=Path, help="an empty folder for the data [default: a temporary one]"
    )
    parser.add_argument(
        "--quick", action="store_true", help="two minutes that check the harness, not the growth"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "target" / "soak.json")
    parser.add_argument("--plot", type=Path, help="where to write a plot as SVG")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.hours, arguments.rate = 2 / 60, 500
        arguments.restart_every, arguments.sample_every = 0.4, 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    results = {
        "machine": machine(),
        "hours": arguments.hours,
        "rate": arguments.rate,
        "items": arguments.items,
        "restarts": [],
        "series": {},
        "errors": [],
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            Soak(arguments, Path(folder), results).run()
        results["growth"] = growth(results)
        if not arguments.quick:
            results["errors"] += above_limits(results["growth"])
    finally:
        arguments.out.write_text(json.dumps(results))
    if arguments.plot:
        soak_plot.draw(results, arguments.plot)
    print(table(results))
    report(f"raw numbers: {arguments.out}")
    if results["errors"]:
        sys.exit("\n".join(results["errors"]))


@dataclass
class Sent:
    """Counts what the tables must contain."""

    messages: int = 0
    events: int = 0
    facts: int = 0
    repeats: int = 0
    unreadable: int = 0
    products: set[str] = field(default_factory=set)
    lists: set[str] = field(default_factory=set)


class Soak:
    """One run."""

    def __init__(self, arguments: argparse.Namespace, folder: Path, results: dict) -> None:
        self.arguments, self.folder, self.results = arguments, folder, results
        self.sent = Sent()
        self.is_sending = threading.Event()
        self.connectors: dict[str, Connector] = {}
        self.began = 0.0

    def run(self) -> None:
        with Stack(data=self.arguments.data) as stack, stack.connect() as connection:
            # A folder of the user's keeps the log.
            logs = self.arguments.data or self.folder
            with (logs / "connectors.log").open("a") as log:
                self.take_over(stack, log)
                try:
                    self.load(stack, connection, log)
                    # The last messages of a source that was killed come again after the
                    # queue's visibility timeout.
                    stack.until_empty()
                    self.results["sent"] = self.counts(connection)
                    self.check_wal(connection)
                    self.check_database()
                    self.check_aggregates(stack)
                finally:
                    for connector in self.connectors.values():
                        connector.stop()

    def take_over(self, stack: Stack, log: IO) -> None:
        """Starts both connectors as processes of its own."""
        # The node keeps all records; compressed, they take a fifth of the disk.
        source = stack.stopped("sqs_source").changed(self.folder / "soak.yaml", compression="zstd")
        self.connectors = {"sqs_source": source, "postgres_sink": stack.stopped("postgres_sink")}
        for connector in self.connectors.values():
            connector.start(log)

    def load(self, stack: Stack, connection: psycopg.Connection, log: IO) -> None:
        """Sends, samples and restarts until the time is over."""
        self.began = time.monotonic()
        self.is_sending.set()
        sender = threading.Thread(target=self.send, args=(stack,))
        sender.start()
        duration = self.arguments.hours * 3600
        restart_s = self.arguments.restart_every * 60
        sample_at, restart_at, report_at = 0.0, restart_s, 0.0
        turns = iter(TURNS * (2 + int(duration / restart_s / len(TURNS))))
        try:
            while (now := self.elapsed()) < duration:
                if now >= restart_at:
                    self.restart(*next(turns), log)
                    restart_at += restart_s
                if now >= sample_at:
                    self.sample(stack, connection)
                    sample_at += self.arguments.sample_every
                if now >= report_at:
                    report(self.progress())
                    report_at += 600
                next_at = min(sample_at, restart_at, duration)
                time.sleep(max(0.0, next_at - self.elapsed()))
                if not self.is_sending.is_set():
                    raise SystemExit("the sender ended")
        finally:
            self.is_sending.clear()
            sender.join()

    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def restart(self, name: str, by: signal.Signals, log: IO) -> None:
        connector = self.connectors[name]
        self.results["restarts"].append([self.elapsed(), PROCESSES[name], by.name])
        connector.stop(by)
        connector.start(log)

    # The load.

    def send(self, stack: Stack) -> None:
        """Passes events to `etl send` at the rate until `is_sending` is cleared."""
        try:
            with subprocess.Popen(
                [PROGRAMS / "etl", "send", "-"],
                env=stack.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as sender:
                bodies = self.bodies()
                while self.is_sending.is_set():
                    due = int(self.elapsed() * self.arguments.rate)
                    sender.stdin.writelines(
                        f"{next(bodies)}\n" for _ in range(due - self.sent.messages)
                    )
                    sender.stdin.flush()
                    time.sleep(TICK_S)
            if sender.returncode != 0:
                self.results["errors"].append(f"`etl send` ended with {sender.returncode}")
        finally:
            # The main thread notices that nothing is sent any more.
            self.is_sending.clear()

    def bodies(self) -> Iterator[str]:
        """Yields bodies of messages, and counts them."""
        sent, chance = self.sent, random.Random(1)
        remembered: list[str] = []
        while True:
            sent.messages += 1
            kind = chance.random()
            if kind < REPEATS and remembered:
                sent.repeats += 1
                yield chance.choice(remembered)
                continue
            micros = self.micros(chance)
            made = event(chance, f"soak-{sent.messages}", micros, self.arguments.items)
            made["session_id"] = str(micros // (SESSION_S * 1_000_000))
            body = json.dumps(made)
            if kind > 1 - UNREADABLE:
                sent.unreadable += 1
                yield body[: len(body) // 2]
                continue
            sent.events += 1
            sent.facts += facts_of(made)
            sent.products.update(item["item_id"] for item in json.loads(made["items"]))
            sent.lists.add(made["item_list_id"])
            if len(remembered) < REMEMBERED:
                remembered.append(body)
            elif chance.random() < 0.02:
                remembered[chance.randrange(REMEMBERED)] = body
            yield body

    def micros(self, chance: random.Random) -> int:
        """Returns the time of an event: now, or in an hour of the last two days."""
        now = time.time()
        if chance.random() < LATE:
            hours_ago = 1 + int(self.elapsed() / 60) % LATE_HOURS
            now -= hours_ago * 3600
            now -= now % 3600
            now += chance.random() * 3600
        return int(now * 1e6)

    # Samples.

    def sample(self, stack: Stack, connection: psycopg.Connection) -> None:
        at = self.elapsed()
        node = stack.pid("fluvio-node")
        for name, value in (
            *self.of_processes(stack),
            *of_database(connection),
            ("waiting events", stack.undeleted()),
            ("load of the machine", os.getloadavg()[0]),
            ("node, GiB", folder_size(node_folder(node)) / 2**30),
        ):
            self.add(at, name, value)
        last = {name: values[-1][1] for name, values in self.results["series"].items()}
        if last["facts"] and self.sent.messages:
            self.add(at, "database, bytes a fact", last["database, GiB"] * 2**30 / last["facts"])
            self.add(at, "node, bytes an event", last["node, GiB"] * 2**30 / self.sent.messages)

    def add(self, at: float, name: str, value: float) -> None:
        self.results["series"].setdefault(name, []).append([round(at, 1), round(value, 4)])

    def of_processes(self, stack: Stack) -> Iterator[tuple[str, float]]:
        """Yields memory and open files of each part."""
        processes = stack.processes()
        for name, connector in self.connectors.items():
            if connector.process.poll() is not None:
                raise SystemExit(f"{name} ended with {connector.process.returncode}")
            processes[connector.process.pid] = name
        memory: dict[str, float] = {}
        files: dict[str, int] = {}
        for pid, name in processes.items():
            try:
                # The processes of PostgreSQL share most of their memory: each has its part of it.
                used = proportional(pid) if name == "postgres" else resident(pid)
                opened = len(os.listdir(f"/proc/{pid}/fd"))
            except (FileNotFoundError, ProcessLookupError):
                continue
            part = PROCESSES[name]
            memory[part] = memory.get(part, 0) + used
            files[part] = files.get(part, 0) + opened
        yield from ((f"{part}, MiB", used / MIB) for part, used in memory.items())
        yield from ((f"{part}, open files", opened) for part, opened in files.items())

    def progress(self) -> str:
        last = {name: values[-1][1] for name, values in self.results["series"].items()}
        return (
            f"{self.elapsed() / 60:.0f} min: {self.sent.messages:,} messages sent, "
            f"{last['waiting events']:,} waiting, {last['facts']:,} facts, "
            f"source {last['sqs-source, MiB']:.0f} MiB, sink {last['postgres-sink, MiB']:.0f} MiB, "
            f"database {last['database, GiB']:.2f} GiB, node {last['node, GiB']:.2f} GiB"
        )

    # The end.

    def counts(self, connection: psycopg.Connection) -> dict:
        """Compares the tables with what was sent."""
        sent = self.sent
        found = {}
        for name, expected, query in (
            ("facts", sent.facts, "SELECT count(*) FROM fact_events"),
            ("events", sent.events, "SELECT count(DISTINCT event_id) FROM fact_events"),
            ("products", len(sent.products), "SELECT count(*) FROM dim_product"),
            ("lists", len(sent.lists), "SELECT count(*) FROM dim_list"),
            ("rejected", sent.unreadable, "SELECT count(*) FROM rejected_events"),
        ):
            found[name] = connection.execute(query).fetchone()[0]
            if found[name] != expected:
                self.results["errors"].append(f"{found[name]:,} {name} instead of {expected:,}")
        return found | {"messages": sent.messages, "repeats": sent.repeats}

    def check_wal(self, connection: psycopg.Connection) -> None:
        query = "SELECT setting::int FROM pg_settings WHERE name = 'max_wal_size'"
        limit = connection.execute(query).fetchone()[0] * (1 + WAL_TOLERANCE)
        most = max(mib for _, mib in self.results["series"]["pg_wal, MiB"])
        if most > limit:
            self.results["errors"].append(f"pg_wal: {most:,.0f} MiB, more than {limit:,.0f}")

    def check_database(self) -> None:
        _, size = self.results["series"]["database, bytes a fact"][-1]
        if size > MOST_BYTES_A_FACT:
            self.results["errors"].append(
                f"database: {size:.0f} bytes a fact, more than {MOST_BYTES_A_FACT}"
            )

    def check_aggregates(self, stack: Stack) -> None:
        checked = subprocess.run(
            [PROGRAMS / "etl", "aggregates", "check"],
            env=stack.environment,
            capture_output=True,
            text=True,
        )
        if checked.returncode != 0:
            self.results["errors"].append(f"aggregates:\n{checked.stdout}{checked.stderr}")


def of_database(connection: psycopg.Connection) -> Iterator[tuple[str, float]]:
    # Counting rows would take more and more CPU from the product. PostgreSQL's estimate is off by
    # less than a percent.
    row = connection.execute(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()), "
        "(SELECT sum(size) FROM pg_ls_waldir())::float8 / 1048576, "
        "pg_database_size(current_database())::float8 / (1 << 30), "
        "(SELECT sum(n_live_tup) FROM pg_stat_user_tables "
        " WHERE relid IN (SELECT inhrelid FROM pg_inherits "
        "                 WHERE inhparent = 'fact_events'::regclass))::bigint, "
        "(SELECT extract(epoch FROM age) FROM analytics.refresh_state())::float8"
    ).fetchone()
    names = ("connections", "pg_wal, MiB", "database, GiB", "facts", "age of the aggregates, s")
    return zip(names, (value or 0 for value in row))


def node_folder(pid: int) -> Path:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return Path(words[words.index("--data-dir") + 1])


def folder_size(folder: Path) -> int:
    """Returns the bytes that the files take on the disk."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def resident(pid: int) -> int:
    return kilobytes(Path(f"/proc/{pid}/status"), "VmRSS") * 1024


def proportional(pid: int) -> int:
    return kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss") * 1024


def kilobytes(file: Path, key: str) -> int:
    found = re.search(rf"(?m)^{key}:\s+(\d+) kB", file.read_text())
    return int(found[1]) if found else 0


# The growth.


def growth(results: dict) -> dict[str, float]:
    """Returns the growth in an hour of each series over the second half of the run."""
    return {
        name: slope(lives(values, name, results)) * 3600
        for name, values in results["series"].items()
    }


def lives(values: list, name: str, results: dict) -> list[list]:
    """Splits the samples of the second half by the restarts of their process."""
    half = results["hours"] * 3600 / 2
    starts = [at for at, part, _ in results["restarts"] if name.startswith(part)]
    found: dict[float, list] = {}
    for at, value in values:
        start = max((start for start in starts if start <= at), default=-WARM_UP_S)
        if at >= half and at - start >= WARM_UP_S:
            found.setdefault(start, []).append((at, value))
    return list(found.values())


def slope(lives: list[list]) -> float:
    """Returns the median of the slopes between any two samples of one life: a few outliers, such as
    those while a connector is away, do not change it."""
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for life in lives
        for earlier, later in combinations(life, 2)
    ]
    return statistics.median(slopes) if slopes else 0.0


def above_limits(growth: dict[str, float]) -> list[str]:
    return [
        f"{name}: grows by {growth[name]:.1f} an hour, more than {limit}"
        for name, limit in LIMITS.items()
        if growth[name] > limit
    ]


def table(results: dict) -> str:
    lines = ["| series | first half, median | second half, median | most | growth an hour | limit |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    half = results["hours"] * 3600 / 2
    for name, values in results["series"].items():
        halves = [[v for at, v in values if (at >= half) == second] for second in (False, True)]
        first, second = (statistics.median(part) if part else 0.0 for part in halves)
        limit = LIMITS.get(name, "")
        lines.append(
            f"| {name} | {first:,.1f} | {second:,.1f} | {max(v for _, v in values):,.1f} "
            f"| {results['growth'][name]:+,.2f} | {limit} |"
        )
    counted = ", ".join(f"{count:,} {name}" for name, count in results["sent"].items())
    return "\n".join([*lines, "", f"In the tables: {counted}"])


if __name__ == "__main__":
    main()
