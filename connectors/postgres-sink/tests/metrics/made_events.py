"""Made-up shop events, in the batches in which they arrive.

Half of the people are as in GA4, with devices, session ids, event ids and transactions; the others
are as in a queue that sends none of these. Some events come days late, some twice, some orders
again under a second event id, and some events first with wrong content and later corrected.
"""

import random
from datetime import datetime, timedelta, timezone

START = datetime(2026, 10, 29, tzinfo=timezone.utc)
DAYS = 7
PRODUCTS = [f"P{number}" for number in range(12)]
#: Ids with their names. The names of searches are the texts that people typed.
LISTS = {
    "L0": (None,), "L1": (None,), "L2": ("Home",), "L3": ("Home", None),
    "search_1": ("Red shoes", "hat"), "search_2": ("red shoes ",),
}
SELECTING = ("L0", "L1")  # lists that tell of their clicks, now and then
PROMOTIONS = (
    {"promotion_id": "sale", "promotion_name": "Sale"},
    {"promotion_id": "new", "promotion_name": "New in"},
    {"promotion_name": "Two for one"},
)
TRAFFIC = (
    {"traffic_source": "google", "traffic_medium": "cpc", "traffic_campaign": "spring"},
    {"traffic_source": "(direct)", "traffic_medium": "(none)"},
    {"traffic_source": "newsletter"},
    {"traffic_medium": "email", "traffic_campaign": "spring"},
)
DEVICES = (
    {"device_category": "mobile", "country": "Mexico", "app_version": "7.4.2"},
    {"device_category": "desktop"},
    {"country": "Chile", "app_version": "7.4.1"},
)
STEPS = (("view_item", 0.7), ("add_to_cart", 0.2), ("begin_checkout", 0.5), ("purchase", 0.6))
ERASED = 18


