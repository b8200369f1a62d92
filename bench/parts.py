"""Measures each part alone, beside its limit: the source beside the AWS SDK, the sink beside COPY,
the node beside the bare protocol."""

import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Callable, Iterable

import psycopg

import database
import throughput
from stack import PROGRAMS, Cost, Stack, cpu_of_ended_children

#: Rows written with one statement each, a thousand or one in a transaction.
MANY, FEW = 20_000, 4_000
#: The factor of events where only PostgreSQL's CPU is measured.
MORE = 2
#: Turns of source and SDK, and of facts with and without touched hours, because their differences
#: matter.
TURNS = 3
#: The keys of a source that deletes without a sink.
WITHOUT_SINK = {"delete_after": "topic", "sink": "null", "notifications_secret": "null"}
SHAPES = {True: "as in a shop", False: "a week, all products alike"}


def measure(count: int) -> dict:
    """Measures all parts once."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            "source": source(Path(folder), count),
            "sink": sink(Path(folder), count),
            "node": node(),
        }


def source(folder: Path, count: int) -> dict:
    """Measures the source from a full queue to acknowledged records, and in turn the bare SDK."""
    with Stack() as stack:
        file, _ = throughput.write(folder / "source.jsonl", count)
        connector = stack.stopped("sqs_source")
        connector.changed(
            folder / "source.yaml", topic="source-alone", **WITHOUT_SINK
        )
        found = {"bare SDK": [], "sqs-source": []}
        for turn in range(TURNS):
            found["bare SDK"].append(
                drained(
                    stack, file, count, stack.sqs.create_queue(QueueName=f"bare-{turn}")["QueueUrl"]
                )
            )
            stack.send(file)
            cost = timed({connector.start(): "sqs_source"}, stack.until_empty)
            connector.stop()
            found["sqs-source"].append(per(count, cost, "sqs-source", "message"))
    medians = lambda turns: {
        name: statistics.median(turn[name] for turn in turns) for name in turns[0]
    }  # noqa: E731
    return {"messages": count} | {name: medians(turns) for name, turns in found.items()}


def drained(stack: Stack, file: Path, count: int, queue_url: str) -> dict:
    """Receives and deletes all messages with the AWS SDK alone."""
    stack.send(file, queue_url)
    start = time.monotonic()
    drain = subprocess.Popen(
        [PROGRAMS / "examples" / "drain"], env=stack.environment | {"QUEUE_URL": queue_url}
    )
    _, status, usage = os.wait4(drain.pid, 0)
    assert status == 0 and stack.undeleted(queue_url) == 0
    return {
        "messages_per_s": count / (time.monotonic() - start),
        "us_per_message": (usage.ru_utime + usage.ru_stime) * 1e6 / count,
        "memory_mib": usage.ru_maxrss / 1024,
    }


def sink(folder: Path, count: int) -> dict:
    """Measures the sink from a full topic to committed rows, first load and replay, and other ways
    to write the same rows."""
    with Stack() as stack:
        file, facts = throughput.write(folder / "sink.jsonl", count)
        sink = stack.stopped("postgres_sink")
        source = stack.stopped("sqs_source").changed(
            folder / "filling.yaml", **WITHOUT_SINK
        )
        stack.send(file)
        source.start()
        stack.until_empty()
        source.stop()

        found = {"facts": facts}
        for name in ("first load", "replay"):
            cost = timed(
                {sink.start(): "postgres_sink"} | servers(stack), lambda: until_read(stack, count)
            )
            sink.stop()
            found[name] = per(facts, cost, "postgres-sink", "fact")
            with stack.connect() as connection:
                rows, events, _ = database.fingerprint(connection)
                assert (rows, events) == (facts, count), f"{rows} facts of {events} events"
                connection.execute("UPDATE sink_offsets SET next_offset = 0")
        for partitions in (1, 2):
            found |= without_the_cluster(stack, file, facts, partitions)
        found["COPY"] = {"facts_per_s": throughput.copy(stack, facts)}
        found["a statement a row"] = {"facts_per_s": upserts(stack, MANY, 1_000)}
        found["a transaction a row"] = {"facts_per_s": upserts(stack, FEW, 1)}
        found["aggregates"] = {}
        with stack.connect() as own:
            # To analyze the facts takes half a µs a fact, and would fall into some of the turns.
            own.execute("ALTER SYSTEM SET autovacuum = off")
            own.execute("SELECT pg_reload_conf()")
        for as_in_a_shop, name in SHAPES.items():
            file, facts = throughput.write(
                folder / "shapes.jsonl", count * MORE, as_in_a_shop=as_in_a_shop
            )
            turns = {"not recorded": [], "recorded": []}
            for _ in range(TURNS):
                for kind, costs in turns.items():
                    url = database.twin(stack, "counted", aggregates=kind == "recorded")
                    costs.append(loading(stack, url, file, facts))
            found["aggregates"][name] = {
                kind: statistics.median(costs) for kind, costs in turns.items()
            } | {"stored": storing(stack, url, facts)}
    return found


def without_the_cluster(stack: Stack, file: Path, facts: int, partitions: int) -> dict:
    """Measures the sink without its reading: from records in memory to committed rows."""
    with stack.connect() as own:
        expected = database.fingerprint(own)
    environment = stack.environment | {
        "DATABASE_URL": database.twin(stack, "loaded", aggregates=True)
    }
    command = [PROGRAMS / "examples" / "load", file, str(partitions), "2"]
    output = subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        assert database.fingerprint(connection) == expected
    passes = zip(("first load", "replay"), output.split(), strict=True)
    return {
        in_memory(name, partitions): {"facts_per_s": facts / float(seconds)}
        for name, seconds in passes
    }


def in_memory(name: str, partitions: int) -> str:
    return f"records in memory, {name}, {partitions} partition{'s' * (partitions > 1)}"


def loading(stack: Stack, url: str, file: Path, facts: int) -> float:
    """Returns PostgreSQL's CPU in µs a fact for a first load of an empty database."""
    environment = stack.environment | {"DATABASE_URL": url}
    command = [PROGRAMS / "examples" / "load", file, "1", "1"]

    def load() -> None:
        subprocess.run(command, env=environment, check=True, capture_output=True)

    return cpu_of_server(stack, facts, load)


