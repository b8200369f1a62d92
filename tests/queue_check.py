"""Compares the tables with the message bodies of a shop's queue, column by column.

    python3 queue_check.py MESSAGES.jsonl DATABASE_URL

Computes every fact, product, list and rejection from the bodies, and from the facts the answers to
the analysts' questions. Prints the differences to the tables and to the functions of `analytics`,
and exits with 1 if there are any. It does not use the product's code; the parser follows this
grammar,

    items := "[]" | "[" item (", " item)* "]"
    item  := "null" | row
    row   := "{" field (", " field)* "}"
    field := name "=" (text | number | "[" row (", " row)* "]" | row)

in which texts are not quoted: a text ends before a comma with a known field name and an equals
sign, or before the brace that ends its row.
"""

import json
import re
import sys
from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path
from uuid import UUID

import psycopg
import psycopg.rows

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1] / "connectors/postgres-sink/tests/metrics")
)
import asked  # noqa: E402
import metrics  # noqa: E402

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
NOTHING = ("", "null", "(not set)", "undefined", "NaN")

# The fields of an item and the columns of the fact, its product or its list.
TEXTS = {
    "item_id": "product_id",
    "item_name": "product_name",
    "item_brand": "product_brand",
    "item_variant": "product_variant",
    "item_category": "product_category",
    "item_category2": "product_category2",
    "item_category3": "product_category3",
    "item_category4": "product_category4",
    "item_category5": "product_category5",
    "coupon": "item_coupon",
    "affiliation": "affiliation",
    "location_id": "location_id",
    "item_list_id": "list_id",
    "item_list_name": "list_name",
    "promotion_id": "promotion_id",
    "promotion_name": "promotion_name",
    "creative_name": "creative_name",
    "creative_slot": "creative_slot",
}
NUMBERS = {
    "price_in_usd": "price_in_usd",
    "price": "price",
    "quantity": "quantity",
    "item_revenue_in_usd": "item_revenue_in_usd",
    "item_revenue": "item_revenue",
    "item_refund_in_usd": "item_refund_in_usd",
    "item_refund": "item_refund",
    "item_list_index": "list_position",
}
VALUES = ("string_value", "int_value", "float_value", "double_value")
NAMES = {
    "item": [*TEXTS, *NUMBERS, "item_params"],
    "param": ["key", "value"],
    "value": list(VALUES),
}

# The attributes of a product that are replaced together, and the column with the time.
ATTRIBUTES = {
    "name_as_of": ["product_name"],
    "brand_as_of": ["product_brand"],
    "variant_as_of": ["product_variant"],
    "category_as_of": [
        "product_category",
        "product_category2",
        "product_category3",
        "product_category4",
        "product_category5",
    ],
}
OF_PRODUCT = [
    column for columns in ATTRIBUTES.values() for column in columns if column != "product_variant"
]
# Columns without a field in this queue.
ALWAYS_NULL = (
    "event_id",
    "user_pseudo_id",
    "session_id",
    "traffic_source",
    "traffic_medium",
    "traffic_campaign",
    "device_category",
    "country",
    "app_version",
    "discount",
    "currency",
    "value",
    "transaction_id",
    "tax",
    "shipping",
    "event_coupon",
)


class Unreadable(Exception):
    """An unreadable message: the accepted reasons, and the beginning of the place."""

    def __init__(self, reasons, place):
        super().__init__(reasons, place)
        self.reasons, self.place = reasons, place


class Text:
    """The text of items, and the position in it."""

    def __init__(self, text):
        self.text, self.at = text, 0

    def skip(self, *words):
        for word in words:
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return True
        return False

    def expect(self, *words):
        if not self.skip(*words):
            raise Unreadable({"bad-items"}, "$.items")

    def rows(self, kind):
        self.expect("[")
        rows = []
        if self.skip("]"):
            return rows
        while True:
            if not self.skip("null"):
                rows.append(self.row(kind))
            if self.skip("]"):
                return rows
            self.expect(", ", ",")

    def row(self, kind):
        self.expect("{")
        fields = {}
        while True:
            name = re.compile(r"(\w+)=").match(self.text, self.at)
            if not name:
                raise Unreadable({"bad-items"}, "$.items")
            self.at = name.end()
            fields.setdefault(name[1], self.value(kind, name[1]))
            if self.skip("}"):
                return fields
            self.expect(", ", ",")

    def value(self, kind, name):
        if name == "item_params" and self.text.startswith("[", self.at):
            return self.rows("param")
        if kind == "param" and name == "value" and self.text.startswith("{", self.at):
            return self.row("value")
        known = "|".join(NAMES[kind])
        if name in NUMBERS:
            # After a number, an unknown name is a field.
            known = r"\w+"
        after = r",|\]"
        if kind == "item":
            after = r", ?\{(?:" + known + r")=|, ?null\b|\]\Z"
        end = re.compile(rf",\s?(?:{known})=|\}}(?={after}|\}})").search(self.text, self.at)
        if not end:
            raise Unreadable({"bad-items"}, "$.items")
        value = self.text[self.at : end.start()].strip()
        self.at = end.start()
        return None if value in NOTHING else value


