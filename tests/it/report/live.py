"""Tests a served report in a browser: live.py BROWSER URL, with DATABASE_URL in the environment.

Prints "waiting" once the page waits for facts; the caller then fills the tables. Fails if text is
cut off or pale, if the keyboard does not reach a control, if a refresh loses the viewer's state, or
if the page does not say that it is stale. If ETL_TEST_SCREENSHOTS is set, screenshots go to that
folder.
"""

import os
import sys
from urllib.parse import urlsplit, urlunsplit

import psycopg
from playwright.sync_api import expect, sync_playwright

from look import CLIPPED, PALE, SWITCHES, settle

WIDTHS = (390, 768, 1440)
URL = sys.argv[2].rstrip("/")
DATABASE = os.environ["DATABASE_URL"]
SCREENSHOTS = os.environ.get("ETL_TEST_SCREENSHOTS")


def execute(sql, database=DATABASE):
    with psycopg.connect(database, autocommit=True) as connection:
        return connection.execute(sql)


def maintenance():
    return urlunsplit(urlsplit(DATABASE)._replace(path="/postgres"))


def add_view(number, product):
    """Inserts a product view of now, as a sink commits it."""
    execute(
        "INSERT INTO fact_events (event_time, event_name, event_id, platform, user_pseudo_id, "
        "product_key, item_ordinal, fact_hash, source_topic, source_partition, source_offset) "
        "VALUES (now(), 'view_item', 'new%d', 'WEB', 'p9', %d, 1, gen_random_uuid(), "
        "'shop-events', 0, %d); UPDATE sink_offsets SET records = records + 30, updated_at = now()"
        % (number, product, 1000 + number)
    )


def watched(context, expected=()):
    """A page, and the list of its errors. An outage causes errors in the console, too."""
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on(
        "console",
        lambda message: (
            wrong.append(f"console: {message.text}")
            if not any(part in message.text for part in expected)
            else None
        ),
    )
    page.on(
        "request",
        lambda request: (
            wrong.append(f"request: {request.url}")
            if not request.url.startswith((URL, "data:"))
            else None
        ),
    )
    return page, wrong


def state(page, text):
    expect(page.locator("#state")).to_have_text(text, timeout=20_000)


def check_waiting(browser):
    page, wrong = watched(browser.new_context())
    page.goto(URL)
    expect(page.locator("main")).to_contain_text("there are no facts yet")
    expect(page.locator("#last-events")).to_contain_text("No events yet.")
    print("waiting", flush=True)
    expect(page.locator("h1")).to_have_text("1 Nov – 3 Nov 2025", timeout=30_000)
    expect(page.locator("main h2").first).to_be_visible()
    expect(page.locator("#last-events tbody tr")).to_have_count(10)
    assert wrong == [], wrong
    page.context.close()


def check_looks(browser):
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            page, wrong = watched(
                browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            )
            page.goto(URL)
            expect(page.locator("#last-events tbody tr")).to_have_count(10)
            settle(page)
            if SCREENSHOTS:
                page.screenshot(path=f"{SCREENSHOTS}/live-{width}-{scheme}.png")
            assert (
                page.evaluate("document.documentElement.scrollWidth") <= width
            ), "the page is wider than its window"
            assert (clipped := page.evaluate(CLIPPED)) == [], (width, clipped)
            assert (pale := page.evaluate(PALE)) == [], (width, scheme, pale)
            # The minimum size of a target (WCAG 2.2, 2.5.8).
            for control in page.locator("#live :is(a, button, input, select, summary)").all():
                assert control.bounding_box()["height"] >= 24, control.inner_text()
            assert wrong == [], wrong
            page.context.close()


