"""Counts the metrics of the schema `analytics` from shop events alone, by plain loops.

    python3 metrics.py SEED EVENTS ZONE

prints made-up events (made_events.py) in batches, the questions as SQL (asked.py), and what their
answers must be over several ranges of days, with everybody and without one person. Nothing here is
taken from the SQL of the migrations: the definitions are those of sql/README.md.
"""

import json
import math
import sys
from decimal import Decimal
from operator import itemgetter
from zoneinfo import ZoneInfo

import asked
import made_events
from sales import SaleQuestions
from shop import Shop, delay_of, grouped
from visits import VisitQuestions

RANGES = (
    ("2026-10-28", "2026-11-06"), ("2026-10-31", "2026-11-02"), ("2026-11-01", "2026-11-01"),
)
REPORTING = "EUR"
#: Currency, first day, units of the reporting currency for one unit.
RATES = (("MXN", "2026-10-30", Decimal("0.05")), ("MXN", "2026-11-01", Decimal("0.04")))


class Range(VisitQuestions, SaleQuestions):
    """The metrics of a range of days. Each method is a question, by its name in asked.py."""

    def __init__(self, shop, first, last):
        self.shop, self.first, self.last = shop, first, last
        self.facts, self.orders = self.inside(shop.facts), self.inside(shop.orders)
        self.sales, self.promoted = self.inside(shop.sales), self.inside(shop.promoted)
        self.clicks, self.engaged = self.inside(shop.clicks), self.inside(shop.engaged)
        self.sessions = self.inside(shop.sessions)
        self.lines = [line for order in self.orders for line in order["lines"]]
        self.days = sorted({f["day"] for f in self.facts})

    def inside(self, rows):
        return [row for row in rows if self.first <= row["day"] <= self.last]

    def named(self, name, is_item=True):
        return [f for f in self.facts if f["event_name"] == name and (f["is_item"] or not is_item)]

    def funnel(self):
        for day in self.days:
            of = lambda name: sum(f["day"] == day for f in self.named(name))  # noqa: E731
            events = {f["event"]: f["event_name"] for f in self.facts if f["day"] == day}
            yield {
                "day": day, "list_views": sum(n == "view_item_list" for n in events.values()),
                "impressions": of("view_item_list"), "selects": of("select_item"),
                "views": of("view_item"), "add_to_carts": of("add_to_cart"),
                "checkouts": of("begin_checkout"), "events": len(events),
                "purchases": sum(line["day"] == day for line in self.lines),
                "orders": sum(o["day"] == day for o in self.orders),
            }

    def lateness(self):
        for day, facts in grouped(self.facts, itemgetter("day")).items():
            delays = sorted(delay_of(f) for f in facts)
            median = delays[math.ceil(len(delays) / 2) - 1]
            cut = 10 ** max(len(str(abs(median))) - 2, 0)
            yield {
                "day": day, "facts": len(facts), "late_facts": sum(d > 86_400 for d in delays),
                "early_facts": sum(d < -300 for d in delays),
                "median_delay": int(median / cut) * cut,
            }

    def answers(self, names):
        return {name: list(getattr(self, name)()) for name in names}


def main():
    seed, count, zone = int(sys.argv[1]), int(sys.argv[2]), ZoneInfo(sys.argv[3])
    maker = made_events.Maker(seed)
    facts = made_events.make_facts(maker.chance, maker.make(count))
    batches, corrections = made_events.in_batches(maker.chance, facts)
    device = f"device-{made_events.ERASED}"
    kept = [f for f in facts if f.get("user_pseudo_id") != device]
    answers = [
        {
            f"{first} {last}": Range(shop, first, last).answers(asked.QUESTIONS)
            for first, last in RANGES
        }
        for shop in (Shop(facts, zone, REPORTING, RATES), Shop(kept, zone, REPORTING, RATES))
    ]
    sent = lambda facts: [  # noqa: E731
        {k: v for k, v in f.items() if k != "event" and v is not None} for f in facts
    ]
    rates = [f"('{currency}', '{day}', {rate})" for currency, day, rate in RATES]
    made = {
        "batches": [sent(batch) for batch in batches],
        "corrections": [sent(event) for event in corrections],
        "questions": asked.QUESTIONS,
        "arrivals": asked.ARRIVALS,
        "settings": "INSERT INTO analytics.exchange_rates (currency, day, rate) "
                    f"VALUES {', '.join(rates)}; "
                    f"SELECT analytics.configure(reporting_currency => '{REPORTING}')",
        "expected": answers[0],
        "erased": answers[1],
        "erased_device": device,
    }
    json.dump(made, sys.stdout, default=float)


if __name__ == "__main__":
    main()
