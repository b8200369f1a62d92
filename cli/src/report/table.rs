//! What a report is made of, before anybody decides how it looks: tables of typed cells. The page and the terminal
//! both draw these, so that they can't say different things.

use std::borrow::Cow;

use chrono::NaiveDate;

/// What a column holds, and so how it is read, drawn and sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name that somebody sent.
    Text,
    /// A UTC day.
    Day,
    /// How many.
    Count,
    /// How many, where there may be halves.
    Units,
    /// A fraction, shown as a percentage.
    Rate,
    /// An amount, and its currency in the query's next column.
    Money,
    /// Seconds.
    Delay,
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// What stands above it.
    pub title: Cow<'static, str>,
    /// What it holds.
    pub kind: Kind,
    /// Its definition in a sentence; empty where the title says it all.
    pub means: &'static str,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing was sent, or nothing can be divided by.
    Nothing,
    /// A name.
    Text(String),
    /// A UTC day.
    Day(NaiveDate),
    /// How many.
    Count(i64),
    /// Exact, as PostgreSQL writes it.
    Units(String),
    /// A fraction.
    Rate(f64),
    /// Exact, as PostgreSQL writes it.
    Money {
        /// How much.
        amount: String,
        /// Of what.
        currency: Option<String>,
    },
    /// Seconds.
    Delay(f64),
}

impl Cell {
    /// The number to sort by and to draw.
    pub fn number(&self) -> Option<f64> {
        let number = match self {
            Self::Nothing | Self::Text(_) | Self::Day(_) => None,
            #[allow(clippy::cast_precision_loss, reason = "a height in a picture")]
            Self::Count(count) => Some(*count as f64),
            Self::Units(exact) | Self::Money { amount: exact, .. } => exact.parse().ok(),
            Self::Rate(number) | Self::Delay(number) => Some(*number),
        };
        number.filter(|number| number.is_finite())
    }

    /// The count, where it is one.
    pub fn count(&self) -> Option<i64> {
        match self {
            Self::Count(count) => Some(*count),
            _ => None,
        }
    }
}

/// What is drawn behind the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shade {
    /// Nothing.
    Plain,
    /// A bar in one column, as long as the value.
    Bar(usize),
    /// A tint of every rate, as strong as the value.
    Heat,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its anchor on the page.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What it shows, in a sentence or two.
    pub lead: String,
    /// What to say instead of rows.
    pub empty: String,
    /// Its columns; the first one names the row.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<Vec<Cell>>,
    /// How many rows there would be without a limit.
    pub of_all: Option<i64>,
    /// The column it comes sorted by, and whether from the largest down.
    pub sorted: Option<(usize, bool)>,
    /// What is drawn behind its numbers.
    pub shade: Shade,
}

impl Table {
    /// The cells of a column, from the top.
    pub fn column(&self, index: usize) -> impl Iterator<Item = &Cell> {
        self.rows.iter().filter_map(move |row| row.get(index))
    }

    /// The sum of the counts of a column.
    pub fn sum(&self, index: usize) -> i64 {
        self.column(index).filter_map(Cell::count).sum()
    }
}
