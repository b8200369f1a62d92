//! The tables whose rows are computed here, not by a query: those of [`Numbers`], and the click
//! rates by position in a list.

use std::collections::BTreeMap;

use tokio_postgres::Row;

use crate::report::catalogue::{
    CATEGORIES, DAYS, MONEY, NEWCOMERS, PLATFORMS, REVENUE, SESSIONS, column,
};
use crate::report::numbers::{Amounts, Numbers, Sales, Visits};
use crate::report::table::{Cell, Column, Kind, Shade, Table, share};

/// Rows of the table of categories.
const MAX_CATEGORIES: usize = 20;

impl Numbers {
    pub fn days_table(&self) -> Table {
        let rows = self.shown().map(|(day, counts)| {
            vec![
                Cell::Day(day),
                Cell::Count(counts.people),
                Cell::Count(counts.events),
                Cell::Count(counts.list_viewers),
                Cell::Count(counts.viewers),
                Cell::Count(counts.checkout_starters),
                Cell::Count(counts.buyers),
                share(counts.buyers, counts.checkout_starters),
                Cell::Count(counts.orders),
                Cell::Count(counts.list_impressions),
                Cell::Count(counts.clicks),
                share(counts.clicks, counts.list_impressions),
            ]
        });
        DAYS.table(rows.collect())
    }

    pub fn sessions_table(&self) -> Table {
        let days = self.shown().filter(|(_, counts)| counts.sessions > 0);
        let rows = days.map(|(day, counts)| {
            vec![
                Cell::Day(day),
                Cell::Count(counts.sessions),
                share(counts.converted, counts.sessions),
                share(counts.bounces, counts.sessions),
                share(counts.engaged, counts.sessions),
                Cell::Count(counts.converted),
                Cell::Count(counts.bounces),
                Cell::Count(counts.engaged),
            ]
        });
        SESSIONS.table(rows.collect())
    }

    pub fn newcomers_table(&self) -> Table {
        let days = self.shown().filter(|(_, counts)| counts.people > 0);
        let rows = days.map(|(day, counts)| {
            vec![
                Cell::Day(day),
                Cell::Count(counts.new_people),
                Cell::Count(counts.returning_people),
                share(counts.new_people, counts.people),
                Cell::Count(counts.new_buyers),
                Cell::Count(counts.returning_buyers),
            ]
        });
        NEWCOMERS.table(rows.collect())
    }

    pub fn money_table(&self) -> Table {
        let all = self.shown_amounts().filter(|amounts| amounts.day.is_none());
        MONEY.table(all.map(|amounts| amounts.cells().into()).collect())
    }

    pub fn revenue_table(&self) -> Table {
        let mut days: Vec<&Amounts> = self
            .shown_amounts()
            .filter(|amounts| amounts.day.is_some())
            .collect();
        days.sort_by_key(|amounts| (amounts.day, &amounts.currency));
        let rows = days.iter().map(|amounts| {
            let day = amounts.day.map_or(Cell::Nothing, Cell::Day);
            std::iter::once(day).chain(amounts.cells()).collect()
        });
        REVENUE.table(rows.collect())
    }

    pub fn platforms_table(&self) -> Table {
        let mut platforms: Vec<(&String, Visits)> = self
            .visits_by_platform
            .iter()
            .map(|(platform, visits)| (platform, *visits))
            .collect();
        let only_sales = self
            .sales_by_platform
            .iter()
            .filter(|sales| !self.visits_by_platform.contains_key(&sales.value))
            .map(|sales| (&sales.value, Visits::default()));
        platforms.extend(only_sales);
        platforms.sort_by_key(|(platform, visits)| (-visits.sessions.shown, *platform));
        platforms.dedup_by_key(|(platform, _)| *platform);
        let mut rows = Vec::new();
        for (platform, visits) in platforms {
            let people = self.people_by_platform.get(platform);
            let people = people.map_or(0, |people| people.shown);
            let row = |sales: Option<&Sales>| {
                let sessions = visits.sessions.shown;
                vec![
                    Cell::Text(platform.clone()),
                    share(visits.converted.shown, sessions),
                    share(visits.bounces.shown, sessions),
                    sales.map_or(Cell::Nothing, |sales| sales.revenue.clone()),
                    sales.map_or(Cell::Nothing, |sales| self.change(sales)),
                    Cell::Count(sales.map_or(0, |sales| sales.orders.shown)),
                    Cell::Count(sessions),
                    Cell::Count(people),
                ]
            };
            let sold = sold(&self.sales_by_platform).filter(|sales| sales.value == *platform);
            let sold: Vec<_> = sold.map(|sales| row(Some(sales))).collect();
            if sold.is_empty() && visits.sessions.shown + people > 0 {
                rows.push(row(None));
            }
            rows.extend(sold);
        }
        PLATFORMS.table(rows)
    }

    pub fn categories_table(&self) -> Table {
        let rows: Vec<_> = sold(&self.sales_by_category)
            .map(|sales| {
                vec![
                    Cell::Text(sales.value.clone()),
                    sales.revenue.clone(),
                    self.change(sales),
                    Cell::Count(sales.orders.shown),
                    Cell::Units(sales.units.clone()),
                    sales.per_order.clone(),
                ]
            })
            .collect();
        let all = rows.len();
        let rows = rows.into_iter().take(MAX_CATEGORIES).collect();
        Table {
            of_all: Some(all as i64),
            ..CATEGORIES.table(rows)
        }
    }

    fn change(&self, sales: &Sales) -> Cell {
        let [now, before] = sales.compared;
        if self.comparison.is_none() || before <= 0.0 {
            return Cell::Nothing;
        }
        Cell::Change(now / before - 1.0)
    }
}

fn sold(sales: &[Sales]) -> impl Iterator<Item = &Sales> {
    sales.iter().filter(|sales| sales.orders.shown > 0)
}

/// The click rates by position.
pub struct Positions {
    /// Over all lists: position, impressions, clicks, rate.
    pub everywhere: Table,
    /// The rates of the largest lists.
    pub lists: Table,
}

/// Builds the tables from the rows of `sql/positions.sql`.
///
/// # Errors
/// Fails if a column has another type.
pub fn positions(rows: &[Row], min_impressions: i64) -> anyhow::Result<Positions> {
    let mut everywhere = Vec::new();
    let mut lists: Vec<(i64, String, BTreeMap<i32, Cell>)> = Vec::new();
    for row in rows {
        let position: i32 = row.try_get(2)?;
        let (shown, clicked): (i64, i64) = (row.try_get(3)?, row.try_get(4)?);
        let rate = share(clicked, shown);
        let Some(key) = row.try_get::<_, Option<i64>>(0)? else {
            everywhere.push((position, shown, clicked, rate));
            continue;
        };
        // Rates of few impressions are noise.
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

fn empty(min_impressions: i64) -> String {
    format!(
        "No position of a list showed {min_impressions} products or more in these days, or no \
         positions (GA4 index) are sent."
    )
}

fn curve(rows: Vec<(i32, i64, i64, Cell)>, min_impressions: i64) -> Table {
    Table {
        id: "positions",
        title: "All lists together",
        lead: format!(
            "Clicks at a position / products shown there, over all lists; positions as sent (GA4 \
             index). Clicks are those of the top lists. Rates of fewer than {min_impressions} \
             products shown are left out."
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
    columns.extend(positions.iter().map(|position| Column {
        title: position.to_string().into(),
        ..column("", Kind::Rate, "")
    }));
    Table {
        id: "list-positions",
        title: "Click rate by list and position",
        lead: "The ten lists with most impressions, the largest first.".to_owned(),
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
