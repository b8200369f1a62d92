#!/usr/bin/env python3
"""Recomputes the tables of deploy/SCALE.md from the measurements in measured.json.

scale.py                        writes the tables
scale.py --check                fails if they are out of date
scale.py --take bench.json      first takes over the figures of a run of `make bench`
"""

import argparse
import json
import statistics
import sys
from math import ceil
from pathlib import Path

HERE = Path(__file__).resolve().parent
MEASURED = HERE / "measured.json"
PAGE = HERE.parent / "deploy" / "SCALE.md"
#: Events a second of the plan's rows.
RATES = (1_000, 20_000, 100_000, 1_000_000)
SOURCE, NODE, SINK, DATABASE = (
    "sqs-source",
    "Fluvio node with the SmartModule",
    "postgres-sink",
    "PostgreSQL",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--take", type=Path, metavar="FILE", help="results of `make bench`")
    arguments = parser.parse_args()
    measured = json.loads(MEASURED.read_text())
    if arguments.take:
        measured["run"] = taken(json.loads(arguments.take.read_text()))
        MEASURED.write_text(json.dumps(measured, indent=2, ensure_ascii=False) + "\n")
    before = PAGE.read_text()
    page = before
    for name, lines in tables(measured).items():
        page = with_part(page, name, lines)
    if not arguments.check:
        PAGE.write_text(page)
    elif page != before:
        sys.exit("deploy/SCALE.md is out of date; run bench/scale.py")


def taken(results: dict) -> dict:
    """The figures that the tables need, medians of a bench's runs."""
    runs, machine = results["runs"], results["machine"]
    micros = {
        part: statistics.median(run["parts"][part]["us_per_event"] for run in runs)
        for part in (SOURCE, NODE, SINK, DATABASE)
    }
    return {
        "command": f'make bench ARGS="--events {runs[0]["events"]} --runs {len(runs)}"',
        "machine": f"{machine['cores']} cores ({machine['cpu']}), "
        f"PostgreSQL {machine['postgresql']}",
        "commit": machine["commit"],
        "facts_per_event": round(runs[0]["facts"] / runs[0]["events"], 4),
        "us_per_event": {part: round(value, 1) for part, value in micros.items()},
    }


def tables(measured: dict) -> dict[str, list[str]]:
    run = measured["run"]
    return {
        "alone": alone(measured["alone"].values()),
        "product": product(run),
        "plan": plan(run, measured["alone"]),
        "million": million(run, measured["alone"], measured["assumed"]),
    }


def alone(parts) -> list[str]:
    lines = ["| part | on | rate |", "|---|---|---|"]
    return lines + [f"| {part['part']} | {part['at']} | {part['shown']} |" for part in parts]


def product(run: dict) -> list[str]:
    lines = [
        f"`{run['command']}`",
        f"at commit {run['commit']}, {run['machine']}, "
        f"{run['facts_per_event']:.2f} facts an event:",
        "",
        "| process | CPU µs an event | events/s a core | cores for a million a second (≈) |",
        "|---|---:|---:|---:|",
    ]
    by_cost = sorted(run["us_per_event"].items(), key=lambda part: -part[1])
    for part, micros in by_cost:
        lines.append(f"| {part} | {micros:.1f} | {1e6 / micros:,.0f} | {micros:.0f} |")
    total = sum(micros for _, micros in by_cost)
    return lines + [f"| together | {total:.1f} | {1e6 / total:,.0f} | {total:.0f} |"]


def plan(run: dict, parts: dict) -> list[str]:
    cost = run["us_per_event"]
    lines = [
        "| events/s | facts/s | cores: source | SPUs | sink | PostgreSQL "
        "| partitions, at least | connections that write, at least |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for rate in RATES:
        facts = rate * run["facts_per_event"]
        cores = [rate * cost[part] / 1e6 for part in (SOURCE, NODE, SINK, DATABASE)]
        shown = " | ".join(f"{count:.1f}" if count < 10 else f"{count:.0f}" for count in cores)
        partitions = ceil(rate / parts["smartmodule"]["rate"])
        writers = ceil(facts / parts["rows"]["rate"])
        lines.append(f"| {rate:,} | {facts:,.0f} | {shown} | {partitions} | {writers} |")
    return lines


def million(run: dict, parts: dict, assumed: dict) -> list[str]:
    rate = 1_000_000
    facts = rate * run["facts_per_event"]
    a_queue = assumed["in_flight_a_queue"] / assumed["seconds_in_flight"]
    requests = 2 * rate / 10
    row_bytes = facts * assumed["bytes_a_row"]
    steps = (
        ("SQS requests", f"2 × {rate:,} / 10", f"{requests:,.0f} a second, "
         f"{requests * 86_400 / 1e9:.0f} billion a day"),
        ("queues", f"{rate:,} × {assumed['seconds_in_flight']} s / "
         f"{assumed['in_flight_a_queue']:,}", f"{ceil(rate / a_queue)}"),
        ("SPUs to take the records", f"{rate:,} / {parts['spu_produce']['rate']:,}",
         f"{ceil(rate / parts['spu_produce']['rate'])}"),
        ("cores of SPUs for the SmartModule", f"{rate:,} / {parts['smartmodule']['rate']:,}",
         f"{ceil(rate / parts['smartmodule']['rate'])}"),
        ("bytes into the topic", f"{rate:,} × {assumed['bytes_an_event'] / 1000} KB",
         f"{rate * assumed['bytes_an_event'] / 1e9:.1f} GB/s"),
        ("cores of PostgreSQL for COPY alone", f"{facts:,.0f} × 10 µs",
         f"{ceil(facts * 10 / 1e6)}"),
        ("bytes into the tables", f"{facts:,.0f} × {assumed['bytes_a_row']} bytes",
         f"{row_bytes / 1e9:.1f} GB/s, {row_bytes * 86_400 / 1e12:.0f} TB a day"),
        ("database servers", f"{facts:,.0f} / {assumed['rows_a_server']:,}",
         f"{ceil(facts / assumed['rows_a_server'])}"),
    )  # fmt: skip
    lines = ["| for a million events a second | computed from | result (≈) |", "|---|---|---|"]
    return lines + [f"| {what} | {how} | {result} |" for what, how, result in steps]


def with_part(page: str, name: str, lines: list[str]) -> str:
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, rest = page.split(begin, 1)
    _, after = rest.split(end, 1)
    return f"{before}{begin}\n" + "\n".join(lines) + f"\n\n{end}{after}"


if __name__ == "__main__":
    main()
