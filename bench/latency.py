"""Measures latency at a steady rate: from SendMessageBatch to visible in a query."""

import json
import random
import subprocess
import tempfile
import time
from pathlib import Path

from events import event
from stack import PROGRAMS, Stack

#: Seconds of sending that do not count.
WARM_UP = 3.0


def measure(stack: Stack, rate: int, seconds: float) -> dict:
    """Returns percentiles in milliseconds at `rate` events a second."""
    with tempfile.TemporaryDirectory() as folder, stack.connect() as connection:
        # It makes the product's own writes slower, not faster.
        connection.execute(
            "CREATE INDEX IF NOT EXISTS latency ON fact_events (source_offset) "
            "WHERE item_ordinal = 1"
        )
        file = Path(folder) / "events.jsonl"
        write(file, rate, int(rate * (seconds + WARM_UP)))
        run = subprocess.run(
            [PROGRAMS / "examples" / "latency", file, str(rate)],
            env=stack.environment,
            check=True,
            stdout=subprocess.PIPE,
        )
    return json.loads(run.stdout)


def write(file: Path, rate: int, count: int) -> None:
    chance = random.Random(rate)
    run = f"{rate}-{time.time():.0f}"
    with file.open("w") as lines:
        for number in range(count):
            one = event(chance, f"{run}-{number}", int(time.time() * 1e6))
            lines.write(json.dumps(one) + "\n")
