"""Made-up shop events and, counted from them by plain loops, what the schema `analytics` has to say.

    python3 metrics.py SEED EVENTS ZONE

prints {"batches": [[fact, ...], ...], "expected": {"FROM TO": {metric: [row, ...]}}, "erased": the same without one person}.
The facts are what the SmartModule would make of the events. They come in batches: some days late, some twice, some orders
again under a second event id. Half of the people are as in GA4, with devices, session ids, event ids and transactions; the
others are as in a queue that sends none of these. Nothing here is taken from the SQL: the definitions are those of sql/README.md.
"""

import json
import random
import sys
from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

START = datetime(2026, 10, 29, tzinfo=timezone.utc)
DAYS = 7
RANGES = (("2026-10-28", "2026-11-06"), ("2026-10-31", "2026-11-02"), ("2026-11-01", "2026-11-01"))
PRODUCTS = [f"P{number}" for number in range(12)]
#: Ids, and names of the two that people search with.
LISTS = {"L0": None, "L1": None, "L2": None, "L3": None, "search_1": "Red shoes", "search_2": "red shoes "}
SELECTING = ("L0", "L1")  # lists that tell of their clicks, now and then
STEPS = ("view_item_list", "select_item", "view_item", "add_to_cart", "begin_checkout", "purchase")
LETTERS = dict(zip(STEPS, "LSVACP"))
VIEWS = ("view_item_list", "view_item", "page_view", "screen_view")
HALF_HOUR, EIGHT_HOURS = timedelta(minutes=30), timedelta(hours=8)
ERASED = 4