def storing(stack: Stack, url: str, facts: int) -> float:
    """The same for storing its hours and days."""

    def store() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ANALYZE fact_events")
            while connection.execute("SELECT stored FROM analytics.refresh(24, '0')").fetchone() != (
                0,
            ):
                pass

    return cpu_of_server(stack, facts, store)


def cpu_of_server(stack: Stack, facts: int, run: Callable[[], object]) -> float:
    """Returns the CPU in µs a fact of the server's connections that `run` opens and closes."""
    # Connections are its children; their CPU counts after they end.
    postmaster = next(iter(servers(stack)))
    before = cpu_of_ended_children(postmaster)
    run()
    time.sleep(0.5)
    return (cpu_of_ended_children(postmaster) - before) * 1e6 / facts


def node() -> dict:
    """Sends batches over a bare socket to the node, and to a server that only reads them."""
    output = subprocess.run(
        [PROGRAMS / "examples" / "produce"], check=True, capture_output=True, text=True
    ).stdout
    found = {}
    for name, rate, micros in re.findall(r"(\w+): (\S+) records/s, (\S+) us of CPU a record", output):
        found[name] = {"records_per_s": float(rate), "us_per_record": float(micros)}
    assert found.keys() == {"bare", "node"}, output
    return found


def servers(stack: Stack) -> dict[int, str]:
    return {pid: name for pid, name in stack.processes().items() if name == "postgres"}


def until_read(stack: Stack, count: int) -> None:
    with stack.connect() as connection:
        reached = "SELECT coalesce(sum(next_offset), 0) FROM sink_offsets"
        stack.until(
            lambda: connection.execute(reached).fetchone()[0] == count,
            "the sink has read the topic",
        )


def timed(processes: dict[int, str], work: Callable[[], None]) -> dict:
    start = time.monotonic()
    cost = Cost(processes)
    work()
    taken = time.monotonic() - start
    return {"seconds": taken, "parts": cost.until_now()}


def per(count: int, cost: dict, part: str, unit: str) -> dict:
    found = cost["parts"][part]
    return {
        f"{unit}s_per_s": count / cost["seconds"],
        f"us_per_{unit}": found["cpu_s"] * 1e6 / count,
        "memory_mib": found["memory_mib"],
    }


