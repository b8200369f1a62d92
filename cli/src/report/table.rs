//! Tables of typed cells. The page and the terminal draw the same ones.

use std::borrow::Cow;

use chrono::NaiveDate;

/// The name of the currency of amounts without one, as in the schema `analytics`.
pub const NO_CURRENCY: &str = "no currency";
/// The title of a column with the currencies of the rows.
const CURRENCY: &str = "Currency";

/// The type of a column, which decides how it is read, drawn and sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name that somebody sent.
    Text,
    /// A day in the reporting time zone.
    Day,
    /// A whole number.
    Count,
    /// A decimal number of units.
    Units,
    /// A fraction, shown as a percentage.
    Rate,
    /// An amount; the query's next column is its currency.
    Money,
    /// A difference, as a fraction of the earlier value.
    Change,
    /// Seconds.
    Delay,
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its heading.
    pub title: Cow<'static, str>,
    /// Its type.
    pub kind: Kind,
    /// Its definition in a sentence; empty if the title suffices.
    pub means: &'static str,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing was sent, or the denominator is 0.
    Nothing,
    /// A name.
    Text(String),
    /// A day in the reporting time zone.
    Day(NaiveDate),
    /// A whole number.
    Count(i64),
    /// An exact decimal, as PostgreSQL writes it.
    Units(String),
    /// A fraction.
    Rate(f64),
    /// An exact amount, as PostgreSQL writes it.
    Money {
        /// The amount.
        amount: String,
        /// `None` if none was sent.
        currency: Option<String>,
    },
    /// A difference, as a fraction of the earlier value.
    Change(f64),
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
            Self::Rate(number) | Self::Delay(number) | Self::Change(number) => Some(*number),
        };
        number.filter(|number| number.is_finite())
    }

    /// The value of a count.
    pub fn count(&self) -> Option<i64> {
        match self {
            Self::Count(count) => Some(*count),
            _ => None,
        }
    }
}

/// The background of the numbers.
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
    /// The id of its element on the page.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// Its contents in a sentence or two.
    pub lead: String,
    /// The text shown if there are no rows.
    pub empty: String,
    /// Its columns; the first one names the row.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<Vec<Cell>>,
    /// The number of rows without the query's limit.
    pub of_all: Option<i64>,
    /// The column it is sorted by; true is descending.
    pub sorted: Option<(usize, bool)>,
    /// The background of its numbers.
    pub shade: Shade,
}

impl Table {
    /// The cells of a column, from the top.
    pub fn column(&self, index: usize) -> impl Iterator<Item = &Cell> {
        self.rows.iter().filter_map(move |row| row.get(index))
    }

    /// Names the currency of every amount. An amount without a currency is a bare number; its
    /// column's title says so, or a column of currencies is added if other rows have one.
    pub fn with_currencies_named(mut self) -> Self {
        let names_them = self.columns.iter().any(|column| column.title == CURRENCY);
        let amounts = |has_currency: bool| {
            let cells = self.rows.iter().flatten();
            cells
                .filter(|cell| {
                    matches!(cell, Cell::Money { currency, .. }
                        if currency.is_some() == has_currency)
                })
                .count()
        };
        let (with, without) = (amounts(true), amounts(false));
        let first = self
            .columns
            .iter()
            .position(|column| column.kind == Kind::Money);
        let Some(first) = first.filter(|_| !names_them && without > 0) else {
            return self;
        };
        if with == 0 {
            for column in &mut self.columns {
                if column.kind == Kind::Money {
                    column.title = format!("{}, {NO_CURRENCY}", column.title).into();
                }
            }
            return self;
        }
        let column = Column {
            title: CURRENCY.into(),
            kind: Kind::Text,
            means: "",
        };
        self.columns.insert(first + 1, column);
        for row in &mut self.rows {
            let name = match row.get(first) {
                Some(Cell::Money { currency, .. }) => {
                    Cell::Text(currency.as_deref().unwrap_or(NO_CURRENCY).to_owned())
                }
                _ => Cell::Nothing,
            };
            row.insert((first + 1).min(row.len()), name);
        }
        if let Some((by, _)) = self.sorted.as_mut().filter(|(by, _)| *by > first) {
            *by += 1;
        }
        self
    }

    /// The sum of the counts of a column.
    pub fn sum(&self, index: usize) -> i64 {
        self.column(index).filter_map(Cell::count).sum()
    }
}

/// An amount in a currency, or in [`NO_CURRENCY`].
pub fn money(amount: Option<String>, currency: &str) -> Cell {
    let currency = (currency != NO_CURRENCY).then(|| currency.to_owned());
    amount.map_or(Cell::Nothing, |amount| Cell::Money { amount, currency })
}

/// The rate `part / all`; nothing if `all` is 0.
pub fn share(part: i64, all: i64) -> Cell {
    if all == 0 {
        return Cell::Nothing;
    }
    #[allow(clippy::cast_precision_loss, reason = "a rate for people to read")]
    Cell::Rate(part as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::catalogue::CATEGORIES;

    fn sold(currencies: &[Option<&str>]) -> Table {
        let rows = currencies.iter().map(|currency| {
            let money = Cell::Money {
                amount: "1".to_owned(),
                currency: currency.map(str::to_owned),
            };
            vec![
                Cell::Text("Shoes".to_owned()),
                money.clone(),
                Cell::Nothing,
                Cell::Count(1),
                Cell::Units("1".to_owned()),
                money,
            ]
        });
        CATEGORIES.table(rows.collect())
    }

    fn titles(table: &Table) -> Vec<&str> {
        let titles = table.columns.iter().map(|column| column.title.as_ref());
        titles.collect()
    }

    #[test]
    fn every_amount_has_its_currency_in_sight() {
        let euros = sold(&[Some("EUR"), Some("USD")]);
        assert_eq!(titles(&euros)[1], "Revenue");
        let none = sold(&[None]);
        assert_eq!(titles(&none)[1], "Revenue, no currency");
        assert_eq!(titles(&none)[5], "Per order, no currency");
        let both = sold(&[None, Some("EUR")]);
        assert_eq!(
            titles(&both)[..4],
            ["Category", "Revenue", "Currency", "Revenue change"]
        );
        assert_eq!(both.rows[0][2], Cell::Text("no currency".to_owned()));
        assert_eq!(both.rows[1][2], Cell::Text("EUR".to_owned()));
        assert_eq!(both.rows[0].len(), both.columns.len());
    }
}
