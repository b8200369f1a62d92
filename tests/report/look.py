"""Looks at reports in a browser: look.py BROWSER REPORT.html…

Fails where a page is not as any report has to be (errors, requests, text that is cut, lines that aren't drawn, pale
text, tables that don't sort), and prints what each says as JSON, for the test to compare with what it put in.
"""

import json
import re
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

SWITCHES = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]
VIEWS = [(1280, "light"), (390, "dark")]

CLIPPED = """() => [...document.querySelectorAll('h1,h2,h3,p,li,th,td,dt,dd,b,code,button,summary,figcaption,figure,.readout,.scroll')]
    .filter(e => e.checkVisibility() && getComputedStyle(e).display !== 'inline')
    .filter(e => !(e.matches('.scroll') && getComputedStyle(e).overflowX === 'auto'))
    .filter(e => e.scrollWidth > e.clientWidth + 1 || (getComputedStyle(e).overflowY === 'hidden' && e.scrollHeight > e.clientHeight + 1))
    .map(e => `${e.tagName} ${e.className} ${e.scrollWidth}>${e.clientWidth}: ${e.textContent.slice(0, 80)}`)"""

# Contrast as WCAG 2 computes it, of each text with what is painted behind it.
PALE = """() => {
    const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
    const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
    const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b; };
    const behind = e => { const own = parse(getComputedStyle(e).backgroundColor);
        return own[3] === 1 ? own : over(own, e.parentElement ? behind(e.parentElement) : [255, 255, 255, 1]); };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const pale = [];
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const e = node.parentElement;
        if (!node.data.trim() || e.matches('script') || !e.checkVisibility() || e.id === 'said') continue;
        const below = behind(e);
        const [a, b] = [light(over(parse(getComputedStyle(e).color), below)), light(below)].sort((x, y) => y - x);
        if ((a + .05) / (b + .05) < 4.5) pale.push(`${e.tagName} ${((a + .05) / (b + .05)).toFixed(2)}: ${node.data.slice(0, 60)}`);
    }
    return pale;
}"""

# For each picture: its size, and how many of its pixels have the colour of its line (a single point has some thirty).
DRAWN = """() => {
    const accent = getComputedStyle(document.documentElement).getPropertyValue('--accent').trim();
    const [r, g, b] = [1, 3, 5].map(i => parseInt(accent.slice(i, i + 2), 16));
    return [...document.querySelectorAll('.plot canvas')].map(canvas => {
        // Of a copy: reading the page's own canvas would change how it is drawn.
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
        let line = 0;
        for (let i = 0; i < data.length; i += 4) {
            line += data[i + 3] > 200 && Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 24;
        }
        const box = canvas.getBoundingClientRect();
        return { width: box.width, height: box.height, line };
    });
}"""

SAID = """() => {
    const value = cell => cell.dataset.v ?? null;
    return {
        title: document.title,
        heading: document.querySelector('h1').textContent,
        tiles: Object.fromEntries([...document.querySelectorAll('.tiles > div')].map(tile =>
            [tile.querySelector('dt').textContent, tile.querySelector('[data-v]')?.dataset.v ?? null])),
        changes: Object.fromEntries([...document.querySelectorAll('.tiles > div')].flatMap(tile =>
            [...tile.querySelectorAll('.change')].map(change => [tile.querySelector('dt').textContent, change.textContent]))),
        steps: [...document.querySelectorAll('.steps > li')].map(step =>
            [step.querySelector('.name b').textContent, ...[...step.querySelectorAll('[data-v]')].map(value)]),
        tables: Object.fromEntries([...document.querySelectorAll('.block[id]')].map(block =>
            [block.id, [...block.querySelectorAll('tbody tr')].map(row => [...row.cells].map(value))])),
        shown: Object.fromEntries([...document.querySelectorAll('.block[id]')].map(block =>
            [block.id, [...block.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.innerText))])),
        empty: [...document.querySelectorAll('.empty')].map(text => text.textContent),
        figures: [...document.querySelectorAll('.plot')].map(plot => plot.getAttribute('aria-label')),
    };
}"""


