//! What the source has done so far, counted and told now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use connector_common::metrics::{ClientCounters, Volume};
use serde::Serialize;

use crate::custody::Custody;

/// How often progress is told, if there is any.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Progress {
    received: AtomicU64,
    duplicates: AtomicU64,
    produced: AtomicU64,
    produced_bytes: AtomicU64,
    deleted: AtomicU64,
    left: AtomicU64,
}

/// What the counters say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Messages received, without duplicates.
    pub received: u64,
    /// Deliveries of messages that were in hand already.
    pub duplicates: u64,
    /// Records that the topic has acknowledged.
    pub produced: u64,
    /// Messages deleted from the queue.
    pub deleted: u64,
    /// Messages let go without a delete: too large for the topic, or refused by the queue.
    pub left: u64,
}

impl Progress {
    pub(crate) fn received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn duplicate(&self) {
        self.duplicates.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn produced(&self, bytes: usize) {
        self.produced.fetch_add(1, Ordering::Relaxed);
        self.produced_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn deleted(&self) {
        self.deleted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn left(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            received: self.received.load(Ordering::Relaxed),
            duplicates: self.duplicates.load(Ordering::Relaxed),
            produced: self.produced.load(Ordering::Relaxed),
            deleted: self.deleted.load(Ordering::Relaxed),
            left: self.left.load(Ordering::Relaxed),
        }
    }

    /// The document at the metric socket.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let sqs = self.counts();
        let producer_connector = Volume {
            records: sqs.produced,
            bytes: self.produced_bytes.load(Ordering::Relaxed),
        };
        Snapshot {
            client: ClientCounters {
                producer_connector,
                ..ClientCounters::default()
            },
            sqs,
        }
    }

    /// Tells the progress at every interval in which there was any.
    pub(crate) async fn tell(self: Arc<Self>, custody: Arc<Custody>) {
        let mut told = Counts::default();
        loop {
            tokio::time::sleep(INTERVAL).await;
            let counts = self.counts();
            if counts != told {
                counts.log("progress", custody.len());
                told = counts;
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Snapshot {
    #[serde(flatten)]
    client: ClientCounters,
    sqs: Counts,
}

impl Counts {
    pub(crate) fn log(&self, what: &str, in_flight: usize) {
        let Self {
            received,
            duplicates,
            produced,
            deleted,
            left,
        } = self;
        tracing::info!(
            received, duplicates, produced, deleted, left, in_flight, "{what}"
        );
    }
}
