"""Creates databases like the product's on the same server, and counts their rows."""

import subprocess
from urllib.parse import urlsplit, urlunsplit

import psycopg

from stack import PROGRAMS, Stack


def twin(stack: Stack, name: str, aggregates: bool = False) -> str:
    """Creates an empty database with the product's schema and months; returns its URL.

    Without `aggregates` touched hours are not recorded, in favour of what is compared.
    """
    with stack.connect() as own:
        own.execute(f'DROP DATABASE IF EXISTS "{name}"')
        own.execute(f'CREATE DATABASE "{name}"')
        months = own.execute(
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) "
            "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = 'fact_events'::regclass "
            "AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'"
        ).fetchall()
    url = urlunsplit(urlsplit(stack.database_url)._replace(path=f"/{name}"))
    environment = stack.environment | {"DATABASE_URL": url}
    subprocess.run([PROGRAMS / "etl", "migrate"], env=environment, check=True, capture_output=True)
    with psycopg.connect(url, autocommit=True) as connection:
        there = {row[0] for row in connection.execute("SELECT relname FROM pg_class")}
        for month, bounds in months:
            if month not in there:
                connection.execute(f'CREATE TABLE "{month}" PARTITION OF fact_events {bounds}')
        if not aggregates:
            connection.execute("ALTER TABLE fact_events DISABLE TRIGGER USER")
            connection.execute(
                "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql "
                "AS 'BEGIN RETURN NULL; END'"
            )
            connection.execute(
                "CREATE TRIGGER forget BEFORE INSERT ON analytics.touched_hours "
                "FOR EACH ROW EXECUTE FUNCTION forget()"
            )
    return url


def counted(connection: psycopg.Connection) -> tuple[int, int]:
    """Returns rows and events, without those of `etl generate`."""
    row = connection.execute(
        "SELECT count(*), count(DISTINCT event_id) "
        "FROM fact_events WHERE source_topic <> 'generated'"
    ).fetchone()
    assert row is not None
    return row


def fingerprint(connection: psycopg.Connection) -> tuple[int, int, str]:
    """Returns the same, and a hash over all facts that does not depend on their order."""
    row = connection.execute(
        "SELECT coalesce(md5(string_agg(fact_hash::text, '' ORDER BY fact_hash)), '') "
        "FROM fact_events WHERE source_topic <> 'generated'"
    ).fetchone()
    assert row is not None
    return *counted(connection), row[0]
