// Sorts the tables, copies the numbers and draws the lines. The page is complete without it.
"use strict";

const root = document.documentElement;
const said = document.getElementById("said");
let silence;

function say(text) {
    said.textContent = text;
    said.classList.add("shown");
    clearTimeout(silence);
    silence = setTimeout(() => said.classList.remove("shown"), 1800);
}

async function copy(text, name) {
    try {
        await navigator.clipboard.writeText(text);
    } catch {
        // Without the right to the clipboard, copies a selection.
        const area = document.createElement("textarea");
        area.value = text;
        area.style.position = "fixed";
        area.style.opacity = "0";
        document.body.append(area);
        area.select();
        const done = document.execCommand("copy");
        area.remove();
        if (!done) {
            say("This browser does not let the page copy");
            return;
        }
    }
    say(`Copied ${name}`);
}

// ---- Numbers that copy: by click, and in tables by the arrow keys and Enter.

function copyCell(cell) {
    const shown = cell.dataset.v.length > 40 ? cell.dataset.v.slice(0, 39) + "…" : cell.dataset.v;
    copy(cell.dataset.v, shown);
}

document.addEventListener("click", event => {
    const cell = event.target.closest("[data-v]");
    // A selection is not a click.
    if (cell && String(getSelection()) === "") {
        copyCell(cell);
    }
});

function neighbour(cell, key) {
    const row = cell.parentElement;
    if (key === "ArrowLeft" || key === "ArrowRight") {
        let next = cell;
        do {
            next = key === "ArrowLeft" ? next.previousElementSibling : next.nextElementSibling;
        } while (next && !next.dataset.v);
        return next;
    }
    const other = key === "ArrowUp" ? row.previousElementSibling : row.nextElementSibling;
    return other?.cells[cell.cellIndex] ?? null;
}

function reachable(table) {
    const cells = table.querySelectorAll("tbody [data-v]");
    cells.forEach((cell, index) => { cell.tabIndex = index === 0 ? 0 : -1; });
}

document.addEventListener("keydown", event => {
    const cell = event.target.closest?.("td[data-v], th[data-v]");
    if (!cell) {
        return;
    }
    if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        copyCell(cell);
    } else if (event.key.startsWith("Arrow")) {
        const next = neighbour(cell, event.key);
        event.preventDefault();
        if (next?.dataset.v) {
            cell.tabIndex = -1;
            next.tabIndex = 0;
            next.focus();
        }
    }
});

// ---- Tables that sort.

const names = new Intl.Collator("en", { numeric: true });

function compare(a, b, column, down) {
    const [x, y] = [a.cells[column], b.cells[column]];
    const [m, n] = [x.dataset.s ?? x.dataset.v, y.dataset.s ?? y.dataset.v];
    // Cells without a value come last in either order.
    if (m === undefined || n === undefined) {
        return (m === undefined) - (n === undefined);
    }
    const numbers = x.classList.contains("n");
    const order = numbers ? Number(m) - Number(n) : names.compare(m, n);
    return down ? -order : order;
}

function sort(table, column) {
    const head = table.tHead.rows[0].cells;
    const before = head[column].getAttribute("aria-sort");
    const isNumber = head[column].classList.contains("n");
    // The first click sorts numbers descending and names ascending.
    const down = before ? before === "ascending" : isNumber;
    for (const cell of head) {
        cell.removeAttribute("aria-sort");
    }
    head[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort((a, b) => compare(a, b, column, down)));
    reachable(table);
}

