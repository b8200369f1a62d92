"""Generates shop events of about 1.2 KB and 4.1 items, the same for the same seed."""

import json
import random
import time
from typing import Iterator

NAMES = ("view_item_list", "view_item", "begin_checkout", "purchase")
WEIGHTS = (55, 30, 10, 5)
#: In microseconds.
WEEK, TEN_MINUTES = 7 * 86_400 * 1_000_000, 600 * 1_000_000


def events(
    count: int, seed: int = 1, items: int | None = None, as_in_a_shop: bool = False
) -> Iterator[dict]:
    """Yields `count` events with `items` items each, or 1 to 8 (4.1 on average).

    Their times are in the last seven days, and all products are equally popular: many sums of few
    facts. With `as_in_a_shop` they are in the last ten minutes, and a fifth of the products has two
    thirds of all items.
    """
    chance = random.Random(seed)
    now = int(time.time() * 1e6)
    span, skew = (TEN_MINUTES, 4) if as_in_a_shop else (WEEK, 1)
    for number in range(count):
        yield event(chance, f"{seed}-{number}", now - chance.randrange(span), items, skew)


def event(
    chance: random.Random, event_id: str, micros: int, items: int | None = None, skew: int = 1
) -> dict:
    """Returns one event at that time."""
    how_many = items or chance.choices(range(1, 9), (12, 14, 15, 16, 15, 12, 9, 7))[0]
    shopping_list = chance.randrange(40)
    return {
        "event_id": event_id,
        "event_name": chance.choices(NAMES, WEIGHTS)[0],
        "event_timestamp": micros,
        "user_pseudo_id": f"{chance.randrange(50_000):08x}-app",
        "session_id": str(1_700_000_000 + chance.randrange(100_000)),
        "platform": chance.choice(("ANDROID", "IOS", "WEB")),
        "currency": "EUR",
        "item_list_id": f"list-{shopping_list}",
        "item_list_name": f"Recommended products, shelf {shopping_list}",
        "screen": "shop/department",
        "items": json.dumps([item(chance, index, skew) for index in range(how_many)]),
    }


def item(chance: random.Random, index: int, skew: int) -> dict:
    product = int(5_000 * chance.random() ** skew)
    return {
        "item_id": f"SKU-{product:05d}",
        "item_name": f"Product {product}",
        "item_brand": f"Brand {product % 120}",
        "item_category": "Apparel",
        "item_category2": f"Department {product % 25}",
        "item_variant": chance.choice(("red", "green", "blue")),
        "price": round(5 + product % 300 + 0.99, 2),
        "quantity": 1,
        "index": index,
    }


def facts_of(event: dict) -> int:
    """Returns the number of facts that the event has to become."""
    return max(1, len(json.loads(event["items"])))
