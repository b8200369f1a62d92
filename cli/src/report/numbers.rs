//! The numbers behind the headline: by day, platform, category and list, for the days shown and for
//! the previous period.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use crate::report::days::{Comparison, Range, Span};
use crate::report::table::{Cell, money};

/// The counts of a day.
#[derive(Clone, Copy, Default)]
pub struct Day {
    pub people: i64,
    pub list_viewers: i64,
    pub viewers: i64,
    pub checkout_starters: i64,
    pub buyers: i64,
    pub events: i64,
    pub impressions: i64,
    pub orders: i64,
    pub sessions: i64,
    pub engaged: i64,
    pub converted: i64,
    pub bounces: i64,
    pub new_people: i64,
    pub returning_people: i64,
    pub new_buyers: i64,
    pub returning_buyers: i64,
    /// Products shown in lists that have an id or a name.
    pub list_impressions: i64,
    pub clicks: i64,
}

/// A number for the days shown, for the days compared, and for the previous period.
#[derive(Clone, Copy, Default)]
pub struct Sums {
    pub shown: i64,
    pub now: i64,
    pub before: i64,
}

impl Sums {
    /// The values of the days compared and of the previous period.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a comparison for people to read"
    )]
    pub fn compared(self) -> [f64; 2] {
        [self.now as f64, self.before as f64]
    }
}

#[derive(Clone, Copy, Default)]
pub struct Visits {
    pub sessions: Sums,
    pub bounces: Sums,
    pub converted: Sums,
}

/// The impressions and clicks of a list.
pub struct ListClicks {
    pub list: String,
    pub impressions: Sums,
    pub clicks: Sums,
}

/// Sales of a platform or a category in a currency.
pub struct Sales {
    pub value: String,
    pub currency: String,
    pub orders: Sums,
    pub units: String,
    pub revenue: Cell,
    pub per_order: Cell,
    /// Revenue of the days compared and of the previous period.
    pub compared: [f64; 2],
}

/// Orders and amounts in a currency, of a day or of all days.
pub struct Amounts {
    /// True if converted to the reporting currency.
    is_reporting: bool,
    /// True for the days shown, false for the previous period.
    is_shown: bool,
    pub day: Option<NaiveDate>,
    pub currency: String,
    pub orders: i64,
    pub units: String,
    pub revenue: Cell,
    pub refunds: Cell,
    pub net: Cell,
    pub per_order: Cell,
    /// Orders in currencies without an exchange rate.
    pub left_out: i64,
}

impl Amounts {
    /// The cells of its row without the day.
    pub fn cells(&self) -> [Cell; 7] {
        [
            Cell::Text(self.currency.clone()),
            self.revenue.clone(),
            self.refunds.clone(),
            self.net.clone(),
            self.per_order.clone(),
            Cell::Count(self.orders),
            Cell::Units(self.units.clone()),
        ]
    }
}

pub struct Numbers {
    pub range: Range,
    /// The previous period, of the same length as the range.
    pub before: Option<Span>,
    pub comparison: Option<Comparison>,
    pub reporting_currency: Option<String>,
    /// The days of the range and of the previous period.
    pub days: BTreeMap<NaiveDate, Day>,
    pub people: Sums,
    pub people_by_platform: BTreeMap<String, Sums>,
    pub visits_by_platform: BTreeMap<String, Visits>,
    pub clicks_by_list: Vec<ListClicks>,
    pub sales_by_platform: Vec<Sales>,
    pub sales_by_category: Vec<Sales>,
    amounts: Vec<Amounts>,
}

impl Numbers {
    /// Calls each function of the schema `analytics` once.
    ///
    /// # Errors
    /// The server's own.
    pub async fn read(client: &Client, range: Range) -> anyhow::Result<Self> {
        let before = range.before(client).await?;
        let comparison = before.and_then(|before| range.comparison(before));
        let reporting_currency = client
            .query_one("SELECT analytics.reporting_currency()", &[])
            .await?
            .try_get(0)?;
        let mut numbers = Self {
            range,
            before,
            comparison,
            reporting_currency,
            days: BTreeMap::new(),
            people: Sums::default(),
            people_by_platform: BTreeMap::new(),
            visits_by_platform: BTreeMap::new(),
            clicks_by_list: Vec::new(),
            sales_by_platform: Vec::new(),
            sales_by_category: Vec::new(),
            amounts: Vec::new(),
        };
        numbers.read_days(client).await?;
        numbers.read_people(client).await?;
        numbers.read_clicks(client).await?;
        numbers.read_visits(client).await?;
        numbers.sales_by_platform = numbers.read_sales(client, "platform").await?;
        numbers.sales_by_category = numbers.read_sales(client, "category").await?;
        numbers.read_amounts(client).await?;
        Ok(numbers)
    }

