//! The errors that end the reading of a partition.

use fluvio::dataplane::link::ErrorCode;

/// An error that ends the reading of a partition. Where the remedy depends on the sink, the sink
/// adds it.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Records are missing, and a larger response does not have them either.
    #[error(
        "records from offset {from} up to {to} are missing, even in responses of up to 1 GiB; \
         the transforms must return exactly one record for each (a `map`)"
    )]
    Gap {
        /// The first missing record.
        from: i64,
        /// The first record after the gap.
        to: i64,
    },
    /// The transforms return more records than they get, so no record's offset is known.
    #[error(
        "the batch at offset {base} covers {offsets} offsets and holds {records} records; \
         the transforms must return exactly one record for each (a `map` such as flatten-items)"
    )]
    Multiplied {
        /// The offset of the batch.
        base: i64,
        /// The offsets that it covers.
        offsets: usize,
        /// The records in it.
        records: usize,
    },
    /// A SmartModule can't run.
    #[error(
        "the cluster can't run the transforms at offset {offset}: {code}; load the SmartModule \
         with `fluvio smartmodule create NAME --wasm-file FILE`, or correct `transforms`"
    )]
    SmartModule {
        /// The next offset to read.
        offset: i64,
        /// The cluster's error.
        code: Box<ErrorCode>,
    },
    /// The SmartModules fail on a record: it makes them trap.
    #[error("the cluster can't transform a record at offset {from} or behind it: {reason}")]
    Trapped {
        /// The next offset to read.
        from: i64,
        /// The cluster's message.
        reason: String,
    },
    /// The topic was deleted while the sink read it.
    #[error("the topic was deleted")]
    TopicDeleted,
    /// Retention removed records before they were written.
    #[error(
        "the topic no longer has the records from offset {from} up to {to}: its retention removed \
         them before they were written"
    )]
    Evicted {
        /// The first removed record.
        from: i64,
        /// The first record in the topic.
        to: i64,
    },
    /// Another record is at the offset of the last one that was written.
    #[error(
        "the record at offset {offset} is not the one that was written: the topic was created again"
    )]
    CreatedAgain {
        /// The offset.
        offset: i64,
    },
    /// The topic is not the one that was read before.
    #[error(
        "offset {offset} is committed, and the partition ends before it ({message}): the topic was \
         created again or has lost its end"
    )]
    BeyondEnd {
        /// The committed offset.
        offset: i64,
        /// The cluster's message.
        message: String,
    },
}

impl ReadError {
    /// Returns true if the whole sink is at fault, and not one partition.
    #[must_use]
    pub fn is_of_sink(&self) -> bool {
        matches!(self, Self::SmartModule { .. } | Self::TopicDeleted)
    }
}
