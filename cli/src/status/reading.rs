//! What `etl status` finds out, which is what `etl status --json` prints.
//!
//! The names of the fields are stable: later versions may add some and take none away. A part that can't be
//! reached is `{"error": "…"}` in place of its fields, and what needs it elsewhere is `null`. Times are
//! RFC 3339 in UTC, durations are seconds, sizes are bytes. Rates are `null` without an earlier reading to
//! compare with, so in all but the later readings of `--watch`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Args;
use super::connectors::{self, Connector};
use super::database::{Connection, Tables};
use super::queue::{self, Queue};
use super::sinks::{self, Sink, TopicStand};

/// How long the queue or the tables may take; the topic and the connectors have limits of their own.
const PATIENCE: Duration = Duration::from_secs(30);

/// One look at everything.
#[derive(Serialize)]
pub struct Reading {
    /// When it was taken, by the clock of this machine.
    pub at: DateTime<Utc>,
    /// Since the reading before, with `--watch`.
    pub seconds_since_last: Option<f64>,
    /// Whether every part that was asked about could be reached; else the exit code is 1.
    pub whole: bool,
    /// The queue.
    pub queue: Part<Queue>,
    /// The topic.
    pub topic: Part<TopicStand>,
    /// The tables.
    pub tables: Part<Tables>,
    /// How far each sink has come that has ever read the topic. Empty where the tables can't be reached.
    pub sinks: Vec<Sink>,
    /// The connectors that were named with `--source-metrics` and `--sink-metrics`.
    pub connectors: Vec<Connector>,
}

/// A part, or why it can't be reached.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Part<T> {
    /// It answers.
    Reached(T),
    /// It does not.
    Unreachable {
        /// Why, in a sentence.
        error: String,
    },
}

impl<T> Part<T> {
    fn of(found: anyhow::Result<T>) -> Self {
        found.map_or_else(
            |error| Self::Unreachable {
                error: format!("{error:#}"),
            },
            Self::Reached,
        )
    }

    /// The part, if it was reached.
    pub fn reached(&self) -> Option<&T> {
        match self {
            Self::Reached(part) => Some(part),
            Self::Unreachable { .. } => None,
        }
    }
}

/// Takes readings, and compares each with the one before.
pub struct Watcher {
    args: Args,
    database: Connection,
    last: Option<(Instant, Counts)>,
}

/// What has been counted at one reading, for the rates of the next.
struct Counts {
    topic: Option<i64>,
    /// By sink and partition.
    sinks: HashMap<(String, i32), i64>,
    /// By address: records, facts.
    connectors: HashMap<String, [Option<u64>; 2]>,
}

impl Watcher {
    /// A watcher of what `args` name.
    pub fn new(args: Args) -> Self {
        Self {
            database: Connection::new(args.database_url.clone()),
            args,
            last: None,
        }
    }

    /// Looks at everything at once, in half a minute at most where something hangs.
    pub async fn read(&mut self) -> Reading {
        let Self {
            args,
            database,
            last,
        } = self;
        let began = Instant::now();
        let (queue, found, connectors) = tokio::join!(
            bounded(queue::read(args.queue_url.as_deref())),
            both(&args.topic, database),
            connectors::read(&args.source_metrics, &args.sink_metrics),
        );
        let Both {
            topic,
            tables,
            sinks,
        } = found;
        let mut reading = Reading {
            at: Utc::now(),
            seconds_since_last: None,
            whole: true,
            queue: Part::of(queue),
            topic: Part::of(topic),
            tables: Part::of(tables),
            sinks,
            connectors,
        };
        reading.whole = reading.queue.reached().is_some()
            && reading.topic.reached().is_some()
            && reading.tables.reached().is_some()
            && reading.connectors.iter().all(|one| one.error.is_none());
        if let Some((at, counts)) = last {
            reading.compare(counts, began.duration_since(*at));
        }
        *last = Some((began, reading.counts()));
        reading
    }
}

impl Reading {
    fn counts(&self) -> Counts {
        let partitions = self.sinks.iter().flat_map(|sink| {
            let name = sink.name.clone();
            sink.partitions
                .iter()
                .map(move |one| ((name.clone(), one.partition), one.next_offset))
        });
        let connectors = self.connectors.iter();
        Counts {
            topic: self.topic.reached().map(|topic| topic.records),
            sinks: partitions.collect(),
            connectors: connectors
                .map(|one| (one.address.clone(), [one.records, one.facts]))
                .collect(),
        }
    }

    /// Fills in the rates since `before`, of which `ago` tells how long ago it was.
    fn compare(&mut self, before: &Counts, ago: Duration) {
        let seconds = ago.as_secs_f64().max(0.001);
        self.seconds_since_last = Some(seconds);
        // Backwards goes what was made anew or read again: that is no rate.
        let rate = |now: i64, before: i64| {
            let moved = now.checked_sub(before).filter(|moved| *moved >= 0);
            moved.map(|moved| moved as f64 / seconds)
        };
        if let Part::Reached(topic) = &mut self.topic {
            topic.records_per_second = before.topic.and_then(|before| rate(topic.records, before));
        }
        for sink in &mut self.sinks {
            for one in &mut sink.partitions {
                let key = (sink.name.clone(), one.partition);
                let before = before.sinks.get(&key);
                one.records_per_second = before.and_then(|before| rate(one.next_offset, *before));
            }
            let rates = sink
                .partitions
                .iter()
                .filter_map(|one| one.records_per_second);
            sink.records_per_second = rates.reduce(|sum, rate| sum + rate);
        }
        let count = |count: Option<u64>| count.and_then(|count| i64::try_from(count).ok());
        for one in &mut self.connectors {
            let before = before.connectors.get(&one.address).copied();
            let [records, facts] = before.unwrap_or_default();
            let both = |now, before| rate(count(now)?, count(before)?);
            one.records_per_second = both(one.records, records);
            one.facts_per_second = both(one.facts, facts);
        }
    }
}

struct Both {
    topic: anyhow::Result<TopicStand>,
    tables: anyhow::Result<Tables>,
    sinks: Vec<Sink>,
}

/// Topic and tables together: where a sink stands is a matter of both.
async fn both(topic: &str, database: &mut Connection) -> Both {
    let (ends, found) = tokio::join!(sinks::ends(topic), bounded(database.read(topic)));
    match found {
        Ok((tables, stands)) => {
            let sinks = sinks::compare(ends.as_ref().ok(), stands).await;
            Both {
                topic: ends.map(|ends| ends.stand()),
                tables: Ok(tables),
                sinks,
            }
        }
        Err(error) => Both {
            topic: ends.map(|ends| ends.stand()),
            tables: Err(error),
            sinks: Vec::new(),
        },
    }
}

async fn bounded<T>(asked: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {PATIENCE:?}")))
}
