"""Derived data for all metrics of a shop: clicks, sessions, orders and sales.

A fact is a dict of columns of fact_events, dim_product and dim_list, with `event`, which all facts
of an event share, and with `product`, which tells products apart that have no id.
"""

from collections import defaultdict
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from operator import itemgetter

STEPS = ("view_item_list", "select_item", "view_item", "add_to_cart", "begin_checkout", "purchase")
LETTERS = dict(zip(STEPS, "LSVACP"))
TRAFFIC = ("source", "medium", "campaign")
VIEWS = ("view_item_list", "view_item", "page_view", "screen_view")
OF_PRODUCTS = ("view_item_list", "view_item", "add_to_cart", "begin_checkout", "purchase")
HALF_HOUR, EIGHT_HOURS, A_DAY = timedelta(minutes=30), timedelta(hours=8), timedelta(hours=24)
THREE_DAYS = timedelta(hours=72)
NOTHING, EPOCH = timedelta(0), datetime(1970, 1, 1, tzinfo=timezone.utc)


def total(values):
    """The sum of the values that are not None, as in SQL."""
    values = [value for value in values if value is not None]
    return sum(values) if values else None


def first_of(*values):
    return next((value for value in values if value is not None), None)


def times(value, factor):
    return None if None in (value, factor) else value * factor


def ratio(part, whole):
    return Decimal(part) / Decimal(whole) if whole else None


def least(values):
    return min((value for value in values if value is not None), default=None)


def grouped(rows, key):
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def number(value):
    return None if value is None else Decimal(str(value))


def delay_of(fact):
    """Whole seconds from an event until it is in the tables, as asked.ARRIVALS sets them."""
    return int(fact["fact_hash"], 16) * 977 % 400_000 - 1_000


def sent_after(fact):
    """Time from an event until SQS received it, as asked.ARRIVALS sets them."""
    number = int(fact["fact_hash"], 16)
    return timedelta(seconds=number * 1429 % 700_000 - 400_000) if number % 7 else None


def is_near(fact):
    sent = sent_after(fact)
    return sent is None or abs(sent) <= THREE_DAYS


def event_of(purchase):
    """The event of a fact among those of its order. Its facts are distant only together."""
    return purchase["at"], purchase.get("event_id")


def people_of(facts):
    return {f["person"] for f in facts if f["person"]}