def upserts(stack: Stack, count: int, in_a_transaction: int) -> float:
    """Returns facts a second with one statement each, as sql-connector writes them."""
    with stack.connect() as own:
        columns = [
            row[0]
            for row in own.execute(
                "SELECT attname FROM pg_attribute "
                "WHERE attrelid = 'fact_events'::regclass AND attnum > 0 AND NOT attisdropped "
                "AND attname <> 'extra' ORDER BY attnum"
            )
        ]
        rows = own.execute(f"SELECT {', '.join(columns)} FROM fact_events LIMIT {count}").fetchall()
    statement = (
        f"INSERT INTO fact_events ({', '.join(columns)}) "
        f"VALUES ({', '.join(['%s'] * len(columns))}) "
        "ON CONFLICT (event_time, fact_hash) DO UPDATE SET ingested_at = excluded.ingested_at"
    )
    with psycopg.connect(database.twin(stack, f"by_{in_a_transaction}")) as connection:
        start = time.monotonic()
        for batch in chunks(rows, in_a_transaction):
            # psycopg pipelines them.
            connection.cursor().executemany(statement, batch)
            connection.commit()
        return len(rows) / (time.monotonic() - start)


def chunks(rows: list[tuple], size: int) -> Iterable[list[tuple]]:
    return (rows[at : at + size] for at in range(0, len(rows), size))


def table(runs: list[dict]) -> list[str]:
    """Renders the medians of the runs, each beside its limit."""

    def about(part: str, name: str, value: str) -> float:
        return statistics.median(run[part][name][value] for run in runs)

    lines = [
        "| the source alone | messages/s | CPU µs a message | most memory, MiB |",
        "|---|---:|---:|---:|",
    ]
    for name, shown in (
        ("bare SDK", "receive and delete with the AWS SDK"),
        ("sqs-source", "sqs-source, `delete-after: topic`"),
    ):
        rate, micros, memory = (
            about("source", name, value)
            for value in ("messages_per_s", "us_per_message", "memory_mib")
        )
        lines.append(f"| {shown} | {rate:,.0f} | {micros:.1f} | {memory:.0f} |")
    own = about("source", "sqs-source", "us_per_message") - about(
        "source", "bare SDK", "us_per_message"
    )
    if own > 0:
        lines.append(
            f"| of it the source's own, and its rate on one core | {1e6 / own:,.0f} | {own:.1f} | |"
        )
    copied = about("sink", "COPY", "facts_per_s")
    lines += [
        "",
        "| the sink alone | facts/s | of COPY | CPU µs a fact | most memory, MiB |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in ("first load", "replay"):
        rate, micros, memory = (
            about("sink", name, value) for value in ("facts_per_s", "us_per_fact", "memory_mib")
        )
        lines.append(
            f"| postgres-sink, {name} | {rate:,.0f} | {rate / copied:.0%} "
            f"| {micros:.1f} | {memory:.0f} |"
        )
    for name in (
        in_memory(name, partitions) for partitions in (1, 2) for name in ("first load", "replay")
    ):
        rate = about("sink", name, "facts_per_s")
        lines.append(f"| {name} | {rate:,.0f} | {rate / copied:.0%} | | |")
    lines.append(f"| COPY | {copied:,.0f} | 100% | | |")
    for name in ("a statement a row", "a transaction a row"):
        rate = about("sink", name, "facts_per_s")
        lines.append(f"| {name} | {rate:,.0f} | {rate / copied:.1%} | | |")
    lines += [
        "",
        "| PostgreSQL's CPU µs a fact | touched hours not recorded | recorded "
        "| more | stored afterwards |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in SHAPES.values():

        def median(of: str, name: str = name) -> float:
            return statistics.median(run["sink"]["aggregates"][name][of] for run in runs)

        without, recorded = median("not recorded"), median("recorded")
        lines.append(
            f"| {name} | {without:.2f} | {recorded:.2f} | {recorded / without - 1:+.0%} "
            f"| {median('stored'):.2f} |"
        )
    lines += ["", "| the node alone | records/s | CPU µs a record, both ends |", "|---|---:|---:|"]
    for name, shown in (("bare", "read, answered, not stored"), ("node", "the node")):
        rate, micros = (about("node", name, value) for value in ("records_per_s", "us_per_record"))
        lines.append(f"| {shown} | {rate:,.0f} | {micros:.2f} |")
    return lines
