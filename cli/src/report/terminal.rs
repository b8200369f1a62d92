//! The report on a terminal: its main tables.

use comfy_table::CellAlignment;

use crate::answers;
use crate::escape;
use crate::report::format;
use crate::report::read::Figures;
use crate::report::summary::Tile;
use crate::report::table::{Cell, Kind, Table};

/// Characters shown of the name of a row, and of another one.
const NAME: usize = 44;
const OTHER: usize = 20;
/// Rows of a table that are shown.
const ROWS: usize = 28;

/// The main tables as text.
pub fn render(figures: &Figures) -> String {
    let range = figures.range;
    let mut text = format!(
        "{} (UTC days), {} facts, database {}, read {}\n",
        format::days(range.from, range.to),
        format::shown(&Cell::Count(figures.totals.facts)),
        escape::terminal(&figures.database, NAME),
        figures.read_at.format("%Y-%m-%d %H:%M UTC"),
    );
    if let Some(days) = figures.compared_with() {
        text.push_str(&format!("Changes are against {days}.\n"));
    }
    text.push_str(&format!("\n{}\n", summary(&figures.tiles())));
    let tables = [
        &figures.funnel,
        &figures.days,
        &figures.money,
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

fn summary(tiles: &[Tile]) -> String {
    let mut drawn = answers::table();
    for tile in tiles {
        drawn.add_row([
            tile.name.clone(),
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
    let mut drawn = answers::table();
    drawn.set_header(table.columns.iter().map(|column| column.title.as_ref()));
    // Of days the last ones are news; other tables begin with what matters.
    let is_by_day = table
        .columns
        .first()
        .is_some_and(|column| column.kind == Kind::Day);
    let hidden = table.rows.len().saturating_sub(ROWS);
    let skipped = if is_by_day { hidden } else { 0 };
    for row in table.rows.iter().skip(skipped).take(ROWS) {
        drawn.add_row(row.iter().enumerate().map(|(index, cell)| {
            let limit = if index == 0 { NAME } else { OTHER };
            escape::terminal(&format::shown(cell), limit)
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
            format!("{drawn}\nThe last {ROWS} of {}.", table.rows.len())
        }
        _ => drawn.to_string(),
    }
}
