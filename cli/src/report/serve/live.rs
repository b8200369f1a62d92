//! The live strip: events a second, lag, open hours and the last events.
//!
//! The cost of a reading does not depend on the number of facts: it reads the counters of
//! `sink_offsets`, the open hours, and the end of the facts' primary key. Viewers share readings.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use super::connections::Connections;
use crate::display;
use crate::report::figures;

/// The time that viewers share a reading.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// Timeout of a reading, which normally takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The rate is over this time, or over the time since the first reading.
const RATE_OVER: TimeDelta = TimeDelta::seconds(60);
/// Facts dated further ahead come from a wrong clock and are left out.
const AHEAD: TimeDelta = TimeDelta::minutes(1);
/// Windows for the last events; the first one with enough events is used.
const WINDOWS: [TimeDelta; 4] = [
    TimeDelta::hours(1),
    TimeDelta::days(1),
    TimeDelta::days(32),
    TimeDelta::days(3660),
];
/// Events that the strip shows.
const EVENTS: usize = 10;

const COUNTERS: &str = include_str!("../sql/live_counters.sql");
const LAST_EVENTS: &str = include_str!("../sql/live_events.sql");

/// A reading of the strip. Times are UTC.
#[derive(Debug, Serialize)]
pub struct Sample {
    /// The database's clock.
    pub at: DateTime<Utc>,
    /// The reporting time zone.
    pub time_zone: String,
    /// Records that the sinks commit a second; `null` at the first reading.
    pub events_per_second: Option<f64>,
    /// The time that the rate is over.
    pub over_seconds: Option<i64>,
    /// The median time from SQS's receipt of an event to its commit, over the last events; `null`
    /// if none of them came through SQS.
    pub lag_seconds: Option<f64>,
    /// The sinks' last commit.
    pub committed_at: Option<DateTime<Utc>>,
    /// Hours with new facts, not yet aggregated.
    pub open_hours: i64,
    /// The last events, newest first.
    pub events: Vec<Event>,
}

/// An event with the names of its first product and list.
#[derive(Debug, Serialize)]
pub struct Event {
    at: DateTime<Utc>,
    name: String,
    platform: Option<String>,
    items: i64,
    product: Option<String>,
    list: Option<String>,
    #[serde(skip)]
    lag_seconds: Option<f64>,
}

/// A reading, or the reason that it failed.
pub type Reading = Result<Arc<Sample>, Arc<str>>;

/// Reads the strip for all viewers.
pub struct Live {
    connections: Arc<Connections>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The sum of all records at each reading of the last minute.
    counted: VecDeque<(DateTime<Utc>, i64)>,
    last: Option<(Instant, Reading)>,
}

impl Live {
    /// Without readings yet.
    pub fn new(connections: Arc<Connections>) -> Self {
        Self {
            connections,
            state: Mutex::default(),
        }
    }

    /// The current reading.
    pub async fn read(&self) -> Reading {
        let mut state = self.state.lock().await;
        if let Some((at, reading)) = &state.last
            && at.elapsed() < SHARED_FOR
        {
            return reading.clone();
        }
        let read = tokio::time::timeout(TIMEOUT * 2, self.sample(&mut state)).await;
        let reading = match read {
            Ok(Ok(sample)) => Ok(Arc::new(sample)),
            Ok(Err(error)) => Err(format!("{error:#}").into()),
            Err(_) => Err("timed out waiting for the database".into()),
        };
        state.last = Some((Instant::now(), reading.clone()));
        reading
    }

    async fn sample(&self, state: &mut State) -> anyhow::Result<Sample> {
        let lease = self.connections.lease().await?;
        let sample = async {
            begin(&lease).await?;
            let sample = read(&lease, state).await?;
            lease.batch_execute("ROLLBACK").await?;
            anyhow::Ok(sample)
        };
        let sample = sample.await.map_err(explained)?;
        self.connections.keep(lease);
        Ok(sample)
    }
}

async fn begin(client: &Client) -> anyhow::Result<()> {
    client.batch_execute("BEGIN READ ONLY").await?;
    let timeout = "SELECT set_config('statement_timeout', $1, true)";
    let millis = TIMEOUT.as_millis().to_string();
    client.query_one(timeout, &[&millis]).await?;
    Ok(())
}

