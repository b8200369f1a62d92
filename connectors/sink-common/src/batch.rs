//! The interface of the batches that a reader fills.

use crate::record::Record;

/// Consecutive records of a partition, decoded for a sink.
pub trait ReadBatch: Send + 'static {
    /// Decodes and adds the next record. `time` is when the topic received it, in milliseconds
    /// since the Unix epoch; a record that has passed SmartModules has none.
    fn push(&mut self, record: Record, time: Option<i64>);

    /// Completes the batch and returns it. This one is empty then and follows it.
    #[must_use]
    fn take(&mut self) -> Self;

    /// The offset of the first record behind the batch.
    fn next_offset(&self) -> i64;

    /// Returns true if it has no records.
    fn is_empty(&self) -> bool;

    /// The number of rows.
    fn row_count(&self) -> usize;

    /// The size of the records' values.
    fn bytes(&self) -> usize;
}
