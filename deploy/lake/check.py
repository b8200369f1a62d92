"""Makes a demo with a lake and compares what its readers see with PostgreSQL.

Runs the dbt project on both, compares every model row by row, and those for which PostgreSQL has a
function with that function. Runs the views in DuckDB, and parses them as Trino and Spark do.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import duckdb
import psycopg2
import sqlglot

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "bi"))
import demo  # noqa: E402
import events  # noqa: E402

PROJECT = HERE / "dbt"
#: What `etl generate` makes of each format.
GENERATED = 1_000

#: The functions of PostgreSQL with the same numbers as a model. Rates have four decimals there.
FUNCTIONS = {
    "list_performance": (
        "analytics.list_performance()",
        "list_id list list_views impressions viewers clicks substitutes clickers engaged "
        "engaged_viewers click_through_rate click_through_user_rate engagement_rate "
        "engaged_user_rate purchases orders units revenue currency",
    ),
    "product_performance": (
        "(SELECT *, cart_to_view_user_rate AS cart_to_view_rate, "
        "view_to_purchase_user_rate AS view_to_purchase_rate "
        "FROM analytics.product_performance()) p",
        "product_id product brand category viewers cart_adders checkout_starters buyers "
        "impressions views add_to_carts checkouts purchases orders units revenue currency "
        "cart_to_view_rate view_to_purchase_rate",
    ),
    "sessions": (
        "(SELECT *, started_at AT TIME ZONE 'UTC' AS s, ended_at AT TIME ZONE 'UTC' AS e "
        "FROM analytics.sessions()) t",
        "day started_at=s ended_at=e platform events views is_engaged is_converted is_bounce",
    ),
    "sessions_daily": (
        "(SELECT *, value::date AS day FROM analytics.sessions_by('day')) t",
        "day sessions engaged_sessions converted_sessions bounces engagement_rate bounce_rate "
        "ga4_bounce_rate conversion_rate",
    ),
    "session_funnel": (
        "analytics.session_funnel()",
        "step event_name sessions rate_of_first rate_of_step_before",
    ),
    "orders": (
        "(SELECT *, order_began AT TIME ZONE 'UTC' AS b FROM analytics.orders()) t",
        "day order_id order_began=b person platform purchases units revenue currency is_by_value "
        "value tax shipping coupon",
    ),
    "order_lines": (
        "(SELECT l.*, l.order_began AT TIME ZONE 'UTC' AS b, l.event_time AT TIME ZONE 'UTC' AS e, "
        "replace(l.fact_hash::text, '-', '') AS h, p.natural_key AS p, i.natural_key AS i, "
        "s.natural_key AS s FROM analytics.order_lines() l "
        "LEFT JOIN dim_product p USING (product_key) LEFT JOIN dim_list i USING (list_key) "
        "LEFT JOIN analytics.list_sales() sold ON sold.fact_hash = l.fact_hash "
        "LEFT JOIN dim_list s ON s.list_key = sold.list_key) t",
        "day order_id order_began=b event_time=e person platform product_key=p list_key=i "
        "led_by=s item_ordinal units revenue currency fact_hash=h",
    ),
    "daily_revenue": (
        "analytics.daily_revenue()",
        "day currency orders purchases units revenue refunds net_revenue",
    ),
    "daily_funnel": (
        "analytics.daily_funnel()",
        "day list_views impressions selects views add_to_carts checkouts purchases orders events",
    ),
}


def rows(cursor, columns: list[str], relation: str) -> Counter:
    """The rows of a relation, each as often as it is there."""
    cursor.execute(f"SELECT {', '.join(columns)} FROM {relation}")
    return Counter(tuple(map(comparable, row)) for row in cursor.fetchall())


def comparable(value):
    """Numbers without the zeros at their end."""
    return value.normalize() + 0 if isinstance(value, Decimal) else value


def difference(name: str, ours: Counter, theirs: Counter) -> list[str]:
    """The fault, if the rows differ."""
    if ours == theirs:
        return []
    left, right = list((ours - theirs).elements()), list((theirs - ours).elements())
    shown = "".join(f"\n  {row}" for row in left[:2] + right[:2])
    return [f"{name}: only one side has {len(left)} and {len(right)} rows, such as{shown}"]


def extensions(folder: Path) -> None:
    """Puts DuckDB's extensions from PyPI where it looks for installed ones."""
    platform = duckdb.sql("PRAGMA platform").fetchone()[0]
    target = folder / f"v{duckdb.__version__}" / platform
    target.mkdir(parents=True)
    for name in ("avro", "iceberg"):
        package = Path(find_spec(f"duckdb_extension_{name}").origin).parent
        shutil.copy(next(package.rglob(f"{name}.duckdb_extension")), target)