async fn read(client: &Client, state: &mut State) -> anyhow::Result<Sample> {
    let row = client.query_one(COUNTERS, &[]).await?;
    let at: DateTime<Utc> = row.try_get(0)?;
    let rate = rate(&mut state.counted, at, row.try_get(3)?);
    let events = last_events(client, at).await?;
    Ok(Sample {
        at,
        time_zone: row.try_get(1)?,
        events_per_second: rate.map(|(rate, _)| rate),
        over_seconds: rate.map(|(_, seconds)| seconds),
        lag_seconds: median(
            events
                .iter()
                .filter_map(|event| event.lag_seconds)
                .collect(),
        ),
        committed_at: row.try_get(4)?,
        open_hours: row.try_get(2)?,
        events,
    })
}

async fn last_events(client: &Client, now: DateTime<Utc>) -> anyhow::Result<Vec<Event>> {
    let mut events = Vec::new();
    for window in WINDOWS {
        let rows = client
            .query(LAST_EVENTS, &[&(now - window), &(now + AHEAD)])
            .await?;
        events = rows.iter().map(event).collect::<Result<_, _>>()?;
        if events.len() >= EVENTS {
            break;
        }
    }
    Ok(events)
}

fn event(row: &Row) -> Result<Event, tokio_postgres::Error> {
    let short = |text: Option<String>| text.map(|text| display::short(&text));
    let at: DateTime<Utc> = row.try_get(0)?;
    let ingested_at: DateTime<Utc> = row.try_get(6)?;
    let sent_at: Option<DateTime<Utc>> = row.try_get(7)?;
    Ok(Event {
        at,
        name: display::short(row.try_get(1)?),
        platform: short(row.try_get(2)?),
        items: row.try_get(3)?,
        product: short(row.try_get(4)?),
        list: short(row.try_get(5)?),
        lag_seconds: sent_at.map(|sent_at| (ingested_at - sent_at).as_seconds_f64()),
    })
}

/// Adds a count. Returns the rate since the oldest count of the last minute, and the seconds since.
fn rate(
    counted: &mut VecDeque<(DateTime<Utc>, i64)>,
    at: DateTime<Utc>,
    records: i64,
) -> Option<(f64, i64)> {
    // The sum falls when an operator deletes a sink's offsets to replay a topic.
    if counted.back().is_some_and(|(_, before)| *before > records) {
        counted.clear();
    }
    counted.push_back((at, records));
    while counted
        .front()
        .is_some_and(|(first, _)| at - *first > RATE_OVER)
    {
        counted.pop_front();
    }
    let (since, before) = *counted.front()?;
    let seconds = (at - since).as_seconds_f64();
    #[allow(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let moved = (records - before) as f64;
    (seconds > 0.5).then(|| (moved / seconds, (at - since).num_seconds().max(1)))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn explained(error: anyhow::Error) -> anyhow::Error {
    let code = error
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(tokio_postgres::Error::code);
    if code == Some(&SqlState::QUERY_CANCELED) {
        return anyhow!(
            "timed out after {TIMEOUT:?} reading the tables; one of them may be locked"
        );
    }
    figures::explained(error, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_rate_is_over_the_last_minute() {
        let mut counted = VecDeque::new();
        assert_eq!(rate(&mut counted, second(0), 100), None);
        assert_eq!(rate(&mut counted, second(2), 120), Some((10.0, 2)));
        assert_eq!(rate(&mut counted, second(60), 700), Some((10.0, 60)));
        assert_eq!(rate(&mut counted, second(62), 720), Some((10.0, 60)));
        assert_eq!(counted.len(), 3, "readings older than a minute are dropped");
        assert_eq!(
            rate(&mut counted, second(64), 5),
            None,
            "a replay starts again"
        );
        assert_eq!(
            rate(&mut counted, second(200), 9),
            None,
            "the last reading is minutes old"
        );
    }

    #[test]
    fn a_median_of_nothing_is_nothing() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![9.0, 1.0, 5.0]), Some(5.0));
    }
}
