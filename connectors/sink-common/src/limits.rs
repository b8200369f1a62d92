//! Limits of batches and responses. All partition workers of a sink share them.
//!
//! A worker has two batches: it writes one and fills the other. If each worker had batches as large
//! as a single worker has, memory would grow with every partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::batch::ReadBatch;

/// Writing a batch with fewer facts costs more than the facts themselves.
const MIN_ROWS: usize = 1_000;
/// Smaller responses are often too small for the records that the SmartModule makes of a batch.
const MIN_RESPONSE: i32 = 2 << 20;

/// Limits of reading. Clones share the number of workers.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum number of rows in a batch, if there is one worker.
    pub rows: usize,
    /// Maximum size of the records in a batch, if there is one worker.
    pub bytes: usize,
    /// Maximum size of a response, if there is one worker.
    pub response: i32,
    /// Time that the first record of a batch waits for others while no batch is being written.
    pub delay: Duration,
    /// Time that a SmartModule may be missing: a node that has just started, or has just been given
    /// the SmartModule, has it a moment later.
    pub smartmodule_timeout: Duration,
    /// The number of workers that share the limits.
    pub workers: Arc<AtomicUsize>,
}

impl Limits {
    /// Divides the limits among so many workers.
    pub fn divide_among(&self, workers: usize) {
        self.workers.store(workers, Ordering::Relaxed);
    }

    /// Maximum size of a worker's response.
    #[must_use]
    pub fn response_bytes(&self) -> i32 {
        let workers = i32::try_from(self.workers()).unwrap_or(i32::MAX);
        (self.response / workers).max(self.response.min(MIN_RESPONSE))
    }

    /// Returns true if `batch` has reached a limit of a worker.
    pub fn is_reached_by(&self, batch: &impl ReadBatch) -> bool {
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
    use super::*;
    use crate::record::Record;

    fn limits(rows: usize, bytes: usize, response: i32) -> Limits {
        Limits {
            rows,
            bytes,
            response,
            delay: Duration::ZERO,
            smartmodule_timeout: Duration::ZERO,
            workers: Arc::default(),
        }
    }

    /// A batch with so many rows, of a byte each.
    struct Rows(usize);

    impl ReadBatch for Rows {
        fn push(&mut self, _: Record, _: Option<i64>) {
            self.0 += 1;
        }

        fn take(&mut self) -> Self {
            Self(std::mem::take(&mut self.0))
        }

        fn next_offset(&self) -> i64 {
            0
        }

        fn is_empty(&self) -> bool {
            self.0 == 0
        }

        fn row_count(&self) -> usize {
            self.0
        }

        fn bytes(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn workers_divide_rows_down_to_the_minimum() {
        let limits = limits(3_000, 1 << 20, 1 << 20);
        assert!(!limits.is_reached_by(&Rows(2_999)));
        assert!(limits.is_reached_by(&Rows(3_000)));
        let of_a_worker = limits.clone();
        limits.divide_among(2);
        assert!(!of_a_worker.is_reached_by(&Rows(1_499)));
        assert!(of_a_worker.is_reached_by(&Rows(1_500)));
        limits.divide_among(100);
        assert!(!of_a_worker.is_reached_by(&Rows(999)));
        assert!(of_a_worker.is_reached_by(&Rows(1_000)));
    }

    #[test]
    fn workers_divide_bytes_and_a_low_limit_of_rows_stays() {
        let few = limits(10, 100, 1 << 20);
        few.divide_among(4);
        assert!(!few.is_reached_by(&Rows(9)));
        assert!(few.is_reached_by(&Rows(10)));
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
        assert!(!many.is_reached_by(&Rows(24)));
        assert!(many.is_reached_by(&Rows(25)));
    }
}
