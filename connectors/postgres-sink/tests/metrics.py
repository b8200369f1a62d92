"""Made-up shop events and, counted from them by plain loops, what the schema `analytics` has to say.

    python3 metrics.py SEED EVENTS

prints {"batches": [[fact, ...], ...], "expected": {"FROM TO": {metric: [row, ...]}}}. The facts are what the SmartModule
would make of the events. They come in batches: some days late, some twice, some orders under a second event id.
Nothing here is taken from the SQL: the definitions are those of sql/README.md.
"""

import json
import random
import sys
from collections import defaultdict
from datetime import datetime, timedelta, timezone

START = datetime(2026, 11, 1, tzinfo=timezone.utc)
DAYS = 6
RANGES = (("2026-11-01", "2026-11-06"), ("2026-11-03", "2026-11-04"))
PRODUCTS = [f"P{number}" for number in range(12)]
LISTS = [f"L{number}" for number in range(6)]
SELECTING = LISTS[:2]  # lists that tell of their clicks
STEPS = ("view_item_list", "view_item", "add_to_cart", "begin_checkout", "purchase")
ENGAGING = ("select_item",) + STEPS[1:]
VIEWS = ("view_item_list", "view_item", "page_view", "screen_view")


def make_events(chance, count):
    """Events in the order of their time; no two at the same."""
    events, order = [], 0
    while len(events) < count:
        # Many come shortly before midnight, so that what they do is in two days.
        day, late = chance.randrange(DAYS), chance.random() < 0.3
        at = START + timedelta(days=day, seconds=chance.randrange(84_600, 86_400) if late and day < DAYS - 1 else chance.randrange(79_200))
        who = chance.randrange(25)
        person = {"user_pseudo_id": f"device-{who}", "session_id": str(chance.randrange(4)), "platform": "IOS"}
        if who % 3 == 0:
            person["user_id"] = f"user-{who // 2}"
        if who == 7:
            person = {"session_id": "1"}  # somebody of whom nothing is known
        for _ in range(chance.randrange(1, 5)):
            at += timedelta(seconds=chance.choice((2, 40, 500, 2_000)))
            shelf, shown = chance.choice(LISTS), chance.sample(PRODUCTS, chance.randrange(1, 6))
            events.append((at, "view_item_list", person, [{"list_id": shelf, "product_id": p, "list_position": i} for i, p in enumerate(shown)], None))
            chosen = chance.choice(shown if chance.random() < 0.8 else PRODUCTS)
            if shelf in SELECTING and chance.random() < 0.5:
                item = {"list_id": shelf, "product_id": chosen, "list_position": shown.index(chosen) if chosen in shown else 0}
                events.append((at + timedelta(seconds=1), "select_item", person, [item], None))
            for step, odds in (("view_item", 0.7), ("add_to_cart", 0.3), ("begin_checkout", 0.5), ("purchase", 0.6)):
                at += timedelta(seconds=chance.choice((3, 30, 900, 3_000)))
                if chance.random() > odds:
                    continue
                basket = [chosen] + ([chance.choice(PRODUCTS)] if step == "purchase" and chance.random() < 0.4 else [])
                items = [{"product_id": p, "price": str(5 + PRODUCTS.index(p)), "quantity": str(chance.randrange(1, 4)), "currency": "EUR"} for p in basket]
                if step == "purchase" and chance.random() < 0.3:
                    items[0]["list_id"] = shelf
                order += step == "purchase"
                events.append((at, step, person, items, f"T{order}" if step == "purchase" else None))
                if step == "purchase" and chance.random() < 0.2:
                    events.append((at + timedelta(seconds=50), step, person, items, f"T{order}"))
    events.sort(key=lambda event: event[0])
    return events


def make_facts(events):
    facts = []
    for number, (at, name, person, items, order) in enumerate(events):
        at += timedelta(microseconds=number)
        for ordinal, item in enumerate(items, 1):
            fact = {"event_time": at.isoformat(), "event_name": name, "event_id": f"E{number}", "item_ordinal": ordinal,
                    "fact_hash": f"{number * 16 + ordinal:032x}", **person, **item}
            if order:
                fact["transaction_id"] = order
            facts.append(fact)
    return facts


