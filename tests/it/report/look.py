"""Checks reports in a browser: look.py BROWSER REPORT.html…

Fails on errors, requests, text that is cut off or pale, lines that are not drawn, and tables that
do not sort. Prints the contents of each report as JSON, for the test to compare.
"""

import json
import re
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWS = [(1440, "light"), (768, "light"), (390, "dark")]

CLIPPED = """() => [...document.querySelectorAll('h1,h2,h3,p,li,th,td,dt,dd,b,code,button,' +
        'summary,figcaption,figure,.readout,.scroll')]
    .filter(e => e.checkVisibility() && getComputedStyle(e).display !== 'inline')
    .filter(e => !(e.matches('.scroll') && getComputedStyle(e).overflowX === 'auto'))
    .filter(e => e.scrollWidth > e.clientWidth + 1 ||
        (getComputedStyle(e).overflowY === 'hidden' && e.scrollHeight > e.clientHeight + 1))
    .map(e => `${e.tagName} ${e.className} ${e.scrollWidth}>${e.clientWidth}: ` +
        e.textContent.slice(0, 80))"""

# Texts with too little contrast (WCAG 2) to their background.
PALE = """() => {
    const parse = text => {
        const n = text.match(/[\\d.]+/g).map(Number);
        return [n[0], n[1], n[2], n[3] ?? 1];
    };
    const over = (top, below) =>
        [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
    const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    const light = c => {
        const [r, g, b] = c.slice(0, 3).map(v => linear(v / 255));
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const behind = e => { const own = parse(getComputedStyle(e).backgroundColor);
        if (own[3] === 1) return own;
        return over(own, e.parentElement ? behind(e.parentElement) : [255, 255, 255, 1]); };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const pale = [];
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const e = node.parentElement;
        if (!node.data.trim() || e.matches('script') || e.id === 'said') continue;
        if (!e.checkVisibility()) continue;
        const below = behind(e);
        const text = over(parse(getComputedStyle(e).color), below);
        const [a, b] = [light(text), light(below)].sort((x, y) => y - x);
        const contrast = (a + .05) / (b + .05);
        if (contrast >= 4.5) continue;
        pale.push(`${e.tagName} ${contrast.toFixed(2)}: ${node.data.slice(0, 60)}`);
    }
    return pale;
}"""

# The size of each chart, and the number of pixels in the colour of its line (a point has about 30).
DRAWN = """() => {
    const accent = getComputedStyle(document.documentElement).getPropertyValue('--accent').trim();
    const [r, g, b] = [1, 3, 5].map(i => parseInt(accent.slice(i, i + 2), 16));
    return [...document.querySelectorAll('.plot canvas')].map(canvas => {
        // Reads a copy: reading the page's canvas would change how it is drawn.
        const copy = new OffscreenCanvas(canvas.width, canvas.height)
            .getContext('2d', { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
        let line = 0;
        for (let i = 0; i < data.length; i += 4) {
            const off = [r, g, b].map((value, at) => Math.abs(data[i + at] - value));
            line += data[i + 3] > 200 && off[0] + off[1] + off[2] < 24;
        }
        const box = canvas.getBoundingClientRect();
        return { width: box.width, height: box.height, line };
    });
}"""

# Names, rates and revenue outside the window, and broken sparklines.
HIDDEN = """() => ['lists', 'products', 'platforms', 'categories', 'money'].flatMap(id =>
    [...document.querySelectorAll(`#${id} thead th`)]
        .filter((head, at) => at === 0 || /^Revenue(?! change)|[Rr]ate$/.test(head.textContent) ||
            /^(Viewers who clicked|Conversion|View to purchase)$/.test(head.textContent))
        .flatMap(head => [...head.closest('table').rows].map(row => row.cells[head.cellIndex]))
        .filter(cell => cell.getBoundingClientRect().right > innerWidth ||
            cell.getBoundingClientRect().width < 30)
        .map(cell => `${id}: ${cell.textContent}`))"""
SPARKS = """() => [...document.querySelectorAll('.tiles svg')].flatMap(svg => {
    const box = svg.getBoundingClientRect();
    const paths = [...svg.querySelectorAll('path')];
    const wrong = paths.filter(path => /NaN|undefined/.test(path.getAttribute('d')) ||
        getComputedStyle(path).stroke === 'none');
    const isLabelled = svg.getAttribute('aria-label').length > 20;
    const isDrawn = box.width > 60 && box.height > 20 && paths.length > 0 && wrong.length === 0;
    return isLabelled && isDrawn ? [] : [svg.outerHTML];
})"""