def read_items(items):
    if items is None or isinstance(items, str) and items.strip() in NOTHING:
        return []
    if isinstance(items, list):
        return [item for item in items if item is not None]
    text = Text(items.strip())
    rows = text.rows("item")
    if text.at != len(text.text):
        raise Unreadable({"bad-items"}, "$.items")
    return rows


def number(value):
    if value is None or value in NOTHING:
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise SystemExit(f"error: {value!r} is not a number; the checker has no rule for it")


def param_value(value):
    for name in VALUES:
        found = (value or {}).get(name)
        if found is not None:
            return found if name == "string_value" else number(found)
    return None


def item_columns(item):
    columns, extra = {}, {}
    for name, value in item.items():
        if name in TEXTS:
            columns[TEXTS[name]] = None if value in NOTHING else value
        elif name in NUMBERS:
            columns[NUMBERS[name]] = number(value)
        elif name != "item_params" and value is not None:
            extra[name] = value
    for param in item.get("item_params") or []:
        value = param_value(param["value"])
        if value is not None:
            extra.setdefault(param["key"], value)
    return columns, extra


def event_time(value):
    if not isinstance(value, int):
        raise Unreadable({"missing-time", "bad-time"}, "$")
    micros = value if value >= 10**14 else value * 1000
    time = EPOCH + timedelta(microseconds=micros)
    if not 2000 <= time.year <= 2099:
        raise Unreadable({"bad-time"}, "$.event_timestamp")
    return time


def read_body(body):
    """The columns that all facts of an event share, its items, and its replay time."""
    try:
        event = json.loads(body)
    except ValueError:
        raise Unreadable({"not-json", "malformed"}, "$") from None
    common = {
        "event_time": event_time(event.get("event_timestamp")),
        "event_name": event["event_name"],
        "user_id": event.get("user_id"),
        "platform": event["platform"].upper(),
    }
    return common, read_items(event.get("items")), event.get("replay_timestamp")


class Expected:
    """The expected contents of the tables."""

    def __init__(self, bodies):
        self.messages, self.events = 0, {}
        self.facts, self.rejected = [], defaultdict(list)
        self.replays = defaultdict(set)
        self.products, self.lists = {}, {}
        # The event and the product of each fact, for the questions.
        self.distinctions, self.with_items = [], Counter()
        for body in bodies:
            self.messages += 1
            try:
                common, items, replay = read_body(body)
            except Unreadable as why:
                self.rejected[body].append(why)
                continue
            key = json.dumps([common, items], sort_keys=True, default=str)
            self.replays[event_key(common)].add(replay)
            if key not in self.events:
                self.events[key] = common
                self.add_event(common, items)
        for fact in self.facts:
            product = self.products.get(fact.pop("product"), {})
            fact.update({column: product.get(column) for column in ["product_id", *OF_PRODUCT]})

    def add_event(self, common, items):
        for ordinal, item in enumerate(items, 1):
            columns, extra = item_columns(item)
            fact = {
                **dict.fromkeys([*TEXTS.values(), *NUMBERS.values(), *ALWAYS_NULL]),
                **common,
                **columns,
            }
            fact.update(item_ordinal=ordinal, extra_item=extra, product=product_key(fact))
            self.add_product(fact)
            self.add_list(fact)
            self.add_fact(fact, self.with_items[event_key(common)])
        if items:
            self.with_items[event_key(common)] += 1
        else:
            nothing = dict.fromkeys([*TEXTS.values(), *NUMBERS.values(), *ALWAYS_NULL])
            self.add_fact(
                {**nothing, **common, "item_ordinal": 0, "extra_item": {}, "product": None}, 0
            )

    def add_fact(self, fact, number):
        """Adds a fact; `number` distinguishes events with items and the same key."""
        self.distinctions.append({"event": (event_key(fact), number), "product": fact["product"]})
        self.facts.append(fact)

    def add_product(self, fact):
        key = fact["product"]
        if key is None:
            return
        minute = fact["event_time"].replace(second=0, microsecond=0)
        product = self.products.setdefault(key, {"product_id": fact["product_id"], "newest": {}})
        see(product, minute)
        for as_of, columns in ATTRIBUTES.items():
            values = [fact[column] for column in columns]
            if any(value is not None for value in values):
                candidate = (minute, [value or "" for value in values], values)
                newest = max(
                    candidate, product["newest"].get(as_of, candidate), key=lambda value: value[:2]
                )
                product["newest"][as_of] = newest
                product[as_of] = newest[0]
                product.update(zip(columns, newest[2]))

    def add_list(self, fact):
        key = fact["list_id"], fact["list_name"]
        if key != (None, None):
            minute = fact["event_time"].replace(second=0, microsecond=0)
            see(self.lists.setdefault(key, dict(zip(("list_id", "list_name"), key))), minute)


