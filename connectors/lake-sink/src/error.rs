//! The errors of the sink. Each says what to do where something can be done.

use std::collections::BTreeMap;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use connector_common::chain;
use sink_common::ReadError;
use warehouse::Remedy;

/// The offsets of some partitions of the topic.
pub type Offsets = BTreeMap<u32, i64>;

/// An error of the sink.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog or the storage failed.
    #[error(transparent)]
    Iceberg(Box<iceberg::Error>),
    /// Rows could not be put in columns.
    #[error("cannot build the columns of the rows")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// A table exists and the sink can't write it.
    #[error(
        "the table {table} is not one that this sink can write: {problems}; mend it, or name \
         another table"
    )]
    Incompatible {
        /// The table.
        table: String,
        /// The reasons.
        problems: String,
    },
    /// The committed offsets belong to another cluster.
    #[error(
        "the offsets of the topic `{topic}` in the table {table} belong to the cluster {found}, \
         and this one is {cluster}: name other tables (`table`, `rejections-table`), or remove the \
         table property {property}"
    )]
    OtherCluster {
        /// The topic.
        topic: String,
        /// The table.
        table: String,
        /// The cluster in the table.
        found: String,
        /// The cluster of the profile.
        cluster: String,
        /// The property with the cluster in the table.
        property: String,
    },
    /// Another sink has committed records of these partitions to the table.
    #[error(
        "another sink writes the table {table}: the committed offsets of its partitions are \
         {committed:?}, and this sink expected {expected:?}"
    )]
    Fenced {
        /// The table.
        table: String,
        /// The offsets in the table.
        committed: Offsets,
        /// The offsets that this sink expected.
        expected: Offsets,
    },
    /// Another program changed the columns or partitions of the table.
    #[error("the columns or partitions of the table {table} were changed")]
    Changed {
        /// The table.
        table: String,
    },
    /// The stop was requested while a commit failed.
    #[error(
        "stopped before the catalog answered to a commit to the table {table}; the next start goes \
         on at the offsets that the table has"
    )]
    Stopped {
        /// The table.
        table: String,
        /// The last error.
        source: Box<iceberg::Error>,
    },
    /// A commit failed for so long that its files are given up.
    #[error(
        "a commit to the table {table} failed for 15 minutes: its files are left to `etl lake \
         orphans`"
    )]
    GivenUp {
        /// The table.
        table: String,
        /// The last error.
        source: Box<iceberg::Error>,
    },
    /// The SmartModule is not flatten-items.
    #[error(
        "{count} records in a row are not envelopes of flatten-items, up to offset {offset}; load \
         flatten-items under the name in `transforms`, or correct `transforms`"
    )]
    NotEnvelopes {
        /// The number of records.
        count: usize,
        /// The offset after the last one.
        offset: i64,
    },
    /// The configured table does not exist.
    #[error("there is no table {table}; `etl lake init` creates it, and so does the sink")]
    NoTable {
        /// The table.
        table: String,
    },
    /// A row is not one that the sink writes.
    #[error("the table {table} has a row that the sink did not write: {problem}")]
    Row {
        /// The table.
        table: String,
        /// The reason.
        problem: String,
    },
    /// Files of the table are not in partitions by day.
    #[error(
        "{files} files of the table {table} belong to no day: they were written with other \
         partitions; rewrite them with the engine that wrote them"
    )]
    Undated {
        /// The table.
        table: String,
        /// The number of files.
        files: u64,
    },
    /// The files of a table can't be listed.
    #[error("cannot list the files below {location}")]
    List {
        /// The folder.
        location: String,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// None of the files that the table refers to was found.
    #[error(
        "none of the {files} files that the table {table} refers to is below {location}: nothing \
         is removed; check `warehouse` and `s3-endpoint`"
    )]
    Elsewhere {
        /// The table.
        table: String,
        /// The folder.
        location: String,
        /// The number of files.
        files: usize,
    },
    /// Another table has files in the folder of a table.
    #[error(
        "the table {other} is in {location}, so files below {folder} can be its files and not \
         orphans of {table}: nothing is removed; move one of the two tables to a folder of its own"
    )]
    Shared {
        /// The table.
        table: String,
        /// Its folder.
        folder: String,
        /// The other table.
        other: String,
        /// The other table's folder.
        location: String,
    },
    /// The folder of another table is not known.
    #[error(
        "cannot tell whether the table {table} of the same catalog has files in the folder, so \
         nothing is removed; give the credentials the right to read its metadata, or mend it"
    )]
    Unknown {
        /// The other table.
        table: String,
        /// The reason.
        source: Box<iceberg::Error>,
    },
    /// The locks on the partitions can't be taken.
    #[error("cannot share the partitions: {}", .0.chain())]
    Locks(warehouse::Error),
    /// A task panicked.
    #[error("a task of the sink failed")]
    Task(#[from] tokio::task::JoinError),
    /// A partition can't be read on.
    #[error("{0}{remedy}", remedy = remedy(.0))]
    Read(ReadError),
}

impl From<iceberg::Error> for Error {
    fn from(error: iceberg::Error) -> Self {
        Self::Iceberg(Box::new(error))
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<warehouse::Error> for Error {
    fn from(error: warehouse::Error) -> Self {
        Self::Locks(error)
    }
}

impl Error {
    /// Returns true if neither a retry nor waiting helps.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Incompatible { .. } | Self::OtherCluster { .. } | Self::Arrow(_) => true,
            Self::Read(error) => error.is_of_sink(),
            Self::Locks(error) => error.remedy() == Remedy::Fatal,
            _ => false,
        }
    }
}

/// The code and the message of AWS, or the causes, in one line. The SDK's own display adds the whole
/// answer with its headers.
pub(crate) fn of_aws<E>(error: &SdkError<E>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match (error.code(), error.raw_response()) {
        (Some(code), _) => format!("{code}: {}", error.message().unwrap_or("no message")),
        (None, Some(answer)) => format!("HTTP status {} without a reason", answer.status()),
        (None, None) => chain(error),
    }
}

/// The end of an error's message: what to do in the table.
fn remedy(error: &ReadError) -> String {
    match error {
        ReadError::Evicted { to, .. } => {
            format!(
                "; to skip them, stop the sink, set the property etl.offset.TOPIC.PARTITION to {to} \
                 in both tables of the sink, and start it"
            )
        }
        ReadError::BeyondEnd { .. } | ReadError::CreatedAgain { .. } => {
            "; to read it from its start, stop the sink, set the property \
             etl.offset.TOPIC.PARTITION to 0 and remove etl.last-record.TOPIC.PARTITION, in both \
             tables of the sink, and start it: its rejections have an offset of their own (the \
             rows stay as they are)"
                .to_owned()
        }
        _ => String::new(),
    }
}
