"""Does the same job the plain way: boto3 in batches of ten, and SQLAlchemy with a transaction each.

It writes only facts, without dimensions, aggregates and rejected events, which is in its favour.
"""

import json
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from sqlalchemy import MetaData, Table, create_engine
from sqlalchemy.dialects.postgresql import insert

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
NAMESPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")


def drain(sqs, queue_url: str, database_url: str, threads: int) -> float:
    """Moves all messages into `fact_events`; returns the seconds it took."""
    _, rest = database_url.split("://", 1)
    engine = create_engine(f"postgresql+psycopg://{rest}", pool_size=threads)
    table = Table("fact_events", MetaData(), autoload_with=engine)
    start = time.monotonic()
    workers = [
        threading.Thread(target=work, args=(sqs, queue_url, engine, table)) for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    taken = time.monotonic() - start
    engine.dispose()
    return taken


def work(sqs, queue_url: str, engine, table: Table) -> None:
    while True:
        received = sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0
        )
        messages = received.get("Messages", [])
        if not messages:
            return
        rows = [row for message in messages for row in facts(json.loads(message["Body"]))]
        with engine.begin() as connection:
            connection.execute(insert(table).on_conflict_do_nothing(), rows)
        entries = [
            {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
            for index, message in enumerate(messages)
        ]
        sqs.delete_message_batch(QueueUrl=queue_url, Entries=entries)


def facts(event: dict) -> list[dict]:
    return [
        {
            "event_time": EPOCH + timedelta(microseconds=event["event_timestamp"]),
            "event_name": event["event_name"],
            "event_id": event["event_id"],
            "user_pseudo_id": event["user_pseudo_id"],
            "session_id": event["session_id"],
            "platform": event["platform"],
            "product_variant": item["item_variant"],
            "list_position": item["index"],
            "item_ordinal": ordinal,
            "price": Decimal(str(item["price"])),
            "quantity": item["quantity"],
            "currency": event["currency"],
            "extra": {"event": {"screen": event["screen"]}},
            "fact_hash": uuid.uuid5(NAMESPACE, f"{event['event_id']}/{ordinal}"),
            "source_topic": "plain",
            "source_partition": 0,
            "source_offset": 0,
        }
        for ordinal, item in enumerate(json.loads(event["items"]), 1)
    ]
