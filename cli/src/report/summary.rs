//! The range in a few numbers, and how they have changed.

use crate::report::charts;
use crate::report::format;
use crate::report::read::Totals;
use crate::report::table::{Cell, Table};

/// A number with its name and what it means.
pub struct Tile {
    pub name: String,
    pub value: Cell,
    pub note: String,
    /// How it has changed, where there is something to compare it with.
    pub change: Option<String>,
}

impl Tile {
    pub fn new(name: impl Into<String>, value: Cell, note: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value,
            note: note.into(),
            change: None,
        }
    }
}

/// What a summary is made of.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    pub totals: &'a Totals,
    pub sessions: &'a Table,
    pub money: &'a Table,
}

/// The tiles of a range, each with its change since `before`.
pub fn tiles(now: Parts, before: Option<Parts>) -> Vec<Tile> {
    let mut tiles = of(now);
    let before = before.map(of).unwrap_or_default();
    for tile in &mut tiles {
        let same = before.iter().find(|other| other.name == tile.name);
        tile.change = same.and_then(|other| format::change(&tile.value, &other.value));
    }
    tiles
}

fn of(parts: Parts) -> Vec<Tile> {
    let Parts {
        totals,
        sessions,
        money,
    } = parts;
    let all = sessions.sum(1);
    let (engaged, converted) = (sessions.sum(2), sessions.sum(3));
    let mut tiles = vec![
        Tile::new(
            "People",
            Cell::Count(totals.people),
            "with any event; user_id, or user_pseudo_id where nobody is signed in",
        ),
        Tile::new(
            "Events",
            Cell::Count(totals.events),
            format!(
                "{} facts, one for each product in an event",
                format::shown(&Cell::Count(totals.facts))
            ),
        ),
        Tile::new(
            "Sessions",
            Cell::Count(all),
            match share(engaged, all) {
                Cell::Nothing => "no event says whose it is".to_owned(),
                rate => format!(
                    "{} engaged: over 10 seconds, a purchase, or two views",
                    format::shown(&rate)
                ),
            },
        ),
        Tile::new(
            "Conversion",
            share(converted, all),
            "sessions with a purchase / sessions",
        ),
        Tile::new(
            "Orders",
            Cell::Count(money.sum(1)),
            "each once; without a transaction_id the purchase event is the order",
        ),
    ];
    for row in money.rows.iter().take(charts::CURRENCIES) {
        if let (Some(revenue @ Cell::Money { .. }), Some(each)) = (row.get(3), row.get(4)) {
            let note = format!("without tax and shipping; {} an order", format::shown(each));
            let name = match row.first() {
                Some(Cell::Text(currency)) => format!("Revenue, {currency}"),
                _ => "Revenue".to_owned(),
            };
            tiles.push(Tile::new(name, revenue.clone(), note));
        }
    }
    tiles
}

/// Part / all; nothing of nothing.
pub fn share(part: i64, all: i64) -> Cell {
    if all == 0 {
        return Cell::Nothing;
    }
    #[allow(clippy::cast_precision_loss, reason = "a rate for people to read")]
    Cell::Rate(part as f64 / all as f64)
}
