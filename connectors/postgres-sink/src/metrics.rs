//! Metrics of the sink, for Prometheus, Fluvio's metric socket and the log.

use std::time::{Duration, Instant};

use connector_common::metrics::{ClientCounters, Volume, sum};
use connector_common::{Health, Meters};
use prometheus::{
    HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Registry, exponential_buckets,
};
use serde::Serialize;
use sink_common::LagGauges;
use warehouse::{Batch, Error, Source, Written};

/// The time between two log lines about a partition.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The metrics of a sink. Those of its partitions have the label `partition`.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    records: IntCounterVec,
    record_bytes: IntCounterVec,
    inserted: IntCounterVec,
    updated: IntCounterVec,
    removed: IntCounterVec,
    duplicates: IntCounterVec,
    conflicts: IntCounterVec,
    rejected: IntCounterVec,
    nuls_removed: IntCounterVec,
    failures: IntCounterVec,
    batch_rows: HistogramVec,
    batch_bytes: HistogramVec,
    write_seconds: HistogramVec,
    next_offset: IntGaugeVec,
    lag_records: IntGaugeVec,
    lag_seconds: IntGaugeVec,
    aggregates_age: IntGauge,
}

/// The document on the metric socket.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Snapshot {
    #[serde(flatten)]
    client: ClientCounters,
    postgres: Written,
}

impl Metrics {
    /// Metrics in a registry of their own, with those of the process.
    ///
    /// # Errors
    /// Two metrics have the same name.
    pub fn new() -> prometheus::Result<Self> {
        let new = Meters::new("postgres_sink", "partition")?;
        Ok(Self {
            records: new.counter(
                "records_total",
                "Records read from the topic and committed.",
                &[],
            )?,
            record_bytes: new.counter(
                "record_bytes_total",
                "Bytes of the values of these records.",
                &[],
            )?,
            inserted: new.counter("facts_inserted_total", "New facts.", &[])?,
            updated: new.counter(
                "facts_updated_total",
                "Stored facts that were replaced, since those of the batch differ.",
                &[],
            )?,
            removed: new.counter(
                "facts_removed_total",
                "Facts that were removed, since a corrected event no longer has the item.",
                &[],
            )?,
            duplicates: new.counter(
                "facts_duplicate_total",
                "Facts that were stored already and stay as they are.",
                &[],
            )?,
            conflicts: new.counter(
                "facts_conflicting_total",
                "Those among them with the event id of a stored fact and other content.",
                &[],
            )?,
            rejected: new.counter("rejected_total", "New rows in rejected_events.", &[])?,
            nuls_removed: new.counter(
                "nuls_removed_total",
                "U+0000 that the SmartModule removed from texts.",
                &[],
            )?,
            failures: new.counter(
                "write_failures_total",
                "Transactions that failed, by SQLSTATE; `connection` where the server gave none.",
                &["sqlstate"],
            )?,
            // From one row to a quarter of a million.
            batch_rows: new.histogram(
                "batch_rows",
                "Facts and rejected events in a transaction.",
                exponential_buckets(1.0, 4.0, 10)?,
            )?,
            // From 256 bytes to 256 MiB.
            batch_bytes: new.histogram(
                "batch_bytes",
                "Bytes of the records of a transaction.",
                exponential_buckets(256.0, 4.0, 11)?,
            )?,
            // From 1 ms to a minute and a half.
            write_seconds: new.histogram(
                "write_seconds",
                "Time from the start of a transaction to the answer to its commit.",
                exponential_buckets(0.001, 2.6, 13)?,
            )?,
            next_offset: new.gauge(
                "next_offset",
                "The committed offset: the first record that is not committed yet.",
                &[],
            )?,
            lag_records: new.gauge(
                "lag_records",
                "Records in the topic that are not committed yet.",
                &[],
            )?,
            lag_seconds: new.gauge(
                "lag_seconds",
                "Age of the oldest of them, since the sink first saw it.",
                &[],
            )?,
            aggregates_age: new.plain_gauge(
                "aggregates_age_seconds",
                "Age of the oldest change of facts that is due in the aggregates and not in them.",
            )?,
            registry: new.registry(),
        })
    }

    /// The registry for Prometheus.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The gauges of the lag.
    pub(crate) fn lag(&self) -> LagGauges {
        LagGauges {
            next_offset: self.next_offset.clone(),
            records: self.lag_records.clone(),
            seconds: self.lag_seconds.clone(),
        }
    }

    /// Counts a committed batch of `partition`.
    pub(crate) fn add(&self, partition: &str, next_offset: i64, read: Volume, written: Written) {
        let label = [partition];
        self.records.with_label_values(&label).inc_by(read.records);
        self.record_bytes
            .with_label_values(&label)
            .inc_by(read.bytes);
        for (counter, count) in [
            (&self.inserted, written.inserted),
            (&self.updated, written.updated),
            (&self.removed, written.removed),
            (&self.duplicates, written.duplicates),
            (&self.conflicts, written.conflicts),
            (&self.rejected, written.rejected),
            (&self.nuls_removed, written.nuls_removed),
        ] {
            counter.with_label_values(&label).inc_by(count);
        }
        self.next_offset.with_label_values(&label).set(next_offset);
    }

    /// Sets how far the aggregates are behind the facts.
    pub(crate) fn set_aggregates_age(&self, age: Duration) {
        let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        self.aggregates_age.set(seconds);
    }

