"""Generates the events of a shop's visitors over some days, the same for the same seed.

As `etl generate --into-database` makes facts: a few products, lists and people have most of it, and
of the lists that somebody sees some lead to a view, fewer to a checkout and a purchase.
"""

import random
from collections.abc import Iterator

#: The mean number of facts of a session.
FACTS_A_SESSION = 18
SESSIONS_A_PERSON = 6
PRODUCTS, LISTS = 2_000, 50
MINUTE = 60 * 1_000_000
DAY = 24 * 60 * MINUTE


def events(facts: int, until: int, days: int, seed: int = 1) -> Iterator[dict]:
    """Yields the events of about that many facts in the days up to `until`, a time in microseconds,
    session by session."""
    chance = random.Random(seed)
    sessions = max(1, facts // FACTS_A_SESSION)
    people = max(1, sessions // SESSIONS_A_PERSON)
    since = until - days * DAY
    for number in range(sessions):
        person = int(people * chance.random() ** 1.3)
        visitor = {
            "user_pseudo_id": f"{person * 2_654_435_761 % 2**64:016x}",
            "session_id": str(number),
            "platform": "ANDROID" if person % 5 < 3 else "IOS",
            "currency": "EUR",
        }
        # One person in three is signed in.
        if person % 3 == 0:
            visitor["user_id"] = f"U{person}"
        # The last visit of a session is over before the last day is.
        at = since + (days * DAY - 15 * MINUTE) * number // sessions
        for visit in range(chance.randint(1, 4)):
            began = at + visit * 3 * MINUTE + chance.randrange(MINUTE)
            yield from steps(chance, f"{seed}-{number}-{visit}", visitor, began)


def steps(chance: random.Random, visit: str, visitor: dict, at: int) -> Iterator[dict]:
    """Yields a view of a list, and what follows from it."""
    number = int(LISTS * chance.random() ** 1.5)
    where = {"item_list_id": f"list-{number}", "item_list_name": f"Shelf {number}"}
    shown = [item(chance, place) for place in range(chance.randint(4, 9))]

    def event(step: int, name: str, **more: object) -> dict:
        moment = at + step * 25 * 1_000_000
        about = {"event_id": f"{visit}-{step}", "event_name": name, "event_timestamp": moment}
        return about | visitor | more

    yield event(0, "view_item_list", items=shown, **where)
    if chance.random() >= 0.3 + number * 0.008:
        return
    chosen = chance.choice(shown) | {"quantity": chance.randint(1, 2)}
    yield event(1, "view_item", items=[chosen], **where)
    if chance.random() >= 0.35:
        return
    value = round(chosen["price"] * chosen["quantity"], 2)
    yield event(2, "begin_checkout", items=[chosen], value=value)
    if chance.random() >= 0.6:
        return
    bought = [chosen, *chance.sample(shown, chance.randint(0, 1))]
    order = {"transaction_id": f"T-{visit}", "value": value, "tax": round(value / 5, 2)}
    yield event(3, "purchase", items=bought, shipping=4.9, **order)


def item(chance: random.Random, place: int) -> dict:
    product = int(PRODUCTS * chance.random() ** 2)
    return {
        "item_id": f"SKU-{product:05d}",
        "item_name": f"Product {product}",
        "item_brand": f"Brand {product % 120}",
        "item_category": f"Department {product % 25}",
        "item_variant": ("black", "white", "green", "sand", "blue")[product % 5],
        "price": (499 + product * 37 % 24_500) / 100,
        "quantity": 1,
        "index": place,
    }
