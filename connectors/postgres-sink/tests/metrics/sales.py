"""Orders, products, lists and promotions, counted for metrics.Range."""

import re
from collections import Counter, defaultdict
from decimal import ROUND_HALF_UP, Decimal
from itertools import combinations, permutations
from operator import itemgetter

from shop import (
    OF_PRODUCTS, grouped, least, list_label, number, people_of, product_label, ratio, seconds,
    total,
)


class SaleQuestions:
    """The metrics of orders, products, lists and promotions."""

    def order_lines(self):
        for line in self.lines:
            yield {
                "day": line["day"], "began": seconds(line["began"]), "at": seconds(line["at"]),
                "person": line["person"], "session_id": line.get("session_id"),
                "platform": line.get("platform"), "product": product_label(line),
                "item_ordinal": line["item_ordinal"], "event_coupon": line.get("event_coupon"),
                "item_coupon": line.get("item_coupon"), **amounts_of(line),
                "revenue_in_usd": line["revenue_in_usd"],
            }

    def order_rows(self):
        for order in self.orders:
            facts = order["lines"] or [order["first"]]
            for currency, facts in grouped(facts, itemgetter("currency")).items():
                at_first = [f for f in facts if f["at"] == order["began"]]
                lines = [f for f in facts if f["is_item"]]
                value = least(f["value"] for f in at_first)
                revenue = total(line["revenue"] for line in lines) if lines else value
                yield {
                    "day": order["day"], "began": seconds(order["began"]), "currency": currency,
                    "person": least(f["person"] for f in facts),
                    "platform": least(f.get("platform") for f in facts), "purchases": len(lines),
                    "units": sum(line["units"] for line in lines), "revenue": revenue,
                    "reporting_revenue": self.shop.in_reporting(revenue, currency, order["day"]),
                    "is_by_value": not lines, "value": value,
                    "tax": least(number(f.get("tax")) for f in at_first),
                    "shipping": least(number(f.get("shipping")) for f in at_first),
                    "coupon": least(f.get("event_coupon") or f.get("item_coupon") for f in facts),
                }

    def refund_rows(self):
        refunds = [f for f in self.facts if f["event_name"] == "refund"]
        for facts in grouped(refunds, itemgetter("event")).values():
            items = [f for f in facts if f["is_item"]]
            for currency, of in grouped(items or facts, itemgetter("currency")).items():
                amount = total(f["revenue"] for f in of) if items else of[0]["value"]
                yield {
                    "day": of[0]["day"], "person": of[0]["person"], "refunds": amount,
                    "refunded_units": sum(f["units"] for f in items if f["currency"] == currency),
                    "currency": currency, "is_by_value": not items,
                    "reporting_refunds": self.shop.in_reporting(amount, currency, of[0]["day"]),
                }

    def revenue(self):
        key = itemgetter("day", "currency")
        orders, refunds = grouped(self.order_rows(), key), grouped(self.refund_rows(), key)
        for day, currency in {*orders, *refunds}:
            of, back = orders[day, currency], refunds[day, currency]
            revenue = total(o["revenue"] for o in of) or 0
            refunded = total(r["refunds"] for r in back) or 0
            purchases = sum(o["purchases"] for o in of)
            yield {
                "day": day, "currency": currency, "orders": len(of), "purchases": purchases,
                "units": sum(o["units"] for o in of), "revenue": revenue, "refunds": refunded,
                "net_revenue": revenue - refunded, "revenue_per_order": ratio(revenue, len(of)),
                "purchases_per_order": ratio(purchases, len(of)),
                "reporting_revenue": total(o["reporting_revenue"] for o in of),
                "reporting_refunds": total(r["reporting_refunds"] for r in back),
            }

    def orders_by(self):
        led = {(s["at"], s["fact_hash"]): list_label(s["shelf"]) for s in self.sales}
        values = {
            "platform": lambda f: f.get("platform") or "no platform",
            "brand": lambda f: f.get("product_brand") or "no brand",
            "category": lambda f: f.get("product_category") or "no category",
            "coupon": lambda f: f.get("event_coupon") or f.get("item_coupon") or "no coupon",
            "list": lambda f: led.get((f["at"], f["fact_hash"]), "no list"),
            "all": lambda f: "all",
        }
        for dimension, value_of in values.items():
            rows = [(value_of(line), line["currency"], line) for line in self.lines]
            for order in self.orders:
                first = dict(order["first"], order=order["key"])
                if not order["lines"]:
                    first["revenue"], currency = first["value"], first["currency"]
                    first["reporting"] = self.shop.in_reporting(
                        first["value"], currency, order["day"]
                    )
                    rows.append((value_of(first), currency, first))
            for (value, currency), of in grouped(rows, lambda row: row[:2]).items():
                facts, orders = [row[2] for row in of], len({row[2]["order"] for row in of})
                purchases = sum(f["is_item"] for f in facts)
                revenue = total(f["revenue"] for f in facts) or 0
                yield {
                    "dimension": dimension, "value": value, "currency": currency, "orders": orders,
                    "purchases": purchases, "revenue": revenue,
                    "units": sum(f["units"] for f in facts if f["is_item"]),
                    "revenue_per_order": ratio(revenue, orders),
                    "purchases_per_order": ratio(purchases, orders),
                    "reporting_revenue": total(f["reporting"] for f in facts),
                }

    def customers(self):
        rows = []
        known = (o for o in self.order_rows() if o["person"])
        for (person, currency), of in grouped(known, itemgetter("person", "currency")).items():
            began, revenue = sorted(o["began"] for o in of), total(o["revenue"] for o in of) or 0
            between = (began[-1] - began[0]) / (len(of) - 1) if of[1:] else None
            # PostgreSQL rounds intervals to microseconds, not always to the nearest.
            between = between and between.quantize(Decimal("0.001"), ROUND_HALF_UP)
            rows.append({
                "person": person, "currency": currency, "orders": len(of),
                "purchases": sum(o["purchases"] for o in of), "revenue": revenue,
                "revenue_per_order": ratio(revenue, len(of)), "first_order_at": began[0],
                "last_order_at": began[-1], "time_between_orders": between,
            })
        scores = {
            "recency_score": lambda r: (r["last_order_at"], r["person"]),
            "frequency_score": lambda r: (r["orders"], r["last_order_at"], r["person"]),
            "monetary_score": lambda r: (r["revenue"], r["last_order_at"], r["person"]),
        }
        for of in grouped(rows, itemgetter("currency")).values():
            for score, order in scores.items():
                for fifth, row in fifths(sorted(of, key=order)):
                    row[score] = fifth
        return rows

    def product_rows(self):
        """The label of each product, and its facts by event name."""
        shown = [f for f in self.facts if f["product"] and f["event_name"] in OF_PRODUCTS]
        for product, facts in grouped(shown, itemgetter("product")).items():
            yield product, product_label(facts[0]), grouped(facts, itemgetter("event_name"))

    def products(self):
        for product, label, of in self.product_rows():
            people = [len(people_of(of[name])) for name in OF_PRODUCTS[1:]]
            viewers, adders, starters, buyers = people
            lines = [line for line in self.lines if line["product"] == product]
            counts = {
                "product": label, "viewers": viewers, "cart_adders": adders,
                "checkout_starters": starters, "buyers": buyers,
                "cart_to_view_user_rate": ratio(adders, viewers),
                "view_to_purchase_user_rate": ratio(buyers, viewers),
                "view_to_purchase_event_rate": ratio(len(lines), len(of["view_item"])),
                **item_counts(of),
            }
            yield from ({**counts, **sold} for sold in self.sold(lines))

    def sold(self, lines):
        for currency, of in (grouped(lines, itemgetter("currency")) or {None: []}).items():
            yield {
                "currency": currency, "purchases": len(of), "orders": len({l["order"] for l in of}),
                "units": sum(line["units"] for line in of),
                "revenue": total(line["revenue"] for line in of) or 0,
                "reporting_revenue": total(line["reporting"] for line in of),
            }

    def daily_products(self):
        key, name = itemgetter("day", "product"), itemgetter("event_name")
        shown = [f for f in self.facts if f["product"] and f["event_name"] in OF_PRODUCTS]
        counts = {k: grouped(of, name) for k, of in grouped(shown, key).items()}
        sold = grouped((line for line in self.lines if line["product"]), key)
        labels = {f["product"]: product_label(f) for f in [*shown, *self.lines]}
        for day, product in {*counts, *sold}:
            of = counts.get((day, product), defaultdict(list))
            for sale in self.sold(sold[day, product]):
                del sale["orders"]
                yield {"day": day, "product": labels[product], **item_counts(of), **sale}

    def pairs(self, baskets, name):
        """The metrics of pairs of products, from the sets that contain them."""
        baskets = [basket for basket in baskets if basket]
        labels = {f["product"]: product_label(f) for f in self.shop.facts if f["product"]}
        singles, pairs = Counter(), Counter()
        for basket in baskets:
            singles.update(basket)
            if len(basket) <= 100:
                pairs.update(frozenset(pair) for pair in combinations(basket, 2))
        for pair, both in pairs.items():
            for a, b in permutations(pair):
                yield {
                    "a": labels[a], "b": labels[b], name: both, f"{name}_a": singles[a],
                    f"{name}_b": singles[b], "confidence": ratio(both, singles[a]),
                    "lift": ratio(both * len(baskets), singles[a] * singles[b]),
                }

    def product_pairs(self):
        baskets = ({line["product"] for line in o["lines"] if line["product"]} for o in self.orders)
        return self.pairs(baskets, "orders")

    def viewed_together(self):
        return self.pairs((s["viewed"] for s in self.sessions), "sessions")

    def lists(self):
        return self.list_rows(lambda shelf: (shelf[0], list_label(shelf)))

    def lists_by_id(self):
        return self.list_rows(lambda shelf: (shelf[0], shelf[0] or list_label(shelf)))

    def list_rows(self, shown_as):
        """The label of each list id."""
        of_list = lambda f: shown_as(f["shelf"])  # noqa: E731
        shown = grouped((f for f in self.named("view_item_list") if f["shelf"]), of_list)
        clicked, engaged = grouped(self.clicks, of_list), grouped(self.engaged, of_list)
        sales = grouped(self.sales, of_list)
        for key in {*shown, *clicked}:
            viewers, followed = people_of(shown[key]), people_of(engaged[key])
            known = sum(bool(f["person"]) for f in shown[key])
            counts = {
                "list_id": key[0], "list": key[1], **rates_of(shown[key], clicked[key]),
                "engaged": len(engaged[key]), "engaged_viewers": len(followed),
                "engagement_rate": ratio(len(engaged[key]), known),
                "engaged_user_rate": ratio(len(followed), len(viewers)),
                "substitutes": sum(c.get("is_substitute", False) for c in clicked[key]),
            }
            yield from ({**counts, **sold} for sold in self.sold(sales[key]))

    def list_clicks(self):
        for click in self.clicks:
            yield {
                "day": click["day"], "at": seconds(click["at"]), "list": list_label(click["shelf"]),
                "product": product_label(click), "list_position": place_of(click),
                "is_substitute": click.get("is_substitute", False),
            }

    def list_sales(self):
        for line in self.sales:
            yield {
                "day": line["day"], "at": seconds(line["at"]), "list": list_label(line["shelf"]),
                "product": product_label(line), **amounts_of(line),
            }

    def daily_lists(self):
        key = itemgetter("day", "shelf")
        shown = grouped((f for f in self.named("view_item_list") if f["shelf"]), key)
        clicked, engaged = grouped(self.clicks, key), grouped(self.engaged, key)
        for day, shelf in {*shown, *clicked}:
            yield {
                "day": day, "list": list_label(shelf), "impressions": len(shown[day, shelf]),
                "clicks": len(clicked[day, shelf]), "engaged": len(engaged[day, shelf]),
            }

    def positions(self):
        counts = defaultdict(Counter)
        for name, facts in (("impressions", self.named("view_item_list")), ("clicks", self.clicks)):
            for fact in facts:
                if fact["shelf"] and place_of(fact) is not None:
                    counts[fact["shelf"], place_of(fact)].update({name: 1})
        for (shelf, at), c in counts.items():
            if c["impressions"]:
                yield {
                    "list": list_label(shelf), "at": at, "impressions": c["impressions"],
                    "clicks": c["clicks"], "rate": ratio(c["clicks"], c["impressions"]),
                }

    def search_terms(self):
        term = lambda f: search_term(f["shelf"])  # noqa: E731
        shown = grouped(self.named("view_item_list"), term)
        clicked, sold = grouped(self.clicks, term), grouped(self.sales, term)
        for of in {*shown, *clicked} - {None}:
            rates = rates_of(shown[of], clicked[of])
            del rates["click_through_event_rate"]
            yield {
                "search_term": of, **rates, "purchases": len(sold[of]),
                "orders": len({f["order"] for f in sold[of]}),
            }

    def promotion_sales(self):
        for line in self.promoted:
            yield {
                "day": line["day"], "at": seconds(line["at"]), "product": product_label(line),
                "promotion_id": line["promotion_id"], "promotion_name": line["promotion_name"],
                "is_named": line["is_named"], **amounts_of(line),
            }

    def promotions(self):
        of = itemgetter("promotion")
        all_shown, all_clicked = (
            grouped(self.named(name, False), of) for name in ("view_promotion", "select_promotion")
        )
        sales = grouped(self.promoted, of)
        for promotion in {*all_shown, *all_clicked, *sales}:
            shown, clicked = all_shown[promotion], all_clicked[promotion]
            viewers, clickers = len(people_of(shown)), len(people_of(clicked))
            first = [*shown, *clicked, *sales[promotion]][0]
            counts = {
                "promotion_id": first.get("promotion_id"),
                "promotion_name": first.get("promotion_name"),
                "promotion_views": len(shown), "promotion_clicks": len(clicked),
                "viewers": viewers, "clickers": clickers,
                "click_through_user_rate": ratio(clickers, viewers),
                "click_through_rate": ratio(len(clicked), len(shown)),
            }
            yield from ({**counts, **sold} for sold in self.sold(sales[promotion]))