class Shop:
    """All facts in order of time, and the data derived from them."""

    def __init__(self, facts, zone, reporting=None, rates=()):
        self.zone, self.reporting, self.rates = zone, reporting, rates
        self.facts = [self.read(fact) for fact in facts]
        self.facts.sort(key=lambda f: (f["at"], f["fact_hash"]))
        self.events = list({f["event"]: f for f in reversed(self.facts)}.values())
        self.events.sort(key=lambda e: e["at"])
        self.of_event = grouped(self.facts, itemgetter("event"))
        self.clicks, self.engaged = self.find_clicks(), self.find_engaged()
        self.sessions, self.orders = self.find_sessions(), self.find_orders()
        self.sales = self.find_sales(self.clicks, "shelf")
        self.promoted = self.find_promoted()

    def day_of(self, at):
        return at.astimezone(self.zone).date().isoformat()

    def read(self, fact):
        at = datetime.fromisoformat(str(fact["event_time"]))
        shelf = fact.get("list_id"), fact.get("list_name")
        promotion = fact.get("promotion_id") or fact.get("promotion_name")
        is_item, sent_units = fact["item_ordinal"] > 0, number(fact.get("quantity"))
        units = Decimal(1) if sent_units is None else sent_units
        sent = "item_refund" if fact["event_name"] == "refund" else "item_revenue"
        amount = lambda suffix: first_of(  # noqa: E731
            number(fact.get(sent + suffix)), times(number(fact.get("price" + suffix)), units)
        )
        return dict(
            fact, at=at, day=self.day_of(at), shelf=shelf if any(shelf) else None,
            person=fact.get("user_id") or fact.get("user_pseudo_id"),
            product=fact.get("product") or fact.get("product_id"),
            promotion=promotion, is_item=is_item, units=units if is_item else None,
            revenue=amount("") if is_item else None, revenue_in_usd=amount("_in_usd"),
            currency=fact.get("currency") or "no currency",
            value=number(fact.get("value")),
        )

    def rate(self, currency, day):
        if self.reporting in (None, currency):
            return None if self.reporting is None else 1
        known = [rate for of, since, rate in self.rates if of == currency and since <= day]
        return known[-1] if known else None

    def in_reporting(self, amount, currency, day):
        return times(amount, self.rate(currency, day))

    def by_person_and_product(self, names):
        known = (f for f in self.facts if f["event_name"] in names and f["person"] and f["product"])
        return grouped(known, itemgetter("person", "product"))

    def find_clicks(self):
        clicks = [f for f in self.facts if f["event_name"] == "select_item" and f["shelf"]]
        shown = self.by_person_and_product(["view_item_list"])
        selected = self.by_person_and_product(["select_item"])
        for view in self.facts:
            if view["event_name"] != "view_item" or not view["person"] or not view["product"]:
                continue
            key = view["person"], view["product"]
            near = lambda of: [  # noqa: E731
                f for f in of.get(key, ()) if NOTHING <= view["at"] - f["at"] <= HALF_HOUR
            ]
            led_by = [f for f in near(shown) if f["shelf"]]
            if led_by and not near(selected):
                led, place = led_by[-1]["shelf"], led_by[-1].get("list_position")
                clicks.append(dict(view, shelf=led, list_position=place, is_substitute=True))
        return sorted(clicks, key=lambda click: click["at"])

    def find_engaged(self):
        later = self.by_person_and_product(STEPS[1:])
        shown = self.by_person_and_product(STEPS[:1])
        return [
            f for key, facts in shown.items() for f in facts if f["shelf"]
            and any(NOTHING <= g["at"] - f["at"] <= HALF_HOUR for g in later.get(key, ()))
        ]

    def find_sessions(self):
        of_visitor = defaultdict(list)
        for event in self.events:
            device = event.get("user_pseudo_id") or event.get("user_id")
            session = event.get("session_id")
            if device or session:
                of_visitor[device, session].append(event)
        sessions = []
        for (_, session), events in of_visitor.items():
            gap = EIGHT_HOURS if session else HALF_HOUR
            for place, event in enumerate(events):
                if place == 0 or event["at"] - events[place - 1]["at"] > gap:
                    sessions.append([])
                sessions[-1].append(event)
        return [self.session_of(events) for events in sorted(sessions, key=lambda s: s[0]["at"])]

    def session_of(self, events):
        names, first, last = [e["event_name"] for e in events], events[0], events[-1]
        bought, views = "purchase" in names, sum(name in VIEWS for name in names)
        in_order = lambda e: sorted(  # noqa: E731
            self.of_event[e["event"]], key=lambda f: f["item_ordinal"]
        )
        viewed = {
            f["product"] for e in events for f in self.of_event[e["event"]]
            if f["event_name"] == "view_item" and f["product"]
        }
        shown = (
            f["shelf"] for e in events if e["event_name"] == "view_item_list"
            for f in in_order(e) if f["shelf"]
        )
        led = [e for e in events if any(e.get(f"traffic_{name}") for name in TRAFFIC)]
        led = [e for e in led if e.get("traffic_source") != "(direct)"] or led
        named = lambda name: next((e[name] for e in events if e.get(name)), None)  # noqa: E731
        return {
            **{f"first_{name}": led[0].get(f"traffic_{name}") if led else None for name in TRAFFIC},
            **{f"last_{name}": led[-1].get(f"traffic_{name}") if led else None for name in TRAFFIC},
            **{name: named(name) for name in ("device_category", "country", "app_version")},
            "day": first["day"], "at": first["at"], "until": last["at"], "events": len(events),
            "has_session_id": bool(first.get("session_id")), "views": views,
            "platform": first.get("platform"), "viewed": viewed, "entry": next(shown, None),
            "person": next((e["person"] for e in reversed(events) if e["person"]), None),
            "steps": "".join(LETTERS.get(name, "") for name in names), "is_converted": bought,
            "is_engaged": bought or views >= 2 or last["at"] - first["at"] > timedelta(seconds=10),
        }

    def find_orders(self):
        purchases = [f for f in self.facts if f["event_name"] == "purchase"]
        of_order = grouped(purchases, lambda f: f.get("transaction_id") or f["event"])
        orders = []
        for key, facts in of_order.items():
            if facts[0].get("transaction_id"):
                near = {event_of(f) for f in facts if is_near(f)}
                facts = [f for f in facts if event_of(f) in near] or facts
            lines, seen = [], set()
            for fact in facts:
                place = fact["item_ordinal"], fact["product"]
                if fact["is_item"] and place not in seen:
                    seen.add(place)
                    lines.append(fact)
            day, first = facts[0]["day"], facts[0]
            lines = [
                dict(line, order=key, began=first["at"], day=day,
                     reporting=self.in_reporting(line["revenue"], line["currency"], day))
                for line in lines
            ]
            orders.append(
                {"key": key, "began": first["at"], "day": day, "first": first, "lines": lines}
            )
        return orders

    def find_sales(self, clicks, of):
        """Lines that name a list (or promotion), or that a click in the day before led to."""
        known = grouped(
            (c for c in clicks if c["person"] and c["product"]), itemgetter("person", "product")
        )
        sales = []
        for line in (line for order in self.orders for line in order["lines"]):
            led = [
                c for c in known.get((line["person"], line["product"]), ())
                if NOTHING <= line["at"] - c["at"] <= A_DAY
            ]
            by = line if line[of] else led[-1] if led else None
            if by:
                led_by = {name: by.get(name) for name in (of, "promotion_id", "promotion_name")}
                sales.append({**line, **led_by, "is_named": bool(line[of])})
        return sales

    def find_promoted(self):
        clicks = [f for f in self.facts if f["event_name"] == "select_promotion"]
        return self.find_sales(clicks, "promotion")


def seconds(at):
    """Since 1970, exact to the microsecond."""
    return Decimal((at - EPOCH) // timedelta(microseconds=1)) / 10**6


def product_label(fact):
    attributes = (fact.get(f"product_{name}") for name in ("brand", "category", "variant"))
    label = fact.get("product_name") or fact.get("product_id")
    return label or " ".join(filter(None, attributes)) or "no name"


def list_label(shelf):
    return (shelf[1] or shelf[0]) if shelf else "no list"
