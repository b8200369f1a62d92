//! Tiles, tables, bars and figures as HTML. All that others sent goes through [`escape::html`] here.

use crate::escape;
use crate::report::charts::Chart;
use crate::report::format;
use crate::report::summary::Tile;
use crate::report::table::{Cell, Kind, Shade, Table};

/// Rows from which a table scrolls in a box of its own.
const LONG: usize = 40;

/// Where a table's heading and lead stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Heading {
    /// The section's heading is the table's.
    Above,
    /// It has its own.
    Own,
    /// It needs none.
    None,
}

/// A sentence or two below a heading. What stands between backticks is code.
pub fn lead(text: &str) -> String {
    format!("<p class=\"lead\">{}</p>\n", with_code(text))
}

/// Says that there is nothing, instead of showing nothing.
pub fn empty(text: &str) -> String {
    format!("<p class=\"empty\">{}</p>\n", with_code(text))
}

/// What most readers don't need, a click away.
pub fn more(title: &str, body: &str) -> String {
    format!("<details class=\"more\"><summary>{title}</summary>\n{body}</details>\n")
}

/// Numbers with their names and definitions.
pub fn tiles(tiles: &[Tile]) -> String {
    // Rows of four, unless rows of three leave fewer gaps.
    let three = if matches!(tiles.len(), 5 | 6 | 9) {
        " three"
    } else {
        ""
    };
    let tiles: String = tiles
        .iter()
        .map(|tile| {
            let shown = escape::html(&large(&tile.value));
            let figure = match format::raw(&tile.value) {
                Some(raw) => format!(
                    "<button type=\"button\" class=\"n\" data-v=\"{}\">{shown}</button>",
                    escape::html(&raw)
                ),
                None => shown,
            };
            let change = match &tile.change {
                Some(change) => format!("<dd class=\"change\">{change}</dd>"),
                None => String::new(),
            };
            format!(
                "<div><dt>{}</dt><dd class=\"figure\">{figure}</dd>{change}<dd class=\"note\">{}</dd></div>\n",
                escape::html(&tile.name),
                escape::html(&tile.note)
            )
        })
        .collect();
    format!("<dl class=\"tiles{three}\">\n{tiles}</dl>\n")
}

/// From ten thousand on, nobody reads the cents of a large figure; they are copied with it.
fn large(cell: &Cell) -> String {
    let shown = format::shown(cell);
    match (cell, cell.number(), shown.rsplit_once('.')) {
        (Cell::Money { amount, currency }, Some(number), Some(_)) if number.abs() >= 10_000.0 => {
            let whole = Cell::Money {
                amount: format!("{:.0}", amount.parse().unwrap_or(number)),
                currency: currency.clone(),
            };
            let shown = format::shown(&whole);
            shown.strip_suffix(".00").unwrap_or(&shown).to_owned()
        }
        _ => shown,
    }
}

/// The funnel: for each step a bar as long as its people are many.
pub fn steps(table: &Table, _: Heading) -> String {
    if table.rows.is_empty() {
        return empty(&table.empty);
    }
    let most = table.column(2).filter_map(Cell::number).fold(0.0, f64::max);
    let steps: String = table
        .rows
        .iter()
        .filter_map(|row| step(row, most))
        .collect();
    format!("{}<ol class=\"steps\">\n{steps}</ol>\n", lead(&table.lead))
}

fn step(row: &[Cell], most: f64) -> Option<String> {
    let [name, event, people, of_before, of_first, events] = row else {
        return None;
    };
    let part = match people.number() {
        Some(people) if most > 0.0 => people / most,
        _ => 0.0,
    };
    let rates = match (of_before, of_first) {
        (Cell::Nothing, _) => String::new(),
        (before, Cell::Nothing) => format!("<b>{}</b> of the step before<br>", number(before)),
        (before, first) => format!(
            "<b>{}</b> of the step before<br>{} of the first<br>",
            number(before),
            number(first)
        ),
    };
    Some(format!(
        "<li><div class=\"name\"><b>{}</b><code>{}</code></div>\
         <div class=\"length\"><i style=\"--p:{part:.4}\"></i><span>{}</span></div>\
         <div class=\"rates\">{rates}{} events</div></li>\n",
        escape::html(&format::shown(name)),
        escape::html(&format::shown(event)),
        number(people),
        number(events),
    ))
}

/// A number that copies, within a text.
fn number(cell: &Cell) -> String {
    let shown = escape::html(&format::shown(cell));
    match format::raw(cell) {
        Some(raw) => format!(
            "<button type=\"button\" class=\"n\" data-v=\"{}\">{shown}</button>",
            escape::html(&raw)
        ),
        None => shown,
    }
}

/// A line over days or positions, with what it shows in words.
pub fn figure(chart: &Chart) -> String {
    let title = escape::html(&chart.title);
    if chart.is_empty() {
        return format!(
            "<figure><figcaption><b>{title}</b></figcaption>{}</figure>\n",
            empty("Nothing in these days.")
        );
    }
    let peak = chart
        .peak()
        .map(|peak| format!("highest {peak}"))
        .unwrap_or_default();
    let peak = escape::html(&peak);
    format!(
        "<figure id=\"chart-{}\"><figcaption><b>{title}</b> <span class=\"readout\">{peak}</span></figcaption>\
         <div class=\"plot\" role=\"img\" aria-label=\"Line chart. {title}: {peak}.\"><noscript>The line needs scripts; its numbers stand below.</noscript></div></figure>\n",
        chart.id
    )
}

