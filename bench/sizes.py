"""Measures the cost of an event by size: waiting events, items, partitions, rows in the table."""

import os
import subprocess
import tempfile
from pathlib import Path

import throughput
from stack import PROGRAMS, Stack

#: Facts of a run whose size is not what varies.
FACTS = 200_000
#: Events sent at a time if not all can wait at once.
PIECE = 250_000


def measure(largest: int, rows_before: list[int]) -> list[dict]:
    """Runs each size. Events grow tenfold from 10,000 to `largest`; `rows_before` are facts in the
    table at the start."""
    runs = []
    count = 10_000
    while count <= largest:
        if count <= throughput.MOST_WAITING:
            runs.append(run(f"{count:,} events", count))
        else:
            runs.append(run(f"{count:,} events, sent meanwhile", PIECE, times=count // PIECE))
        count *= 10
    for items in (1, 5, 50, 200):
        runs.append(run(f"{items} item{'s' * (items > 1)} an event", FACTS // items, items=items))
    for partitions in (1, 2, 4):
        runs.append(
            run(
                f"{partitions} partition{'s' * (partitions > 1)}", FACTS // 4, partitions=partitions
            )
        )
    for rows in rows_before:
        runs.append(run(f"{rows:,} facts before", FACTS // 4, rows_before=rows))
    return runs


def run(
    name: str,
    count: int,
    items: int | None = None,
    partitions: int = 1,
    rows_before: int = 0,
    times: int = 1,
) -> dict:
    with tempfile.TemporaryDirectory() as folder, Stack(partitions) as stack:
        if rows_before:
            command = [PROGRAMS / "etl", "generate", "--into-database", str(rows_before)]
            subprocess.run(
                command, env=os.environ | stack.environment, check=True, capture_output=True
            )
        file, facts = throughput.write(Path(folder) / "events.jsonl", count, items)
        return {"name": name} | throughput.product(stack, file, count, facts)


def table(runs: list[dict]) -> list[str]:
    lines = [
        "| | events/s | facts/s | CPU µs a fact | of it PostgreSQL "
        "| source, MiB | sink, MiB | node, MiB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for found in runs:
        parts = found["parts"]
        micros = {name: part["cpu_s"] * 1e6 / found["facts"] for name, part in parts.items()}
        memory = [
            f"{parts[name]['memory_mib']:.0f}"
            for name in ("sqs-source", "postgres-sink", "Fluvio node with the SmartModule")
        ]
        lines.append(
            f"| {found['name']} | {found['events_per_s']:,.0f} | {found['facts_per_s']:,.0f} "
            f"| {sum(micros.values()):.1f} "
            f"| {micros['PostgreSQL']:.1f} | {' | '.join(memory)} |"
        )
    return lines
