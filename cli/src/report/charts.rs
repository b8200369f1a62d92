//! The pictures of a report: their points, and what they show in words for those who don't see them.

use std::collections::BTreeMap;

use chrono::{NaiveDate, NaiveTime};
use serde_json::{Value, json};

use crate::report::format::shown;
use crate::report::read::Figures;
use crate::report::table::{Cell, Table};

/// Currencies that get a picture of their own; the table has all.
pub const CURRENCIES: usize = 3;
const NONE: Cell = Cell::Count(0);

/// A line over days or positions.
pub struct Chart {
    /// What its figure is called on the page.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// The points, each a place and a value.
    points: Vec<(Place, Cell)>,
}

#[derive(Clone, Copy)]
enum Place {
    Day(NaiveDate),
    Position(i64),
}

impl Place {
    fn shown(self) -> String {
        match self {
            Self::Day(day) => day.format("%-d %b").to_string(),
            Self::Position(position) => format!("position {position}"),
        }
    }
}

impl Chart {
    /// Whether there is anything to see.
    pub fn is_empty(&self) -> bool {
        self.points
            .iter()
            .all(|(_, cell)| cell.number().is_none_or(|number| number == 0.0))
    }

    /// The highest point, in words.
    pub fn peak(&self) -> Option<String> {
        let (place, cell) = self
            .points
            .iter()
            .filter(|(_, cell)| cell.number().is_some())
            .rev()
            .max_by(|(_, a), (_, b)| {
                let (a, b) = (a.number(), b.number());
                a.unwrap_or(0.0).total_cmp(&b.unwrap_or(0.0))
            })?;
        Some(format!("{} on {}", shown(cell), place.shown()).replace("on position", "at position"))
    }

    /// The points for the page's script.
    pub fn json(&self) -> Value {
        let days = self
            .points
            .iter()
            .any(|(place, _)| matches!(place, Place::Day(_)));
        let x: Vec<i64> = self
            .points
            .iter()
            .map(|(place, _)| match place {
                Place::Day(day) => day.and_time(NaiveTime::MIN).and_utc().timestamp(),
                Place::Position(position) => *position,
            })
            .collect();
        let y: Vec<Option<f64>> = self.points.iter().map(|(_, cell)| cell.number()).collect();
        let words: Vec<String> = self
            .points
            .iter()
            .map(|(place, cell)| format!("{} · {}", place.shown(), shown(cell)))
            .collect();
        let is_rate = self
            .points
            .iter()
            .any(|(_, cell)| matches!(cell, Cell::Rate(_)));
        json!({"id": self.id, "days": days, "rate": is_rate, "x": x, "y": y, "words": words})
    }
}

/// People, events and revenue by day.
pub fn trend(figures: &Figures) -> Vec<Chart> {
    let mut charts = vec![
        by_day("people", "People a day", figures, (&figures.days, 1), &NONE),
        by_day("events", "Events a day", figures, (&figures.days, 2), &NONE),
    ];
    let currencies = figures
        .money
        .rows
        .iter()
        .filter_map(|row| match (row.first(), row.get(3)) {
            (Some(currency), Some(Cell::Money { .. })) => Some(currency),
            _ => None,
        })
        .take(CURRENCIES);
    for (index, currency) in currencies.enumerate() {
        charts.push(revenue(index, currency, figures));
    }
    charts
}

/// Sessions by day, and the part that buys.
pub fn sessions(figures: &Figures) -> Vec<Chart> {
    vec![
        by_day(
            "sessions-a-day",
            "Sessions a day",
            figures,
            (&figures.sessions, 1),
            &NONE,
        ),
        by_day(
            "conversion",
            "Conversion rate",
            figures,
            (&figures.sessions, 5),
            &Cell::Nothing,
        ),
    ]
}

/// The rate of clicks along the lists.
pub fn positions(figures: &Figures) -> Chart {
    let everywhere = &figures.positions.everywhere;
    let points = everywhere.rows.iter().filter_map(|row| {
        let position = row.first()?.count()?;
        Some((Place::Position(position), row.get(3)?.clone()))
    });
    Chart {
        id: "curve".to_owned(),
        title: "Click rate by position".to_owned(),
        points: points.collect(),
    }
}

fn by_day(id: &str, title: &str, figures: &Figures, values: (&Table, usize), none: &Cell) -> Chart {
    let (table, column) = values;
    let values = table.rows.iter().filter_map(|row| match row.first()? {
        Cell::Day(day) => Some((*day, row.get(column)?.clone())),
        _ => None,
    });
    over_days(id, title, figures, &values.collect(), none)
}

/// A day without orders in the currency is a day without revenue in it.
fn revenue(index: usize, currency: &Cell, figures: &Figures) -> Chart {
    let values = figures.revenue.rows.iter().filter_map(|row| {
        match (row.first()?, row.get(1)?, row.get(4)?) {
            (Cell::Day(day), of, Cell::Money { .. }) if of == currency => {
                Some((*day, row.get(4)?.clone()))
            }
            _ => None,
        }
    });
    let code = match currency {
        Cell::Text(code) => Some(code.clone()),
        _ => None,
    };
    let none = Cell::Money {
        amount: "0".to_owned(),
        currency: code.clone(),
    };
    let of = code.unwrap_or_else(|| "without a currency".to_owned());
    over_days(
        &format!("revenue-{index}"),
        &format!("Revenue a day, {of}"),
        figures,
        &values.collect(),
        &none,
    )
}

/// Every day has a point, so that a line doesn't hide that nothing was there; `none` stands for a day without a value.
fn over_days(
    id: &str,
    title: &str,
    figures: &Figures,
    values: &BTreeMap<NaiveDate, Cell>,
    none: &Cell,
) -> Chart {
    let points = figures.days.column(0).filter_map(|cell| match cell {
        Cell::Day(day) => {
            let value = values.get(day).unwrap_or(none);
            Some((Place::Day(*day), value.clone()))
        }
        _ => None,
    });
    Chart {
        id: id.to_owned(),
        title: title.to_owned(),
        points: points.collect(),
    }
}
