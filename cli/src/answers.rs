//! The analysts' questions, answered from the tables by the queries of `sql/queries`.

use comfy_table::{CellAlignment, Table, presets};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::escape;

/// Longest name that is shown whole, in characters.
const SHOWN: usize = 48;

/// A question and the query that answers it.
pub struct Question {
    /// The question as an analyst puts it.
    pub title: &'static str,
    /// The query; its header says what it counts.
    pub sql: &'static str,
}

/// The two that the product exists for.
pub const QUESTIONS: [Question; 2] = [
    Question {
        title: "Top lists by engagement rate",
        sql: include_str!("../../sql/queries/top_lists_by_engagement_rate.sql"),
    },
    Question {
        title: "Best products by view-to-purchase rate",
        sql: include_str!("../../sql/queries/best_products_by_view_to_purchase_rate.sql"),
    },
];

/// Runs a query and lays out its first `rows` rows.
///
/// # Errors
/// The server's own.
pub async fn answer(client: &Client, question: &Question, rows: usize) -> anyhow::Result<Table> {
    let mut table = table();
    for message in client.simple_query(question.sql).await? {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                table.set_header(columns.iter().map(|column| column.name().to_owned()));
            }
            SimpleQueryMessage::Row(row) if table.row_count() < rows => {
                let cell = |column| escape::terminal(row.get(column).unwrap_or(""), SHOWN);
                table.add_row((0..row.len()).map(cell));
            }
            _ => {}
        }
    }
    align_numbers(&mut table);
    Ok(table)
}

/// A table as psql draws one.
pub fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table
}

/// Aligns the columns that hold only numbers to the right.
pub fn align_numbers(table: &mut Table) {
    let numeric: Vec<bool> = table
        .column_iter()
        .map(|column| {
            let index = column.index;
            table.row_iter().all(|row| {
                row.cell_iter()
                    .nth(index)
                    .is_some_and(|cell| cell.content().parse::<f64>().is_ok())
            })
        })
        .collect();
    for (column, numeric) in table.column_iter_mut().zip(numeric) {
        if numeric {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
