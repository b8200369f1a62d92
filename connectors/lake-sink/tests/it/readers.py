"""Compares a table of facts in the lake, as DuckDB, ClickHouse and PyIceberg read it, with
PostgreSQL's.

readers.py POSTGRES_URL TABLE_FOLDER: prints the number of rows that agree, or fails.
"""

import datetime
import decimal
import importlib.util
import json
import os
import pathlib
import sys

import chdb
import duckdb
import psycopg
from pyiceberg.table import StaticTable

url, folder = sys.argv[1:]

COLUMNS = """event_time event_name event_id user_id user_pseudo_id session_id platform
    traffic_source traffic_medium traffic_campaign device_category country app_version product_id
    product_name product_brand product_category product_category2 product_category3
    product_category4 product_category5 product_variant list_id list_name list_position
    item_ordinal price quantity discount price_in_usd item_revenue item_revenue_in_usd item_refund
    item_refund_in_usd item_coupon affiliation location_id promotion_id promotion_name
    creative_name creative_slot currency value transaction_id tax shipping event_coupon extra
    fact_hash event_version sent_at source_topic source_partition source_offset""".split()

TIMES = ("event_time", "sent_at")
NUMBERS = """price quantity discount price_in_usd item_revenue item_revenue_in_usd item_refund
    item_refund_in_usd value tax shipping event_version""".split()
LIMIT = decimal.Decimal(10) ** 20
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def comparable(row):
    """A row with equal values for equal ones of both databases."""
    row = dict(zip(COLUMNS, row))
    for name in TIMES:
        time = row[name]
        if isinstance(time, int):
            time = EPOCH + datetime.timedelta(microseconds=time)
        row[name] = time and time.astimezone(datetime.timezone.utc)
    row["fact_hash"] = str(row["fact_hash"]).replace("-", "")
    extra = row["extra"]
    if isinstance(extra, str):
        extra = json.loads(extra, parse_float=decimal.Decimal, parse_int=decimal.Decimal)
    row["extra"] = extra or {}
    for name, value in row.items():
        if isinstance(value, decimal.Decimal):
            value = value.normalize()
            fits = abs(value) < LIMIT and value.as_tuple().exponent >= -18
            if fits or name == "event_version":
                row[name] = value
            else:
                # The lake's column can't hold it: `extra` has it.
                row["extra"] = {**row["extra"], name: value}
                row[name] = None
    row["extra"] = {
        key: value.normalize() if isinstance(value, decimal.Decimal) else value
        for key, value in row["extra"].items()
    }
    return row


def ordered(rows):
    return sorted(map(comparable, rows), key=lambda row: (row["event_time"], row["fact_hash"]))


decimal.getcontext().prec = 60
with psycopg.connect(url) as postgres:
    postgres.execute("SET timezone = 'UTC'")
    psycopg.types.json.set_json_loads(
        lambda text: json.loads(text, parse_float=decimal.Decimal, parse_int=decimal.Decimal)
    )
    product = [name for name in COLUMNS if name.startswith("product_") and name != "product_variant"]
    names = {name: f"p.{name}" for name in product} | {
        "list_id": "l.list_id",
        "list_name": "l.list_name",
    }
    columns = ", ".join(names.get(name, f"f.{name}") for name in COLUMNS)
    expected = ordered(
        postgres.execute(
            f"SELECT {columns} FROM fact_events f LEFT JOIN dim_product p USING (product_key) "
            "LEFT JOIN dim_list l USING (list_key)"
        )
    )

duck = duckdb.connect()
for extension in ("avro", "iceberg"):
    package = pathlib.Path(importlib.util.find_spec(f"duckdb_extension_{extension}").origin)
    file = next(package.parent.rglob(f"{extension}.duckdb_extension"))
    duck.execute(f"LOAD '{file}'")
duck.execute("SET timezone = 'UTC'")
# Without pytz, DuckDB's client has no times with a zone.
columns = ", ".join(f"epoch_us({name})" if name in TIMES else name for name in COLUMNS)
found = ordered(duck.execute(f"SELECT {columns} FROM iceberg_scan('{folder}')").fetchall())

columns = ", ".join(
    f"toUnixTimestamp64Micro({name})"
    if name in TIMES
    else f"toString({name})"
    if name in NUMBERS
    else name
    for name in COLUMNS
)
# ClickHouse reads files below the working directory only.
os.chdir("/")
lines = chdb.query(
    f"SELECT {columns} FROM icebergLocal('{folder}') "
    "SETTINGS output_format_json_quote_64bit_integers = 0",
    "JSONCompactEachRow",
)
house = [json.loads(line) for line in str(lines).split("\n") if line]
numbers = [COLUMNS.index(name) for name in NUMBERS]
for row in house:
    for number in numbers:
        row[number] = row[number] and decimal.Decimal(row[number])
house = ordered(house)

with open(f"{folder}/metadata/version-hint.text") as hint:
    metadata = f"{folder}/metadata/{hint.read()}.metadata.json"
arrow = StaticTable.from_metadata(metadata).scan(selected_fields=tuple(COLUMNS)).to_arrow()
iceberg = ordered(zip(*(arrow.column(name).to_pylist() for name in COLUMNS)))

for reader, rows in (("DuckDB", found), ("ClickHouse", house), ("PyIceberg", iceberg)):
    assert len(rows) == len(expected), f"{reader}: {len(rows)} rows, PostgreSQL {len(expected)}"
    for row, wanted in zip(rows, expected):
        different = {name: (row[name], wanted[name]) for name in COLUMNS if row[name] != wanted[name]}
        assert not different, f"{reader}: {different}"
print(len(expected))
