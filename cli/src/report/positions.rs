//! How clicks fall along a list: the curve of all lists together, and a line of rates for each of the largest ones.

use std::collections::BTreeMap;

use tokio_postgres::Row;

use crate::report::table::{Cell, Column, Kind, Shade, Table};

/// The curve and the table beside it.
pub struct Positions {
    /// Position by position over all lists: position, impressions, clicks, rate.
    pub everywhere: Table,
    /// The rates of each list.
    pub lists: Table,
}

/// Lays out the rows of `sql/positions.sql`.
///
/// # Errors
/// A column of another type.
pub fn lay_out(rows: &[Row], min_impressions: i64) -> anyhow::Result<Positions> {
    let mut everywhere = Vec::new();
    let mut lists: Vec<(i64, String, BTreeMap<i32, Cell>)> = Vec::new();
    for row in rows {
        let position: i32 = row.try_get(2)?;
        let (shown, clicked): (i64, i64) = (row.try_get(3)?, row.try_get(4)?);
        let rate = rate(shown, clicked);
        let Some(key) = row.try_get::<_, Option<i64>>(0)? else {
            everywhere.push((position, shown, clicked, rate));
            continue;
        };
        // Rates of a few products shown are chance here as everywhere.
        let rate = if shown < min_impressions {
            Cell::Nothing
        } else {
            rate
        };
        match lists.last_mut() {
            Some((last, _, rates)) if *last == key => drop(rates.insert(position, rate)),
            _ => lists.push((key, row.try_get(1)?, BTreeMap::from([(position, rate)]))),
        }
    }
    let positions: Vec<i32> = everywhere.iter().map(|(position, ..)| *position).collect();
    Ok(Positions {
        everywhere: curve(everywhere, min_impressions),
        lists: heat(lists, &positions, min_impressions),
    })
}

fn rate(shown: i64, clicked: i64) -> Cell {
    if shown == 0 {
        return Cell::Nothing;
    }
    #[allow(clippy::cast_precision_loss, reason = "a rate for people to read")]
    Cell::Rate(clicked as f64 / shown as f64)
}

fn column(
    title: impl Into<std::borrow::Cow<'static, str>>,
    kind: Kind,
    means: &'static str,
) -> Column {
    Column {
        title: title.into(),
        kind,
        means,
    }
}

fn empty(min_impressions: i64) -> String {
    format!(
        "No position of a list showed {min_impressions} products or more in these days, or no positions (GA4 index) are sent."
    )
}

fn curve(rows: Vec<(i32, i64, i64, Cell)>, min_impressions: i64) -> Table {
    Table {
        id: "positions",
        title: "All lists together",
        lead: format!(
            "Clicks at a position / products shown there, over all lists; positions as sent (GA4 index). \
             Clicks are those of the top lists. Rates of fewer than {min_impressions} products shown are left out."
        ),
        empty: empty(min_impressions),
        columns: vec![
            column("Position", Kind::Count, "As sent (GA4 index)."),
            column("Impressions", Kind::Count, "Products shown there."),
            column("Clicks", Kind::Count, "As for the top lists."),
            column("Click rate", Kind::Rate, "Clicks / impressions."),
        ],
        rows: rows
            .into_iter()
            .map(|(position, shown, clicked, rate)| {
                vec![
                    Cell::Count(position.into()),
                    Cell::Count(shown),
                    Cell::Count(clicked),
                    rate,
                ]
            })
            .collect(),
        of_all: None,
        sorted: Some((0, false)),
        shade: Shade::Plain,
    }
}

fn heat(
    lists: Vec<(i64, String, BTreeMap<i32, Cell>)>,
    positions: &[i32],
    min_impressions: i64,
) -> Table {
    let mut columns = vec![column("List", Kind::Text, "")];
    columns.extend(
        positions
            .iter()
            .map(|position| column(position.to_string(), Kind::Rate, "")),
    );
    Table {
        id: "list-positions",
        title: "Click rate by list and position",
        lead: "The ten lists that show most, the largest first.".to_owned(),
        empty: empty(min_impressions),
        columns,
        rows: lists
            .into_iter()
            .map(|(_, list, rates)| {
                let rates = positions
                    .iter()
                    .map(|position| rates.get(position).cloned().unwrap_or(Cell::Nothing));
                std::iter::once(Cell::Text(list)).chain(rates).collect()
            })
            .collect(),
        of_all: None,
        sorted: None,
        shade: Shade::Heat,
    }
}