def check_strip(browser):
    context = browser.new_context(timezone_id="Europe/Madrid")
    page, wrong = watched(context, expected=["400 (Bad Request)"])
    page.goto(URL)
    state(page, "Live")
    rows = page.locator("#last-events tbody tr")
    expect(rows.first).to_contain_text("3 Nov 13:00:00")
    # Markup in a name is text.
    expect(rows.first).to_contain_text("</script><script>document.title=")
    assert page.title() == "Shop report, 1 Nov – 3 Nov 2025", page.title()
    add_view(1, 2)
    expect(rows.first).to_contain_text("view_item", timeout=10_000)
    expect(rows.first).to_contain_text("WEB", timeout=10_000)
    expect(page.locator("#now-rate")).not_to_have_text("–")
    page.wait_for_function("Number(document.getElementById('now-rate').textContent) > 0")
    expect(page.locator("#now-commit")).to_contain_text("s ago")
    assert int(page.locator("#now-open").inner_text()) > 0
    # Times are in the viewer's zone, and the page names the zone of the days.
    expect(page.locator("#zone-note")).to_have_text("Days and times are those of UTC.")
    zone = page.get_by_label("Time zone")
    assert (
        page.locator("#zones option").first.get_attribute("value") == "Europe/Madrid"
    ), "the device's zone comes first"
    zone.fill("Asia/Tokyo")
    zone.press("Enter")
    page.wait_for_url("**zone=Asia%2FTokyo")
    expect(rows.nth(1)).to_contain_text("3 Nov 22:00:00")
    expect(page.locator("#zone-note")).to_contain_text("Asia/Tokyo")
    page.get_by_role("link", name="Today").click()
    expect(page.get_by_label("Time zone")).to_have_value("Asia/Tokyo")
    zone.fill("Mars/Olympus")
    zone.press("Enter")
    expect(page.locator("main")).to_contain_text("unknown time zone Mars/Olympus")
    page.goto(URL)
    state(page, "Live")
    # A hidden tab does not poll.
    polls = []
    page.on("request", lambda request: polls.append(request.url))
    hide = """hidden => {
        Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));
    }"""
    page.evaluate(hide, True)
    page.wait_for_timeout(2_500)
    polls.clear()
    page.wait_for_timeout(3_000)
    assert polls == [], polls
    with page.expect_response("**/live.json"):
        page.evaluate(hide, False)
    page.get_by_role("button", name="Pause").click()
    state(page, "Paused")
    expect(page.get_by_role("button", name="Pause")).to_have_attribute("aria-pressed", "true")
    page.wait_for_timeout(500)
    polls.clear()
    page.wait_for_timeout(3_000)
    assert polls == [], polls
    assert wrong == [], wrong
    page.context.close()


def check_refresh(browser):
    """A refresh keeps the sort order, open details, scroll position and focus."""
    page, wrong = watched(browser.new_context(viewport={"width": 1024, "height": 700}))
    page.goto(f"{URL}/?from=2025-11-01&to=2030-01-01")
    state(page, "Live")
    views = page.locator("#products thead th").filter(has_text="Product").get_by_role("button")
    views.click()
    order = page.locator("#products th[aria-sort]").get_attribute("aria-sort")
    page.locator("#products details summary").click()
    cell = page.locator("#products tbody tr").nth(1).locator("[data-v]").nth(1)
    cell.evaluate("cell => { cell.tabIndex = 0; cell.focus(); }")
    page.evaluate("document.getElementById('products').scrollIntoView({ behavior: 'instant' })")
    look = """() => ({
        order: document.querySelector('#products th[aria-sort]').getAttribute('aria-sort'),
        sorted: document.querySelector('#products th[aria-sort]').cellIndex,
        open: document.querySelector('#products details').open,
        row: document.activeElement.closest('tr')?.cells[0].textContent,
        column: document.activeElement.cellIndex,
        top: Math.round(document.getElementById('products').getBoundingClientRect().top),
        charts: document.querySelectorAll('main .plot canvas').length,
    })"""
    before = page.evaluate(look)
    assert before["order"] == order and before["open"] and before["row"], before
    numbers = page.locator("main").inner_text()
    read = page.locator("#age").inner_text()
    for number in range(2, 6):
        add_view(number, 3)
    # Waits until the page is not fresh; a click by script does not focus the button.
    page.wait_for_timeout(5_500)
    page.evaluate("document.getElementById('refresh').click()")
    state(page, "Live, refreshed")
    assert page.locator("#age").inner_text() != read
    assert page.locator("main").inner_text() != numbers, "the numbers are new"
    after = page.evaluate(look)
    # New numbers may change the height of what is above by a few pixels.
    moved = abs(after.pop("top") - before.pop("top"))
    assert moved <= 8 and after == before, (moved, after, before)
    # Refreshes once a minute, but not while text is selected.
    page.evaluate("getSelection().removeAllRanges()")
    with page.expect_response("**/page?*", timeout=90_000):
        pass
    assert page.evaluate(look)["order"] == order
    assert wrong == [], wrong
    page.context.close()