CONTENTS = """() => {
    const value = cell => cell.dataset.v ?? null;
    const all = (selector, of = document) => [...of.querySelectorAll(selector)];
    const tiles = all('.tiles > div');
    const name = tile => tile.querySelector('dt').textContent;
    const rows = (block, cell) =>
        all('tbody tr', block).map(row => [...row.cells].map(cell));
    const blocks = of => Object.fromEntries(all('.block[id]').map(block => [block.id, of(block)]));
    return {
        title: document.title,
        heading: document.querySelector('h1').textContent,
        headline: document.querySelector('.headline').textContent,
        text: document.body.textContent,
        dashed: all('.tiles .dashed').length,
        figure: Object.fromEntries(tiles.map(tile =>
            [name(tile), tile.querySelector('.figure').textContent])),
        tiles: Object.fromEntries(tiles.map(tile =>
            [name(tile), tile.querySelector('[data-v]')?.dataset.v ?? null])),
        changes: Object.fromEntries(tiles.flatMap(tile =>
            all('.change', tile).map(change => [name(tile), change.textContent]))),
        steps: all('.steps > li').map(step =>
            [step.querySelector('.name b').textContent, ...all('[data-v]', step).map(value)]),
        tables: blocks(block => rows(block, value)),
        heads: blocks(block => all('thead th', block).map(cell => cell.textContent)),
        shown: blocks(block => rows(block, cell => cell.innerText)),
        empty: all('.empty').map(text => text.textContent),
        figures: all('.plot').map(plot => plot.getAttribute('aria-label')),
    };
}"""


def is_sorted(values, down):
    """Returns true if the values are sorted, with None at the end."""
    there = [float(value) for value in values if value is not None]
    return there == sorted(there, reverse=down) and None not in values[: len(there)]


def check_sorting(page):
    head = page.locator("#products thead th").filter(has_text="Viewers")
    column = head.evaluate("cell => cell.cellIndex")
    values = lambda: page.evaluate(
        "at => [...document.querySelectorAll('#products tbody tr')]"
        ".map(row => row.cells[at].dataset.v ?? null)",
        column,
    )
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
    # The page's policy forbids evaluating a condition in JavaScript repeatedly.
    shown = lambda text: page.locator("#said.shown").filter(has_text=text).wait_for()
    copying = lambda value: shown(re.compile(f"^Copied {re.escape(value)}$"))
    cell = page.locator("#products tbody td.n[data-v]").first
    cell.click()
    copying(cell.get_attribute("data-v"))
    assert copied() == cell.get_attribute("data-v"), copied()
    # The arrow keys lead from number to number.
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
    assert (
        len({row.count("\t") for row in rows}) == 1
        and len(rows) == 1 + page.locator("#products tbody tr").count()
    ), rows
    # No name is a formula in a spreadsheet, or spreads over cells.
    formulas = ["=1", "\t=1", "\r\n-1", '"=1"', " '+1", "\uff1d1", "\u200b\uff20x", '"a', "\v=1"]
    names = page.evaluate("names => names.map(asName)", [*formulas, "Sartén, 24 cm", "a=b\tc"])
    assert all(name.startswith("'") for name in names[:-2]), names
    assert names[-2:] == ["Sartén, 24 cm", "a=b c"], names
    assert not re.search(r"[\t\r\n\v]", "".join(names)), names


def settle(page):
    """Waits two frames for layout and drawing."""
    page.evaluate(
        "new Promise(done => requestAnimationFrame(() => "
        "requestAnimationFrame(() => setTimeout(done, 50))))"
    )


def check_colours(page, contents):
    assert (pale := page.evaluate(PALE)) == [], pale
    drawn = page.evaluate(DRAWN)
    for picture in drawn:
        assert picture["width"] > 200 and picture["height"] > 100 and picture["line"] > 20, drawn
    assert len(drawn) == len(contents["figures"]), (drawn, contents["figures"])


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
    contents = page.evaluate(CONTENTS)
    page.evaluate(
        "document.querySelectorAll('details').forEach(details => { details.open = true; })"
    )
    settle(page)
    assert (
        page.evaluate("document.documentElement.scrollWidth") <= width
    ), "the page is wider than its window"
    assert (clipped := page.evaluate(CLIPPED)) == [], clipped
    assert (hidden := page.evaluate(HIDDEN)) == [], hidden
    assert (sparks := page.evaluate(SPARKS)) == [], sparks
    # Natural keys are not shown as names, nor "no currency" as a currency sign.
    assert (
        "\x1f" not in contents["text"]
        and "\ufffd" not in contents["text"]
        and not re.search(r"no currency[ \xa0]\d", contents["text"])
    )
    check_colours(page, contents)
    # Switches to the other colour scheme.
    page.emulate_media(color_scheme="light" if scheme == "dark" else "dark")
    settle(page)
    check_colours(page, contents)
    if contents["tables"].get("products"):
        check_sorting(page)
        check_copying(page)
    assert wrong == [] and requests == [report], (wrong, requests)
    context.close()
    return contents


def main():
    reports = [Path(name).resolve().as_uri() for name in sys.argv[2:]]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=sys.argv[1], args=SWITCHES)
        contents = []
        for report in reports:
            views = [look(browser, report, *view) for view in VIEWS]
            assert all(view == views[0] for view in views)
            contents.append(views[0])
        # Every number is shown without scripts, as in the preview of a mail.
        plain = browser.new_context(
            java_script_enabled=False, viewport={"width": 390, "height": 900}
        ).new_page()
        plain.goto(reports[0])
        text = plain.locator("main").inner_text()
        assert all(heading in text for heading in ("Funnel", "Data quality", "People"))
        browser.close()
    print(json.dumps(contents))


if __name__ == "__main__":
    main()