    /// Removes the gauges of `partition`, which this sink no longer writes. Its counters stay.
    pub(crate) fn remove(&self, partition: u32) {
        let partition = partition.to_string();
        for gauges in [&self.next_offset, &self.lag_records, &self.lag_seconds] {
            // Removing a gauge that was never set is an error.
            let _ = gauges.remove_label_values(&[partition.as_str()]);
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            client: ClientCounters {
                consumer: Volume {
                    records: sum(&self.records),
                    bytes: sum(&self.record_bytes),
                },
                ..ClientCounters::default()
            },
            postgres: Written {
                inserted: sum(&self.inserted),
                updated: sum(&self.updated),
                removed: sum(&self.removed),
                duplicates: sum(&self.duplicates),
                conflicts: sum(&self.conflicts),
                rejected: sum(&self.rejected),
                nuls_removed: sum(&self.nuls_removed),
            },
        }
    }
}

/// The name of the writing of a partition in the health report.
pub(crate) fn part(partition: i32) -> String {
    format!("database, partition {partition}")
}

/// Measures the transactions of a partition and reports their health.
#[derive(Clone, Debug)]
pub struct TransactionMetrics {
    metrics: Metrics,
    health: Health,
    partition: String,
    part: String,
    timeout: Duration,
}

impl TransactionMetrics {
    /// A transaction that takes longer than `timeout` counts as hanging.
    #[must_use]
    pub fn new(metrics: Metrics, health: Health, partition: i32, timeout: Duration) -> Self {
        Self {
            metrics,
            health,
            partition: partition.to_string(),
            part: part(partition),
            timeout,
        }
    }

    pub(crate) fn begin(&self) -> Instant {
        self.health.beat(&self.part, self.timeout);
        Instant::now()
    }

    /// Reports why the partition waits, instead of the last error.
    pub(crate) fn wait(&self, reason: &str) {
        self.health.troubled(&self.part, reason);
    }

    pub(crate) fn end(&self, began: Instant, batch: &Batch, outcome: &Result<Written, Error>) {
        self.health.ended(&self.part);
        let label = [self.partition.as_str()];
        let observe = |histogram: &HistogramVec, value: f64| {
            histogram.with_label_values(&label).observe(value);
        };
        match outcome {
            Ok(_) => {
                self.health.works(&self.part);
                observe(&self.metrics.write_seconds, began.elapsed().as_secs_f64());
                observe(&self.metrics.batch_rows, batch.row_count() as f64);
                observe(&self.metrics.batch_bytes, batch.bytes() as f64);
            }
            Err(error) => {
                self.health.troubled(&self.part, error.outline());
                let labels = [self.partition.as_str(), reason(error)];
                self.metrics.failures.with_label_values(&labels).inc();
            }
        }
    }
}

/// The label `sqlstate` of an error.
fn reason(error: &Error) -> &str {
    match (error, error.sqlstate()) {
        (_, Some(state)) => state.code(),
        (Error::Fenced { .. }, _) => "fenced",
        (Error::DimensionDeleted, _) => "dimension-deleted",
        _ => "connection",
    }
}

/// Counts the batches of a partition, and logs their sum every ten seconds.
pub(crate) struct Progress {
    metrics: Metrics,
    partition: String,
    unlogged: Unlogged,
}

/// The sum of the batches since the last log line.
#[derive(Default)]
struct Unlogged {
    since: Option<Instant>,
    next_offset: i64,
    read: Volume,
    written: Written,
}

impl Progress {
    pub(crate) fn new(metrics: Metrics, partition: u32) -> Self {
        Self {
            metrics,
            partition: partition.to_string(),
            unlogged: Unlogged::default(),
        }
    }

    /// Sets the committed offset at the start.
    pub(crate) fn begin(&self, next_offset: i64) {
        let (read, written) = (Volume::default(), Written::default());
        self.metrics
            .add(&self.partition, next_offset, read, written);
    }

    /// Adds a batch that took from `began` until now.
    pub(crate) fn add(&mut self, began: Instant, next_offset: i64, read: Volume, written: Written) {
        self.unlogged.since.get_or_insert(began);
        self.unlogged.next_offset = next_offset;
        self.unlogged.read += read;
        self.unlogged.written += written;
        self.metrics
            .add(&self.partition, next_offset, read, written);
    }

    pub(crate) fn is_due(&self) -> bool {
        let since = self.unlogged.since;
        since.is_some_and(|since| since.elapsed() >= LOG_INTERVAL)
    }

    pub(crate) fn log(&mut self, source: &Source) {
        let Unlogged {
            since: Some(since),
            next_offset,
            read,
            written,
        } = std::mem::take(&mut self.unlogged)
        else {
            return;
        };
        let facts = written.inserted + written.updated + written.duplicates;
        tracing::info!(
            topic = source.topic,
            partition = source.partition,
            next_offset,
            records = read.records,
            inserted = written.inserted,
            updated = written.updated,
            removed = written.removed,
            duplicates = written.duplicates,
            conflicts = written.conflicts,
            rejected = written.rejected,
            nuls_removed = written.nuls_removed,
            facts_per_second = (facts as f64 / since.elapsed().as_secs_f64().max(0.001)).round(),
            "written"
        );
    }
}