def search_term(shelf):
    """The text that somebody typed, if a list is a search; else None."""
    name = shelf and shelf[0] and shelf[1]
    if name and name != shelf[0] and re.search("^list_s$|search", shelf[0], re.IGNORECASE):
        return name.strip(" ").lower()
    return None


def place_of(fact):
    """The position that the curve of a list counts. From 1000 on it is one."""
    at = fact.get("list_position")
    return None if at is None or at < 0 else min(int(at), 1_000)


def amounts_of(line):
    return {
        "units": line["units"], "revenue": line["revenue"], "currency": line["currency"],
        "reporting_revenue": line["reporting"],
    }


def item_counts(of):
    names = ("impressions", "views", "add_to_carts", "checkouts")
    return {name: len(of[event]) for name, event in zip(names, OF_PRODUCTS)}


def rates_of(shown, clicked):
    list_views = len({f["event"] for f in shown})
    viewers, clickers = people_of(shown), people_of(clicked)
    return {
        "list_views": list_views, "impressions": len(shown), "viewers": len(viewers),
        "clicks": len(clicked), "clickers": len(clickers),
        "click_through_rate": ratio(len(clicked), len(shown)),
        "click_through_event_rate": ratio(len(clicked), list_views),
        "click_through_user_rate": ratio(len(clickers), len(viewers)),
    }


def fifths(rows):
    """Rows with their fifth. The first fifths have one more if the number is not divisible."""
    size, more = divmod(len(rows), 5)
    place = 0
    for fifth in range(1, 6):
        for _ in range(size + (fifth <= more)):
            yield fifth, rows[place]
            place += 1