/// A table with its heading, its definitions and what it says when it is empty.
pub fn table(table: &Table, heading: Heading) -> String {
    let mut html = format!("<div class=\"block\" id=\"{}\">\n", table.id);
    match heading {
        Heading::Above => html.push_str(&lead(&table.lead)),
        Heading::Own => html.push_str(&format!("<h3>{}</h3>\n{}", table.title, lead(&table.lead))),
        Heading::None => {}
    }
    if table.rows.is_empty() {
        return html + &empty(&table.empty) + "</div>\n";
    }
    let long = if table.rows.len() > LONG { " long" } else { "" };
    let heat = if table.shade == Shade::Heat {
        " class=\"heat\""
    } else {
        ""
    };
    html.push_str(&format!(
        "<div class=\"scroll{long}\" role=\"region\" aria-label=\"{0}\" tabindex=\"0\">\n<table{heat} aria-label=\"{0}\">\n<thead><tr>",
        table.title
    ));
    for (index, column) in table.columns.iter().enumerate() {
        let sorted = match table.sorted {
            Some((by, true)) if by == index => " aria-sort=\"descending\"",
            Some((by, false)) if by == index => " aria-sort=\"ascending\"",
            _ => "",
        };
        html.push_str(&format!(
            "<th scope=\"col\"{}{sorted}><span>{}</span></th>",
            class(column.kind),
            escape::html(&column.title)
        ));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    let shades = Shades::of(table);
    for row in &table.rows {
        html.push_str("<tr>");
        for (index, (cell, column)) in row.iter().zip(&table.columns).enumerate() {
            html.push_str(&self::cell(cell, column.kind, index, &shades));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n<div class=\"under\">");
    if let Some(all) = table.of_all.filter(|all| *all > table.rows.len() as i64) {
        html.push_str(&format!(
            "<span>The first {} of {}.</span>",
            table.rows.len(),
            format::shown(&Cell::Count(all))
        ));
    }
    html + &definitions(table) + "</div>\n</div>\n"
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => " class=\"t\"",
        Kind::Day => " class=\"d\"",
        _ => " class=\"n\"",
    }
}

fn definitions(table: &Table) -> String {
    let means: String = table
        .columns
        .iter()
        .filter(|column| !column.means.is_empty())
        .map(|column| {
            format!(
                "<dt>{}</dt><dd>{}</dd>\n",
                escape::html(&column.title),
                escape::html(column.means)
            )
        })
        .collect();
    if means.is_empty() {
        return means;
    }
    format!("<details><summary>What the columns mean</summary><dl>\n{means}</dl></details>")
}

/// How strongly each number is shaded: as a part of the largest.
struct Shades {
    shade: Shade,
    largest: f64,
}

impl Shades {
    fn of(table: &Table) -> Self {
        let largest = |cells: &mut dyn Iterator<Item = &Cell>| {
            cells.filter_map(Cell::number).fold(0.0, f64::max)
        };
        let largest = match table.shade {
            Shade::Plain => 0.0,
            Shade::Bar(column) => largest(&mut table.column(column)),
            Shade::Heat => largest(&mut table.rows.iter().flatten()),
        };
        Self {
            shade: table.shade,
            largest,
        }
    }

    fn part(&self, index: usize, cell: &Cell) -> Option<f64> {
        let is_shaded = match self.shade {
            Shade::Plain => false,
            Shade::Bar(column) => column == index,
            Shade::Heat => true,
        };
        let number = cell.number().filter(|_| is_shaded && self.largest > 0.0)?;
        Some(number / self.largest)
    }
}

fn cell(cell: &Cell, kind: Kind, index: usize, shades: &Shades) -> String {
    let (open, close) = if index == 0 {
        ("<th scope=\"row\"", "</th>")
    } else {
        ("<td", "</td>")
    };
    let mut classes = vec![match kind {
        Kind::Text => "t",
        Kind::Day => "d",
        _ => "n",
    }];
    let mut attributes = String::new();
    if let Some(part) = shades.part(index, cell) {
        attributes.push_str(&format!(" style=\"--p:{part:.4}\""));
        if shades.shade != Shade::Heat {
            classes.push("bar");
        }
    }
    match format::raw(cell) {
        Some(raw) => attributes.push_str(&format!(" data-v=\"{}\"", escape::html(&raw))),
        None => classes.push("nothing"),
    }
    let shown = format::shown(cell);
    let shown = match kind {
        // Where a name runs from right to left, its row still doesn't.
        Kind::Text => format!("<bdi>{}</bdi>", escape::html(&escape::short(&shown))),
        _ => escape::html(&shown),
    };
    format!(
        "{open} class=\"{}\"{attributes}>{shown}{close}",
        classes.join(" ")
    )
}

fn with_code(text: &str) -> String {
    let escaped = escape::html(text);
    let parts = escaped.split('`').enumerate();
    parts
        .map(|(index, part)| {
            if index.is_multiple_of(2) {
                part.to_owned()
            } else {
                format!("<code>{part}</code>")
            }
        })
        .collect()
}
