"""Message bodies whose metrics are easy to get wrong, behind those that `etl generate` makes."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def write(etl: Path, file: Path, generated: int) -> None:
    """Writes made-up messages of both formats and the special ones into the file."""
    with file.open("w") as bodies:
        for form in ("queue", "ga4"):
            command = [etl, "generate", "--messages", str(generated), "--format", form]
            bodies.write(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        bodies.writelines(json.dumps(event) + "\n" for event in special())


def special() -> Iterator[dict]:
    """Two days ago, at the full hour."""
    base = (int(time.time()) // 3600 * 3600) * 1_000_000 - 2 * DAY
    number = 0

    def event(name: str, at: int, **more: object) -> dict:
        nonlocal number
        number += 1
        body = {"event_id": f"special-{number}", "event_name": name, "event_timestamp": base + at}
        return body | more

    # A view substitutes a click only if no select_item was sent in the 30 minutes before it, and
    # only in the list that showed the product last.
    item = {"item_id": "P1", "item_name": "One", "price": 10.25}
    one = {"user_pseudo_id": "special-1", "platform": "WEB"}
    for at, where in ((0, "first"), (5, "second")):
        shown = [item | {"item_list_id": where, "item_list_name": where.title(), "index": 3}]
        yield event("view_item_list", at * MINUTE, items=shown, **one)
    yield event("view_item", 35 * MINUTE, items=[item], **one)
    yield event("view_item", 35 * MINUTE + 1, items=[item], **one)
    yield event("view_item_list", 60 * MINUTE, items=[item | {"item_list_id": "first"}], **one)
    yield event("select_item", 61 * MINUTE, items=[item | {"item_list_id": "second"}], **one)
    yield event("view_item", 62 * MINUTE, items=[item], **one)
    # An order within 24 hours of the click, and one behind them.
    yield event("purchase", DAY + HOUR, items=[item], transaction_id="led", currency="EUR", **one)
    yield event("purchase", DAY + 2 * HOUR, items=[item], transaction_id="not led", **one)

    # The same order under another event id counts once; items differ in currency.
    two = {"user_id": "user-2", "user_pseudo_id": "special-2", "ga_session_id": 7}
    lines = [{"item_id": "P2", "price": 3.333, "quantity": 3}, item | {"item_revenue": 9.99}]
    order = {"transaction_id": "twice", "currency": "EUR", "value": 50.5, "tax": 1.25, "shipping": 4}
    yield event("purchase", 10 * MINUTE, items=lines, **order, **two)
    yield event("purchase", 20 * MINUTE, items=lines, **order, **two)
    yield event("purchase", 21 * MINUTE, items=lines[:1], **(order | {"currency": "USD"}), **two)
    # Dated long before SQS received it: no part of an order that others tell of.
    yield event("purchase", -5 * DAY, items=lines, **order, **two)
    yield event("purchase", -6 * DAY, items=lines, transaction_id="only distant", **two)
    # Orders without lines, without a transaction id, and without any id.
    yield event("purchase", 30 * MINUTE, transaction_id="by value", currency="EUR", value=12, **two)
    yield event("purchase", 31 * MINUTE, items=lines, currency="EUR", **two)
    for at in (32 * MINUTE, 33 * MINUTE + 120_000):
        nameless = event("purchase", at, items=lines, currency="EUR", **two)
        del nameless["event_id"]
        yield nameless
    yield event("refund", 40 * MINUTE, items=lines[:1], transaction_id="twice", currency="EUR", **two)
    yield event("refund", 41 * MINUTE, transaction_id="by value", currency="EUR", value=2.5, **two)

    # A session of one event, one with a pause, and one across midnight with an id.
    yield event("page_view", 0, user_pseudo_id="special-3")
    for at in (0, 29 * MINUTE, 60 * MINUTE + 1):
        yield event("view_item", at, items=[item], user_pseudo_id="special-4")
    for at in (0, 7 * HOUR, 14 * HOUR, 23 * HOUR):
        yield event("view_item", at, items=[item], user_pseudo_id="special-5", ga_session_id=9)
    # A sign-in does not split it, and nobody known looks at a list.
    yield event("view_item", 0, items=[item], user_pseudo_id="special-6", ga_session_id=1)
    yield event("begin_checkout", MINUTE, items=[item], user_id="user-6", user_pseudo_id="special-6",
                ga_session_id=1)
    yield event("view_item_list", 0, items=[item | {"item_list_name": "Only a name"}])

    # Products without an id, and newer names that come first.
    nameless = {"item_brand": "Brand", "item_category": "a", "item_category3": "c"}
    renamed = [{"item_id": "P7", "item_name": "New", "item_category": "x"}]
    before = [{"item_id": "P7", "item_name": "Old", "item_category": "x", "item_category2": "y"}]
    yield event("view_item", HOUR, items=renamed, user_pseudo_id="special-7")
    yield event("view_item", 0, items=before, user_pseudo_id="special-7")
    yield event("view_item", 0, items=[nameless, {"item_name": "Only a name"}],
                user_pseudo_id="special-7")
    # A broken clock.
    yield event("view_item", 30 * DAY, items=[{"item_id": "P7", "item_name": "Future"}],
                user_pseudo_id="special-7")
    yield event("add_to_cart", HOUR, items=[], user_pseudo_id="special-8")
