//! The parts of a page as HTML: paragraphs, numbers, tiles, sparklines and tables.

use askama::Template;
use askama::filters::Safe;

use crate::display;
use crate::report::charts::Chart;
use crate::report::format;
// The templates call the functions below by this name.
use crate::report::markup;
use crate::report::summary::Tile;
use crate::report::table::{Cell, Column, Kind, Shade, Table};

/// A table with more rows scrolls in a box of its own.
const LONG: usize = 40;

/// A paragraph below a heading. Text between backticks is code.
pub fn lead(text: &str) -> Safe<Paragraph<'_>> {
    Safe(Paragraph {
        class: "lead",
        text,
    })
}

/// A paragraph that says that there is nothing to show.
pub fn empty(text: &str) -> Safe<Paragraph<'_>> {
    Safe(Paragraph {
        class: "empty",
        text,
    })
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<p class="{{ class }}">
{%- for part in text.split('`') -%}
{% if loop.index0 % 2 == 0 %}{{ part }}{% else %}<code>{{ part }}</code>{% endif %}
{%- endfor -%}
</p>"#
)]
pub struct Paragraph<'a> {
    class: &'static str,
    text: &'a str,
}

/// A number that is copied by a click.
pub fn number(cell: &Cell) -> Safe<Number> {
    Safe(Number {
        shown: format::shown(cell),
        raw: format::raw(cell),
    })
}

/// The same in large type: amounts from ten thousand on without their cents, which are copied
/// still.
fn large_number(cell: &Cell) -> Safe<Number> {
    let shown = format::shown(cell);
    let shown = match (cell, cell.number(), shown.rsplit_once('.')) {
        (Cell::Money { amount, currency }, Some(number), Some(_)) if number.abs() >= 10_000.0 => {
            let whole = Cell::Money {
                amount: format!("{:.0}", amount.parse().unwrap_or(number)),
                currency: currency.clone(),
            };
            let shown = format::shown(&whole);
            shown.strip_suffix(".00").unwrap_or(&shown).to_owned()
        }
        _ => shown,
    };
    Safe(Number {
        shown,
        raw: format::raw(cell),
    })
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"{% if let Some(raw) = raw -%}
<button type="button" class="n" data-v="{{ raw }}">{{ shown }}</button>
{%- else %}{{ shown }}{% endif %}"#
)]
pub struct Number {
    shown: String,
    raw: Option<String>,
}

/// Numbers with their names and definitions, and their days as a line.
pub fn tiles(tiles: impl IntoIterator<Item = Tile>) -> Safe<Tiles> {
    let tiles: Vec<Tile> = tiles.into_iter().collect();
    // Columns that leave the fewest gaps.
    let class = match tiles.len() {
        5 | 9 | 10 | 13 | 15 => " five",
        3 | 6 => " three",
        _ => "",
    };
    Safe(Tiles { tiles, class })
}

#[derive(Template)]
#[template(path = "tiles.html")]
pub struct Tiles {
    tiles: Vec<Tile>,
    class: &'static str,
}

/// The sparkline of a tile.
fn sparkline(tile: &Tile) -> Option<Safe<Sparkline>> {
    let chart = tile.chart.as_ref()?;
    let paths = chart.sparkline();
    let label = format!("{}: {}.", chart.title, chart.words());
    (!paths.is_empty()).then_some(Safe(Sparkline { label, paths }))
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<svg class="spark" viewBox="0 0 100 30" preserveAspectRatio="none" role="img"
{{- " " }}aria-label="{{ label }}">
{%- for (class, path) in paths -%}
<path class="{{ class }}" d="{{ path }}"/>
{%- endfor -%}
</svg>"#
)]
pub struct Sparkline {
    label: String,
    paths: Vec<(&'static str, String)>,
}

/// The meaning of the dashed and of the lighter line, if the charts have any.
pub fn key<'a>(charts: impl Iterator<Item = &'a Chart>) -> Option<Safe<Key>> {
    let (mut has_unfinished, mut has_before) = (false, false);
    for chart in charts {
        has_unfinished |= chart.has_unfinished();
        has_before |= chart.has_before();
    }
    let mut samples = vec![("now", "these days")];
    if has_unfinished {
        samples.push(("dashed", "not over yet"));
    }
    if has_before {
        samples.push(("before", "the period before"));
    }
    (samples.len() > 1).then_some(Safe(Key { samples }))
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<p class="key">
{%- for (class, means) in samples -%}
<span><svg class="spark" viewBox="0 0 30 10" aria-hidden="true">
{{- "" }}<path class="{{ class }}" d="M2 5L28 5"/></svg>{{ means }}</span>
{%- endfor -%}
</p>"#
)]
pub struct Key {
    samples: Vec<(&'static str, &'static str)>,
}

