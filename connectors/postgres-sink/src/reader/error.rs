//! Why a partition can't be read on, told apart from what passes by itself.

use std::time::Duration;

use fluvio::dataplane::link::ErrorCode;

use super::Reader;
use crate::continuity::Break;
use crate::partition::Fault;

/// Why a partition can't be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Records are missing, and asking for them again did not help.
    #[error(
        "{0}, even in responses of up to 1 GiB; the transforms must return exactly one record for each (a `map`)"
    )]
    Gap(Break),
    /// The transforms return more records than they get.
    #[error(
        "{0}; the transforms must return exactly one record for each (a `map` such as flatten-items)"
    )]
    Multiplied(Break),
    /// The cluster holds a record and never hands it out.
    #[error(
        "the cluster holds a record at offset {0} and does not hand it out, even in responses of up to 1 GiB"
    )]
    Withheld(i64),
    /// A SmartModule can't be run.
    #[error(
        "the cluster can't run the transforms at offset {offset}: {code}; load the SmartModule with \
         `fluvio smartmodule create NAME --wasm-file FILE`, or correct `transforms`"
    )]
    SmartModule {
        /// Where.
        offset: i64,
        /// The cluster's words.
        code: Box<ErrorCode>,
    },
    /// The topic was deleted while it was read.
    #[error("the topic was deleted")]
    TopicDeleted,
    /// Retention was faster than the sink.
    #[error(
        "the topic no longer holds the records from offset {from} up to {to}: its retention removed them before they \
         were written; to go on without them, set next_offset to {to} in sink_offsets"
    )]
    Evicted {
        /// The first record that is lost.
        from: i64,
        /// The first that is there.
        to: i64,
    },
    /// The topic is not the one that was read before.
    #[error(
        "offset {offset} is stored, and the partition ends before it ({words}): the topic was made anew or has lost its \
         end; to read it from its start, delete this sink's rows from sink_offsets (what is in the tables stays as it is)"
    )]
    BeyondEnd {
        /// The stored offset.
        offset: i64,
        /// The cluster's words.
        words: String,
    },
}

/// What ends a stream early.
pub(super) enum Trouble {
    Fault(Fault),
    Error(ReadError),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        Self::Error(error)
    }
}

impl Reader {
    /// What a fault means here: words for the log where it can pass, else the error.
    pub(super) fn judge(&self, fault: Fault, failing_for: Duration) -> Result<String, ReadError> {
        let offset = self.continuity.next();
        match fault {
            Fault::Passing(words) => Ok(words),
            Fault::SmartModule(code)
                if failing_for < self.limits.patience && !is_of_parameters(&code) =>
            {
                Ok(code.to_string())
            }
            Fault::SmartModule(code) => Err(ReadError::SmartModule {
                offset,
                code: Box::new(code),
            }),
            Fault::TopicDeleted => Err(ReadError::TopicDeleted),
            Fault::Evicted { next_available } => Err(ReadError::Evicted {
                from: offset,
                to: next_available,
            }),
            Fault::BeyondEnd(words) => Err(ReadError::BeyondEnd { offset, words }),
        }
    }
}

/// Whether a SmartModule refuses its parameters, which waiting does not change.
fn is_of_parameters(code: &ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::SmartModuleInitError(_) | ErrorCode::SmartModuleChainInitError(_)
    )
}
