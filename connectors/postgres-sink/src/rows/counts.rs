//! What the new facts of a batch add to the daily rollups of the schema `analytics`, said in the transaction that writes
//! them. The rule is that of the SQL function `analytics.counted`, to which `analytics.rollup_differences` holds it.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use fact_model::Fact;
use hashbrown::HashMap;
use tokio_postgres::types::ToSql;

use super::arrays::Array;
use super::exact::Exact;
use super::{Ends, Row, Rows, Stored, numeric};

/// Says what a transaction adds: the parameters of [`Counts`].
pub(crate) const SAY: &str = "INSERT INTO analytics.pending (touched, day, event_name, currency, product_key, list_key, list_position, \
     interactions, events, units, revenue) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// The event that shows products. It is left out where products and money are counted: it would be most of the rows.
const IMPRESSION: &str = "view_item_list";
/// What stands for no position, and from where on positions are one.
const POSITIONS: (i32, i32) = (-1, 1000);
const MICROS_A_DAY: i64 = 24 * 3600 * 1_000_000;
/// A fact tells something of people on the days of all moments this near to it; see the column `touched`.
const AROUND: i64 = 30 * 60 * 1_000_000;

/// What is counted of one fact besides its day and its keys, which are in its row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    kind: u32,
    position: i32,
    is_first: bool,
    amounts: Option<u32>,
}

/// What the facts of a batch have in common, or seldom have.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Names of events with their currencies, each pair once.
    kinds: Vec<(String, String)>,
    /// Their places, by name and then by currency.
    places: HashMap<String, HashMap<String, u32>>,
    /// Of the facts that are not just one unit without a price.
    amounts: Vec<Amounts>,
}

#[derive(Debug)]
struct Amounts {
    units: Exact,
    revenue: Exact,
}

impl Ledger {
    /// Takes note of a fact.
    pub(super) fn note(&mut self, fact: &Fact<'_>) -> Counted {
        let (lowest, highest) = POSITIONS;
        Counted {
            kind: self.kind(
                &fact.event_name,
                fact.currency.as_deref().unwrap_or_default(),
            ),
            position: fact.list_position.unwrap_or(lowest).clamp(lowest, highest),
            is_first: fact.item_ordinal <= 1,
            amounts: self.amounts(fact),
        }
    }

    fn kind(&mut self, name: &str, currency: &str) -> u32 {
        let known = self.places.get(name).and_then(|of| of.get(currency));
        if let Some(place) = known {
            return *place;
        }
        let place = self.kinds.len() as u32;
        let of_name = self.places.entry(name.to_owned()).or_default();
        of_name.insert(currency.to_owned(), place);
        self.kinds.push((name.to_owned(), currency.to_owned()));
        place
    }

    fn amounts(&mut self, fact: &Fact<'_>) -> Option<u32> {
        let price = fact
            .price
            .as_ref()
            .filter(|_| fact.event_name != IMPRESSION);
        let quantity = fact
            .quantity
            .as_ref()
            .filter(|quantity| quantity.as_str() != "1");
        if price.is_none() && quantity.is_none() {
            return None;
        }
        // The text of a decimal is a number to everybody.
        let units = quantity.map_or(Exact::from(1), |quantity| Exact::read(quantity.as_str()));
        let revenue = price.map_or_else(Exact::default, |price| {
            Exact::read(price.as_str()).times(&units)
        });
        self.amounts.push(Amounts { units, revenue });
        // A batch is bounded far below four thousand million rows.
        Some((self.amounts.len() - 1) as u32)
    }
}

/// What is counted together: for a product, or for a list or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    day: i64,
    kind: u32,
    product: Option<u32>,
    list: Option<u32>,
    position: Option<i32>,
}

#[derive(Debug, Default)]
struct Sums {
    interactions: i64,
    events: i64,
    units: Exact,
    /// Facts of one unit each, which are in `units` at the end.
    single: i64,
    revenue: Exact,
}

impl Sums {
    fn add(&mut self, fact: Counted, amounts: Option<&Amounts>) {
        self.interactions += 1;
        self.events += i64::from(fact.is_first);
        match amounts {
            Some(amounts) => {
                self.units += &amounts.units;
                self.revenue += &amounts.revenue;
            }
            None => self.single += 1,
        }
    }
}

