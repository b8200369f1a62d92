//! The partitions of `fact_events`, created when they are needed.
//!
//! A day from two years back to two months ahead gets a partition, which holds its month or the day alone, as the setting
//! `etl_partition_unit` says. Any other date, a broken clock as a rule, goes to the default partition and creates none.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc};
use tokio_postgres::Client;

use crate::errors::{DatabaseError, Doing};

const MONTHS_BACK: u32 = 24;
const MONTHS_AHEAD: u32 = 2;
const MICROS_A_DAY: i64 = 24 * 3600 * 1_000_000;

/// The days (UTC) that are known to have a partition.
#[derive(Debug, Default)]
pub struct FactPartitions {
    settled: HashSet<NaiveDate>,
}

impl FactPartitions {
    /// Creates the partitions that facts at `times` need (microseconds since the Unix epoch, in order), as far as they are
    /// within the window around `now`, and those of today, tomorrow and the next month.
    ///
    /// # Errors
    /// PostgreSQL's own; a lock timeout, for instance, while a long query reads the facts.
    pub async fn create(
        &mut self,
        client: &mut Client,
        times: impl Iterator<Item = i64>,
        now: DateTime<Utc>,
    ) -> Result<(), DatabaseError> {
        let window = window(now);
        let today = now.date_naive();
        let tomorrow = today.checked_add_days(Days::new(1)).unwrap_or(today);
        let next_month = first_of_month(today)
            .checked_add_months(Months::new(1))
            .unwrap_or(today);
        for day in days_of(times)
            .into_iter()
            .chain([today, tomorrow, next_month])
        {
            if window.contains(&day) && !self.settled.contains(&day) {
                create_partition(client, day).await?;
                self.settled.insert(day);
            }
        }
        Ok(())
    }
}

/// A function of the schema creates it with the rights of the tables' owner, so that the sink needs none.
async fn create_partition(client: &mut Client, day: NaiveDate) -> Result<(), DatabaseError> {
    let row = client
        .query_one("SELECT etl_make_partition($1)", &[&day])
        .await
        .doing("cannot create a partition of the facts")?;
    if let Some(partition) = row.get::<_, Option<String>>(0) {
        tracing::info!(partition, "created a partition of the facts");
    }
    Ok(())
}

fn first_of_month(day: NaiveDate) -> NaiveDate {
    day.checked_sub_days(Days::new(u64::from(day.day0())))
        .unwrap_or(day)
}

/// Whole months, so that a month's partition is created for all of its days or for none.
fn window(now: DateTime<Utc>) -> RangeInclusive<NaiveDate> {
    let today = first_of_month(now.date_naive());
    let first = today.checked_sub_months(Months::new(MONTHS_BACK));
    let behind = today.checked_add_months(Months::new(MONTHS_AHEAD + 1));
    let last = behind.and_then(|day| day.pred_opt());
    first.unwrap_or(today)..=last.unwrap_or(today)
}

/// The days in `times`, which are in order.
fn days_of(times: impl Iterator<Item = i64>) -> Vec<NaiveDate> {
    let mut days: Vec<i64> = times.map(|time| time.div_euclid(MICROS_A_DAY)).collect();
    days.dedup();
    let date = |day: i64| i32::try_from(day).ok().and_then(NaiveDate::from_epoch_days);
    days.into_iter().filter_map(date).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_where_the_next_begins() {
        let times = [
            "1969-12-31T23:59:59.999999Z",
            "2026-01-01T00:00:00Z",
            "2026-01-01T23:59:59.999999Z",
            "2026-01-02T00:00:00Z",
        ];
        let micros = |time: &str| time.parse::<DateTime<Utc>>().unwrap().timestamp_micros();
        let days: Vec<String> = days_of(times.into_iter().map(micros))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(days, ["1969-12-31", "2026-01-01", "2026-01-02"]);
    }

    #[test]
    fn the_window_is_counted_in_whole_months() {
        let window = window("2026-03-31T23:00:00Z".parse().unwrap());
        let day = |date: &str| date.parse::<NaiveDate>().unwrap();
        assert_eq!(window, day("2024-03-01")..=day("2026-05-31"));
    }
}