    /// The first day of the previous period, or of the range if there is none.
    fn since(&self) -> NaiveDate {
        self.before.map_or(self.range.from, |before| before.first)
    }

    /// The last day of the previous period that is compared.
    fn compared_until(&self) -> Option<NaiveDate> {
        self.comparison.map(|compared| compared.before.last)
    }

    async fn read_days(&mut self, client: &Client) -> anyhow::Result<()> {
        let params = (self.since(), self.range.to);
        let sql = include_str!("sql/days.sql");
        for row in client.query(sql, &[&params.0, &params.1]).await? {
            let day = self.days.entry(row.try_get(0)?).or_default();
            let counts = [
                &mut day.events,
                &mut day.impressions,
                &mut day.orders,
                &mut day.sessions,
                &mut day.engaged,
                &mut day.converted,
                &mut day.bounces,
                &mut day.new_people,
                &mut day.returning_people,
                &mut day.new_buyers,
                &mut day.returning_buyers,
            ];
            for (index, count) in counts.into_iter().enumerate() {
                *count = row.try_get(index + 1)?;
            }
        }
        Ok(())
    }

    async fn read_people(&mut self, client: &Client) -> anyhow::Result<()> {
        let sql = include_str!("sql/people.sql");
        for row in self.compared(client, sql, &[]).await? {
            if let Some(day) = row.try_get(0)? {
                let day = self.days.entry(day).or_default();
                day.people = row.try_get(2)?;
                day.list_viewers = row.try_get(3)?;
                day.viewers = row.try_get(4)?;
                day.checkout_starters = row.try_get(5)?;
                day.buyers = row.try_get(6)?;
                continue;
            }
            let people = Sums {
                shown: row.try_get(2)?,
                now: row.try_get(3)?,
                before: row.try_get(4)?,
            };
            match row.try_get(1)? {
                Some(platform) => drop(self.people_by_platform.insert(platform, people)),
                None => self.people = people,
            }
        }
        Ok(())
    }

    async fn read_clicks(&mut self, client: &Client) -> anyhow::Result<()> {
        let sql = include_str!("sql/clicks.sql");
        for row in self.compared(client, sql, &[]).await? {
            let (impressions, clicks) = (row.try_get(2)?, row.try_get(3)?);
            if let Some(day) = row.try_get(0)? {
                let day = self.days.entry(day).or_default();
                (day.list_impressions, day.clicks) = (impressions, clicks);
                continue;
            }
            self.clicks_by_list.push(ListClicks {
                list: row.try_get(1)?,
                impressions: Sums {
                    shown: impressions,
                    now: row.try_get(4)?,
                    before: row.try_get(6)?,
                },
                clicks: Sums {
                    shown: clicks,
                    now: row.try_get(5)?,
                    before: row.try_get(7)?,
                },
            });
        }
        Ok(())
    }

    async fn read_visits(&mut self, client: &Client) -> anyhow::Result<()> {
        let sql = include_str!("sql/visits.sql");
        for row in self.compared(client, sql, &[]).await? {
            let part: i32 = row.try_get(0)?;
            let visits = self.visits_by_platform.entry(row.try_get(1)?).or_default();
            let sums = [
                &mut visits.sessions,
                &mut visits.bounces,
                &mut visits.converted,
            ];
            for (index, sum) in sums.into_iter().enumerate() {
                let count: i64 = row.try_get(index + 2)?;
                match part {
                    0 => sum.before += count,
                    1 => {
                        sum.now += count;
                        sum.shown += count;
                    }
                    _ => sum.shown += count,
                }
            }
        }
        Ok(())
    }

