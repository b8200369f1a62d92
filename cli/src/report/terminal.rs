//! The main tables of a report as text.

use comfy_table::CellAlignment;

use crate::display;
use crate::report::figures::Figures;
use crate::report::format;
use crate::report::sentence::{self, Piece};
use crate::report::summary::Tile;
use crate::report::table::{Cell, Kind, Table};

/// The longest text shown in the first column, and in the others, in characters.
const MAX_NAME: usize = 44;
const MAX_TEXT: usize = 20;
/// Rows shown of a table.
const MAX_ROWS: usize = 28;

/// The main tables as text.
pub fn render(figures: &Figures) -> String {
    let range = figures.range;
    let mut text = format!(
        "{} ({}), {} facts, database {}, read {}\n",
        format::days(range.from, range.to),
        display::terminal(&figures.time_zone, MAX_NAME),
        format::shown(&Cell::Count(figures.late.sum(1))),
        display::terminal(&figures.database, MAX_NAME),
        figures.local_read_at.format("%Y-%m-%d %H:%M"),
    );
    for piece in sentence::sentence(&figures.numbers, &figures.metrics) {
        text.push_str(&match piece {
            Piece::Text(text) => display::line(&text),
            Piece::Name(name) => display::terminal(&name, MAX_NAME),
        });
    }
    text.push('\n');
    if let Some(days) = figures.compared_days() {
        text.push_str(&format!("{days}\n"));
    }
    let tiles = figures.metrics.iter().map(|metric| &metric.tile);
    text.push_str(&format!("\n{}\n", summary(tiles)));
    let tables = [
        &figures.funnel,
        &figures.days,
        &figures.money,
        &figures.platforms,
        &figures.categories,
        &figures.newcomers,
        &figures.lists,
        &figures.products,
        &figures.positions.lists,
        &figures.sessions,
        &figures.rejected,
        &figures.late,
        &figures.duplicates,
    ];
    for table in tables {
        text.push_str(&format!("\n{}\n{}\n", table.title, drawn(table)));
    }
    text
}

fn summary<'a>(tiles: impl Iterator<Item = &'a Tile>) -> String {
    let mut drawn = display::table();
    for tile in tiles {
        drawn.add_row([
            display::terminal(&tile.name, MAX_NAME),
            format::shown(&tile.value),
            tile.change.clone().unwrap_or_default(),
        ]);
    }
    for column in drawn.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    drawn.to_string()
}

fn drawn(table: &Table) -> String {
    if table.rows.is_empty() {
        return table.empty.clone();
    }
    let mut drawn = display::table();
    drawn.set_header(table.columns.iter().map(|column| column.title.as_ref()));
    // Of days the last ones matter most; other tables begin with the most important rows.
    let is_by_day = table
        .columns
        .first()
        .is_some_and(|column| column.kind == Kind::Day);
    let hidden = table.rows.len().saturating_sub(MAX_ROWS);
    let skipped = if is_by_day { hidden } else { 0 };
    for row in table.rows.iter().skip(skipped).take(MAX_ROWS) {
        drawn.add_row(row.iter().enumerate().map(|(index, cell)| {
            let limit = if index == 0 { MAX_NAME } else { MAX_TEXT };
            display::terminal(&format::shown(cell), limit)
        }));
    }
    for (column, of) in drawn.column_iter_mut().zip(&table.columns) {
        if of.kind != Kind::Text {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    match table.of_all {
        Some(all) if all > table.rows.len() as i64 => {
            format!("{drawn}\nThe first {} of {all}.", table.rows.len())
        }
        _ if hidden > 0 && is_by_day => {
            format!("{drawn}\nThe last {MAX_ROWS} of {}.", table.rows.len())
        }
        _ => drawn.to_string(),
    }
}
