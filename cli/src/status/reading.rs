//! A reading of the pipeline's state, as printed by `etl status --json`.
//!
//! The names of the fields are stable: later versions may add fields, but not remove any. An
//! unreachable part is `{"error": "…"}` instead of its fields, and values that depend on it are
//! `null`. Times are RFC 3339 in UTC, durations are seconds, sizes are bytes. Rates are `null`
//! except in the later readings of `--watch`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client;
use chrono::{DateTime, Utc};
use connector_common::chain;
use futures_util::future::join_all;
use serde::Serialize;
use sqs_source::config::QueueRef;
use sqs_source::queue::Queue as _;
use sqs_source::sqs::Sqs;

use super::database::{Connection, Tables};
#[cfg(feature = "lake")]
use super::lake::{self, LakeState};
use super::sinks::{self, Sink, TopicState};
use crate::arguments::{self, Database, Endpoints, TopicName};
use crate::endpoint::{Endpoint, Metrics};
#[cfg(feature = "lake")]
use crate::lake::LakeFile;

/// Timeout of the queue, the tables and the lake; the topic and the connectors have their own.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The arguments that name the parts of the pipeline.
#[derive(clap::Args)]
pub struct Parts {
    #[command(flatten)]
    queue: arguments::Queue,
    #[command(flatten)]
    topic: TopicName,
    #[command(flatten)]
    database: Database,
    #[cfg(feature = "lake")]
    #[command(flatten)]
    lake: LakeFile,
    #[command(flatten)]
    endpoints: Endpoints,
}

/// The state of the pipeline at one time.
#[derive(Serialize)]
pub struct Reading {
    /// The time of the reading, by the clock of this machine.
    pub at: DateTime<Utc>,
    /// The time since the previous reading, with `--watch`.
    pub seconds_since_last: Option<f64>,
    /// True if every part responded; else the exit code is 1.
    pub whole: bool,
    /// The queue.
    pub queue: Part<Queue>,
    /// The topic.
    pub topic: Part<TopicState>,
    /// The tables.
    pub tables: Part<Tables>,
    /// The sinks that have ever read the topic. Empty if the tables are unreachable.
    pub sinks: Vec<Sink>,
    /// The lake; `null` without `--lake-config`.
    #[cfg(feature = "lake")]
    pub lake: Option<Part<LakeState>>,
    /// The connectors of `--source-metrics` and `--sink-metrics`.
    pub connectors: Vec<Connector>,
}

/// A part, or the reason that it is unreachable.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Part<T> {
    Reached(T),
    Unreachable { error: String },
}

impl<T> Part<T> {
    fn of(found: anyhow::Result<T>) -> Self {
        found.map_or_else(
            |error| Self::Unreachable {
                error: chain(error.as_ref()),
            },
            Self::Reached,
        )
    }

    /// The part, if it is reachable.
    pub fn reached(&self) -> Option<&T> {
        match self {
            Self::Reached(part) => Some(part),
            Self::Unreachable { .. } => None,
        }
    }
}

/// Takes readings, and computes rates from the previous one.
pub struct Watcher {
    parts: Parts,
    connection: Connection,
    #[cfg(feature = "lake")]
    lake: lake::Connection,
    last: Option<(Instant, Counts)>,
}

/// The counts of a reading, for the rates of the next one.
struct Counts {
    topic: Option<i64>,
    /// By sink and partition.
    sinks: HashMap<(String, i32), i64>,
    /// Records and facts by address.
    connectors: HashMap<String, [Option<u64>; 2]>,
}