    async fn read_sales(&self, client: &Client, dimension: &str) -> anyhow::Result<Vec<Sales>> {
        let sql = include_str!("sql/sales.sql");
        let rows = self.compared(client, sql, &[&dimension]).await?;
        rows.iter()
            .map(|row| {
                let currency: String = row.try_get(1)?;
                let money = |amount| money(amount, &currency);
                Ok(Sales {
                    value: row.try_get(0)?,
                    orders: Sums {
                        shown: row.try_get(2)?,
                        now: row.try_get(6)?,
                        before: row.try_get(8)?,
                    },
                    units: row.try_get(3)?,
                    revenue: money(row.try_get(4)?),
                    per_order: money(row.try_get(5)?),
                    compared: [row.try_get(7)?, row.try_get(9)?],
                    currency,
                })
            })
            .collect()
    }

    async fn read_amounts(&mut self, client: &Client) -> anyhow::Result<()> {
        let sql = include_str!("sql/revenue.sql");
        let (from, to, since) = (self.range.from, self.range.to, self.since());
        for row in client.query(sql, &[&from, &to, &since]).await? {
            let currency: String = row.try_get(3)?;
            let money = |amount| money(amount, &currency);
            self.amounts.push(Amounts {
                is_reporting: row.try_get(0)?,
                is_shown: row.try_get(1)?,
                day: row.try_get(2)?,
                orders: row.try_get(4)?,
                units: row.try_get(5)?,
                revenue: money(row.try_get(6)?),
                refunds: money(row.try_get(7)?),
                net: money(row.try_get(8)?),
                per_order: money(row.try_get(9)?),
                left_out: row.try_get(10)?,
                currency,
            });
        }
        Ok(())
    }

    /// Runs a query over the range ($1 to $2) and the previous period (from $3). The days up to $4
    /// are compared with those up to $5. Further parameters follow.
    async fn compared(
        &self,
        client: &Client,
        sql: &str,
        further: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let Range { from, to, .. } = self.range;
        let (since, finished, until) = (self.since(), self.range.finished(), self.compared_until());
        let days: [&(dyn ToSql + Sync); 5] = [&from, &to, &since, &finished, &until];
        client.query(sql, &[&days, further].concat()).await
    }

    /// The days to show: from the first with facts to the last, including empty days between.
    pub fn shown(&self) -> impl Iterator<Item = (NaiveDate, Day)> {
        let range = self.range;
        let with_facts = || self.days.range(range.from..=range.to).map(|(day, _)| *day);
        let first = with_facts().next();
        let last = with_facts()
            .next_back()
            .max(Some(range.to.min(range.today)));
        let days = first.into_iter().flat_map(|day| day.iter_days());
        days.take_while(move |day| Some(*day) <= last)
            .map(|day| (day, self.on(day)))
    }

    /// The counts of a day.
    pub fn on(&self, day: NaiveDate) -> Day {
        self.days.get(&day).copied().unwrap_or_default()
    }

    /// The sum of a count over the days shown.
    pub fn sum(&self, count: fn(&Day) -> i64) -> i64 {
        self.sum_over(
            Span {
                first: self.range.from,
                last: self.range.to,
            },
            count,
        )
    }

    pub fn sum_over(&self, span: Span, count: fn(&Day) -> i64) -> i64 {
        let days = self.days.range(span.first..=span.last);
        days.map(|(_, day)| count(day)).sum()
    }

    /// The amounts of the headline: in the reporting currency, else in each currency by descending
    /// number of orders.
    pub fn headline_amounts(&self) -> impl Iterator<Item = &Amounts> {
        self.of_headline()
            .filter(|amounts| amounts.is_shown && amounts.day.is_none())
    }

    /// The amounts of the headline by day, including the previous period.
    pub fn daily_amounts(&self, currency: &str) -> BTreeMap<NaiveDate, &Amounts> {
        self.of_headline()
            .filter(|amounts| amounts.currency == currency)
            .filter_map(|amounts| Some((amounts.day?, amounts)))
            .collect()
    }

    fn of_headline(&self) -> impl Iterator<Item = &Amounts> {
        let is_reporting = self.reporting_currency.is_some();
        self.amounts
            .iter()
            .filter(move |amounts| amounts.is_reporting == is_reporting)
    }

    /// The amounts of the days shown, in the currencies of the events.
    pub fn shown_amounts(&self) -> impl Iterator<Item = &Amounts> {
        self.amounts
            .iter()
            .filter(|amounts| !amounts.is_reporting && amounts.is_shown)
    }
}
