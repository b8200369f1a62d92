"""People and their visits, counted for metrics.Range."""

import math
from collections import Counter
from datetime import date, timedelta
from operator import itemgetter

from shop import LETTERS, STEPS, grouped, least, list_label, people_of, ratio, seconds

TRAFFIC_DIMENSIONS = (
    "first_source", "first_medium", "first_campaign", "last_source", "last_medium",
    "last_campaign", "device_category", "country", "app_version",
)


class VisitQuestions:
    """The metrics of people and their visits."""

    def people(self):
        for day, facts in grouped(self.facts, itemgetter("day")).items():
            of = grouped(facts, itemgetter("event_name"))
            list_viewers, _, viewers, adders, starters, buyers = (
                len(people_of(of[name])) for name in STEPS
            )
            if people_of(facts):
                yield {
                    "day": day, "people": len(people_of(facts)), "list_viewers": list_viewers,
                    "viewers": viewers, "cart_adders": adders, "checkout_starters": starters,
                    "buyers": buyers, "list_to_view_user_rate": ratio(viewers, list_viewers),
                    "view_to_checkout_user_rate": ratio(starters, viewers),
                    "checkout_to_purchase_user_rate": ratio(buyers, starters),
                }

    def session_rows(self):
        for s in self.sessions:
            yield {
                "day": s["day"], "started_at": seconds(s["at"]), "ended_at": seconds(s["until"]),
                "platform": s["platform"], "has_session_id": s["has_session_id"],
                "events": s["events"], "views": s["views"], "is_engaged": s["is_engaged"],
                "is_converted": s["is_converted"], "is_bounce": s["events"] == 1,
                "entry_list": list_label(s["entry"]),
            }

    def rates(self, key):
        for value, sessions in grouped(self.sessions, key).items():
            engaged = sum(s["is_engaged"] for s in sessions)
            bought = sum(s["is_converted"] for s in sessions)
            bounces = sum(s["events"] == 1 for s in sessions)
            yield {
                "value": value, "sessions": len(sessions), "engaged_sessions": engaged,
                "converted_sessions": bought, "bounces": bounces,
                "engagement_rate": ratio(engaged, len(sessions)),
                "bounce_rate": ratio(bounces, len(sessions)),
                "ga4_bounce_rate": 1 - ratio(engaged, len(sessions)),
                "conversion_rate": ratio(bought, len(sessions)),
            }

    def sessions_by_day(self):
        return self.rates(itemgetter("day"))

    def sessions_of_all(self):
        return self.rates(lambda s: "all")

    def sessions_by_platform(self):
        return self.rates(lambda s: s["platform"] or "no platform")

    def sessions_by_entry_list(self):
        rows = self.rates(lambda s: s["entry"])
        return ({**row, "value": list_label(row["value"])} for row in rows)

    def sessions_by_traffic(self):
        for dimension in TRAFFIC_DIMENSIONS:
            none = "no " + dimension.replace("_", " ")
            for row in self.rates(lambda s: s[dimension] or none):  # noqa: B023
                yield {"dimension": dimension, **row}

    def session_funnel(self):
        return funnel([s["steps"] for s in self.sessions], "sessions")

    def journey_funnel(self):
        within = timedelta(days=2)
        last = (date.fromisoformat(self.last) + within).isoformat()
        known = [
            s for s in self.shop.sessions if s["person"] and self.first <= s["day"] <= last
        ]
        of_days = grouped(known, itemgetter("person", "day")).values()
        sent = steps_sent(["".join(s["steps"] for s in sessions) for sessions in of_days])
        first_letter = min(sent, key="LSVACP".index, default="L")
        journeys = []
        for sessions in grouped(known, itemgetter("person")).values():
            first = least(s["day"] for s in sessions if first_letter in s["steps"])
            if first and first <= self.last:
                until = (date.fromisoformat(first) + within).isoformat()
                steps = (s["steps"] for s in sessions if first <= s["day"] <= until)
                journeys.append("".join(steps))
        return funnel(journeys, "people", sent)

    def abandonment(self):
        for dimension in ("day", "platform", "all"):
            key = lambda row: {  # noqa: E731
                "day": row["day"], "platform": row.get("platform") or "no platform", "all": "all",
            }[dimension]
            sessions = grouped(self.sessions, key)
            facts = grouped((f for f in self.facts if f["person"]), key)
            for value in {*sessions, *facts}:
                carts, checkouts = (
                    [s for s in sessions[value] if letter in s["steps"]] for letter in "AC"
                )
                left_carts, left_checkouts = (
                    sum(not s["is_converted"] for s in of) for of in (carts, checkouts)
                )
                of_step = grouped(facts[value], itemgetter("event_name"))
                adders, starters, buyers = (people_of(of_step[name]) for name in STEPS[3:])
                cart_leavers, checkout_leavers = len(adders - buyers), len(starters - buyers)
                if carts or checkouts or adders or starters:
                    yield {
                        "dimension": dimension, "value": value, "cart_sessions": len(carts),
                        "checkout_sessions": len(checkouts), "abandoned_carts": left_carts,
                        "abandoned_checkouts": left_checkouts, "cart_adders": len(adders),
                        "cart_abandonment_rate": ratio(left_carts, len(carts)),
                        "checkout_abandonment_rate": ratio(left_checkouts, len(checkouts)),
                        "checkout_starters": len(starters), "cart_abandoners": cart_leavers,
                        "checkout_abandoners": checkout_leavers,
                        "cart_abandonment_user_rate": ratio(cart_leavers, len(adders)),
                        "checkout_abandonment_user_rate": ratio(checkout_leavers, len(starters)),
                    }

    def time_to_purchase(self):
        shop, took = self.shop, []
        visits, views = {}, {}
        for fact in shop.facts:
            visits.setdefault(fact["person"], fact["at"])
            if fact["event_name"] == "view_item":
                views.setdefault((fact["person"], fact["product"]), fact["at"])
        of_person = grouped(shop.sessions, itemgetter("person"))
        for order in self.orders:
            began, lines = order["began"], order["lines"]
            person = least(f["person"] for f in lines or [order["first"]])
            known = [(line["person"], line["product"]) for line in lines if line["person"]]
            since = {"first_view": [views.get(of) for of in known]}
            if person:
                the_day_before = (date.fromisoformat(order["day"]) - timedelta(days=1)).isoformat()
                since["first_visit"] = [visits[person]]
                since["session_start"] = [
                    s["at"] for s in of_person[person]
                    if s["day"] >= the_day_before and s["at"] <= began <= s["until"]
                ][-1:]
            took += [
                (counted_from, order["day"], began - at) for counted_from, of in since.items()
                for at in of if at and at <= began
            ]
        for dimension, key in (("day", lambda row: row[1]), ("all", lambda row: "all")):
            groups = grouped(took, lambda row: (key(row), row[0]))
            for (value, counted_from), rows in groups.items():
                times = sorted(row[2].total_seconds() for row in rows)
                first, second, third = (
                    times[math.ceil(part * len(times) / 4) - 1] for part in (1, 2, 3)
                )
                yield {
                    "dimension": dimension, "value": value, "counted_from": counted_from,
                    "measured": len(times), "first_quartile": first, "median": second,
                    "third_quartile": third,
                }

    def identities(self):
        both = [f for f in self.facts if f.get("user_id") and f.get("user_pseudo_id")]
        groups = grouped(both, itemgetter("user_pseudo_id", "user_id"))
        for (device, user), facts in groups.items():
            yield {
                "user_pseudo_id": device, "user_id": user, "first_at": seconds(facts[0]["at"]),
                "last_at": seconds(facts[-1]["at"]),
            }

    def new_and_returning(self):
        first = {"visit": {}, "purchase": {}}
        for fact in self.shop.facts:
            if fact["person"]:
                first["visit"].setdefault(fact["person"], fact["day"])
                if fact["event_name"] == "purchase":
                    first["purchase"].setdefault(fact["person"], fact["day"])
        for day in self.days:
            facts = [f for f in self.facts if f["day"] == day]
            people = people_of(facts)
            buyers = people_of(f for f in facts if f["event_name"] == "purchase")
            if people:
                new = sum(first["visit"][p] == day for p in people)
                new_buyers = sum(first["purchase"][p] == day for p in buyers)
                yield {
                    "day": day, "people": len(people), "new_people": new, "buyers": len(buyers),
                    "returning_people": len(people) - new, "new_buyers": new_buyers,
                    "returning_buyers": len(buyers) - new_buyers,
                }

    def cohorts(self):
        known = [f for f in self.shop.facts if f["person"] and f["day"] <= self.last]
        bought = [f for f in known if f["event_name"] == "purchase"]
        for unit in ("day", "week", "month"):
            periods, purchases = (
                {(f["person"], period_of(f["day"], unit)) for f in facts}
                for facts in (known, bought)
            )
            for first_by, seen in (("visit", periods), ("order", purchases)):
                first = {}
                for person, period in sorted(seen, key=lambda pair: pair[1]):
                    first.setdefault(person, period)
                sizes = Counter(first.values())
                came, again = (
                    Counter((first[p], at) for p, at in of if p in first and at >= first[p])
                    for of in (periods, purchases)
                )
                for (cohort, period), people in came.items():
                    if cohort >= date.fromisoformat(self.first):
                        size, buyers = sizes[cohort], again[cohort, period]
                        yield {
                            "unit": unit, "first_by": first_by, "cohort": cohort.isoformat(),
                            "period": distance(cohort, period, unit), "cohort_people": size,
                            "people": people, "retention_rate": ratio(people, size),
                            "buyers": buyers, "repeat_rate": ratio(buyers, size),
                        }


