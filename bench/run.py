"""Measures the product end to end, beside the plain way and beside COPY. See README.md."""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path

import lake
import latency
import parts
import sizes
import throughput
import vector
from stack import CLUSTER, PROFILE, ROOT, Stack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="waiting messages a run")
    parser.add_argument(
        "--plain-events",
        type=int,
        default=10_000,
        help="the same for the plain way, which is slower",
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--rates",
        type=int,
        nargs="*",
        default=[500, 2000, 5000],
        help="events a second for the latencies",
    )
    parser.add_argument("--seconds", type=float, default=20, help="duration of each rate")
    parser.add_argument(
        "--alone", type=int, default=100_000, help="events for the source and the sink alone"
    )
    parser.add_argument(
        "--sizes",
        type=int,
        default=0,
        help="also measure sizes from 10,000 events up to this number, tenfold each",
    )
    parser.add_argument(
        "--rows-before",
        type=int,
        nargs="*",
        default=[],
        help="for --sizes: facts in the table at the start",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a small run that only checks the harness"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "target" / "bench.json")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.events, arguments.plain_events, arguments.runs = 5_000, 500, 1
        arguments.rates, arguments.seconds, arguments.alone = [200], 3, 1_000
    report(f"warm-up, then {arguments.runs} runs of {arguments.events} events")
    if not arguments.quick:
        throughput.measure(10_000, 500)
    runs = []
    for number in range(arguments.runs):
        runs.append(throughput.measure(arguments.events, arguments.plain_events))
        report(f"run {number + 1}: {runs[-1]['events_per_s']:.0f} events/s")
    latencies = []
    with Stack() as stack:
        for rate in arguments.rates:
            latencies.append(latency.measure(stack, rate, arguments.seconds))
            report(f"{rate} events/s: {latencies[-1]['p50_ms']:.0f} ms")
    alone = []
    # A part alone is measured with the local node.
    for number in range(0 if CLUSTER else arguments.runs):
        alone.append(parts.measure(arguments.alone))
        report(f"each part alone, run {number + 1}: done")
    lakes = [lake.measure(arguments.alone) for _ in alone]
    report("the lake sink alone: done")
    by_size = sizes.measure(arguments.sizes, arguments.rows_before) if arguments.sizes else []
    results = {
        "machine": machine(),
        "runs": runs,
        "latencies": latencies,
        "alone": alone,
        "lake": lakes,
        "sizes": by_size,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=2))
    print(table(results))
    report(f"raw numbers: {arguments.out}")


def report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def machine() -> dict:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown",
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    with Stack() as stack, stack.connect() as connection:
        database = connection.execute("SHOW server_version").fetchone()[0]
        durability = connection.execute("SHOW synchronous_commit").fetchone()[0]
    cores = len(__import__("os").sched_getaffinity(0))
    return {
        "cpu": model, "cores": cores, "kernel": platform.release(), "postgresql": database,
        "synchronous_commit": durability, "commit": commit.stdout.strip(), "profile": PROFILE,
        "fluvio": CLUSTER or "local node",
    }  # fmt: skip


def table(results: dict) -> str:
    runs, about = results["runs"], results["machine"]
    ours = [run["events_per_s"] for run in runs]
    facts = [run["facts_per_s"] for run in runs]
    lines = [
        f"{about['cores']} cores ({about['cpu']}), PostgreSQL {about['postgresql']}, "
        f"synchronous_commit {about['synchronous_commit']}, commit {about['commit']}, "
        f"profile {about['profile']}, Fluvio: {about['fluvio']}",
        f"{runs[0]['events']} waiting events of {runs[0]['bytes_per_event']:.0f} bytes, "
        f"{runs[0]['facts']} facts",
        "",
        "| from the queue into the tables | events/s, median (range) | the product is |",
        "|---|---:|---:|",
        f"| the product | {spread(ours)} | |",
    ]
    for threads in (1, 4):
        plain = [run["plain_events_per_s"][threads] for run in runs]
        ratio = statistics.median(a / b for a, b in zip(ours, plain))
        lines.append(
            f"| the plain way, {threads} thread{'s' * (threads > 1)} "
            f"| {spread(plain)} | {ratio:.1f} times |"
        )
    if vector.PROGRAM:
        others = [run["vector_events_per_s"] for run in runs]
        ratio = statistics.median(a / b for a, b in zip(ours, others))
        lines.append(f"| {runs[0]['vector']} | {spread(others)} | {ratio:.1f} times |")
    copied = [run["copy_facts_per_s"] for run in runs]
    ratio = statistics.median(a / b for a, b in zip(facts, copied))
    per_event = runs[0]["facts"] / runs[0]["events"]
    lines.append(
        f"| COPY of the same facts alone "
        f"| {spread([rate / per_event for rate in copied])} | {ratio:.0%} |"
    )
    lines += ["", "| part | CPU µs an event | most memory, MiB |", "|---|---:|---:|"]
    for part in runs[0]["parts"]:
        micros = statistics.median(run["parts"][part]["us_per_event"] for run in runs)
        memory = max(run["parts"][part]["memory_mib"] for run in runs)
        lines.append(f"| {part} | {micros:.1f} | {f'{memory:.0f}' if memory else ''} |")
    lines += ["", "| steady rate, events/s | p50 ms | p99 ms | max ms |", "|---:|---:|---:|---:|"]
    for found in results["latencies"]:
        lines.append(
            f"| {found['rate']} | {found['p50_ms']:.0f} | {found['p99_ms']:.0f} "
            f"| {found['max_ms']:.0f} |"
        )
    if results["alone"]:
        lines += ["", *parts.table(results["alone"]), "", *lake.lines(results["lake"])]
    lines += ["", *MISSING]
    if results["sizes"]:
        lines += ["", *sizes.table(results["sizes"])]
    return "\n".join(lines)


#: What the others leave out, which is in their favour.
MISSING = [
    "| | an event that comes again | dimensions | aggregates | unreadable events |",
    "|---|---|---|---|---|",
    "| the product | changes nothing | yes | yes | kept, with the reason |",
    "| the plain way | changes nothing if it has an id | no | no | stop it |",
    "| Vector | is there twice | no | no | are dropped |",
    "| COPY | fails | no | no | do not get this far |",
]


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})"


if __name__ == "__main__":
    main()