/// The heading of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Heading {
    /// The lead alone: the section's heading is the table's.
    Lead,
    /// The table's title and lead.
    Title,
    None,
}

/// Tables with a title and a lead each.
pub fn headed<'a>(tables: &[&'a Table]) -> Vec<Safe<TableView<'a>>> {
    let views = tables.iter().map(|table| view(table, Heading::Title));
    views.collect()
}

/// Tables without headings.
pub fn bare<'a>(tables: &[&'a Table]) -> Vec<Safe<TableView<'a>>> {
    let views = tables.iter().map(|table| view(table, Heading::None));
    views.collect()
}

pub fn view(table: &Table, heading: Heading) -> Safe<TableView<'_>> {
    let largest =
        |cells: &mut dyn Iterator<Item = &Cell>| cells.filter_map(Cell::number).fold(0.0, f64::max);
    let largest = match table.shade {
        Shade::Plain => 0.0,
        Shade::Bar(column) => largest(&mut table.column(column)),
        Shade::Heat => largest(&mut table.rows.iter().flatten()),
    };
    Safe(TableView {
        table,
        heading,
        largest,
    })
}

/// A table with its heading, and the definitions of its columns.
#[derive(Template)]
#[template(path = "table.html")]
pub struct TableView<'a> {
    table: &'a Table,
    heading: Heading,
    /// The largest of the shaded numbers.
    largest: f64,
}

/// A cell of a table on the page.
struct CellView {
    class: String,
    /// The number as a part of the largest, if it is shaded.
    part: Option<String>,
    raw: Option<String>,
    shown: String,
    is_name: bool,
}

impl TableView<'_> {
    fn is_long(&self) -> bool {
        self.table.rows.len() > LONG
    }

    fn is_heat(&self) -> bool {
        self.table.shade == Shade::Heat
    }

    /// The columns, each with its class and its sort order.
    fn columns(&self) -> Vec<(&Column, &'static str, Option<&'static str>)> {
        let columns = self.table.columns.iter().enumerate();
        columns
            .map(|(index, column)| {
                let order = match self.table.sorted {
                    Some((by, true)) if by == index => Some("descending"),
                    Some((by, false)) if by == index => Some("ascending"),
                    _ => None,
                };
                (column, class(column.kind), order)
            })
            .collect()
    }

    fn defined_columns(&self) -> Vec<&Column> {
        let columns = self.table.columns.iter();
        columns.filter(|column| !column.means.is_empty()).collect()
    }

    fn cells(&self, row: &[Cell]) -> Vec<CellView> {
        let cells = row.iter().zip(&self.table.columns).enumerate();
        cells
            .map(|(index, (cell, column))| self.cell(cell, column.kind, index))
            .collect()
    }

    fn cell(&self, cell: &Cell, kind: Kind, index: usize) -> CellView {
        let mut class = class(kind).to_owned();
        let is_shaded = match self.table.shade {
            Shade::Plain => false,
            Shade::Bar(column) => column == index,
            Shade::Heat => true,
        };
        let number = cell.number().filter(|_| is_shaded && self.largest > 0.0);
        if number.is_some() && !self.is_heat() {
            class.push_str(" bar");
        }
        let raw = format::raw(cell);
        if raw.is_none() {
            class.push_str(" nothing");
        }
        let shown = format::shown(cell);
        let is_name = kind == Kind::Text;
        CellView {
            class,
            part: number.map(|number| format!("{:.4}", number / self.largest)),
            raw,
            shown: if is_name {
                display::short(&shown)
            } else {
                shown
            },
            is_name,
        }
    }

    /// The number of rows without the query's limit, if that left some out.
    fn of_all(&self) -> Option<String> {
        let all = self.table.of_all?;
        (all > self.table.rows.len() as i64).then(|| format::shown(&Cell::Count(all)))
    }
}

/// The class of a column, by which the style sheet and the script know its type.
fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "t",
        Kind::Day => "d",
        _ => "n",
    }
}
