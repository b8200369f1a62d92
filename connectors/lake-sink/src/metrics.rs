//! Metrics of the sink, for Prometheus and Fluvio's metric socket.

use std::time::Instant;

use connector_common::Meters;
use connector_common::metrics::{ClientCounters, Volume, sum};
use iceberg::spec::DataFile;
use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};
use serde::Serialize;
use sink_common::LagGauges;

const NAMESPACE: &str = "lake_sink";

/// The metrics of a sink. Those of its partitions have the label `partition`, those of its tables
/// the label `table`.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    records: IntCounterVec,
    record_bytes: IntCounterVec,
    rows: IntCounter,
    rejected: IntCounter,
    commits: IntCounterVec,
    files: IntCounterVec,
    file_bytes: IntCounterVec,
    commit_seconds: HistogramVec,
    next_offset: IntGaugeVec,
    lag_records: IntGaugeVec,
    lag_seconds: IntGaugeVec,
}

/// The document on the metric socket.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Snapshot {
    #[serde(flatten)]
    client: ClientCounters,
    lake: Written,
}

/// What was committed.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Written {
    rows: u64,
    rejected: u64,
    commits: u64,
    files: u64,
    file_bytes: u64,
}

impl Metrics {
    /// Metrics in a registry of their own, with those of the process.
    ///
    /// # Errors
    /// Two metrics have the same name.
    pub fn new() -> prometheus::Result<Self> {
        let new = Meters::new(NAMESPACE, "partition")?;
        let records = new.counter(
            "records_total",
            "Records read from the topic and committed.",
            &[],
        )?;
        let record_bytes = new.counter(
            "record_bytes_total",
            "Bytes of the values of these records.",
            &[],
        )?;
        let next_offset = new.gauge(
            "next_offset",
            "The committed offset: the first record that is not committed yet.",
            &[],
        )?;
        let lag_records = new.gauge(
            "lag_records",
            "Records in the topic that are not committed yet.",
            &[],
        )?;
        let lag_seconds = new.gauge(
            "lag_seconds",
            "Age of the oldest of them, since the sink first saw it.",
            &[],
        )?;
        let registry = new.registry();
        let options = |name, help| Opts::new(name, help).namespace(NAMESPACE);
        let of_table = |name, help| {
            let counter = IntCounterVec::new(options(name, help), &["table"])?;
            register(&registry, counter)
        };
        let counter = |name, help| {
            let counter = IntCounter::with_opts(options(name, help))?;
            register(&registry, counter)
        };
        // From 10 ms to five minutes.
        let buckets = exponential_buckets(0.01, 2.8, 11)?;
        let seconds = HistogramOpts::from(options(
            "commit_seconds",
            "Time from closing the files of a commit to the catalog's answer.",
        ));
        let seconds = HistogramVec::new(seconds.buckets(buckets), &["table"])?;
        Ok(Self {
            records,
            record_bytes,
            rows: counter("rows_total", "Rows committed to the table.")?,
            rejected: counter("rejected_total", "Rows committed to the rejections table.")?,
            commits: of_table("commits_total", "Commits.")?,
            files: of_table("files_total", "Files committed.")?,
            file_bytes: of_table("file_bytes_total", "Bytes of these files.")?,
            commit_seconds: register(&registry, seconds)?,
            next_offset,
            lag_records,
            lag_seconds,
            registry,
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

    /// Counts committed records of `partition`.
    pub(crate) fn add(&self, partition: u32, next_offset: i64, read: Volume) {
        let partition = partition.to_string();
        let label = [partition.as_str()];
        self.records.with_label_values(&label).inc_by(read.records);
        let bytes = self.record_bytes.with_label_values(&label);
        bytes.inc_by(read.bytes);
        self.next_offset.with_label_values(&label).set(next_offset);
    }

    /// Removes the gauges of `partition`, which this sink no longer reads. Its counters stay.
    pub(crate) fn remove(&self, partition: u32) {
        let partition = partition.to_string();
        for gauges in [&self.next_offset, &self.lag_records, &self.lag_seconds] {
            // Removing a gauge that was never set is an error.
            let _ = gauges.remove_label_values(&[partition.as_str()]);
        }
    }

    pub(crate) fn rows(&self, rows: usize) {
        self.rows.inc_by(rows as u64);
    }

    pub(crate) fn rejected(&self, rows: usize) {
        self.rejected.inc_by(rows as u64);
    }

    /// Counts a commit to `table`.
    pub(crate) fn committed(&self, table: &str, files: &[DataFile], began: Instant) {
        let label = [table];
        let seconds = self.commit_seconds.with_label_values(&label);
        seconds.observe(began.elapsed().as_secs_f64());
        self.commits.with_label_values(&label).inc();
        let count = self.files.with_label_values(&label);
        count.inc_by(files.len() as u64);
        let bytes: u64 = files.iter().map(DataFile::file_size_in_bytes).sum();
        self.file_bytes.with_label_values(&label).inc_by(bytes);
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
            lake: Written {
                rows: self.rows.get(),
                rejected: self.rejected.get(),
                commits: sum(&self.commits),
                files: sum(&self.files),
                file_bytes: sum(&self.file_bytes),
            },
        }
    }
}

fn register<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: M,
) -> prometheus::Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
