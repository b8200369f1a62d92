"""Measures waiting messages into the tables: the product, the plain way, and COPY as the limit."""

import io
import json
import tempfile
import time
from pathlib import Path

import psycopg

import database
import plain
import vector
from events import events, facts_of
from stack import Cost, Stack

#: Messages; they take about two gigabytes in the queue server.
MOST_WAITING = 1_000_000


def measure(count: int, plain_count: int) -> dict:
    """Runs all three on a new stack. Raises if the tables don't contain what was sent."""
    with tempfile.TemporaryDirectory() as folder, Stack() as stack:
        file, facts = write(Path(folder) / "events.jsonl", count)
        ours = product(stack, file, count, facts)
        limit = copy(stack, facts)
        file, facts = write(Path(folder) / "plain.jsonl", plain_count)
        others = {
            threads: the_plain_way(stack, file, plain_count, facts, threads) for threads in (1, 4)
        }
        by_vector = vector.measure(stack, *write(Path(folder) / "vector.jsonl", count), count)
    return ours | by_vector | {"copy_facts_per_s": limit, "plain_events_per_s": others}


def write(
    path: Path, count: int, items: int | None = None, as_in_a_shop: bool = False
) -> tuple[Path, int]:
    """Writes `count` events, with `items` items each if given; returns the number of facts."""
    facts = 0
    with path.open("w") as file:
        for event in events(count, items=items, as_in_a_shop=as_in_a_shop):
            facts += facts_of(event)
            file.write(json.dumps(event) + "\n")
    return path, facts


class Waiting:
    """Sends the events of a file several times, each time with new ids. Messages beyond the queue
    server's capacity are sent as others leave."""

    def __init__(self, stack: Stack, file: Path, count: int, times: int) -> None:
        self.stack, self.file, self.count, self.times = stack, file, count, times
        self.sent = 0
        while self.sent < times and self.sent * count < MOST_WAITING:
            self.send()

    def send(self) -> None:
        again = self.file
        if self.sent > 0:
            again = self.file.with_suffix(".again")
            again.write_bytes(
                self.file.read_bytes().replace(b'"event_id": "', b'"event_id": "%d-' % self.sent)
            )
        self.stack.send(again)
        self.sent += 1

    def are_gone(self) -> bool:
        left = self.stack.undeleted()
        if self.sent == self.times:
            return left == 0
        if left + self.count <= MOST_WAITING:
            self.send()
        return False


def product(stack: Stack, file: Path, count: int, facts: int, times: int = 1) -> dict:
    """From the queue into the tables, the events of the file so many times."""
    source = stack.stopped("sqs_source")
    bytes_per_event = file.stat().st_size / count
    waiting = Waiting(stack, file, count, times)
    assert stack.undeleted() == count * waiting.sent
    count, facts = count * times, facts * times
    processes = stack.processes()
    start = time.monotonic()
    processes[source.start()] = "sqs_source"
    cost = Cost(processes)
    stack.until(waiting.are_gone, "the queue is empty", limit=900 + count / 1000)
    taken = time.monotonic() - start
    parts = cost.until_now()
    source.stop()
    with stack.connect() as connection:
        rows, found = database.counted(connection)
    assert (rows, found) == (facts, count), (
        f"{rows} facts of {found} events, not {facts} of {count}"
    )
    for part in parts.values():
        part["us_per_event"] = part["cpu_s"] * 1e6 / count
    return {
        "events": count,
        "facts": facts,
        "bytes_per_event": bytes_per_event,
        "events_per_s": count / taken,
        "facts_per_s": facts / taken,
        "parts": parts,
    }


def copy(stack: Stack, facts: int) -> float:
    """Facts a second of plain COPY of the same facts into the same table."""
    rows = io.BytesIO()
    with (
        stack.connect() as own,
        own.cursor().copy("COPY (TABLE fact_events) TO STDOUT (FORMAT binary)") as out,
    ):
        for block in out:
            rows.write(block)
    with psycopg.connect(database.twin(stack, "copied")) as connection:
        start = time.monotonic()
        with connection.cursor().copy("COPY fact_events FROM STDIN (FORMAT binary)") as into:
            view = rows.getbuffer()
            for offset in range(0, len(view), 1 << 20):
                into.write(view[offset : offset + (1 << 20)])
        connection.commit()
        taken = time.monotonic() - start
        with stack.connect() as own:
            assert database.fingerprint(own) == database.fingerprint(connection)
    return facts / taken


def the_plain_way(stack: Stack, file: Path, count: int, facts: int, threads: int) -> float:
    """Events a second."""
    queue_url = stack.sqs.create_queue(QueueName=f"plain-{threads}")["QueueUrl"]
    stack.send(file, queue_url)
    url = database.twin(stack, f"plain_{threads}")
    taken = plain.drain(stack.sqs, queue_url, url, threads)
    with psycopg.connect(url) as connection:
        rows, found, _ = database.fingerprint(connection)
    assert (rows, found) == (facts, count), (
        f"{rows} facts of {found} events, not {facts} of {count}"
    )
    return count / taken
