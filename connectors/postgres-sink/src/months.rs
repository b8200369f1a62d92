//! The monthly partitions of `fact_events`, made when they are needed.
//!
//! A month from two years back to two months ahead gets a partition of its own; any other date, a
//! broken clock as a rule, goes to the default partition and makes none.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Days, Months as Count, NaiveDate, NaiveTime, Utc};
use tokio_postgres::Client;

use crate::errors::{DatabaseError, Doing};

const MONTHS_BACK: u32 = 24;
const MONTHS_AHEAD: u32 = 2;

/// The partitions that are known to be there.
#[derive(Debug, Default)]
pub struct Months {
    settled: HashSet<Month>,
}

/// A calendar month in UTC, by its first day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Month(NaiveDate);

impl Months {
    /// Makes the partitions that facts at `times` need (microseconds since the Unix epoch, in
    /// order), as far as they are within the window around `now`, and those of this month and the next.
    ///
    /// # Errors
    /// PostgreSQL's own; a lock timeout, for instance, while a long query reads the facts.
    pub async fn make(
        &mut self,
        client: &mut Client,
        times: impl Iterator<Item = i64>,
        now: DateTime<Utc>,
    ) -> Result<(), DatabaseError> {
        let window = Month::window(now);
        let today = Month::of(now);
        for month in Month::of_each(times)
            .into_iter()
            .chain([today, today.next()])
        {
            if window.contains(&month) && !self.settled.contains(&month) {
                month.make_partition(client).await?;
                self.settled.insert(month);
            }
        }
        Ok(())
    }
}

impl Month {
    fn of(time: DateTime<Utc>) -> Self {
        let date = time.date_naive();
        Self(
            date.checked_sub_days(Days::new(u64::from(date.day0())))
                .unwrap_or(date),
        )
    }

    fn next(self) -> Self {
        Self(self.0.checked_add_months(Count::new(1)).unwrap_or(self.0))
    }

    fn window(now: DateTime<Utc>) -> RangeInclusive<Self> {
        let Self(today) = Self::of(now);
        let first = today
            .checked_sub_months(Count::new(MONTHS_BACK))
            .unwrap_or(today);
        let last = today
            .checked_add_months(Count::new(MONTHS_AHEAD))
            .unwrap_or(today);
        Self(first)..=Self(last)
    }

    /// The months in `times`, which are in order.
    fn of_each(times: impl Iterator<Item = i64>) -> Vec<Self> {
        let mut months: Vec<Self> = Vec::new();
        let mut end = i64::MIN;
        for time in times.filter_map(DateTime::from_timestamp_micros) {
            if time.timestamp_micros() < end {
                continue;
            }
            let month = Self::of(time);
            end = month
                .next()
                .0
                .and_time(NaiveTime::MIN)
                .and_utc()
                .timestamp_micros();
            months.push(month);
        }
        months
    }

    /// Made by a function of the schema, with the rights of the tables' owner: the sink needs none.
    async fn make_partition(self, client: &mut Client) -> Result<(), DatabaseError> {
        let made = client
            .query_one("SELECT etl_make_month($1)", &[&self.0])
            .await
            .doing("cannot make a month's partition")?;
        if made.get(0) {
            tracing::info!(month = %self.0.format("%Y-%m"), "made the partition of a month");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(time: &str) -> i64 {
        time.parse::<DateTime<Utc>>().unwrap().timestamp_micros()
    }

    #[test]
    fn a_month_ends_where_the_next_begins() {
        let times = [
            "2025-12-31T23:59:59.999999Z",
            "2026-01-01T00:00:00Z",
            "2026-01-31T23:59:59.999999Z",
            "2026-02-28T12:00:00Z",
        ];
        let months = Month::of_each(times.into_iter().map(micros));
        let days: Vec<String> = months.iter().map(|month| month.0.to_string()).collect();
        assert_eq!(days, ["2025-12-01", "2026-01-01", "2026-02-01"]);
    }

    #[test]
    fn the_window_is_counted_in_whole_months() {
        let window = Month::window("2026-03-31T23:00:00Z".parse().unwrap());
        let month = |date: &str| Month(date.parse().unwrap());
        assert!(window.contains(&month("2024-03-01")) && !window.contains(&month("2024-02-01")));
        assert!(window.contains(&month("2026-05-01")) && !window.contains(&month("2026-06-01")));
    }
}
