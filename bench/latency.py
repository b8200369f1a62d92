"""Measures latency at a steady rate: from SendMessageBatch to visible in a query."""

import json
import random
import threading
import time
from collections import deque

from events import event
from stack import Stack

BATCH = 10
#: Events sent in this time do not count.
WARM_UP_S = 3.0


def measure(stack: Stack, rate: int, seconds: float) -> dict:
    """Returns percentiles in milliseconds at `rate` events a second."""
    sent: dict[str, float] = {}
    seen: dict[str, float] = {}
    #: Events from the first unseen one on; the query reads no further back.
    waiting: deque[tuple[str, int]] = deque()
    is_sending = threading.Event()
    is_sending.set()
    sender = threading.Thread(
        target=send, args=(stack, rate, seconds + WARM_UP_S, sent, waiting, is_sending)
    )
    sender.start()
    deadline = time.monotonic() + seconds + WARM_UP_S + 60
    with stack.connect() as connection:
        while is_sending.is_set() or len(seen) < len(sent):
            while waiting and waiting[0][0] in seen:
                waiting.popleft()
            since = waiting[0][1] if waiting else int(time.time() * 1e6)
            found = connection.execute(
                "SELECT event_id FROM fact_events "
                "WHERE event_time >= timestamptz 'epoch' + %s * interval '1 microsecond' "
                "AND item_ordinal = 1",
                (since,),
            ).fetchall()
            now = time.monotonic()
            # Events of earlier rates are in the table as well.
            for event_id in (event_id for (event_id,) in found if event_id in sent):
                seen.setdefault(event_id, now)
            if now > deadline:
                raise SystemExit(f"{len(sent) - len(seen)} of {len(sent)} events did not arrive")
            time.sleep(0.002)
    sender.join()
    first = min(sent.values()) + WARM_UP_S
    late = sorted((seen[one] - at) * 1000 for one, at in sent.items() if at >= first)
    at = lambda share: late[min(len(late) - 1, int(len(late) * share))]  # noqa: E731
    return {
        "rate": rate,
        "events": len(late),
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "max_ms": late[-1],
    }


def send(
    stack: Stack,
    rate: int,
    seconds: float,
    sent: dict[str, float],
    waiting: deque[tuple[str, int]],
    is_sending: threading.Event,
) -> None:
    chance = random.Random(rate)
    start = time.monotonic()
    run = f"{rate}-{start}"
    for number in range(int(rate * seconds / BATCH)):
        time.sleep(max(0.0, start + number * BATCH / rate - time.monotonic()))
        micros = int(time.time() * 1e6)
        batch = [event(chance, f"{run}-{number}-{index}", micros) for index in range(BATCH)]
        entries = [
            {"Id": str(index), "MessageBody": json.dumps(one)} for index, one in enumerate(batch)
        ]
        now = time.monotonic()
        for one in batch:
            sent[one["event_id"]] = now
            waiting.append((one["event_id"], micros))
        failed = stack.sqs.send_message_batch(QueueUrl=stack.queue_url, Entries=entries).get(
            "Failed"
        )
        assert not failed, failed
    is_sending.clear()
