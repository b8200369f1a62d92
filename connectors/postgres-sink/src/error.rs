//! The errors that end the reading or writing of a partition. Each says what to do.

use fluvio::dataplane::link::ErrorCode;

/// An error that ends the reading or writing of a partition.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
    /// The SmartModule is not flatten-items.
    #[error(
        "{count} records in a row are not envelopes of flatten-items, up to offset {offset}, so no \
         more are rejected or deleted; load flatten-items under the name in `transforms`, or \
         correct `transforms`"
    )]
    NotEnvelopes {
        /// The number of records.
        count: usize,
        /// The offset after the last one.
        offset: i64,
    },
    /// The topic was deleted while the sink read it.
    #[error("the topic was deleted")]
    TopicDeleted,
    /// Retention removed records before they were written.
    #[error(
        "the topic no longer has the records from offset {from} up to {to}: its retention removed \
         them before they were written; to skip them, set next_offset to {to} in sink_offsets"
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
         created again or has lost its end; to read it from its start, delete this sink's rows \
         from sink_offsets (the tables stay as they are)"
    )]
    BeyondEnd {
        /// The committed offset.
        offset: i64,
        /// The cluster's message.
        message: String,
    },
    /// Another sink with the same name has moved the committed offset.
    #[error(
        "another sink has moved the committed offset to {committed}; this one expected {expected}"
    )]
    Fenced {
        /// The offset in the database.
        committed: i64,
        /// The offset that this sink expected.
        expected: i64,
    },
    /// The stop was requested while the database did not accept a batch.
    #[error("stopped before the database accepted a batch")]
    Stopped(#[source] warehouse::Error),
    /// PostgreSQL refuses an event, and its row in `rejected_events`, too.
    #[error(
        "PostgreSQL refuses the event at offset {offset}, and its row in rejected_events, too: \
         {reason}"
    )]
    Unwritable {
        /// The offset of the record.
        offset: i64,
        /// The reason, without PostgreSQL's message.
        reason: String,
    },
}

impl Error {
    /// Returns true if the whole sink is at fault, and not one partition.
    #[must_use]
    pub fn is_of_sink(&self) -> bool {
        matches!(self, Self::SmartModule { .. } | Self::TopicDeleted)
    }
}