class Maker:
    """Events in the order of their time: (time, name, person, items, what the event says besides)."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.events, self.order = [], 0

    def person(self, who):
        if who % 2:
            return {"user_id": f"user-{who}", "platform": "ANDROID" if self.chance.random() < 0.05 else "IOS"}
        if who == 6:
            return {"session_id": "1", "platform": "WEB"}  # somebody of whom nothing else is known
        if who == 8:
            return {}
        person = {"user_pseudo_id": f"device-{who}", "session_id": str(self.chance.randrange(3)), "platform": "WEB"}
        if who % 3 == 0 and self.chance.random() < 0.7:
            person["user_id"] = f"user-{who // 2}"
        return person

    def put(self, at, name, person, items, **more):
        self.events.append((at, name, person, items, more))

    def visit(self, who, at):
        chance, person = self.chance, self.person(who)
        if chance.random() < 0.1:
            self.put(at, chance.choice(("page_view", "app_open")), person, [])
            at += timedelta(seconds=1)
        for _ in range(chance.randrange(1, 5)):
            shelf, shown = chance.choice(list(LISTS)), chance.sample(PRODUCTS, chance.randrange(1, 6))
            position = lambda i: chance.choice((i, i, i, i, None, -1, 1_000 + i))  # noqa: E731
            items = [{"list_id": shelf, "list_name": LISTS[shelf], "product_id": p, "list_position": position(i)} for i, p in enumerate(shown)]
            self.put(at, "view_item_list", person, items)
            chosen = chance.choice(shown if chance.random() < 0.8 else PRODUCTS)
            if shelf in SELECTING and chance.random() < 0.5:
                item = {"list_id": shelf, "product_id": chosen, "list_position": position(0)}
                self.put(at + timedelta(seconds=1), "select_item", person, [item])
            for step, odds in (("view_item", 0.7), ("add_to_cart", 0.2), ("begin_checkout", 0.5), ("purchase", 0.6)):
                at += timedelta(seconds=chance.choice((3, 30, 300, 1_200)))
                if chance.random() <= odds:
                    self.step(at, step, person, chosen, shelf)
            at += timedelta(seconds=chance.choice((2, 40, 500, 2_500)))

    def step(self, at, step, person, chosen, shelf):
        chance = self.chance
        basket = [chosen] + ([chance.choice(PRODUCTS)] if step == "purchase" and chance.random() < 0.4 else [])
        currency = chance.choice((None, None, "EUR", "EUR", "MXN"))
        items = [{"product_id": p, "price": str(5 + PRODUCTS.index(p)), "quantity": chance.choice((None, "2", "3")), "currency": currency} for p in basket]
        if step != "purchase":
            self.put(at, step, person, items if chance.random() < 0.97 else [])
            return
        if chance.random() < 0.3:
            items[0].update(list_id=shelf, list_name=LISTS[shelf])
        self.order += 1
        more = {"transaction_id": f"T{self.order}" if "session_id" in person else None}
        if chance.random() < 0.1:
            self.put(at, step, person, [], value=str(chance.randrange(5, 50)), currency=currency, **more)
            return
        self.put(at, step, person, items, **more)
        if more["transaction_id"] and chance.random() < 0.25:
            later = timedelta(seconds=chance.choice((50, 4_000, 90_000)))
            self.put(at + later, step, person, items, **more)
            if chance.random() < 0.3:
                self.put(at + later, step, person, items + [dict(items[0], product_id="P0")], **more)
        if chance.random() < 0.2:
            later = timedelta(seconds=chance.choice((500, 100_000)))
            if chance.random() < 0.3:
                self.put(at + later, "refund", person, [], value="7", currency=currency, **more)
            else:
                self.put(at + later, "refund", person, items[:1], **more)

    def make(self, count):
        # A machine that never pauses: one session of three days.
        for number in range(3 * 24 * 3):
            self.put(START + timedelta(days=1, minutes=20 * number), "page_view", {"user_id": "probe", "platform": "WEB"}, [])
        while len(self.events) < count:
            # Many come shortly before an hour and before midnight, so that what they do is in two of them.
            at = START + timedelta(days=self.chance.randrange(DAYS), hours=self.chance.randrange(24))
            seconds = self.chance.randrange(1_800, 3_600) if self.chance.random() < 0.5 else self.chance.randrange(3_600)
            self.visit(self.chance.randrange(24), at + timedelta(seconds=seconds))
        return sorted(self.events, key=lambda event: event[0])


def make_facts(chance, events):
    facts = []
    for number, (at, name, person, items, more) in enumerate(events):
        at += timedelta(microseconds=number)
        event = {"event_time": at.isoformat(), "event_name": name, **person, **more}
        if "session_id" in person:
            event["event_id"] = f"E{number}"
        versions = [items]
        if items and chance.random() < 0.05:
            versions = [[], items]  # comes first without its items
        for version in versions:
            for ordinal, item in enumerate(version, 1):
                if ordinal == 1 and len(version) > 1 and chance.random() < 0.03:
                    continue  # the first item could not be read
                facts.append({**event, **item, "item_ordinal": ordinal, "event": number, "fact_hash": f"{number * 16 + ordinal:032x}"})
            if not version:
                facts.append({**event, "item_ordinal": 0, "event": number, "fact_hash": f"{number * 16:032x}"})
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


class Shop:
    """All facts, in the order of their time, and what follows from them whatever is asked."""

    def __init__(self, facts, zone):
        self.day_of = lambda at: at.astimezone(zone).date().isoformat()
        self.facts = []
        for fact in facts:
            at = datetime.fromisoformat(fact["event_time"])
            self.facts.append(dict(
                fact, at=at, day=self.day_of(at), person=fact.get("user_id") or fact.get("user_pseudo_id"), product=fact.get("product_id"),
                shelf=fact.get("list_id"), is_item=fact["item_ordinal"] > 0, units=int(fact.get("quantity") or 1),
                currency=fact.get("currency") or "no currency",
            ))
        self.facts.sort(key=lambda f: (f["at"], f["fact_hash"]))
        self.events = list({f["event"]: f for f in reversed(self.facts)}.values())[::-1]
        self.events.sort(key=lambda e: e["at"])
        self.clicks, self.engaged = self.find_clicks(), self.find_engaged()
        self.sessions, self.orders = self.find_sessions(), self.find_orders()
        self.sales = list(self.find_sales())

    def by_person_and_product(self, names):
        found = defaultdict(list)
        for fact in self.facts:
            if fact["event_name"] in names and fact["person"] and fact["product"]:
                found[fact["person"], fact["product"]].append(fact)
        return found

    def find_clicks(self):
        clicks = [f for f in self.facts if f["event_name"] == "select_item" and f["shelf"]]
        shown, selected = self.by_person_and_product(["view_item_list"]), self.by_person_and_product(["select_item"])
        for view in self.facts:
            if view["event_name"] != "view_item" or not view["person"] or not view["product"]:
                continue
            near = lambda of: [f for f in of[view["person"], view["product"]] if timedelta(0) <= view["at"] - f["at"] <= HALF_HOUR]  # noqa: E731
            if near(shown) and not near(selected):
                led = near(shown)[-1]
                clicks.append(dict(view, shelf=led["shelf"], list_position=led.get("list_position"), is_substitute=True))
        return clicks

    def find_engaged(self):
        later = self.by_person_and_product(STEPS[1:])
        is_engaged = lambda f: any(timedelta(0) <= g["at"] - f["at"] <= HALF_HOUR for g in later[f["person"], f["product"]])  # noqa: E731
        return [f for f in self.facts if f["event_name"] == "view_item_list" and f["shelf"] and f["person"] and is_engaged(f)]

    def find_sessions(self):
        of_visitor = defaultdict(list)
        for event in self.events:
            device, number = event.get("user_pseudo_id") or event.get("user_id"), event.get("session_id")
            if device or number:
                of_visitor[device, number].append(event)
        sessions = []
        for (_, number), events in of_visitor.items():
            for place, event in enumerate(events):
                if place == 0 or event["at"] - events[place - 1]["at"] > (EIGHT_HOURS if number else HALF_HOUR):
                    sessions.append([])
                sessions[-1].append(event)
        return sessions

    def find_orders(self):
        of_order = defaultdict(list)
        for fact in self.facts:
            if fact["event_name"] == "purchase":
                of_order[fact.get("transaction_id") or fact["event"]].append(fact)
        orders = []
        for number, facts in of_order.items():
            lines, seen = [], set()
            for fact in facts:
                if fact["is_item"] and (fact["item_ordinal"], fact["product"]) not in seen:
                    seen.add((fact["item_ordinal"], fact["product"]))
                    lines.append(dict(fact, revenue=fact["units"] * int(fact["price"])))
            orders.append({"number": number, "began": facts[0]["at"], "day": facts[0]["day"], "first": facts[0], "lines": lines})
        return orders

    def find_sales(self):
        clicks = defaultdict(list)
        for click in sorted(self.clicks, key=lambda c: c["at"]):
            clicks[click["person"], click["product"]].append(click)
        for order in self.orders:
            for line in order["lines"]:
                led = [c for c in clicks[line["person"], line["product"]] if timedelta(0) <= line["at"] - c["at"] <= timedelta(hours=24)]
                shelf = line["shelf"] or (led[-1]["shelf"] if led and line["person"] else None)
                if shelf:
                    yield dict(line, shelf=shelf, number=order["number"], day=order["day"])


class Range:
    """What is asked of a range of days."""

    def __init__(self, shop, first, last):
        self.shop, self.last = shop, last
        self.inside = lambda rows: [row for row in rows if first <= row["day"] <= last]
        self.facts, self.orders, self.sales = self.inside(shop.facts), self.inside(shop.orders), self.inside(shop.sales)
        self.clicks, self.engaged = self.inside(shop.clicks), self.inside(shop.engaged)
        self.sessions = [s for s in shop.sessions if first <= s[0]["day"] <= last]
        self.lines = [dict(line, number=o["number"], day=o["day"]) for o in self.orders for line in o["lines"]]

    def named(self, name, is_item=True):
        return [f for f in self.facts if f["event_name"] == name and (f["is_item"] or not is_item)]

    def days(self):
        return sorted({f["day"] for f in self.facts})

    def funnel(self):
        for day in self.days():
            of = lambda name: sum(f["day"] == day for f in self.named(name))  # noqa: E731
            events = {f["event"]: f["event_name"] for f in self.facts if f["day"] == day}
            yield {"day": day, "list_views": sum(name == "view_item_list" for name in events.values()), "impressions": of("view_item_list"),
                   "selects": of("select_item"), "views": of("view_item"), "add_to_carts": of("add_to_cart"), "checkouts": of("begin_checkout"),
                   "purchases": sum(line["day"] == day for line in self.lines), "orders": sum(o["day"] == day for o in self.orders),
                   "events": len(events)}

    def people(self):
        names = {"list_viewers": "view_item_list", "viewers": "view_item", "cart_adders": "add_to_cart", "checkout_starters": "begin_checkout", "buyers": "purchase"}
        for day in self.days():
            of = [f for f in self.facts if f["day"] == day and f["person"]]
            if of:
                yield {"day": day, "people": len({f["person"] for f in of}),
                       **{column: len({f["person"] for f in of if f["event_name"] == name}) for column, name in names.items()}}

    def rates(self, key):
        counts = defaultdict(Counter)
        for events in self.sessions:
            names = [e["event_name"] for e in events]
            bought = "purchase" in names
            engaged = bought or sum(n in VIEWS for n in names) >= 2 or events[-1]["at"] - events[0]["at"] > timedelta(seconds=10)
            counts[key(events)].update(sessions=1, engaged_sessions=int(engaged), converted_sessions=int(bought), bounces=int(len(events) == 1))
        return [{"value": value, **count} for value, count in counts.items()]

    def sessions_by_day(self):
        return self.rates(lambda events: events[0]["day"])

    def sessions_by_platform(self):
        return self.rates(lambda events: events[0].get("platform") or "no platform")

    def sessions_by_entry_list(self):
        label = lambda f: LISTS[f["shelf"]] or f["shelf"]  # noqa: E731
        shown = {f["event"]: label(f) for f in reversed(self.shop.facts) if f["event_name"] == "view_item_list" and f["shelf"]}
        return self.rates(lambda events: next((shown[e["event"]] for e in events if e["event"] in shown), "no list"))

    def session_funnel(self):
        paths = ["".join(LETTERS.get(e["event_name"], "") for e in events) for events in self.sessions]
        steps = [step for step, name in enumerate(STEPS, 1) if any(LETTERS[name] in path for path in paths)]
        reached = Counter()
        for path in paths:
            place = 0
            for step in steps:
                place = path.find(LETTERS[STEPS[step - 1]], place) + 1
                if not place:
                    break
                reached[step] += 1
        return [{"step": step, "sessions": reached[step]} for step in steps]

    def order_rows(self):
        for order in self.orders:
            for currency in {line["currency"] for line in order["lines"]} or {order["first"]["currency"]}:
                lines = [line for line in order["lines"] if line["currency"] == currency]
                revenue = sum(line["revenue"] for line in lines)
                if not lines:
                    revenue = int(order["first"]["value"]) if order["first"].get("value") else None
                yield {"day": order["day"], "purchases": len(lines), "units": sum(line["units"] for line in lines), "revenue": revenue,
                       "currency": currency, "is_by_value": not order["lines"]}

    def refund_rows(self):
        events = defaultdict(list)
        for fact in self.facts:
            if fact["event_name"] == "refund":
                events[fact["event"]].append(fact)
        for facts in events.values():
            items = [f for f in facts if f["is_item"]]
            for currency in {f["currency"] for f in items or facts}:
                of = [f for f in items if f["currency"] == currency]
                amount = sum(f["units"] * int(f["price"]) for f in of) if of else int(facts[0]["value"])
                yield {"day": facts[0]["day"], "refunds": amount, "currency": currency, "is_by_value": not items}

    def revenue(self):
        sums = defaultdict(Counter)
        for row in self.order_rows():
            sums[row["day"], row["currency"]].update(orders=1, purchases=row["purchases"], units=row["units"], revenue=row["revenue"] or 0)
        for row in self.refund_rows():
            sums[row["day"], row["currency"]].update(refunds=row["refunds"])
        return [{"day": day, "currency": currency, "orders": s["orders"], "purchases": s["purchases"], "units": s["units"], "revenue": s["revenue"],
                 "refunds": s["refunds"]} for (day, currency), s in sums.items()]

    def products(self):
        for product in PRODUCTS:
            of = lambda name: [f for f in self.named(name) if f["product"] == product]  # noqa: E731
            people = lambda name: len({f["person"] for f in of(name) if f["person"]})  # noqa: E731
            counts = {"product": product, "impressions": len(of("view_item_list")), "views": len(of("view_item")), "add_to_carts": len(of("add_to_cart")),
                      "checkouts": len(of("begin_checkout")), "viewers": people("view_item"), "cart_adders": people("add_to_cart"),
                      "checkout_starters": people("begin_checkout"), "buyers": people("purchase")}
            if not any(of(name) for name in STEPS if name != "select_item"):
                continue
            lines = [line for line in self.lines if line["product"] == product]
            yield from ({**counts, **sold} for sold in self.sold(lines))

    def sold(self, lines):
        for currency in {line["currency"] for line in lines} or {None}:
            of = [line for line in lines if line["currency"] == currency]
            yield {"currency": currency, "purchases": len(of), "orders": len({line["number"] for line in of}),
                   "units": sum(line["units"] for line in of), "revenue": sum(line["revenue"] for line in of)}

    def lists(self):
        for shelf in LISTS:
            shown = [f for f in self.named("view_item_list") if f["shelf"] == shelf]
            clicked, engaged = ([f for f in of if f["shelf"] == shelf] for of in (self.clicks, self.engaged))
            people = lambda of: len({f["person"] for f in of if f["person"]})  # noqa: E731
            counts = {"list_id": shelf, "list_views": len({f["event"] for f in shown}), "impressions": len(shown), "viewers": people(shown),
                      "clicks": len(clicked), "clickers": people(clicked), "engaged": len(engaged), "engaged_viewers": people(engaged),
                      "substitutes": sum(c.get("is_substitute", False) for c in clicked)}
            if shown or clicked:
                yield from ({**counts, **sold} for sold in self.sold([s for s in self.sales if s["shelf"] == shelf]))

    def positions(self):
        counts = defaultdict(Counter)
        place = lambda f: None if f.get("list_position") is None or f["list_position"] < 0 else min(f["list_position"], 1_000)  # noqa: E731
        for fact in self.named("view_item_list"):
            counts[fact["shelf"], place(fact)].update(impressions=1)
        for click in self.clicks:
            counts[click["shelf"], place(click)].update(clicks=1)
        return [{"list": LISTS[shelf] or shelf, "at": at, "impressions": c["impressions"], "clicks": c["clicks"]}
                for (shelf, at), c in counts.items() if at is not None and c["impressions"]]

    def search_terms(self):
        searches = [shelf for shelf, name in LISTS.items() if name]
        shown = [f for f in self.named("view_item_list") if f["shelf"] in searches]
        clicked, sold = ([f for f in of if f["shelf"] in searches] for of in (self.clicks, self.sales))
        people = lambda of: len({f["person"] for f in of if f["person"]})  # noqa: E731
        if shown or clicked:
            yield {"search_term": "red shoes", "list_views": len({f["event"] for f in shown}), "impressions": len(shown), "viewers": people(shown),
                   "clicks": len(clicked), "clickers": people(clicked), "purchases": len(sold), "orders": len({f["number"] for f in sold})}

    def new_and_returning(self):
        visits, purchases = {}, {}
        for fact in self.shop.facts:
            if fact["person"]:
                visits.setdefault(fact["person"], fact["day"])
                if fact["event_name"] == "purchase":
                    purchases.setdefault(fact["person"], fact["day"])
        for day in self.days():
            people, buyers = ({f["person"] for f in self.facts if f["day"] == day and f["person"] and f["event_name"] in (name or f["event_name"])}
                              for name in (None, ["purchase"]))
            if people:
                yield {"day": day, "people": len(people), "new_people": sum(visits[p] == day for p in people), "buyers": len(buyers),
                       "new_buyers": sum(purchases[p] == day for p in buyers)}

    def cohorts(self):
        active = {(f["person"], f["day"]) for f in self.shop.facts if f["person"] and f["day"] <= self.last}
        first = {}
        for person, day in sorted(active, key=lambda pair: pair[1]):
            first.setdefault(person, day)
        size, found = Counter(first.values()), Counter((first[person], day) for person, day in active)
        inside = {row["day"] for row in self.inside([{"day": day} for day in size])}
        distance = lambda cohort, day: (datetime.fromisoformat(day) - datetime.fromisoformat(cohort)).days  # noqa: E731
        return [{"cohort": cohort, "period": distance(cohort, day), "cohort_people": size[cohort], "people": n}
                for (cohort, day), n in found.items() if cohort in inside]

    def metrics(self):
        names = ("funnel", "people", "sessions_by_day", "sessions_by_platform", "sessions_by_entry_list", "session_funnel", "order_rows", "refund_rows",
                 "revenue", "products", "lists", "positions", "search_terms", "new_and_returning", "cohorts")
        return {name: list(getattr(self, name)()) for name in names}


def main():
    seed, count, zone = int(sys.argv[1]), int(sys.argv[2]), ZoneInfo(sys.argv[3])
    maker = Maker(seed)
    facts = make_facts(maker.chance, maker.make(count))
    erased = [f for f in facts if f.get("user_pseudo_id") != f"device-{ERASED}"]
    expected, without = ({f"{first} {last}": Range(shop, first, last).metrics() for first, last in RANGES}
                         for shop in (Shop(facts, zone), Shop(erased, zone)))
    batches = [[{k: v for k, v in f.items() if k != "event" and v is not None} for f in batch] for batch in in_batches(maker.chance, facts)]
    json.dump({"batches": batches, "expected": expected, "erased": without}, sys.stdout)


main()
