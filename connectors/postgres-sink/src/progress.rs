//! What the sink has written: counted, and told in the log now and then.

use std::time::{Duration, Instant};

use connector_common::metrics::Volume;

use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::writer::Written;

const SAY_EVERY: Duration = Duration::from_secs(10);

/// What one partition has come to since its last log line.
pub(crate) struct Progress {
    metrics: Metrics,
    partition: String,
    news: News,
}

#[derive(Default)]
struct News {
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
            news: News::default(),
        }
    }

    /// Adds a batch that took from `began` until now.
    pub(crate) fn add(&mut self, began: Instant, next_offset: i64, read: Volume, written: Written) {
        self.news.since.get_or_insert(began);
        self.news.next_offset = next_offset;
        self.news.read += read;
        self.news.written += written;
        self.metrics
            .add(&self.partition, next_offset, read, written);
    }

    /// The partition begins at an offset.
    pub(crate) fn begin(&self, next_offset: i64) {
        let none = (Volume::default(), Written::default());
        self.metrics
            .add(&self.partition, next_offset, none.0, none.1);
    }

    pub(crate) fn is_due(&self) -> bool {
        self.news
            .since
            .is_some_and(|since| since.elapsed() >= SAY_EVERY)
    }

    pub(crate) fn say(&mut self, partition: &Partition) {
        let News {
            since: Some(since),
            next_offset,
            read,
            written,
        } = std::mem::take(&mut self.news)
        else {
            return;
        };
        let facts = written.inserted + written.updated + written.duplicates;
        tracing::info!(
            topic = partition.topic,
            partition = partition.number,
            next_offset,
            records = read.records,
            inserted = written.inserted,
            updated = written.updated,
            vanished = written.vanished,
            duplicates = written.duplicates,
            rejected = written.rejected,
            nuls_removed = written.nuls_removed,
            facts_per_second = (facts as f64 / since.elapsed().as_secs_f64().max(0.001)).round(),
            "written"
        );
    }
}
