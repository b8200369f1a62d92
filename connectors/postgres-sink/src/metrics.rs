//! What the sink counts, once, for every way to ask: Prometheus, Fluvio's metric socket and the log.

use std::time::{Duration, Instant};

use connector_common::meters::sum;
use connector_common::metrics::{ClientCounters, Volume};
use connector_common::{Health, Meters};
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Registry, exponential_buckets};
use serde::Serialize;

use crate::batch::Batch;
use crate::errors::DatabaseError;
use crate::writer::{WriteError, Written};

/// The metrics of all partitions of a sink. Each has the label `partition`.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    records: IntCounterVec,
    record_bytes: IntCounterVec,
    inserted: IntCounterVec,
    updated: IntCounterVec,
    vanished: IntCounterVec,
    duplicates: IntCounterVec,
    rejected: IntCounterVec,
    nuls_removed: IntCounterVec,
    failures: IntCounterVec,
    batch_rows: HistogramVec,
    batch_bytes: HistogramVec,
    write_seconds: HistogramVec,
    pub(crate) next_offset: IntGaugeVec,
    pub(crate) lag_records: IntGaugeVec,
    pub(crate) lag_seconds: IntGaugeVec,
}

/// The document at the metric socket.
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
    /// Two of them have one name, which a test would show.
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
                "Bytes of the values of those records.",
                &[],
            )?,
            inserted: new.counter("facts_inserted_total", "Facts that were new.", &[])?,
            updated: new.counter(
                "facts_updated_total",
                "Facts that were there with other content, which was replaced.",
                &[],
            )?,
            vanished: new.counter(
                "facts_vanished_total",
                "Facts that were removed, since their event came again without the item.",
                &[],
            )?,
            duplicates: new.counter(
                "facts_duplicate_total",
                "Facts that were there already and stay as they are.",
                &[],
            )?,
            rejected: new.counter(
                "rejected_total",
                "Rows that were new in rejected_events.",
                &[],
            )?,
            nuls_removed: new.counter(
                "nuls_removed_total",
                "U+0000 that were removed from texts.",
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
                "Facts and rejections in one transaction.",
                exponential_buckets(1.0, 4.0, 10)?,
            )?,
            // From 256 bytes to 256 MiB.
            batch_bytes: new.histogram(
                "batch_bytes",
                "Bytes of the records of one transaction.",
                exponential_buckets(256.0, 4.0, 11)?,
            )?,
            // From 1 ms to a minute and a half.
            write_seconds: new.histogram(
                "write_seconds",
                "From the start of a transaction to the answer to its commit.",
                exponential_buckets(0.001, 2.6, 13)?,
            )?,
            next_offset: new.gauge(
                "next_offset",
                "The first record that is not committed yet.",
                &[],
            )?,
            lag_records: new.gauge(
                "lag_records",
                "Records in the topic that are not committed yet.",
                &[],
            )?,
            lag_seconds: new.gauge(
                "lag_seconds",
                "How long the oldest of them has waited, as far as the sink has seen it.",
                &[],
            )?,
            registry: new.registry(),
        })
    }

    /// What Prometheus reads.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A batch of `partition` is committed.
    pub(crate) fn add(&self, partition: &str, next_offset: i64, read: Volume, written: Written) {
        let label = [partition];
        self.records.with_label_values(&label).inc_by(read.records);
        self.record_bytes
            .with_label_values(&label)
            .inc_by(read.bytes);
        for (counter, count) in [
            (&self.inserted, written.inserted),
            (&self.updated, written.updated),
            (&self.vanished, written.vanished),
            (&self.duplicates, written.duplicates),
            (&self.rejected, written.rejected),
            (&self.nuls_removed, written.nuls_removed),
        ] {
            counter.with_label_values(&label).inc_by(count);
        }
        self.next_offset.with_label_values(&label).set(next_offset);
    }

    /// The sink no longer writes `partition`: what it has counted stays, where it stands is another one's to tell.
    pub(crate) fn forget(&self, partition: u32) {
        let partition = partition.to_string();
        for gauges in [&self.next_offset, &self.lag_records, &self.lag_seconds] {
            // One that was never set is not there to be removed.
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
                vanished: sum(&self.vanished),
                duplicates: sum(&self.duplicates),
                rejected: sum(&self.rejected),
                nuls_removed: sum(&self.nuls_removed),
            },
        }
    }
}

/// Health's name for the writing of a partition.
pub(crate) fn part(partition: i32) -> String {
    format!("database, partition {partition}")
}

/// Sees what becomes of the transactions of one partition.
#[derive(Clone, Debug)]
pub struct Watch {
    metrics: Metrics,
    health: Health,
    partition: String,
    part: String,
    patience: Duration,
}

impl Watch {
    /// A watch over `partition`, whose transactions hang that take longer than `patience`.
    #[must_use]
    pub fn new(metrics: Metrics, health: Health, partition: i32, patience: Duration) -> Self {
        Self {
            metrics,
            health,
            partition: partition.to_string(),
            part: part(partition),
            patience,
        }
    }

    /// A transaction begins.
    pub(crate) fn begins(&self) -> Instant {
        self.health.beat(&self.part, self.patience);
        Instant::now()
    }

    /// It has ended.
    pub(crate) fn ended<T>(&self, began: Instant, batch: &Batch, outcome: &Result<T, WriteError>) {
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
                self.health.troubled(&self.part, error);
                let state = match error {
                    WriteError::Database(error) | WriteError::Partition(error) => sqlstate(error),
                    WriteError::Fenced { .. } => "overtaken".to_owned(),
                    WriteError::DimensionVanished => "dimension-vanished".to_owned(),
                };
                let labels = [self.partition.as_str(), &state];
                self.metrics.failures.with_label_values(&labels).inc();
            }
        }
    }
}

fn sqlstate(error: &DatabaseError) -> String {
    error
        .sqlstate()
        .map_or_else(|| "connection".to_owned(), |state| state.code().to_owned())
}
