//! What the sink has written: told in the log now and then, and at the metric socket at any time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use connector_common::metrics::{ClientCounters, Volume};
use serde::Serialize;

use crate::partition::Partition;
use crate::writer::Written;

const SAY_EVERY: Duration = Duration::from_secs(10);

/// What all partitions have come to since the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals(Arc<Mutex<Snapshot>>);

/// The document at the metric socket.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Snapshot {
    #[serde(flatten)]
    client: ClientCounters,
    postgres: Written,
}

impl Totals {
    pub(crate) fn snapshot(&self) -> Snapshot {
        *self.lock()
    }

    fn add(&self, read: Volume, written: Written) {
        let mut totals = self.lock();
        totals.client.consumer += read;
        totals.postgres += written;
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one partition has come to since its last log line.
pub(crate) struct Progress {
    totals: Totals,
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
    pub(crate) fn new(totals: Totals) -> Self {
        Self {
            totals,
            news: News::default(),
        }
    }

    /// Adds a batch that took from `began` until now.
    pub(crate) fn add(&mut self, began: Instant, next_offset: i64, read: Volume, written: Written) {
        self.news.since.get_or_insert(began);
        self.news.next_offset = next_offset;
        self.news.read += read;
        self.news.written += written;
        self.totals.add(read, written);
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
        let facts = written.inserted + written.duplicates;
        tracing::info!(
            topic = partition.topic,
            partition = partition.number,
            next_offset,
            records = read.records,
            inserted = written.inserted,
            duplicates = written.duplicates,
            rejected = written.rejected,
            nuls_removed = written.nuls_removed,
            facts_per_second = (facts as f64 / since.elapsed().as_secs_f64().max(0.001)).round(),
            "written"
        );
    }
}
