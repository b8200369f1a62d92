"""Opens the dashboards in a real Superset on the tables of a demo, with the rights of analysts.

Each chart must have rows, those of the dashboard's days, and the headline numbers must be those of
the schema's own functions. Pictures of the dashboards are in target/superset-pictures.
"""

import math
import signal
import subprocess
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

import psycopg2

import browser
import dashboards
import demo
import load
import server

PICTURES = demo.PROGRAMS.parent / "superset-pictures"
FACTS = 200_000

ALL_SESSIONS = "analytics.sessions_by('all', %(since)s, %(until)s)"
#: The rows that charts must show, computed by the functions that define the numbers.
EXPECTED = {
    "Sessions": f"SELECT sessions FROM {ALL_SESSIONS}",
    "Bounce rate": f"SELECT bounce_rate FROM {ALL_SESSIONS}",
    "Conversion rate": f"SELECT conversion_rate FROM {ALL_SESSIONS}",
    "Orders": "SELECT sum(orders) AS orders FROM analytics.daily_funnel(%(since)s, %(until)s)",
    "Impressions": """
        SELECT sum(impressions) AS impressions
        FROM analytics.daily_funnel(%(since)s, %(until)s)""",
    "Revenue by currency": """
        SELECT currency, sum(net_revenue) AS net_revenue, sum(revenue) AS revenue,
               sum(refunds) AS refunds, sum(orders) AS orders,
               sum(revenue) / sum(orders) AS revenue_per_order
        FROM analytics.daily_revenue(%(since)s, %(until)s) GROUP BY 1 ORDER BY 2 DESC""",
}
#: The same for one platform.
EXPECTED_BY_PLATFORM = {
    "Sessions": """
        SELECT sessions FROM analytics.sessions_by('platform', %(since)s, %(until)s)
        WHERE value = %(platform)s""",
    "Orders": """
        SELECT sum(orders) AS orders FROM analytics.orders_by('platform', %(since)s, %(until)s)
        WHERE value = %(platform)s""",
    "Impressions": EXPECTED["Impressions"],
}
#: Charts without rows where a small demo has sold every product.
MAY_BE_EMPTY = {"Products viewed but not bought"}


class Check:
    """Opens the dashboards of one Superset and collects their faults."""

    def __init__(self, page: browser.Page, url: str, titles: dict[int, str], owner: str):
        self.page = page
        self.url = url
        self.titles = titles
        self.owner = owner
        self.faults = 0

    def look_at_all(self, data: str) -> None:
        """Opens each dashboard with its default filters."""
        until = date.today()
        days = {"since": until - timedelta(days=27), "until": until}
        for dashboard in dashboards.DASHBOARDS:
            picture = PICTURES / f"{dashboard.slug}-{data}.png"
            answers = browser.ask(self.page, self.url, dashboard, self.titles, picture=picture)
            expected = EXPECTED if dashboard is dashboards.OVERVIEW else {}
            self.judge(f"{data}, {dashboard.title}", answers, expected, days)

    def look_at_filters(self, data: str) -> None:
        """Opens the overview, filtered by a week and a platform."""
        until = date.today() - timedelta(days=1)
        days = {"since": until - timedelta(days=6), "until": until, "platform": "ANDROID"}
        filters = (
            "(NATIVE_FILTER-days:(id:NATIVE_FILTER-days,ownState:(),"
            "extraFormData:(time_range:'Last 7 days'),filterState:(value:'Last 7 days')),"
            "NATIVE_FILTER-platform:(id:NATIVE_FILTER-platform,ownState:(),"
            "extraFormData:(filters:!((col:platform,op:IN,val:!(ANDROID)))),"
            "filterState:(value:!(ANDROID))))"
        )
        overview = dashboards.OVERVIEW
        answers = browser.ask(self.page, self.url, overview, self.titles, filters=filters)
        self.judge(f"{data}, a week of ANDROID", answers, EXPECTED_BY_PLATFORM, days)

    def judge(
        self, where: str, answers: dict[str, browser.Answer], expected: dict[str, str], days: dict
    ) -> None:
        """Prints one line a chart."""
        for title, answer in answers.items():
            fault = answer.fault
            if fault == browser.NO_ROWS and title in MAY_BE_EMPTY:
                fault = ""
            if not fault and "infinity" in answer.sql:
                fault = "the time range is not applied"
            if not fault and title in expected:
                fault = self.compare(answer.rows, expected[title], days)
            self.faults += bool(fault)
            print(f"{where}, {title}: {fault or f'{len(answer.rows)} rows'}", flush=True)

    def compare(self, rows: list[dict], question: str, days: dict) -> str:
        with psycopg2.connect(self.owner) as connection, connection.cursor() as cursor:
            cursor.execute(question, days)
            names = [column.name for column in cursor.description]
            wanted = [dict(zip(names, row)) for row in cursor.fetchall()]
        connection.close()
        agree = len(rows) == len(wanted) and all(map(has_values, rows, wanted))
        return "" if agree else f"{rows} is not {wanted}"


def has_values(row: dict, wanted: dict) -> bool:
    return all(is_equal(row[name], value) for name, value in wanted.items())


def is_equal(shown: object, value: object) -> bool:
    if isinstance(value, str):
        return shown == value
    return math.isclose(float(shown), float(value), rel_tol=1e-9)


def main(browser_path: str) -> bool:
    """Returns true if there are no faults."""
    # Lets SIGTERM end the programs that this started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    PICTURES.mkdir(parents=True, exist_ok=True)
    with (
        demo.tables("--events", "3000") as owner,
        tempfile.TemporaryDirectory() as folder,
        server.run(Path(folder)) as (url, password),
        browser.open_page(browser_path, url, server.ADMIN, password) as page,
    ):
        superset = load.Superset(url, server.ADMIN, password)
        content = dashboards.make_bundle(demo.add_roles(owner))
        # A second import updates the objects of the first one.
        for _ in range(2):
            superset.load(content, demo.PASSWORD)
        charts = superset.call("chart/?q=(page_size:100)")["result"]
        check = Check(page, url, {chart["id"]: chart["slice_name"] for chart in charts}, owner)
        # Facts of the demo have neither currency nor session id; generated ones have both.
        check.look_at_all("demo")
        generate = [demo.PROGRAMS / "etl", "generate", "--into-database", str(FACTS)]
        subprocess.run([*generate, "--database-url", owner], check=True)
        check.look_at_all("generated")
        check.look_at_filters("generated")
    print(f"Superset's dashboards: {check.faults or 'no'} faults; pictures: {PICTURES}")
    return not check.faults


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1]))
