"""Prints a partition's records, and loses none: a consumer to copy from.

    pip install fluvio==0.21.0
    python consume.py TOPIC PARTITION FILE

FILE keeps the offset of the next record. It is replaced after the records before it were printed,
so after a kill some records come again, and none is left out.
"""

import os
import sys

# The largest response, read once by the client. A record has up to 1 MiB, a batch of sqs-source up
# to 4; a batch that is larger than a response is not sent.
os.environ.setdefault("FLV_CLIENT_MAX_FETCH_BYTES", str(16 << 20))

from fluvio import ConsumerConfig, Fluvio, Offset  # noqa: E402

STORE_EVERY = 100


def records(topic, partition, following):
    """Yields each record from an offset on. Fails if one is missing."""
    config = ConsumerConfig()
    # With a SmartModule the SPU reads whole batches. Without one it cuts responses, and the client
    # skips the records that were cut off.
    config.smartmodule(name="raw-events")
    consumer = Fluvio.connect().partition_consumer(topic, partition)
    for record in consumer.stream_with_config(Offset.absolute(following), config):
        if record.offset() != following:
            sys.exit(f"offset {record.offset()} came, {following} is missing; start again, with a "
                     "larger FLV_CLIENT_MAX_FETCH_BYTES if that does not help")
        yield record
        following += 1


def main():
    topic, partition, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    following = int(open(file).read()) if os.path.exists(file) else 0
    for record in records(topic, partition, following):
        # Process the record here.
        sys.stdout.buffer.write(b"%d\t%s\n" % (record.offset(), bytes(record.value())))
        sys.stdout.buffer.flush()
        following = record.offset() + 1
        if following % STORE_EVERY == 0:
            with open(file + ".new", "w") as new:
                new.write(str(following))
            os.replace(file + ".new", file)


if __name__ == "__main__":
    main()
