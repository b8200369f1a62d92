"""Measures the lake sink: from records in memory, and from a full topic, to committed rows."""

import json
import statistics
import subprocess
import tempfile
from pathlib import Path

import parts
import throughput
from stack import PROGRAMS, Stack

#: The passes over the events from memory; the first one also creates the tables.
PASSES = 3


def measure(count: int) -> dict:
    """Measures both once, with `count` events."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Path(folder) / "lake"
        with Stack(lake=lake) as stack:
            file, facts = throughput.write(Path(folder) / "lake.jsonl", count)
            found = {"facts": facts, "from a topic": from_a_topic(stack, Path(folder), file, facts)}
            found["files"] = summary(stack, "total-data-files")
            found["mib"] = summary(stack, "total-files-size") / 2**20
            found["records in memory"] = from_memory(stack, Path(folder) / "loaded", file, facts)
    return found


def from_a_topic(stack: Stack, folder: Path, file: Path, facts: int) -> dict:
    """Measures the connector, which reads through the node and its SmartModule."""
    # A commit a second, so that the time to the last one is not the interval.
    lake = stack.stopped("lake_sink").changed(folder / "lake-sink.yaml", commit_interval="1s")
    stack.stopped("postgres_sink")
    source = stack.stopped("sqs_source").changed(folder / "source.yaml", **parts.WITHOUT_SINK)
    stack.send(file)
    source.start()
    stack.until_empty()
    source.stop()

    written = lambda: summary(stack, "total-records") == facts  # noqa: E731
    cost = parts.timed(
        {lake.start(): "lake_sink"}, lambda: stack.until(written, "the lake has all facts")
    )
    lake.stop()
    return parts.per(facts, cost, "lake-sink", "fact")


def from_memory(stack: Stack, folder: Path, file: Path, facts: int) -> dict:
    """Measures the sink without its reading."""
    with stack.connect() as connection:
        connection.execute('CREATE DATABASE "lake"')
    url = stack.database_url.rsplit("/", 1)[0] + "/lake"
    output = subprocess.run(
        [PROGRAMS / "examples" / "lake-load", file, folder, str(PASSES)],
        env=stack.environment | {"DATABASE_URL": url},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    passes = [tuple(map(float, line.split())) for line in output.splitlines()]
    assert len(passes) == PASSES
    seconds, cpu = min(passes)
    return {"facts_per_s": facts / seconds, "us_per_fact": cpu * 1e6 / facts}


def summary(stack: Stack, name: str) -> int:
    """Returns a number of the summary of the newest snapshot of the facts; 0 without one."""
    metadata = table(stack)
    current = metadata.get("current-snapshot-id")
    found = [one for one in metadata.get("snapshots", []) if one["snapshot-id"] == current]
    return int(found[0]["summary"].get(name, 0)) if found else 0


def table(stack: Stack) -> dict:
    """Returns the metadata of the table of facts."""
    with stack.connect() as connection:
        row = connection.execute(
            "SELECT metadata_location FROM iceberg_tables WHERE table_name = 'facts'"
        ).fetchone()
    return json.loads(Path(row[0].removeprefix("file://")).read_text()) if row else {}


def lines(runs: list[dict]) -> list[str]:
    """Renders the medians of the runs."""

    def median(way: str, value: str) -> float:
        return statistics.median(run[way][value] for run in runs)

    found = ["| the lake sink alone | facts/s | CPU µs a fact | facts/s a core | most memory, MiB |"]
    found.append("|---|---:|---:|---:|---:|")
    for way in ("from a topic", "records in memory"):
        rate, micros = median(way, "facts_per_s"), median(way, "us_per_fact")
        memory = max(run[way].get("memory_mib", 0) for run in runs)
        shown = f"{memory:.0f}" if memory else ""
        found.append(f"| {way} | {rate:,.0f} | {micros:.2f} | {1e6 / micros:,.0f} | {shown} |")
    return found