impl Watcher {
    /// A watcher of `parts`.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            connection: Connection::default(),
            #[cfg(feature = "lake")]
            lake: lake::Connection::default(),
            last: None,
        }
    }

    /// Takes a reading of all parts concurrently. Takes half a minute at most.
    pub async fn read(&mut self) -> Reading {
        let Self {
            parts,
            connection,
            #[cfg(feature = "lake")]
                lake: connection_to_lake,
            last,
        } = self;
        let began = Instant::now();
        let topic = &parts.topic.topic;
        let others = async {
            tokio::join!(
                bounded(self::queue(&parts.queue)),
                sinks::ends(topic),
                bounded(connection.read(&parts.database, topic)),
                self::connectors(&parts.endpoints),
            )
        };
        #[cfg(feature = "lake")]
        let ((queue, ends, found, connectors), lake) =
            tokio::join!(others, bounded(connection_to_lake.read(&parts.lake)));
        #[cfg(not(feature = "lake"))]
        let (queue, ends, found, connectors) = others.await;
        let (tables, sinks) = match found {
            Ok((tables, offsets)) => {
                let sinks = sinks::compare(ends.as_ref().ok(), offsets).await;
                (Ok(tables), sinks)
            }
            Err(error) => (Err(error), Vec::new()),
        };
        #[cfg(feature = "lake")]
        let lake = match lake.transpose() {
            Some(Ok(committed)) => Some(Ok(committed.compare(ends.as_ref().ok()).await)),
            Some(Err(error)) => Some(Err(error)),
            None => None,
        };
        let mut reading = Reading {
            at: Utc::now(),
            seconds_since_last: None,
            whole: true,
            queue: Part::of(queue),
            topic: Part::of(ends.map(|ends| ends.state())),
            tables: Part::of(tables),
            sinks,
            #[cfg(feature = "lake")]
            lake: lake.map(Part::of),
            connectors,
        };
        reading.whole = reading.queue.reached().is_some()
            && reading.topic.reached().is_some()
            && reading.tables.reached().is_some()
            && reading.connectors.iter().all(|one| one.error.is_none());
        #[cfg(feature = "lake")]
        if let Some(Part::Unreachable { .. }) = reading.lake {
            reading.whole = false;
        }
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

    /// Sets the rates since the counts `before`, of a reading `ago`.
    fn compare(&mut self, before: &Counts, ago: Duration) {
        let seconds = ago.as_secs_f64().max(0.001);
        self.seconds_since_last = Some(seconds);
        // A count that falls was recreated or replayed and has no rate.
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

async fn bounded<T>(asked: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(TIMEOUT, asked)
        .await
        .unwrap_or_else(|_| Err(anyhow!("timed out after {TIMEOUT:?}")))
}

/// The approximate numbers of messages in the queue, as SQS counts them.
///
/// SQS reports the age of the oldest message in CloudWatch only (`ApproximateAgeOfOldestMessage`).
/// The source reports that of the oldest message in flight, in `connectors`.
#[derive(Serialize)]
pub struct Queue {
    /// Its URL.
    pub url: String,
    /// Messages available to receive.
    pub visible: Option<u64>,
    /// Messages received by any reader and not yet deleted.
    pub in_flight: Option<u64>,
    /// Messages whose delay is not over.
    pub delayed: Option<u64>,
}

/// Asks for the depth of the queue.
async fn queue(queue: &arguments::Queue) -> anyhow::Result<Queue> {
    let url = queue.url()?;
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let queue = Sqs::open(&Client::new(&config), &QueueRef::Url(url.to_owned()), false).await?;
    let depth = queue.depth().await;
    let depth = depth.map_err(|error| anyhow!("{url}: {}", error.detail))?;
    Ok(Queue {
        url: url.to_owned(),
        visible: depth.visible,
        in_flight: depth.in_flight,
        delayed: depth.delayed,
    })
}

/// A connector.
#[derive(Serialize)]
pub struct Connector {
    /// `source` or `sink`.
    pub kind: Kind,
    /// Its `metrics-address`.
    pub address: String,
    /// The reason that it did not respond; `null` if it did.
    pub error: Option<String>,
    /// True if it is ready; `null` if it did not respond.
    pub ready: Option<bool>,
    /// The reasons that it is not ready, each a part and its trouble.
    pub troubles: Vec<String>,
    /// Of a source: messages received and not yet deleted.
    pub messages_in_flight: Option<u64>,
    /// Of a source: the time since the first receive of the message in flight longest.
    pub oldest_in_flight_seconds: Option<u64>,
    /// Of a source: true if messages stay in the queue, with `delete-after: never`.
    pub messages_stay: Option<bool>,
    /// Of such a source: messages that it remembers as produced, and drops when received again.
    pub messages_remembered: Option<u64>,
    /// Since its start: of a source, records acknowledged by the topic; of a sink, records
    /// committed.
    pub records: Option<u64>,
    /// Of a sink: new facts since its start.
    pub facts: Option<u64>,
    /// Of a sink: facts since its start with the event id of a stored fact and other content. The
    /// stored fact stays.
    pub conflicts: Option<u64>,
    /// The rate of `records` since the last reading.
    pub records_per_second: Option<f64>,
    /// The rate of `facts` since the last reading.
    pub facts_per_second: Option<f64>,
}

/// The kind of a connector.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Source,
    Sink,
}

/// Asks all connectors concurrently.
async fn connectors(endpoints: &Endpoints) -> Vec<Connector> {
    let sources = endpoints
        .source_metrics
        .iter()
        .map(|one| ask(Kind::Source, one));
    let sinks = endpoints
        .sink_metrics
        .iter()
        .map(|one| ask(Kind::Sink, one));
    let (mut sources, sinks) = tokio::join!(join_all(sources), join_all(sinks));
    sources.extend(sinks);
    sources
}

async fn ask(kind: Kind, endpoint: &Endpoint) -> Connector {
    let asked = tokio::try_join!(endpoint.troubles(), endpoint.metrics());
    let (error, ready, troubles, metrics) = match asked {
        Ok((troubles, metrics)) => (None, Some(troubles.is_empty()), troubles, metrics),
        Err(error) => (
            Some(chain(error.as_ref())),
            None,
            Vec::new(),
            Metrics::default(),
        ),
    };
    // Counts are sent as floating-point numbers.
    let count = |value: Option<f64>| value.map(|value| value as u64);
    let records = match kind {
        Kind::Source => "sqs_source_records_produced_total",
        Kind::Sink => "postgres_sink_records_total",
    };
    Connector {
        kind,
        address: endpoint.to_string(),
        error,
        ready,
        troubles,
        messages_in_flight: count(metrics.sum("sqs_source_messages_in_flight")),
        oldest_in_flight_seconds: count(metrics.max("sqs_source_oldest_in_flight_seconds")),
        messages_stay: metrics
            .max("sqs_source_messages_stay_in_queue")
            .map(|stay| stay > 0.0),
        messages_remembered: count(metrics.sum("sqs_source_remembered_messages")),
        records: count(metrics.sum(records)),
        facts: count(metrics.sum("postgres_sink_facts_inserted_total")),
        conflicts: count(metrics.sum("postgres_sink_facts_conflicting_total")),
        records_per_second: None,
        facts_per_second: None,
    }
}
