"""Asks the lake and PostgreSQL the same questions about the same facts. See README.md."""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import duckdb
import psycopg
import psycopg2

import database
import shop
from run import machine, report
from stack import PROGRAMS, ROOT, Stack

sys.path.append(str(ROOT / "deploy/lake"))
import check  # noqa: E402

DAYS = 30
#: The questions of sql/queries, and the dbt model that has the answer of each.
QUESTIONS = {
    "top_lists_by_engagement_rate": "list_performance",
    "best_products_by_view_to_purchase_rate": "product_performance",
    "sessions_and_conversion": "sessions_daily",
    "session_funnel": "session_funnel",
    "daily_funnel": "daily_funnel",
    "daily_revenue": "daily_revenue",
}
#: PostgreSQL is asked that often; the median counts.
TURNS = 3
PARTITIONS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path, default=ROOT / "target" / "lake.json")
    arguments = parser.parse_args()
    results = {"machine": machine()}
    with tempfile.TemporaryDirectory() as name, Stack() as stack:
        folder = Path(name)
        events, facts = write(folder / "events.jsonl", arguments.facts)
        results |= {"events": events, "facts": facts}
        report(f"{events:,} events with {facts:,} facts are written")
        own = fill_postgres(stack, folder / "events.jsonl")
        report("PostgreSQL has the facts and the aggregates")
        fill_lake(stack, folder / "events.jsonl", folder / "lake")
        report("the lake has the facts")
        check.extensions(folder / "extensions")
        results |= measure(folder, own, facts)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=2))
    print(table(results))
    report(f"raw numbers: {arguments.out}")
    if results["differences"]:
        sys.exit("\n".join(results["differences"]))


def write(file: Path, facts: int) -> tuple[int, int]:
    """Writes the events of the days before today; returns their number and that of the facts."""
    today = int(time.time() * 1e6) // shop.DAY * shop.DAY
    events = written = 0
    with file.open("w") as lines:
        for event in shop.events(facts, today, DAYS):
            lines.write(json.dumps(event) + "\n")
            events += 1
            written += len(event["items"])
    return events, written


def fill_postgres(stack: Stack, file: Path) -> str:
    """Writes the facts into a database, as the sink does; returns its URL."""
    url = database.twin(stack, "questions", aggregates=True)
    load(stack, url, "load", file, PARTITIONS, 1)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        # All that waits is due at once.
        refresh = "SELECT stored FROM analytics.refresh(24, '0')"
        while connection.execute(refresh).fetchone() != (0,):
            pass
        connection.execute("VACUUM (ANALYZE)")
    return url


def fill_lake(stack: Stack, file: Path, lake: Path) -> None:
    """Writes the facts into the lake, as its sink does."""
    load(stack, database.twin(stack, "lake"), "lake-load", file, lake, 1)


def load(stack: Stack, url: str, program: str, *arguments: object) -> None:
    command = [PROGRAMS / "examples" / program, *map(str, arguments)]
    environment = stack.environment | {"DATABASE_URL": url}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def measure(folder: Path, url: str, facts: int) -> dict:
    lake = folder / "lake/shop/facts"
    os.environ |= {
        "LAKE_FACTS": str(lake),
        "LAKE_MARTS": str(folder / "lake.duckdb"),
        "DUCKDB_EXTENSIONS": str(folder / "extensions"),
    }
    session = duckdb.connect(config={"extension_directory": str(folder / "extensions")})
    session.execute("LOAD iceberg")
    found = {"lake": about(session, lake)}
    with psycopg.connect(url, autocommit=True) as connection:
        rows, _ = database.counted(connection)
        assert rows == found["lake"]["rows"] == facts, f"{rows}, {found['lake']}, not {facts}"
        size = "SELECT pg_database_size(current_database())"
        found["postgres_mib"] = connection.execute(size).fetchone()[0] / 2**20
        found["postgres_s"] = {question: ask(connection, question) for question in QUESTIONS}
    report("PostgreSQL has answered")
    models = build(folder, url)
    report("DuckDB has answered")
    found["models_s"] = {model: took for model, (took, _) in models.items()}
    found["duckdb_s"] = {
        question: sum(models[model][0] for model in with_parents(answer, models))
        for question, answer in QUESTIONS.items()
    }
    found["differences"] = differences(folder, url)
    return found


