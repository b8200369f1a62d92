// What the page can do beyond being read: sort its tables, copy its numbers, draw its lines. Everything that is said
// stands in the page without this.
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
        // No clipboard where a page has no rights to it: the old way needs a selection.
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
    // Whoever selects some of the text wants that.
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
    // What has no value comes last whichever way.
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
    // Of numbers the largest are wanted first, of names the first.
    const down = before ? before === "ascending" : isNumber;
    for (const cell of head) {
        cell.removeAttribute("aria-sort");
    }
    head[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort((a, b) => compare(a, b, column, down)));
    reachable(table);
}

function asText(table) {
    const text = cell => {
        const value = cell.dataset.v ?? "";
        // A spreadsheet would run a name that begins like a formula.
        return (cell.classList.contains("n") || !/^[=+\-@\t]/.test(value) ? value : "'" + value).replace(/[\t\r\n]+/g, " ");
    };
    const head = [...table.tHead.rows[0].cells].map(cell => cell.innerText.trim());
    return [head, ...[...table.tBodies[0].rows].map(row => [...row.cells].map(text))]
        .map(row => row.join("\t")).join("\n") + "\n";
}

for (const table of document.querySelectorAll("table")) {
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
    const plot = new uPlot({
        ...size(),
        padding: [8, 18, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 9 } },
        tzDate: seconds => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        scales: {
            x: { time: points.days, range: (_, min, max) => few ? [min - (points.days ? DAY : 1), max + (points.days ? DAY : 1)] : [min, max] },
            y: { range: (_, min, max) => [0, (max || 1) * 1.06] },
        },
        series: [{}, {
            stroke: () => colour("--accent"),
            fill: () => colour("--fill"),
            width: 2,
            // A day without a value, such as a rate of nothing, doesn't break the line.
            spanGaps: true,
            points: { show: points.x.length <= 62, size: few ? 9 : 5, fill: () => colour("--accent") },
        }],
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
    }, [points.x, points.y], box);
    // A box that lies in closed details has no size yet.
    new ResizeObserver(() => {
        if (box.clientWidth > 0) {
            plot.setSize(size());
        }
    }).observe(box);
    return plot;
}

const plots = JSON.parse(document.getElementById("points").textContent)
    .map(points => draw(document.getElementById(`chart-${points.id}`), points));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach(plot => plot.redraw()));