class Maker:
    """Makes events (time, name, person, items, further fields)."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.events, self.order = [], 0

    def person(self, who):
        chance = self.chance
        if who % 2:
            platform = "ANDROID" if chance.random() < 0.05 else "IOS"
            return {"user_id": f"user-{who}", "platform": platform}
        if who == 6:
            return {"session_id": "1", "platform": "WEB"}  # somebody of whom nothing else is known
        if who == 8:
            return {}
        session = str(chance.randrange(3))
        person = {"user_pseudo_id": f"device-{who}", "session_id": session, "platform": "WEB"}
        if who % 3 == 0 and chance.random() < 0.7:
            # Devices are shared, and users have several.
            person["user_id"] = f"user-{who // 6 + chance.choice((0, 0, 0, 1))}"
        return person

    def put(self, at, name, person, items, **more):
        self.events.append((at, name, person, items, more))

    def visit(self, who, at):
        chance, person = self.chance, self.person(who)
        if chance.random() < 0.1:
            self.put(at, chance.choice(("page_view", "app_open")), person, [])
            at += timedelta(seconds=1)
        for _ in range(chance.randrange(1, 5)):
            list_id = chance.choice(list(LISTS))
            shelf = {"list_id": list_id, "list_name": chance.choice(LISTS[list_id])}
            shown = chance.sample(PRODUCTS, chance.randrange(1, 6))
            items = [
                {**shelf, "product_id": product, "list_position": self.position(place)}
                for place, product in enumerate(shown)
            ]
            self.put(at, "view_item_list", person, items)
            chosen = chance.choice(shown if chance.random() < 0.8 else PRODUCTS)
            if list_id in SELECTING and chance.random() < 0.5:
                item = {**shelf, "product_id": chosen, "list_position": self.position(0)}
                self.put(at + timedelta(seconds=1), "select_item", person, [item])
            self.promote(at, person, chosen)
            for step, odds in STEPS:
                at += timedelta(seconds=chance.choice((3, 30, 300, 1_200)))
                if chance.random() <= odds:
                    self.step(at, step, person, chosen, shelf)
            at += timedelta(seconds=chance.choice((2, 40, 500, 2_500)))

    def position(self, place):
        return self.chance.choice((place, place, place, place, None, -1, 1_000 + place))

    def promote(self, at, person, chosen):
        chance = self.chance
        if chance.random() < 0.2:
            promoted = [dict(p, product_id=chosen) for p in chance.sample(PROMOTIONS, 2)]
            self.put(at + timedelta(milliseconds=100), "view_promotion", person, promoted)
            if chance.random() < 0.7:
                at += timedelta(seconds=2) - timedelta(hours=chance.choice((0, 0, 0, 20, 30)))
                self.put(at, "select_promotion", person, promoted[:1])

    def step(self, at, step, person, chosen, shelf):
        chance = self.chance
        if step == "purchase":
            self.purchase(at, person, chosen, shelf)
        else:
            items = [self.item(chosen)]
            self.put(at, step, person, items if chance.random() < 0.97 else [])

    def item(self, product):
        chance = self.chance
        return {
            "product_id": product, "price": str(5 + PRODUCTS.index(product)),
            "quantity": chance.choice((None, "2", "3")),
            "currency": chance.choice((None, None, "EUR", "EUR", "MXN")),
        }

    def purchase(self, at, person, chosen, shelf):
        chance = self.chance
        items = [self.item(chosen)]
        if chance.random() < 0.5:
            other = self.item(chance.choice(PRODUCTS))
            if chance.random() < 0.7:  # the others have two currencies, perhaps
                other["currency"] = items[0]["currency"]
            items.append(other)
        for item in items:
            if chance.random() < 0.3:
                item["item_revenue"] = f"{chance.randrange(100, 900) / 10}"
            if chance.random() < 0.3:
                in_usd = chance.choice(("price_in_usd", "item_revenue_in_usd"))
                item[in_usd] = f"{chance.randrange(100, 900) / 10}"
            if chance.random() < 0.1:
                item.update(chance.choice(PROMOTIONS))
            if chance.random() < 0.2:
                item["item_coupon"] = chance.choice(("TEN", "FREE"))
        if chance.random() < 0.3:
            items[0].update(shelf)
        self.order += 1
        more = {"transaction_id": f"T{self.order}" if "session_id" in person else None}
        besides = ({}, {"tax": "1.5", "shipping": "3"}, {"event_coupon": "SPRING"})
        more.update(chance.choice(besides))
        if chance.random() < 0.1:
            more["currency"] = items[0]["currency"]
            self.put(at, "purchase", person, [], value=str(chance.randrange(5, 50)), **more)
            return
        self.put(at, "purchase", person, items, **more)
        if more["transaction_id"] and chance.random() < 0.25:
            later = timedelta(seconds=chance.choice((50, 4_000, 90_000)))
            self.put(at + later, "purchase", person, items, **more)
            if chance.random() < 0.3:
                again = items + [dict(items[0], product_id="P0")]
                self.put(at + later, "purchase", person, again, **more)
        if chance.random() < 0.2:
            self.refund(at + timedelta(seconds=chance.choice((500, 100_000))), person, items, more)

    def refund(self, at, person, items, more):
        chance = self.chance
        if chance.random() < 0.3:
            more = dict(more, value="7", currency=items[0]["currency"])
            self.put(at, "refund", person, [], **more)
        else:
            item = {name: value for name, value in items[0].items() if name != "item_revenue"}
            if chance.random() < 0.3:
                item["item_refund"] = "2.5"
            self.put(at, "refund", person, [item], **more)

    def make(self, count):
        # A machine without pauses: one session of three days.
        for number in range(3 * 24 * 3):
            at = START + timedelta(days=1, minutes=20 * number)
            self.put(at, "page_view", {"user_id": "probe", "platform": "WEB"}, [])
        while len(self.events) < count:
            # Many arrive shortly before the end of an hour or a day, and continue after it.
            chance = self.chance
            at = START + timedelta(days=chance.randrange(DAYS), hours=chance.randrange(24))
            since = 1_800 if chance.random() < 0.5 else 0
            at += timedelta(seconds=chance.randrange(since, 3_600))
            self.visit(chance.randrange(24), at)
        return sorted(self.events, key=lambda event: event[0])


def attributes(product):
    """The brand and category of a product. Some have none."""
    number = PRODUCTS.index(product)
    brand, category = ("Aurora", "Birch", None)[number % 3], ("Home", None)[number % 2]
    return {"product_brand": brand, "product_category": category}


def make_facts(chance, events):
    facts = []
    for number, (at, name, person, items, more) in enumerate(events):
        at += timedelta(microseconds=number)
        event = {"event_time": at.isoformat(), "event_name": name, **person, **more}
        if "session_id" in person:
            event["event_id"] = f"E{number}"
            if chance.random() < 0.4:
                event.update(chance.choice(TRAFFIC), **chance.choice(DEVICES))
        versions = [items]
        if items and chance.random() < 0.05:
            versions = [[], items]  # comes first without its items
        for version in versions:
            for ordinal, item in enumerate(version, 1):
                if ordinal == 1 and len(version) > 1 and chance.random() < 0.03:
                    continue  # the first item could not be read
                fact = {**event, **item, **attributes(item["product_id"])}
                facts.append(placed(fact, number, ordinal))
            if not version:
                facts.append(placed(event, number, 0))
    return facts


def placed(fact, number, ordinal):
    fact_hash = f"{number * 16 + ordinal:032x}"
    return {**fact, "item_ordinal": ordinal, "event": number, "fact_hash": fact_hash}


def in_batches(chance, facts):
    """The facts in order of arrival, and corrections after them, event by event.

    Most arrive in order, some late, some twice. Those of corrected events arrive with another
    product, price and quantity and one item too many.
    """
    batches, corrections = [[] for _ in range(8)], []
    of_event = {}
    for fact in facts:
        of_event.setdefault(fact["event"], []).append(fact)
    for place, event in enumerate(of_event.values()):
        ordinals = [fact["item_ordinal"] for fact in event]
        if "event_id" in event[0] and ordinals[0] == 1 and chance.random() < 0.08:
            corrections.append(event)
            last = event[-1]
            wrong = {"product_id": "P1", "price": "77", "quantity": "7", **attributes("P1")}
            event = [{**fact, **wrong} for fact in event]
            event.append(placed(event[-1], last["event"], last["item_ordinal"] + 1))
        for fact in event:
            batch = place * len(batches) // len(of_event)
            if chance.random() < 0.1:
                batch = chance.randrange(batch, len(batches))
            batches[batch].append(fact)
            if chance.random() < 0.05:
                batches[chance.randrange(len(batches))].append(fact)
    return batches, corrections
