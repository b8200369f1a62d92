// Keeps a served page up to date: replaces its numbers once a minute, and the live strip every two
// seconds. Pauses while the page is hidden.
(() => {
"use strict";

const STRIP_EVERY = 2_000;
const STRIP_TIMEOUT = 15_000;
const REFRESH_EVERY = 60_000;
// The interval of a page without numbers.
const WAIT_EVERY = 3_000;
const REFRESH_TIMEOUT = 3_600_000;

const live = document.getElementById("live");
const at = id => document.getElementById(id);
const hasNumbers = () => at("notice") === null;
let isPaused = false;
let isRefreshing = false;
let refreshAt = performance.now() + (hasNumbers() ? REFRESH_EVERY : WAIT_EVERY);
let sample = null;

// ---- Times, in the requested zone, else in the zone of the days.

const zones = Intl.supportedValuesOf("timeZone");
const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
at("zones").append(...[...new Set([own, "UTC", ...zones])].map(name => new Option(name, name)));

function formats(timeZone) {
    const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
    const make = options => new Intl.DateTimeFormat("en-GB", { ...options, timeZone });
    return { timeZone, day: make({ day: "numeric", month: "short" }), clock: make(clock) };
}

let format = formats("UTC");

function chooseZone(reporting) {
    for (const timeZone of [live.querySelector("input[name=zone]").defaultValue, reporting]) {
        try {
            format = formats(timeZone || reporting);
            return;
        } catch {
            // The server may know zones that the browser does not.
        }
    }
}

function time(moment) {
    const day = format.day.format(moment);
    const today = format.day.format(sample ? new Date(sample.at) : new Date());
    return day === today ? format.clock.format(moment) : `${day} ${format.clock.format(moment)}`;
}

function showTimes() {
    const read = live.dataset.readAt;
    at("age").textContent = read ? `Numbers of ${time(new Date(read))}` : "";
    if (sample) {
        showEvents();
    }
}

// ---- The strip.

function span(seconds) {
    const size = Math.abs(seconds);
    if (size < 1) return `${Math.round(seconds * 1000)} ms`;
    if (size < 120) return `${seconds.toFixed(1)} s`;
    if (size < 7_200) return `${(seconds / 60).toFixed(1)} min`;
    if (size < 172_800) return `${(seconds / 3_600).toFixed(1)} h`;
    return `${Math.round(seconds / 86_400).toLocaleString("en")} days`;
}

function put(id, text) {
    if (at(id).textContent !== text) {
        at(id).textContent = text;
    }
}

function showSample(next) {
    if (sample?.time_zone !== next.time_zone) {
        chooseZone(next.time_zone);
    }
    sample = next;
    const rate = next.events_per_second;
    put("now-rate", rate === null ? "–" : rate.toLocaleString("en", { maximumFractionDigits: rate < 10 ? 1 : 0 }));
    put("now-over", next.over_seconds === null ? "" : `, over ${next.over_seconds} s`);
    put("now-lag", next.lag_seconds === null ? "–" : span(next.lag_seconds));
    const ago = next.committed_at && Math.max(0, Math.round((new Date(next.at) - new Date(next.committed_at)) / 1000));
    put("now-commit", next.committed_at ? `${ago < 120 ? `${ago} s` : span(ago)} ago` : "none yet");
    put("now-open", next.open_hours.toLocaleString("en"));
    at("now").hidden = false;
    at("now").classList.remove("old");
    live.querySelector(".buttons").hidden = false;
    showTimes();
}

const COLUMNS = ["Time", "Event", "Platform", "Product", "List", "Items"];
let shownEvents = "";

function element(name, className, text) {
    const made = document.createElement(name);
    made.className = className;
    // Text from events must not change the direction of its row.
    const inner = document.createElement("bdi");
    inner.textContent = text;
    made.append(inner);
    return made;
}

function showEvents() {
    const wanted = format.timeZone + JSON.stringify(sample.events);
    if (wanted === shownEvents) {
        return;
    }
    shownEvents = wanted;
    const table = document.createElement("table");
    table.setAttribute("aria-label", "Last events");
    const head = table.createTHead().insertRow();
    for (const name of COLUMNS) {
        const cell = document.createElement("th");
        cell.scope = "col";
        cell.className = name === "Items" ? "n" : "t";
        cell.append(Object.assign(document.createElement("span"), { textContent: name }));
        head.append(cell);
    }
    const body = table.createTBody();
    for (const event of sample.events) {
        const when = element("th", "d", time(new Date(event.at)));
        when.scope = "row";
        body.insertRow().append(
            when,
            element("td", "t", event.name),
            element("td", "t", event.platform ?? "–"),
            element("td", "t", event.product ?? "–"),
            element("td", "t", event.list ?? "–"),
            element("td", "n", event.items.toLocaleString("en")),
        );
    }
    const none = Object.assign(document.createElement("p"), { className: "empty", textContent: "No events yet." });
    at("last-events").replaceChildren(sample.events.length > 0 ? table : none);
}

function sentence(text) {
    return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

// Screen readers announce each change.
function state(text, className) {
    put("state", text);
    at("state").className = className;
}

function showOutage(reason) {
    at("now").classList.add("old");
    state(hasNumbers() ? "Stale" : "Waiting", "off");
    const since = hasNumbers() ? `These numbers are of ${time(new Date(live.dataset.readAt))}. ` : "";
    showStale(`${since}${sentence(reason)} The page retries by itself.`);
}

function showStale(text) {
    const slot = at("stale-slot");
    if (slot.textContent === text) {
        return;
    }
    slot.replaceChildren();
    if (text) {
        slot.append(Object.assign(document.createElement("p"), { id: "stale", className: "empty", textContent: text }));
    }
}

async function readStrip() {
    let response;
    try {
        response = await fetch("/live.json", { signal: AbortSignal.timeout(STRIP_TIMEOUT) });
        const body = await response.json();
        if (!response.ok) {
            showOutage(body.error);
            return;
        }
        const wasOut = at("state").classList.contains("off");
        showSample(body);
        if (wasOut) {
            refreshAt = 0;
        }
        if (wasOut || !at("state").textContent) {
            state("Live", "on");
        }
    } catch {
        showOutage("the server of this page does not respond");
    }
}

// ---- The numbers.

function pathOf(target) {
    const steps = [];
    for (let one = target; one; one = one.parentElement) {
        if (one.id) {
            return { id: one.id, steps };
        }
        steps.unshift([...one.parentElement.children].indexOf(one));
    }
    return null;
}

function follow(path) {
    return path && path.steps.reduce((one, step) => one?.children[step], at(path.id));
}

// A row of a table by its name: the next numbers may be in another order.
function rowOf(target) {
    const row = target.closest("main tbody tr");
    const block = row?.closest("[id]");
    return row && block && { id: block.id, table: [...block.querySelectorAll("table")].indexOf(row.closest("table")),
        name: row.cells[0].textContent, column: target.closest("td, th")?.cellIndex };
}

function findCell(row) {
    const table = at(row.id)?.querySelectorAll("table")[row.table];
    const same = [...(table?.tBodies[0].rows ?? [])].find(other => other.cells[0].textContent === row.name);
    return same?.cells[row.column];
}

function remember() {
    const focused = document.activeElement?.closest("main, body > header") ? document.activeElement : null;
    const anchor = [...document.querySelectorAll("main [id]")].find(one => one.getBoundingClientRect().bottom > 0);
    return {
        sorted: [...document.querySelectorAll("main th[aria-sort]")].map(head => ({ path: pathOf(head), order: head.getAttribute("aria-sort") })),
        open: [...document.querySelectorAll("main details")].map(one => ({ path: pathOf(one), open: one.open })),
        boxes: [...document.querySelectorAll("main .scroll")].map(one => ({ path: pathOf(one), left: one.scrollLeft, top: one.scrollTop })),
        focus: focused && { row: rowOf(focused), path: pathOf(focused) },
        anchor: anchor && { id: anchor.id, top: anchor.getBoundingClientRect().top },
    };
}

function restore(before) {
    for (const { path, order } of before.sorted) {
        const head = follow(path);
        // The first click sorts in the column's default order, the second reverses it.
        for (let click = 0; click < 2 && head && head.getAttribute("aria-sort") !== order; click += 1) {
            head.querySelector("button")?.click();
        }
    }
    for (const { path, open } of before.open) {
        const details = follow(path);
        if (details) {
            details.open = open;
        }
    }
    for (const { path, left, top } of before.boxes) {
        follow(path)?.scrollTo({ left, top, behavior: "instant" });
    }
    if (before.focus) {
        const target = (before.focus.row && findCell(before.focus.row)) ?? follow(before.focus.path);
        target?.focus({ preventScroll: true });
    }
    const anchor = before.anchor && at(before.anchor.id);
    if (anchor) {
        scrollBy({ top: anchor.getBoundingClientRect().top - before.anchor.top, behavior: "instant" });
    }
}

function replace(page) {
    const before = remember();
    for (const part of ["body > header", "main", "#points"]) {
        document.querySelector(part).replaceWith(page.querySelector(part));
    }
    document.title = page.title;
    for (const name of ["from", "to"]) {
        const input = live.querySelector(`input[name=${name}]`);
        // Keeps input that is being typed.
        if (input.value === input.defaultValue && input !== document.activeElement) {
            input.defaultValue = page.querySelector(`#live input[name=${name}]`).defaultValue;
            input.value = input.defaultValue;
        }
    }
    at("zone-note").textContent = page.getElementById("zone-note").textContent;
    live.dataset.readAt = page.getElementById("live").dataset.readAt;
    document.dispatchEvent(new Event("replaced"));
    restore(before);
    showTimes();
}

async function refresh() {
    if (isRefreshing) {
        return;
    }
    isRefreshing = true;
    const began = performance.now();
    try {
        const response = await fetch(`/page${location.search}`, { signal: AbortSignal.timeout(REFRESH_TIMEOUT) });
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        const notice = page.getElementById("notice")?.textContent.trim();
        if (notice && hasNumbers()) {
            showStale(sentence(notice));
        } else {
            if (notice !== at("notice")?.textContent.trim() || !notice) {
                replace(page);
            }
            showStale(page.getElementById("stale")?.textContent ?? "");
        }
    } catch {
        showOutage("the server of this page does not respond");
    }
    isRefreshing = false;
    // Refreshes slow computations less often.
    const pause = hasNumbers() ? Math.max(REFRESH_EVERY, 4 * (performance.now() - began)) : WAIT_EVERY;
    refreshAt = performance.now() + pause;
}

at("refresh").addEventListener("click", async () => {
    const button = at("refresh");
    button.textContent = "Refreshing…";
    await refresh();
    button.textContent = "Refresh";
    if (!at("state").classList.contains("off")) {
        state(isPaused ? "Paused, refreshed once" : "Live, refreshed", isPaused ? "" : "on");
    }
});

at("pause").addEventListener("click", () => {
    isPaused = !isPaused;
    at("pause").setAttribute("aria-pressed", String(isPaused));
    state(isPaused ? "Paused" : "Live", isPaused ? "" : "on");
    if (!isPaused) {
        refreshAt = 0;
        tick();
    }
});

// On a phone the numbers come first.
live.querySelector("details").open = !matchMedia("(max-width: 44rem)").matches;

let ticking = null;

async function tick() {
    clearTimeout(ticking);
    if (!document.hidden && !isPaused) {
        await readStrip();
        // Refreshing would clear a selection.
        const isSelecting = !getSelection().isCollapsed;
        if (performance.now() >= refreshAt && !isSelecting && !at("state").classList.contains("off")) {
            refresh();
        }
    }
    clearTimeout(ticking);
    ticking = setTimeout(tick, STRIP_EVERY);
}

document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
        tick();
    }
});
tick();
})();