def about(session: duckdb.DuckDBPyConnection, lake: Path) -> dict:
    """Returns files, sizes and rows of the lake, all and by day."""
    files: Counter[str] = Counter()
    mib: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    listed = session.execute(
        "SELECT file_path, record_count FROM iceberg_metadata(?) WHERE status <> 'DELETED'",
        [str(lake)],
    ).fetchall()
    for path, count in listed:
        day = re.search(r"\d{4}-\d\d-\d\d", path)[0]
        files[day] += 1
        mib[day] += Path(path.removeprefix("file://")).stat().st_size / 2**20
        rows[day] += count
    days = {
        day: {"files": files[day], "mib": mib[day], "rows": rows[day]} for day in sorted(rows)
    }
    return {"files": files.total(), "mib": mib.total(), "rows": rows.total(), "days": days}


def ask(connection: psycopg.Connection, question: str) -> dict:
    """Returns the seconds of the first answer and the median of some further ones."""
    query = (ROOT / f"sql/queries/{question}.sql").read_text()
    took = []
    for _ in range(1 + TURNS):
        start = time.monotonic()
        assert connection.execute(query).fetchall()
        took.append(time.monotonic() - start)
    return {"first": took[0], "again": statistics.median(took[1:])}


def build(folder: Path, url: str) -> dict[str, tuple[float, list[str]]]:
    """Builds the dbt models from the files; returns the seconds and the parents of each."""
    check.demo.prepare_dbt(check.PROJECT, url, check.demo.PASSWORD, folder)
    # One model at a time, for which DuckDB uses all cores.
    command = [Path(sys.executable).with_name("dbt"), "--quiet", "run", "--threads", "1"]
    subprocess.run([*command, "--target", "lake"], check=True)
    parents = json.loads((folder / "target/manifest.json").read_text())["parent_map"]
    results = json.loads((folder / "target/run_results.json").read_text())["results"]
    name = lambda node: node.rsplit(".", 1)[1]  # noqa: E731
    return {
        name(result["unique_id"]): (
            result["execution_time"],
            [name(parent) for parent in parents[result["unique_id"]] if parent[:6] == "model."],
        )
        for result in results
    }


def with_parents(model: str, models: dict) -> set[str]:
    """Returns the model and all that it is made of."""
    return {model}.union(*(with_parents(parent, models) for parent in models[model][1]))


def differences(folder: Path, url: str) -> list[str]:
    """Compares the models that answer the questions with the functions of PostgreSQL."""
    marts = duckdb.connect(folder / "lake.duckdb", read_only=True).cursor()
    tables = psycopg2.connect(url).cursor()
    faults = []
    for model in QUESTIONS.values():
        faults += check.compared_with_function(model, marts, tables)
    return faults


def table(results: dict) -> str:
    lake, facts = results["lake"], results["facts"]
    days = lake["days"].values()

    def spread(key: str, decimals: int = 0) -> str:
        least, most = (found(day[key] for day in days) for found in (min, max))
        return f"{least:,.{decimals}f}–{most:,.{decimals}f}"

    lines = [
        f"{facts:,} facts of {results['events']:,} events in {len(days)} days",
        "",
        "| | lake | PostgreSQL |",
        "|---|---:|---:|",
        f"| MiB | {lake['mib']:,.0f} | {results['postgres_mib']:,.0f} |",
        f"| bytes a fact | {lake['mib'] * 2**20 / facts:.0f} "
        f"| {results['postgres_mib'] * 2**20 / facts:.0f} |",
        f"| files | {lake['files']:,} | |",
        f"| files of a day | {spread('files')} | |",
        f"| MiB of a day | {spread('mib', 2)} | |",
        f"| rows of a day | {spread('rows')} | |",
        "",
        "| question, all days | DuckDB, from the files, s | PostgreSQL, first, ms | again, ms |",
        "|---|---:|---:|---:|",
    ]
    for question in QUESTIONS:
        first, again = (results["postgres_s"][question][key] * 1000 for key in ("first", "again"))
        lines.append(
            f"| {question} | {results['duckdb_s'][question]:.1f} | {first:,.0f} | {again:,.0f} |"
        )
    total = sum(results["models_s"].values())
    lines += [
        f"| all models once | {total:.1f} | | |",
        f"| of it the model `facts` | {results['models_s']['facts']:.1f} | | |",
        "",
        f"The answers differ in {len(results['differences'])} of {len(QUESTIONS)} questions.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
