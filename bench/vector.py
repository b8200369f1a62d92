"""Has Vector do the same job with vector.yaml, on the same endpoint and server, if VECTOR is its path.

It writes only facts, without dimensions, aggregates and rejected events, and each message's facts
again when the message comes again, which is in its favour.
"""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

import database
from stack import Stack

PROGRAM = os.environ.get("VECTOR")
CONFIG = Path(__file__).with_name("vector.yaml")


def measure(stack: Stack, file: Path, facts: int, count: int) -> dict:
    """Moves the events of the file from a queue of their own into a database like the product's."""
    if not PROGRAM:
        return {}
    asked = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)
    version = " ".join(asked.stdout.split()[:2])
    queue_url = stack.sqs.create_queue(QueueName="vector")["QueueUrl"]
    stack.send(file, queue_url)
    url = database.twin(stack, "vector")
    with tempfile.TemporaryDirectory() as folder:
        environment = stack.environment | {
            "DIR": folder,
            "QUEUE_URL": queue_url,
            "ENDPOINT_URL": stack.environment["AWS_ENDPOINT_URL_SQS"],
            "DATABASE_URL": url,
            # Vector 0.57 fills in a configuration's ${NAME} only with this.
            "VECTOR_DANGEROUSLY_ALLOW_ENV_VAR_INTERPOLATION": "true",
        }
        log = Path(folder) / "log"
        start = time.monotonic()
        with log.open("w") as output:
            process = subprocess.Popen(
                [PROGRAM, "--config", CONFIG], env=environment, stdout=output, stderr=output
            )
        try:
            # It deletes a message after the commit of its facts.
            stack.until(
                lambda: process.poll() is not None or stack.undeleted(queue_url) == 0,
                "Vector has emptied its queue",
                limit=900 + count / 100,
            )
            taken = time.monotonic() - start
            if process.poll() is not None:
                raise SystemExit(
                    f"Vector ended with {process.returncode}: {log.read_text()[-2000:]}"
                )
        finally:
            process.terminate()
            process.wait(60)
    with psycopg.connect(url) as connection:
        rows, found = database.counted(connection)
    assert (rows, found) == (facts, count), (
        f"{rows} facts of {found} events, not {facts} of {count}"
    )
    return {"vector": version, "vector_events_per_s": count / taken}
