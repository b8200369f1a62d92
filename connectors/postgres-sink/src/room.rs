//! Room for batches in memory: all lanes of a sink share it, however many they are.
//!
//! A lane has two batches, one that is written and one that is filled. With batches as large for each lane as for a single
//! one, memory would grow with every partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::batch::Batch;

/// Below this many facts a transaction costs more than what it writes.
const LEAST_ROWS: usize = 1_000;
/// A response below this would often be too small for what the SmartModule makes of one batch of a producer.
const LEAST_RESPONSE: i32 = 2 << 20;

/// How large batches, and the responses that they are read from, may get. Clones share the number of lanes.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    rows: usize,
    bytes: usize,
    lanes: Arc<AtomicUsize>,
}

impl Room {
    /// Room for batches of up to `rows` and `bytes` of records, if there is one lane.
    pub(crate) fn new(rows: usize, bytes: usize) -> Self {
        Self {
            rows,
            bytes,
            lanes: Arc::new(AtomicUsize::new(1)),
        }
    }

    /// From now on each of so many lanes has its part.
    pub(crate) fn divide_among(&self, lanes: usize) {
        self.lanes.store(lanes.max(1), Ordering::Relaxed);
    }

    /// The part of a response of `max_bytes` that a lane may ask for.
    pub(crate) fn response(&self, max_bytes: i32) -> i32 {
        let lanes = i32::try_from(self.lanes.load(Ordering::Relaxed)).unwrap_or(i32::MAX);
        (max_bytes / lanes).max(max_bytes.min(LEAST_RESPONSE))
    }

    /// Whether `batch` has all that a lane may have.
    pub(crate) fn is_filled_by(&self, batch: &Batch) -> bool {
        let lanes = self.lanes.load(Ordering::Relaxed);
        let rows = (self.rows / lanes).max(self.rows.min(LEAST_ROWS));
        batch.row_count() >= rows || batch.bytes() >= self.bytes / lanes
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::batch::Record;

    /// So many rejections, which are rows as facts are, of a byte each.
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
    fn lanes_divide_rows_down_to_the_least() {
        let room = Room::new(3_000, 1 << 20);
        assert!(!room.is_filled_by(&batch(2_999)));
        assert!(room.is_filled_by(&batch(3_000)));
        let of_a_lane = room.clone();
        room.divide_among(2);
        assert!(!of_a_lane.is_filled_by(&batch(1_499)));
        assert!(of_a_lane.is_filled_by(&batch(1_500)));
        room.divide_among(100);
        assert!(!of_a_lane.is_filled_by(&batch(999)));
        assert!(of_a_lane.is_filled_by(&batch(1_000)));
    }

    #[test]
    fn lanes_divide_bytes_and_few_rows_stay_few() {
        let room = Room::new(10, 100);
        room.divide_among(4);
        assert!(!room.is_filled_by(&batch(9)));
        assert!(room.is_filled_by(&batch(10)));
        let room = Room::new(1_000, 100);
        room.divide_among(4);
        assert_eq!(room.response(16 << 20), 4 << 20);
        assert_eq!(room.response(4 << 20), 2 << 20);
        assert_eq!(room.response(1 << 20), 1 << 20);
        assert!(!room.is_filled_by(&batch(24)));
        assert!(room.is_filled_by(&batch(25)));
    }
}