def in_batches(chance, facts):
    """As they arrive: most in order, some late, some twice."""
    batches = [[] for _ in range(8)]
    for place, fact in enumerate(facts):
        batch = place * len(batches) // len(facts)
        if chance.random() < 0.1:
            batch = chance.randrange(batch, len(batches))
        batches[batch].append(fact)
        if chance.random() < 0.05:
            batches[chance.randrange(len(batches))].append(fact)
    return batches


class Facts:
    """What is asked of the facts of a range of days."""

    def __init__(self, all_facts, first, last):
        self.all = [dict(fact, at=datetime.fromisoformat(fact["event_time"]), day=fact["event_time"][:10],
                         person=fact.get("user_id") or fact.get("user_pseudo_id"), units=int(fact.get("quantity", 1)))
                    for fact in all_facts]
        self.first, self.last = first, last
        self.range = self.between(first, last)

    def between(self, first, last):
        return [fact for fact in self.all if first <= fact["day"] <= last]

    def order_lines(self):
        seen, lines = set(), []
        for fact in sorted((f for f in self.all if f["event_name"] == "purchase"), key=lambda f: (f["at"], f["fact_hash"])):
            key = fact["transaction_id"], fact["product_id"], fact["item_ordinal"]
            if key not in seen:
                seen.add(key)
                lines.append(fact)
        return lines

    def clicks(self, first, last):
        facts = self.between(first, last)
        selecting = {f["list_id"] for f in facts if f["event_name"] == "select_item"}
        clicks = [f for f in facts if f["event_name"] == "select_item"]
        shown = defaultdict(list)
        for fact in self.all:
            if fact["event_name"] == "view_item_list" and fact["person"]:
                shown[fact["person"], fact["product_id"]].append(fact)
        for view in (f for f in facts if f["event_name"] == "view_item"):
            before = [f for f in shown[view["person"], view["product_id"]] if timedelta(0) <= view["at"] - f["at"] <= timedelta(minutes=30)]
            if before:
                led = max(before, key=lambda f: f["at"])
                if led["list_id"] not in selecting:
                    clicks.append(dict(view, list_id=led["list_id"], list_position=led["list_position"]))
        return clicks

    def products(self):
        lines = [line for line in self.order_lines() if self.first <= line["day"] <= self.last]
        for product in PRODUCTS:
            of = [f for f in self.range if f["product_id"] == product and f["event_name"] in STEPS[1:]]
            sold = [line for line in lines if line["product_id"] == product]
            if of:
                people = {name: len({f["person"] for f in of if f["event_name"] == name and f["person"]}) for name in STEPS}
                yield {"product": product, "viewers": people["view_item"], "adders": people["add_to_cart"],
                       "starters": people["begin_checkout"], "buyers": people["purchase"],
                       "views": sum(f["event_name"] == "view_item" for f in of), "purchases": len({f["transaction_id"] for f in sold}),
                       "units": sum(f["units"] for f in sold), "revenue": revenue(sold)}

    def sales(self):
        before = (datetime.fromisoformat(self.first) - timedelta(days=1)).date().isoformat()
        clicks = self.clicks(before, self.last)
        for line in self.order_lines():
            if not self.first <= line["day"] <= self.last:
                continue
            shelf = line.get("list_id")
            if not shelf and line["person"]:
                led = [c for c in clicks if (c["person"], c["product_id"]) == (line["person"], line["product_id"])
                       and timedelta(0) <= line["at"] - c["at"] <= timedelta(hours=24)]
                shelf = max(led, key=lambda c: c["at"])["list_id"] if led else None
            if shelf:
                yield dict(line, list_id=shelf)

    def lists(self):
        clicks, sales = self.clicks(self.first, self.last), list(self.sales())
        for shelf in LISTS:
            shown = [f for f in self.range if f["event_name"] == "view_item_list" and f["list_id"] == shelf]
            clicked = [c for c in clicks if c["list_id"] == shelf]
            sold = [f for f in sales if f["list_id"] == shelf]
            if shown:
                yield {"list": shelf, "impressions": len(shown), "viewers": len({f["person"] for f in shown if f["person"]}),
                       "clicks": len(clicked), "clickers": len({c["person"] for c in clicked if c["person"]}),
                       "purchases": len({f["transaction_id"] for f in sold}), "units": sum(f["units"] for f in sold), "revenue": revenue(sold)}

    def positions(self):
        counts = defaultdict(lambda: [0, 0])
        for fact in self.range:
            if fact["event_name"] == "view_item_list":
                counts[fact["list_id"], fact["list_position"]][0] += 1
        for click in self.clicks(self.first, self.last):
            counts[click["list_id"], click["list_position"]][1] += 1
        return [{"list": shelf, "at": at, "impressions": shown, "clicks": clicked} for (shelf, at), (shown, clicked) in counts.items() if shown]

    def engagement(self):
        went_on = defaultdict(list)
        for fact in self.all:
            if fact["event_name"] in ENGAGING:
                went_on[fact["person"], fact["product_id"]].append(fact["at"])
        for shelf in LISTS:
            of = [f for f in self.range if f["event_name"] == "view_item_list" and f["list_id"] == shelf and f["person"]]
            engaged = [f for f in of if any(timedelta(0) <= at - f["at"] <= timedelta(minutes=30) for at in went_on[f["person"], f["product_id"]])]
            if of:
                yield {"list": shelf, "impressions": len(of), "engaged": len(engaged), "viewers": len({f["person"] for f in of}),
                       "engaged_viewers": len({f["person"] for f in engaged})}

    def by_day(self):
        days = defaultdict(list)
        for fact in self.range:
            days[fact["day"]].append(fact)
        return sorted(days.items())

    def funnel(self):
        for day, of in self.by_day():
            events = {name: len({f["event_id"] for f in of if f["event_name"] == name}) for name in ENGAGING + STEPS}
            yield {"day": day, "impressions": sum(f["event_name"] == "view_item_list" for f in of), "list_views": events["view_item_list"],
                   "selects": events["select_item"], "views": events["view_item"], "add_to_carts": events["add_to_cart"],
                   "checkouts": events["begin_checkout"], "purchases": events["purchase"]}

    def people(self):
        for day, of in self.by_day():
            people = [len({f["person"] for f in of if f["event_name"] == name and f["person"]}) for name in STEPS]
            yield dict(zip(("day", "list_viewers", "viewers", "adders", "starters", "buyers"), [day] + people))

    def sessions(self):
        sessions = defaultdict(list)
        for fact in self.range:
            sessions[fact.get("user_pseudo_id"), fact["session_id"]].append(fact)
        days = defaultdict(lambda: [0, 0, 0])
        for of in sessions.values():
            times = [f["at"] for f in of]
            bought = any(f["event_name"] == "purchase" for f in of)
            views = len({f["event_id"] for f in of if f["event_name"] in VIEWS})
            day = days[min(times).date().isoformat()]
            day[0] += 1
            day[1] += bought or views >= 2 or max(times) - min(times) > timedelta(seconds=10)
            day[2] += bought
        return [{"day": day, "sessions": n, "engaged": engaged, "converted": bought} for day, (n, engaged, bought) in days.items()]

    def orders(self):
        orders = defaultdict(list)
        for line in self.order_lines():
            orders[line["transaction_id"]].append(line)
        for order, lines in orders.items():
            if self.first <= min(line["day"] for line in lines) <= self.last:
                yield {"order": order, "lines": len(lines), "units": sum(f["units"] for f in lines), "revenue": revenue(lines)}

    def metrics(self):
        names = ("products", "lists", "positions", "engagement", "funnel", "people", "sessions", "orders")
        return {name: list(getattr(self, name)()) for name in names}


def revenue(lines):
    return sum(int(line["price"]) * line["units"] for line in lines) if lines else None


def main():
    chance = random.Random(int(sys.argv[1]))
    facts = make_facts(make_events(chance, int(sys.argv[2])))
    expected = {f"{first} {last}": Facts(facts, first, last).metrics() for first, last in RANGES}
    json.dump({"batches": in_batches(chance, facts), "expected": expected}, sys.stdout)


main()