def see(member, minute):
    member["first_seen"] = min(minute, member.get("first_seen", minute))
    member["last_seen"] = max(minute, member.get("last_seen", minute))


def product_key(fact):
    for column in ("product_id", "product_name"):
        if fact[column] is not None:
            return column, fact[column]
    rest = tuple(fact[column] for column in OF_PRODUCT[1:] + ["product_variant"])
    return ("rest", rest) if any(rest) else None


def event_key(fact):
    return fact["event_time"], fact["user_id"], fact["event_name"]


FACTS = """
    SELECT f.event_time, f.event_name, f.event_id, f.user_id, f.user_pseudo_id, f.session_id,
           f.platform, f.traffic_source, f.traffic_medium, f.traffic_campaign, f.device_category,
           f.country, f.app_version, p.product_id, p.product_name, p.product_brand,
           p.product_category, p.product_category2, p.product_category3, p.product_category4,
           p.product_category5, f.product_variant, l.list_id, l.list_name, f.list_position,
           f.item_ordinal, f.price, f.price_in_usd, f.quantity, f.item_revenue,
           f.item_revenue_in_usd, f.item_refund, f.item_refund_in_usd, f.discount, f.item_coupon,
           f.affiliation, f.location_id, f.promotion_id, f.promotion_name, f.creative_name,
           f.creative_slot, f.currency, f.value, f.transaction_id, f.tax, f.shipping,
           f.event_coupon, f.extra::text AS extra
    FROM fact_events f
    LEFT JOIN dim_product p USING (product_key) LEFT JOIN dim_list l USING (list_key)"""


class Differences:
    """Prints the first differences, and counts all."""

    def __init__(self):
        self.count = 0

    def add(self, text):
        self.count += 1
        if self.count <= 20:
            print(text)

    def compare(self, kind, key, expected, found):
        """Compares rows as multisets, and names the columns in which rows of one key differ."""
        rows = {content(row): row for row in [*expected, *found]}
        expected, found = Counter(map(content, expected)), Counter(map(content, found))
        missing = defaultdict(list)
        for row in (expected - found).elements():
            missing[key(rows[row])].append(rows[row])
        for row in (found - expected).elements():
            row = rows[row]
            if not missing.get(key(row)):
                self.add(f"{kind} {shown(key(row))} should not be there")
                continue
            for column, value in missing[key(row)].pop().items():
                if row.get(column) != value:
                    self.add(
                        f"{kind} {shown(key(row))}: {column} is {row.get(column)!r}, "
                        f"should be {value!r}"
                    )
        for rows in missing.values():
            for row in rows:
                self.add(f"{kind} {shown(key(row))} is missing")


def content(row):
    """The columns that have values."""
    values = (
        (name, tuple(sorted(value.items())) if isinstance(value, dict) else value)
        for name, value in row.items()
    )
    return tuple(sorted((name, value) for name, value in values if value is not None))


def shown(key):
    return ", ".join(map(str, key))


