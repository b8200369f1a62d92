"""Builds and tests the dbt project, and checks that its tests fail on broken tables."""

from pathlib import Path

import psycopg2

import demo

PROJECT = Path(__file__).parent.parent / "dbt"

#: Statements that break the tables, each with the test that has to fail.
BREAKS = {
    "DELETE FROM dim_product WHERE product_key = (SELECT min(product_key) FROM fact_events)": (
        "source_relationships_shop_fact_events_product_key"
    ),
    "DELETE FROM dim_list WHERE list_key = (SELECT min(list_key) FROM fact_events)": (
        "source_relationships_shop_fact_events_list_key"
    ),
    "UPDATE fact_events SET item_ordinal = -1 WHERE event_name = 'view_item'": (
        "source_between_shop_fact_events_0__item_ordinal"
    ),
    "UPDATE sink_offsets SET records_without_rows = -1": (
        "source_between_analytics_duplicates_0__records_without_rows"
    ),
    "ALTER TABLE sink_offsets ADD COLUMN later text": "sources_have_these_columns",
    # Deletes without the triggers that open hours, after these are stored. The lock is the one that
    # the demo's sink holds while it refreshes, when `refresh` stores nothing.
    "SELECT pg_advisory_xact_lock(x'65746c20616767'::bigint); "
    "SELECT analytics.refresh(100000, '0'); ALTER TABLE fact_events DISABLE TRIGGER USER; "
    "DELETE FROM fact_events WHERE event_name = 'purchase'": "aggregates_agree_with_the_facts",
}


def faults(owner_url: str, dbt_password: str, folder: Path) -> list[str]:
    """Returns the project's faults. dbt writes into `folder`. Leaves the tables broken."""
    demo.prepare_dbt(PROJECT, owner_url, dbt_password, folder)
    # The second run is the incremental one.
    failed = run("build") + run("build", "--select", "product_performance_daily")
    if failed:
        return [f"dbt: {fault}" for fault in failed]

    owner = psycopg2.connect(owner_url)
    owner.autocommit = True
    with owner.cursor() as cursor:
        for statement in BREAKS:
            cursor.execute(statement)
    failed = run("test")
    return [
        f"dbt: {expected}… passes on broken tables"
        for expected in BREAKS.values()
        if not any(fault.startswith(expected) for fault in failed)
    ]


def run(*arguments: str) -> list[str]:
    """Runs a dbt command; returns what failed, and why."""
    # Imported here because it reads the environment on import.
    from dbt.cli.main import dbtRunner

    outcome = dbtRunner().invoke(["--log-level", "none", *arguments])
    if outcome.exception:
        raise outcome.exception
    done = {"success", "pass"}
    return [
        f"{result.node.name}: {result.message}"
        for result in outcome.result
        if result.status not in done
    ]
