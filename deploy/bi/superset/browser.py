"""Opens the dashboards in a browser and collects the answers to their charts."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Page, Response, sync_playwright

from bundle import Dashboard

#: As wide as a laptop, and high enough that all charts load without scrolling.
VIEWPORT = {"width": 1440, "height": 1900}
TIMEOUT_SECONDS = 180
#: Charts fade in.
ANIMATION_SECONDS = 3

NO_ROWS = "no rows"


@dataclass
class Answer:
    """The rows and the SQL of a chart, or why there are none."""

    rows: list[dict] = field(default_factory=list)
    sql: str = ""
    fault: str = ""


@contextmanager
def open_page(program: str, url: str, user: str, password: str) -> Iterator[Page]:
    """Yields a logged-in page."""
    with sync_playwright() as playwright:
        # Chromium's sandbox does not work for root.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport=VIEWPORT)
            page.set_default_timeout(TIMEOUT_SECONDS * 1000)
            page.goto(f"{url}/login/")
            page.fill("#username", user)
            page.fill("#password", password)
            page.click("button[type=submit]")
            page.wait_for_url(lambda at: "/login" not in at)
            yield page
        finally:
            browser.close()


def ask(
    page: Page,
    url: str,
    dashboard: Dashboard,
    titles: dict[int, str],
    filters: str = "",
    picture: Path | None = None,
) -> dict[str, Answer]:
    """Returns the answer to each chart; `titles` maps Superset's chart ids to titles."""
    answers: dict[str, Answer] = {}

    def keep(response: Response) -> None:
        if "/api/v1/chart/data" not in response.url:
            return
        asked = json.loads(response.request.post_data or "{}")
        title = titles.get(asked.get("form_data", {}).get("slice_id"))
        # A request without a title is a filter that loads its choices.
        if title:
            answers[title] = read(response)

    page.on("response", keep)
    try:
        query = f"?native_filters={filters}" if filters else ""
        page.goto(f"{url}/superset/dashboard/{dashboard.slug}/{query}")
        wanted = {chart.title for row in dashboard.rows for chart in row}
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while wanted - set(answers) and time.monotonic() < deadline:
            page.wait_for_timeout(200)
        for title in wanted - set(answers):
            answers[title] = Answer(fault=f"no query within {TIMEOUT_SECONDS} s")
        if picture:
            page.wait_for_timeout(ANIMATION_SECONDS * 1000)
            page.screenshot(path=picture)
    finally:
        page.remove_listener("response", keep)
    return answers


def read(response: Response) -> Answer:
    if not response.ok:
        return Answer(fault=f"{response.status}: {response.text()}")
    results = response.json()["result"]
    fault = "; ".join(result["error"] for result in results if result.get("error"))
    if not fault and not all(result["data"] for result in results):
        fault = NO_ROWS
    return Answer(results[0]["data"], results[0]["query"], fault)