// A spreadsheet evaluates a name that begins like a formula, in some versions also with full-width
// signs, and strips quotes and spaces before it. A first double quote would join several cells.
function asName(text) {
    const start = text.normalize("NFKC").replace(/^[\s\p{C}"'`]+/u, "");
    const line = text.replace(/[\t\r\n\v\f\u0085\u2028\u2029]+/g, " ");
    return /^[=+\-@]/.test(start) || /^\s*"/.test(text) ? "'" + line : line;
}

function asText(table) {
    const text = cell => {
        const value = cell.dataset.v ?? "";
        return cell.classList.contains("n") ? value : asName(value);
    };
    const head = [...table.tHead.rows[0].cells].map(cell => cell.innerText.trim());
    return [head, ...[...table.tBodies[0].rows].map(row => [...row.cells].map(text))]
        .map(row => row.join("\t")).join("\n") + "\n";
}

function prepareTables() {
    for (const table of document.querySelectorAll("main table")) {
        for (const cell of table.tHead.rows[0].cells) {
            const button = document.createElement("button");
            button.type = "button";
            button.append(...cell.firstElementChild.childNodes);
            cell.firstElementChild.replaceWith(button);
            button.addEventListener("click", () => sort(table, cell.cellIndex));
        }
        const button = document.createElement("button");
        button.type = "button";
        button.className = "plain";
        button.textContent = "Copy table";
        button.addEventListener("click", () => copy(asText(table), `${table.tBodies[0].rows.length} rows, to paste into a spreadsheet`));
        table.closest(".block").querySelector(".under").prepend(button);
        reachable(table);
    }
}

// ---- Lines.

const colour = name => getComputedStyle(root).getPropertyValue(name).trim();
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const month = new Intl.DateTimeFormat("en-GB", { month: "short", year: "2-digit", timeZone: "UTC" });
const DAY = 86400;

function draw(figure, points) {
    const box = figure.querySelector(".plot");
    const readout = figure.querySelector(".readout");
    const rest = readout.textContent;
    const font = `13px ${getComputedStyle(document.body).fontFamily}`;
    const size = () => ({ width: box.clientWidth, height: box.clientHeight });
    const axis = {
        font,
        stroke: () => colour("--soft"),
        ticks: { show: false },
        grid: { stroke: () => colour("--rule"), width: 1 },
    };
    const span = (points.x.at(-1) - points.x[0]) / DAY;
    const few = points.x.length < 2;
    const line = { spanGaps: true, width: 2, stroke: () => colour("--accent") };
    const alone = points.y.filter(value => value !== null).length < 2;
    const dots = { show: points.x.length <= 62, size: alone ? 9 : 5, fill: () => colour("--accent") };
    // The dashed line starts where the other one ends.
    const over = points.y.map((value, at) => at < points.finished ? value : null);
    const unfinished = points.y.map((value, at) => at >= points.finished - 1 && points.finished < points.y.length ? value : null);
    const plot = new uPlot({
        ...size(),
        padding: [8, 28, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 9 } },
        tzDate: seconds => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        scales: {
            x: { time: points.days, range: (_, min, max) => few ? [min - (points.days ? DAY : 1), max + (points.days ? DAY : 1)] : [min, max] },
            y: { range: (_, min, max) => [0, (max || 1) * 1.06] },
        },
        series: [
            {},
            { ...line, width: 1.5, stroke: () => colour("--before"), points: { show: few } },
            // A day without a value does not break the line.
            { ...line, fill: () => colour("--fill"), points: dots },
            { ...line, dash: [5, 4], points: dots },
        ],
        axes: [
            {
                ...axis,
                grid: { show: false },
                size: 32,
                space: 64,
                incrs: points.days ? [1, 2, 7, 14, 28, 91, 182, 365].map(days => days * DAY) : [1, 2, 5, 10, 20, 50, 100],
                values: (_, places) => places.map(place => !points.days ? place : (span > 400 ? month : day).format(place * 1000)),
            },
            {
                ...axis,
                size: 52,
                gap: 6,
                space: 36,
                incrs: points.rate ? undefined : [1, 2, 5].flatMap(step => [...Array(13).keys()].map(zeros => step * 10 ** zeros)).sort((a, b) => a - b),
                values: (_, places) => places.map(place => points.rate ? percent.format(place) : compact.format(place)),
            },
        ],
        hooks: {
            setCursor: [u => { readout.textContent = u.cursor.idx == null ? rest : points.words[u.cursor.idx]; }],
        },
    }, [points.x, points.before, over, unfinished], box);
    // A box within closed details has no size yet.
    new ResizeObserver(() => {
        if (box.clientWidth > 0) {
            plot.setSize(size());
        }
    }).observe(box);
    return plot;
}

let plots = [];

function drawAll() {
    plots.forEach(plot => plot.destroy());
    plots = JSON.parse(document.getElementById("points").textContent)
        .map(points => draw(document.getElementById(`chart-${points.id}`), points));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach(plot => plot.redraw()));

// ---- A served page replaces its numbers while it is open.

for (const prepare of [prepareTables, drawAll]) {
    prepare();
    document.addEventListener("replaced", prepare);
}
