//! The errors that end the reading or writing of a partition. Each says what to do.

use sink_common::ReadError;

/// An error that ends the reading or writing of a partition.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The partition can't be read on.
    #[error("{0}{remedy}", remedy = remedy(.0))]
    Read(ReadError),
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
        matches!(self, Self::Read(error) if error.is_of_sink())
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// The end of an error's message: what to do in the database.
fn remedy(error: &ReadError) -> String {
    match error {
        ReadError::Evicted { to, .. } => {
            format!("; to skip them, set next_offset to {to} in sink_offsets")
        }
        ReadError::BeyondEnd { .. } => {
            "; to read it from its start, delete this sink's rows from sink_offsets (the tables \
             stay as they are)"
                .to_owned()
        }
        _ => String::new(),
    }
}
