//! Limits of batches and responses. All partition workers of a sink share them.
//!
//! A worker has two batches: it writes one and fills the other. If each worker had batches as large
//! as a single worker has, memory would grow with every partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use warehouse::{Batch, OnConflict};

/// Transactions with fewer facts cost more than the facts themselves.
const MIN_ROWS: usize = 1_000;
/// Smaller responses are often too small for the records that the SmartModule makes of a batch.
const MIN_RESPONSE: i32 = 2 << 20;

/// Limits and policies of reading. Clones share the number of workers.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Maximum number of rows in a batch, if there is one worker.
    pub(crate) rows: usize,
    /// Maximum size of the records in a batch, if there is one worker.
    pub(crate) bytes: usize,
    /// Maximum size of a response, if there is one worker.
    pub(crate) response: i32,
    /// Time that the first record of a batch waits for others while the database is idle.
    pub(crate) delay: Duration,
    /// The policy for facts that are stored already.
    pub(crate) on_conflict: OnConflict,
    /// Time that a SmartModule may be missing: a node that has just started, or has just been given
    /// the SmartModule, has it a moment later.
    pub(crate) smartmodule_timeout: Duration,
    /// The number of workers that share the limits.
    pub(crate) workers: Arc<AtomicUsize>,
}

impl Limits {
    /// Divides the limits among so many workers.
    pub(crate) fn divide_among(&self, workers: usize) {
        self.workers.store(workers, Ordering::Relaxed);
    }

    /// Maximum size of a worker's response.
    pub(crate) fn response_bytes(&self) -> i32 {
        let workers = i32::try_from(self.workers()).unwrap_or(i32::MAX);
        (self.response / workers).max(self.response.min(MIN_RESPONSE))
    }

    /// Returns true if `batch` has reached a limit of a worker.
    pub(crate) fn is_reached_by(&self, batch: &Batch) -> bool {
        let workers = self.workers();
        let rows = (self.rows / workers).max(self.rows.min(MIN_ROWS));
        batch.row_count() >= rows || batch.bytes() >= self.bytes / workers
    }

    fn workers(&self) -> usize {
        self.workers.load(Ordering::Relaxed).max(1)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use warehouse::Record;

    use super::*;

    fn limits(rows: usize, bytes: usize, response: i32) -> Limits {
        Limits {
            rows,
            bytes,
            response,
            delay: Duration::ZERO,
            on_conflict: OnConflict::default(),
            smartmodule_timeout: Duration::ZERO,
            workers: Arc::default(),
        }
    }

    /// A batch of rejected events, which are rows as facts are, of a byte each.
    fn batch(rows: i64) -> Batch {
        Batch::of(
            0,
            (0..rows).map(|offset| Record {
                offset,
                key: None,
                value: Bytes::from_static(b"?"),
            }),
        )
    }

    #[test]
    fn workers_divide_rows_down_to_the_minimum() {
        let limits = limits(3_000, 1 << 20, 1 << 20);
        assert!(!limits.is_reached_by(&batch(2_999)));
        assert!(limits.is_reached_by(&batch(3_000)));
        let of_a_worker = limits.clone();
        limits.divide_among(2);
        assert!(!of_a_worker.is_reached_by(&batch(1_499)));
        assert!(of_a_worker.is_reached_by(&batch(1_500)));
        limits.divide_among(100);
        assert!(!of_a_worker.is_reached_by(&batch(999)));
        assert!(of_a_worker.is_reached_by(&batch(1_000)));
    }

    #[test]
    fn workers_divide_bytes_and_a_low_limit_of_rows_stays() {
        let few = limits(10, 100, 1 << 20);
        few.divide_among(4);
        assert!(!few.is_reached_by(&batch(9)));
        assert!(few.is_reached_by(&batch(10)));
        let response = |bytes| {
            let limits = limits(1_000, 100, bytes);
            limits.divide_among(4);
            limits.response_bytes()
        };
        assert_eq!(response(16 << 20), 4 << 20);
        assert_eq!(response(4 << 20), 2 << 20);
        assert_eq!(response(1 << 20), 1 << 20);
        let many = limits(1_000, 100, 1 << 20);
        many.divide_among(4);
        assert!(!many.is_reached_by(&batch(24)));
        assert!(many.is_reached_by(&batch(25)));
    }
}
