//! Records of the topic.

use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Datelike, Utc};
use connector_common::keys::{self, Key};

/// The tables refuse times of this year and later ones.
const END_OF_TIME: i32 = 2300;

/// A record of the topic.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its key, which names the SQS message; see [`connector_common::keys`].
    pub key: Option<Bytes>,
    /// Its value: in most sinks an envelope of the SmartModule `flatten-items`.
    pub value: Bytes,
}

impl Record {
    /// Its key, if the source has made it.
    #[must_use]
    pub fn message(&self) -> Option<Key<'_>> {
        Key::parse(self.key.as_deref()?)
    }

    /// The version of its events.
    #[must_use]
    pub fn version(&self) -> Option<u128> {
        self.message()?.sent.version()
    }

    /// The time when its message was sent, if the tables can store it.
    #[must_use]
    pub fn sent_at(&self) -> Option<DateTime<Utc>> {
        let millis = self.message()?.sent.millis?;
        let sent_at = DateTime::from_timestamp_millis(i64::try_from(millis).ok()?)?;
        (sent_at.year() < END_OF_TIME).then_some(sent_at)
    }
}

/// Identifies the last record that was written: in a topic that was created again, its offset has
/// another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRecord {
    /// The offset.
    pub offset: i64,
    /// The key.
    pub key: String,
}

impl LastRecord {
    /// `None` for a record whose key does not name a message.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let key = keys::stored(record.key.as_deref()?)?;
        Some(Self {
            offset: record.offset,
            key: key.to_owned(),
        })
    }

    /// Parses the text in which it is displayed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (offset, key) = text.split_once(' ')?;
        Some(Self {
            offset: offset.parse().ok()?,
            key: key.to_owned(),
        })
    }
}

impl fmt::Display for LastRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.offset, self.key)
    }
}
