//! Creates partitions of `fact_events` when facts need them.
//!
//! A day from two years back to two months ahead gets a partition, for its month or for the day
//! alone, depending on the setting `etl_partition_unit`. Facts of any other date, mostly from a
//! broken clock, go to the default partition.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc};
use tokio_postgres::error::SqlState;

use crate::database::Lease;
use crate::error::Error;
use crate::transaction::answer;

/// The pause after a partition could not be created because of a reader of the facts: each attempt
/// makes others wait for a second.
const LOCKED_PAUSE: Duration = Duration::from_secs(60);
/// The pause after any other failure: to move many facts took too long, for instance.
const FAILED_PAUSE: Duration = Duration::from_secs(600);
const MONTHS_BACK: u32 = 24;
const MONTHS_AHEAD: u32 = 2;
const MICROS_A_DAY: i64 = 24 * 3600 * 1_000_000;

/// Creates partitions, and remembers the days (UTC) that have one.
#[derive(Debug, Default)]
pub struct FactPartitions {
    known: HashSet<NaiveDate>,
    /// The end of the pause after a reader of the facts prevented a partition.
    locked_until: Option<Instant>,
    /// The end of the pause after partitions could not be created ahead of time.
    next_ahead: Option<Instant>,
}

impl FactPartitions {
    /// Creates the missing partitions for facts at `times` (microseconds since the Unix epoch, in
    /// order) within the window around `now`.
    ///
    /// Facts don't wait for a partition while a dump or a long query reads the facts: they go to
    /// the default one. When the partition is created later, it takes them over from there.
    ///
    /// # Errors
    /// [`Error::FactPartition`], for instance a missing right.
    pub async fn create(
        &mut self,
        lease: &mut Lease,
        times: impl Iterator<Item = i64>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        if is_pause(self.locked_until) {
            return Ok(());
        }
        match self.create_missing(lease, days_of(times), now).await {
            Err(error) if is_postponed(&error) => {
                self.locked_until = Some(pause_after(&error));
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Creates partitions ahead of time, for today, tomorrow and the next month. To be called after
    /// a write, since a failure only means another attempt later. Returns false if the connection
    /// has to be closed.
    pub(crate) async fn create_ahead(&mut self, lease: &mut Lease, now: DateTime<Utc>) -> bool {
        if is_pause(self.next_ahead) || is_pause(self.locked_until) {
            return true;
        }
        let today = now.date_naive();
        let tomorrow = today.checked_add_days(Days::new(1)).unwrap_or(today);
        let next_month = first_of_month(today)
            .checked_add_months(Months::new(1))
            .unwrap_or(today);
        let days = vec![today, tomorrow, next_month];
        match self.create_missing(lease, days, now).await {
            Ok(()) => true,
            Err(error) => {
                self.next_ahead = Some(pause_after(&error));
                error.sqlstate().is_some()
            }
        }
    }

    async fn create_missing(
        &mut self,
        lease: &mut Lease,
        days: Vec<NaiveDate>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let window = window(now);
        for day in days {
            if window.contains(&day) && !self.known.contains(&day) {
                create_partition(lease, day).await?;
                self.known.insert(day);
            }
        }
        Ok(())
    }
}

fn is_pause(end: Option<Instant>) -> bool {
    end.is_some_and(|end| Instant::now() < end)
}

/// Logs the failure, and returns the time of the next attempt.
fn pause_after(error: &Error) -> Instant {
    let pause = if is_locked(error) {
        LOCKED_PAUSE
    } else {
        FAILED_PAUSE
    };
    tracing::warn!(
        "trying again in {pause:?}; meanwhile facts without a partition go to \
         fact_events_default: {}",
        error.chain()
    );
    Instant::now() + pause
}

fn is_locked(error: &Error) -> bool {
    error.sqlstate() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// Another session has locked the facts, or the move of facts from the default partition took too
/// long.
fn is_postponed(error: &Error) -> bool {
    is_locked(error) || error.is_cancelled()
}

/// Calls a function that runs with the rights of the tables' owner, so that the sink needs none.
async fn create_partition(lease: &mut Lease, day: NaiveDate) -> Result<(), Error> {
    let timeout = lease.timeout();
    let create = "SELECT etl_make_partition($1)";
    let row = answer(timeout, lease.client().query_one(create, &[&day])).await;
    let row = row.map_err(Error::FactPartition)?;
    if let Some(partition) = row.get::<_, Option<String>>(0) {
        tracing::info!(partition, "created a partition of the facts");
    }
    Ok(())
}

fn first_of_month(day: NaiveDate) -> NaiveDate {
    day.checked_sub_days(Days::new(u64::from(day.day0())))
        .unwrap_or(day)
}

/// The days that get a partition: whole months, so that a month's partition is created for all of
/// its days or for none.
fn window(now: DateTime<Utc>) -> RangeInclusive<NaiveDate> {
    let today = first_of_month(now.date_naive());
    let first = today.checked_sub_months(Months::new(MONTHS_BACK));
    let behind = today.checked_add_months(Months::new(MONTHS_AHEAD + 1));
    let last = behind.and_then(|day| day.pred_opt());
    first.unwrap_or(today)..=last.unwrap_or(today)
}

/// The days of `times`, which are in order.
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