def is_sorted(values, down):
    """Whether values are in order, with those that are none at the end."""
    there = [float(value) for value in values if value is not None]
    return there == sorted(there, reverse=down) and None not in values[: len(there)]


def check_sorting(page):
    head = page.locator("#products thead th").filter(has_text="Viewers")
    column = head.evaluate("cell => cell.cellIndex")
    values = lambda: page.evaluate(
        "at => [...document.querySelectorAll('#products tbody tr')].map(row => row.cells[at].dataset.v ?? null)", column)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending" and is_sorted(values(), True), values()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending" and is_sorted(values(), False), values()
    assert page.locator("#products th[aria-sort]").count() == 1
    revenue = page.locator("#products thead th").filter(has_text="Revenue")
    column = revenue.evaluate("cell => cell.cellIndex")
    for down in (True, False):
        revenue.get_by_role("button").click()
        assert is_sorted(values(), down), values()


def check_copying(page):
    copied = lambda: page.evaluate("navigator.clipboard.readText()")
    # Not by a condition in JavaScript: the page's policy forbids what would evaluate it again and again.
    shown = lambda text: page.locator("#said.shown").filter(has_text=text).wait_for()
    copying = lambda value: shown(re.compile(f"^Copied {re.escape(value)}$"))
    cell = page.locator("#products tbody td.n[data-v]").first
    cell.click()
    copying(cell.get_attribute("data-v"))
    assert copied() == cell.get_attribute("data-v"), copied()
    # With the keyboard alone: the arrows lead from number to number.
    cell = page.locator("#days tbody [data-v]").first
    cell.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    wanted = page.evaluate("document.activeElement.dataset.v")
    copying(wanted)
    assert copied() == wanted, (copied(), wanted)
    page.locator("#products").get_by_role("button", name="Copy table").click()
    shown("rows")
    rows = copied().rstrip("\n").split("\n")
    assert len({row.count("\t") for row in rows}) == 1 and len(rows) == 1 + page.locator("#products tbody tr").count(), rows


def settle(page):
    """Waits two frames: what has changed is laid out, and its lines are drawn."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50))))")


def check_colours(page, said):
    assert (pale := page.evaluate(PALE)) == [], pale
    drawn = page.evaluate(DRAWN)
    for picture in drawn:
        assert picture["width"] > 200 and picture["height"] > 100 and picture["line"] > 20, drawn
    assert len(drawn) == len(said["figures"]), (drawn, said["figures"])


def look(browser, report, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    wrong, requests = [], []
    page.on("console", lambda message: wrong.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report)
    said = page.evaluate(SAID)
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than its window"
    assert (clipped := page.evaluate(CLIPPED)) == [], clipped
    check_colours(page, said)
    # A phone turns dark at night: text and lines take the other colours.
    page.emulate_media(color_scheme="light" if scheme == "dark" else "dark")
    settle(page)
    check_colours(page, said)
    if said["tables"].get("products"):
        check_sorting(page)
        check_copying(page)
    assert wrong == [] and requests == [report], (wrong, requests)
    context.close()
    return said


def main():
    reports = [Path(name).resolve().as_uri() for name in sys.argv[2:]]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=sys.argv[1], args=SWITCHES)
        said = []
        for report in reports:
            views = [look(browser, report, *view) for view in VIEWS]
            assert all(view == views[0] for view in views)
            said.append(views[0])
        # Where scripts don't run, as in the preview of a mail, every number is there.
        plain = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 900}).new_page()
        plain.goto(reports[0])
        text = plain.locator("main").inner_text()
        assert all(heading in text for heading in ("Funnel", "Data quality", "People"))
        browser.close()
    print(json.dumps(said))


main()