def steps_sent(paths):
    """The steps that at least a tenth as many paths have as any later one."""
    having = {letter: sum(letter in path for path in paths) for letter in "LSVACP"}
    return {
        letter
        for place, letter in enumerate(having)
        if having[letter]
        and 10 * having[letter] >= max(list(having.values())[place + 1 :], default=0)
    }


def funnel(paths, counted, sent=None):
    """The number of paths with each step after those before it, for steps that the shop sends."""
    if sent is None:
        sent = steps_sent(paths)
    steps = [(step, name) for step, name in enumerate(STEPS, 1) if LETTERS[name] in sent]
    reached = Counter()
    for path in paths:
        place = 0
        for step, name in steps:
            place = path.find(LETTERS[name], place) + 1
            if not place:
                break
            reached[step] += 1
    before = None
    for step, name in steps:
        yield {
            "step": step, "event_name": name, counted: reached[step],
            "rate_of_first": ratio(reached[step], reached[steps[0][0]]),
            "rate_of_step_before": ratio(reached[step], before),
        }
        before = reached[step]


def period_of(day, unit):
    day = date.fromisoformat(day)
    monday = day - timedelta(days=day.weekday())
    return {"day": day, "week": monday, "month": day.replace(day=1)}[unit]


def distance(cohort, period, unit):
    if unit == "month":
        return (period.year - cohort.year) * 12 + period.month - cohort.month
    return (period - cohort).days // {"day": 1, "week": 7}[unit]