def build(target: str) -> list[str]:
    """Builds and tests the models; returns what failed, and why."""
    command = [Path(sys.executable).with_name("dbt"), "--quiet", "--no-use-colors", "build"]
    built = subprocess.run([*command, "--target", target], stdout=subprocess.PIPE, text=True)
    return [f"dbt on {target}: {built.stdout}"] if built.returncode else []


def models(owner_url: str, lake: Path, folder: Path) -> list[str]:
    """Builds the models on both and compares them."""
    demo.prepare_dbt(PROJECT, owner_url, demo.PASSWORD, folder)
    os.environ |= {
        "LAKE_FACTS": str(lake / "shop/facts"),
        "LAKE_MARTS": str(folder / "lake.duckdb"),
        "DUCKDB_EXTENSIONS": str(folder / "extensions"),
    }
    faults = build("lake") + build("postgres")
    if faults:
        return faults

    lake_marts = duckdb.connect(folder / "lake.duckdb").cursor()
    tables = psycopg2.connect(owner_url).cursor()
    names = sorted(file.stem for file in PROJECT.glob("models/*/*.sql"))
    for name in names:
        tables.execute(f"SELECT * FROM marts.{name} LIMIT 0")
        # Of an event that came twice, PostgreSQL has the first arrival and the lake the newest.
        columns = [column.name for column in tables.description if column.name != "sent_at"]
        ours = rows(lake_marts, columns, f"marts.{name}")
        faults += difference(name, ours, rows(tables, columns, f"marts.{name}"))
        if not ours:
            faults.append(f"{name} has no rows")
        print(f"{name}: {ours.total()} rows")
    for name in FUNCTIONS:
        faults += compared_with_function(name, lake_marts, tables)
    return faults


def compared_with_function(name: str, lake_marts, tables) -> list[str]:
    """The fault, if the model differs from its function in PostgreSQL."""
    function, listed = FUNCTIONS[name]
    pairs = [column.partition("=") for column in listed.split()]
    columns = [ours for ours, _, _ in pairs]
    theirs = [theirs or ours for ours, _, theirs in pairs]
    theirs = [f"round({c}, 4)" if re.search(r"_rate$|^rate_of", c) else c for c in theirs]
    ours = rows(lake_marts, columns, f"marts.{name}")
    return difference(f"{name} and {function}", ours, rows(tables, theirs, function))


def views(lake: Path, folder: Path) -> list[str]:
    """Runs the views in DuckDB, and parses those of other engines."""
    session = duckdb.connect(config={"extension_directory": str(folder / "extensions")})
    text = (HERE / "views/duckdb.sql").read_text()
    session.execute(text.replace("s3://my-bucket/lake", str(lake)))
    columns = [row[0] for row in session.execute("DESCRIBE shop.facts").fetchall()]
    ours = rows(session.cursor(), columns, "shop.facts_distinct")
    everything = rows(session.cursor(), ["fact_hash"], "shop.facts")
    faults = []
    if ours.total() != len(everything) or everything.total() == len(everything):
        faults.append(f"facts_distinct: {ours.total()} rows of {len(everything)} facts")
    # The view of the other engines is standard SQL, which DuckDB runs, too.
    text = (HERE / "views/facts_distinct.sql").read_text()
    session.execute(text)
    theirs = rows(session.cursor(), columns, "shop.facts_distinct")
    faults += difference("facts_distinct.sql", theirs, ours)
    for dialect in ("trino", "spark"):
        sqlglot.parse_one(text, dialect=dialect)
    athena = sqlglot.parse_one((HERE / "views/athena.sql").read_text(), dialect="athena")
    shown = [column.alias_or_name for column in athena.expression.selects]
    if shown != columns:
        faults.append(f"athena.sql has other columns than facts: {set(shown) ^ set(columns)}")
    return faults


def main() -> bool:
    """Prints the faults; returns true if there are none."""
    with tempfile.TemporaryDirectory() as name:
        folder, lake = Path(name), Path(name) / "lake"
        extensions(folder / "extensions")
        bodies = folder / "events.jsonl"
        events.write(demo.PROGRAMS / "etl", bodies, GENERATED)
        report = str(folder / "report.html")
        with demo.tables("--input", str(bodies), "--lake", str(lake), "--report", report) as owner:
            demo.add_roles(owner)
            faults = models(owner, lake, folder) + views(lake, folder)
    for fault in faults:
        print(fault)
    print(f"The lake's models and views: {len(faults)} faults")
    return not faults


if __name__ == "__main__":
    raise SystemExit(not main())