def compare(expected, database):
    differences = Differences()
    facts = database.execute(FACTS).fetchall()
    for fact in facts:
        extra = json.loads(fact.pop("extra") or "{}", parse_float=Decimal, parse_int=Decimal)
        fact["extra_item"] = {
            key: value for key, value in extra.get("item", {}).items() if value is not None
        }
        of_event = extra.get("event", {})
        # Any of the deliveries may have arrived first.
        replay = of_event.pop("replay_timestamp", None)
        if replay not in expected.replays[event_key(fact)]:
            differences.add(
                f"fact {shown(event_key(fact))}: replay_timestamp {replay} was not sent"
            )
        if of_event:
            differences.add(f"fact {shown(event_key(fact))}: {of_event} was not sent")
    differences.compare(
        "fact", lambda fact: (*event_key(fact), fact["item_ordinal"]), expected.facts, facts
    )

    products = [
        {column: value for column, value in product.items() if column != "newest"}
        for product in expected.products.values()
    ]
    columns = ", ".join(
        ["product_id", "first_seen", "last_seen", *ATTRIBUTES, *OF_PRODUCT, "product_variant"]
    )
    found = database.execute(f"SELECT {columns} FROM dim_product").fetchall()
    differences.compare("product", lambda product: (product["product_id"],), products, found)

    found = database.execute(
        "SELECT list_id, list_name, first_seen, last_seen FROM dim_list"
    ).fetchall()
    differences.compare(
        "list", lambda of: (of["list_id"], of["list_name"]), expected.lists.values(), found
    )

    rejected = defaultdict(list)
    for row in database.execute("SELECT raw, reason, at_path FROM rejected_events").fetchall():
        rejected[row["raw"]].append(row)
    for body in {*rejected, *expected.rejected}:
        wanted, rows = expected.rejected[body], rejected[body]
        if len(wanted) != len(rows):
            differences.add(f"rejected {len(rows)} times, should be {len(wanted)} times: {body}")
        for why, row in zip(wanted, rows):
            if row["reason"] not in why.reasons or not row["at_path"].startswith(why.place):
                differences.add(
                    f"rejected: {row['reason']} at {row['at_path']}, "
                    f"should be {why.reasons} at {why.place}: {body}"
                )
    compare_answers(expected, database, differences)
    return differences.count


def compare_answers(expected, database, differences):
    """Compares the answers over all days, over the last two, and over each of these."""
    facts = [
        {**fact, **more, "fact_hash": UUID(int=number)}
        for number, (fact, more) in enumerate(zip(expected.facts, expected.distinctions))
    ]
    shop = metrics.Shop(facts, timezone.utc)
    days = sorted({fact["day"] for fact in shop.facts})
    # A body does not hold the time of its arrival.
    names = [name for name in asked.QUESTIONS if name != "lateness"]
    for first, last in {
        (days[0], days[-1]),
        (days[-2], days[-1]),
        (days[-2],) * 2,
        (days[-1],) * 2,
    }:
        for name, wanted in metrics.Range(shop, first, last).answers(names).items():
            sql = asked.QUESTIONS[name].replace("$range", f"'{first}', '{last}'")
            found = database.execute(f"SELECT to_jsonb(r) AS row FROM ({sql}) r").fetchall()
            rows = [[rounded(row) for row in rows] for rows in (wanted, (r["row"] for r in found))]
            differences.compare(f"{name} of {first} to {last}: the row of", texts_of, *rows)


def rounded(row):
    return {
        name: round(float(value), 6) if isinstance(value, (int, float, Decimal)) else value
        for name, value in row.items()
    }


def texts_of(row):
    return tuple(value for value in row.values() if isinstance(value, str))


def main():
    file, url = sys.argv[1:]
    with open(file, encoding="utf-8", newline="\n") as bodies:
        expected = Expected(body.rstrip("\n") for body in bodies if body.strip("\n"))
    with psycopg.connect(
        url, options="-c TimeZone=UTC", row_factory=psycopg.rows.dict_row
    ) as database:
        differences = compare(expected, database)
    rejected = sum(map(len, expected.rejected.values()))
    print(
        f"{expected.messages} messages: "
        f"{len(expected.events)} events, {len(expected.facts)} facts, "
        f"{len(expected.products)} products, {len(expected.lists)} lists, {rejected} rejected"
    )
    if differences:
        sys.exit(f"{differences} differences")
    print("the tables and the answers are equal to the expected ones")


if __name__ == "__main__":
    main()