def check_keyboard(browser):
    page, wrong = watched(browser.new_context())
    page.goto(URL)
    state(page, "Live")
    page.get_by_label("From").focus()
    page.keyboard.type("11022025")
    page.keyboard.press("Enter")
    page.wait_for_url("**from=2025-11-02&to=*")
    expect(page.locator("h1")).to_contain_text("2 Nov 2025 –")
    # Tab leads from the form to the ranges, the buttons and the events.
    page.get_by_role("button", name="Show").focus()
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.textContent.trim().slice(0, 20) || "
                "document.activeElement.id"
            )
        )
    for name in (
        "Today",
        "Yesterday",
        "7 days",
        "28 days",
        "90 days",
        "Refresh",
        "Pause",
        "Last events",
    ):
        assert name in reached, reached
    page.get_by_role("link", name="90 days").press("Enter")
    page.wait_for_url("**range=90-days*")
    expect(page.get_by_role("link", name="90 days")).to_have_attribute("aria-current", "page")
    spoken = page.locator("#live").aria_snapshot()
    for part in (
        'textbox "From"',
        'textbox "to"',
        'button "Show"',
        'navigation "Ranges"',
        "status: Live",
        'combobox "Time zone"',
        'complementary "Now"',
        'table "Last events"',
        'columnheader "Product"',
        "term: Lag",
    ):
        assert part in spoken, f"no {part} in\n{spoken}"
    # The strip changes often; only the state is announced.
    assert page.locator("#live [aria-live], #live [role=status]").count() == 1
    assert wrong == [], wrong
    page.context.close()


def check_outage(browser):
    page, wrong = watched(browser.new_context(), expected=["503 (Service Unavailable)"])
    page.goto(URL)
    state(page, "Live")
    days = page.locator("h1").inner_text()
    execute("ALTER DATABASE etl ALLOW_CONNECTIONS false", maintenance())
    execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'etl'",
        maintenance(),
    )
    state(page, "Stale")
    expect(page.locator("#stale")).to_contain_text("The page retries by itself")
    expect(page.locator("h1")).to_have_text(days)
    assert page.locator("main h2").count() > 3, "the numbers stay"
    # A new viewer sees the last numbers and their time.
    page.reload()
    expect(page.locator("#stale")).to_contain_text("These numbers are of")
    if SCREENSHOTS:
        page.screenshot(path=f"{SCREENSHOTS}/stale.png")
    execute("ALTER DATABASE etl ALLOW_CONNECTIONS true", maintenance())
    state(page, "Live")
    expect(page.locator("#stale")).to_have_count(0, timeout=10_000)
    assert wrong == [], wrong
    page.context.close()


def check_without_scripts(browser):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(URL)
    page.get_by_label("From").fill("2025-11-03")
    page.get_by_label("to", exact=True).fill("2025-11-03")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("h1")).to_have_text("3 Nov 2025")
    expect(page.get_by_role("button", name="Refresh")).to_be_hidden()
    page.context.close()


def main():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=sys.argv[1], args=SWITCHES)
        check_waiting(browser)
        check_looks(browser)
        check_strip(browser)
        check_refresh(browser)
        check_keyboard(browser)
        check_outage(browser)
        check_without_scripts(browser)
        browser.close()


main()