/// The parameters of [`SAY`].
#[derive(Debug, Default)]
pub(crate) struct Counts<'a> {
    touched: Vec<NaiveDate>,
    days: Vec<NaiveDate>,
    names: Vec<&'a str>,
    currencies: Vec<&'a str>,
    products: Vec<Option<i64>>,
    lists: Vec<Option<i64>>,
    positions: Vec<Option<i32>>,
    interactions: Vec<i64>,
    events: Vec<i64>,
    units: Array,
    revenue: Array,
}

impl<'a> Counts<'a> {
    pub(crate) fn params(&self) -> [&(dyn ToSql + Sync); 11] {
        [
            &self.touched,
            &self.days,
            &self.names,
            &self.currencies,
            &self.products,
            &self.lists,
            &self.positions,
            &self.interactions,
            &self.events,
            &self.units,
            &self.revenue,
        ]
    }

    fn push(&mut self, key: Key, sums: &Sums, kind: &'a (String, String), ends: &Ends<'_>) {
        let mut field = Vec::new();
        let mut add = |array: &mut Array, number: &Exact| {
            field.clear();
            numeric::put(&mut field, &number.text());
            array.push(&field);
        };
        let mut units = sums.units.clone();
        units += &Exact::from(sums.single);
        add(&mut self.units, &units);
        add(&mut self.revenue, &sums.revenue);
        self.days.push(date(key.day));
        self.names.push(&kind.0);
        self.currencies.push(&kind.1);
        self.products.push(ends.product(key.product));
        self.lists.push(ends.list(key.list));
        self.positions.push(key.position);
        self.interactions.push(sums.interactions);
        self.events.push(sums.events);
    }
}

/// What facts add up to, by the places of products and lists.
#[derive(Debug, Default)]
pub(super) struct Totals {
    sums: HashMap<Key, Sums>,
    touched: BTreeSet<i64>,
}

impl Rows {
    /// What the facts add up to that are not in `stored`.
    pub(crate) fn counts(&self, stored: &Stored, ends: &Ends<'_>) -> Counts<'_> {
        if stored.count() == 0 {
            return self.named(&self.totals, ends);
        }
        self.named(&self.add_up(stored), ends)
    }

    pub(super) fn add_up(&self, stored: &Stored) -> Totals {
        let Totals {
            mut sums,
            mut touched,
        } = Totals::default();
        for row in self.without(stored) {
            let fact = row.counted;
            let amounts = fact
                .amounts
                .and_then(|place| self.ledger.amounts.get(place as usize));
            let keys = [Some(row.key_by_list()), self.key_by_product(row)];
            for key in keys.into_iter().flatten() {
                sums.entry(key).or_default().add(fact, amounts);
            }
            let (time, _) = row.key;
            touched.extend([time - AROUND, time, time + AROUND].map(day));
        }
        Totals { sums, touched }
    }

    fn named(&self, totals: &Totals, ends: &Ends<'_>) -> Counts<'_> {
        let mut counts = Counts {
            touched: totals.touched.iter().copied().map(date).collect(),
            ..Counts::default()
        };
        for (key, sums) in &totals.sums {
            if let Some(kind) = self.ledger.kinds.get(key.kind as usize) {
                counts.push(*key, sums, kind, ends);
            }
        }
        counts
    }

    fn key_by_product(&self, row: &Row) -> Option<Key> {
        let (name, _) = self.ledger.kinds.get(row.counted.kind as usize)?;
        let product = row.product.filter(|_| name != IMPRESSION)?;
        Some(Key {
            product: Some(product),
            list: None,
            position: None,
            ..row.key_by_list()
        })
    }
}

impl Row {
    fn key_by_list(&self) -> Key {
        let (time, _) = self.key;
        Key {
            day: day(time),
            kind: self.counted.kind,
            product: None,
            list: self.list,
            position: self.list.map(|_| self.counted.position),
        }
    }
}

/// Days since the Unix epoch.
fn day(time: i64) -> i64 {
    time.div_euclid(MICROS_A_DAY)
}

/// The times that facts can have are far within what a date can hold.
fn date(day: i64) -> NaiveDate {
    i32::try_from(day)
        .ok()
        .and_then(NaiveDate::from_epoch_days)
        .unwrap_or_default()
}
