//! The section `meta` of the YAML document.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use fluvio::Compression;
use fluvio::metadata::topic::TopicSpec;
use serde::de::{self, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error::Error;

/// The section `meta`.
#[derive(Clone, Debug)]
pub struct Meta {
    /// The connector's name, unique in its cluster.
    pub name: String,
    /// The kind of connector, `sqs-source` for example.
    pub type_: String,
    /// The connector's version, by which `cdk` selects the package.
    pub version: String,
    /// The topic that is written or read.
    pub topic: Topic,
    /// Settings for reading records from the topic.
    pub consumer: Consumer,
    /// Settings for writing records to the topic.
    pub producer: Producer,
}

impl Meta {
    /// The name under which a sink stores offsets and reports commits: `meta.consumer.id`, else
    /// `meta.name`.
    #[must_use]
    pub fn sink_name(&self) -> &str {
        self.consumer.id.as_ref().unwrap_or(&self.name)
    }
}

/// `meta.topic`: a name (`apiVersion: 0.1.0`) or a whole topic (`0.2.0`).
#[derive(Clone, Debug)]
pub struct Topic {
    /// The topic's name.
    pub name: String,
    /// The topic to create if it does not exist. Default: one partition.
    pub spec: TopicSpec,
}

/// `meta.consumer`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Consumer {
    /// The partitions to read: `all` (default), a number or a list of numbers.
    #[serde(default)]
    pub partition: Partitions,
    /// The largest response to request from the cluster (`8MB`, `1MiB`), below 2 GiB.
    #[serde(default, alias = "max_bytes")]
    pub max_bytes: Option<ByteSize>,
    /// The name that committed offsets are stored under. Default: the connector's name.
    #[serde(default)]
    pub id: Option<String>,
    /// The start offset.
    #[serde(default)]
    pub offset: ConsumerOffset,
}

/// The partitions a consumer reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Partitions {
    /// Every partition that the topic has.
    #[default]
    All,
    /// These.
    Some(Vec<u32>),
}

impl<'de> Deserialize<'de> for Partitions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected `all`, a partition number or a list of them"
        )]
        enum Form {
            Word(String),
            One(u32),
            Many(Vec<u32>),
        }
        match Form::deserialize(deserializer)? {
            Form::Word(word) if word == "all" => Ok(Self::All),
            Form::One(partition) => Ok(Self::Some(vec![partition])),
            Form::Many(mut partitions) if !partitions.is_empty() => {
                partitions.sort_unstable();
                partitions.dedup();
                Ok(Self::Some(partitions))
            }
            Form::Word(_) | Form::Many(_) => Err(de::Error::custom(
                "expected `all`, a partition number or a list of them",
            )),
        }
    }
}

/// `meta.producer`. Absent settings have the Fluvio client's defaults.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Producer {
    /// The longest time that a batch waits for more records (`50ms`).
    #[serde(default, with = "humantime_serde")]
    pub linger: Option<Duration>,
    /// The size at which a batch is sent without waiting (`256KB`).
    #[serde(default, alias = "batch_size")]
    pub batch_size: Option<ByteSize>,
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    #[serde(default)]
    pub compression: Option<Compression>,
}

/// The section `meta.consumer.offset`.
///
/// Fluvio can also store the offsets that a consumer reached; that is refused here. With `auto` a
/// record counts as consumed when it is handed out, before it is stored, and `manual` commits wait
/// for a lock that the next read holds. A crash would lose records either way.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConsumerOffset {
    /// The start in a partition without a committed offset.
    #[serde(default)]
    pub start: Start,
    #[serde(default)]
    strategy: Option<Strategy>,
    #[serde(default)]
    flush_period: Option<Value>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Strategy {
    None,
    Manual,
    Auto,
}

impl Consumer {
    /// The largest response in bytes, as Fluvio's protocol has it.
    #[must_use]
    pub fn response_bytes(&self) -> Option<i32> {
        i32::try_from(self.max_bytes?.as_u64()).ok()
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        match (self.max_bytes, self.response_bytes()) {
            (Some(size), None) => Err(Error::Invalid(format!(
                "`meta.consumer.max-bytes` must be below 2GiB, not {size}"
            ))),
            (Some(_), Some(0)) => Err(Error::Invalid(
                "`meta.consumer.max-bytes` must be at least 1B".to_owned(),
            )),
            _ => self.offset.validate(),
        }
    }
}

impl ConsumerOffset {
    /// Refuses settings by which Fluvio would store the offsets.
    fn validate(&self) -> Result<(), Error> {
        let refused = match (self.strategy, &self.flush_period) {
            (Some(Strategy::Auto), _) => "strategy: auto",
            (Some(Strategy::Manual), _) => "strategy: manual",
            (_, Some(_)) => "flush-period",
            (None | Some(Strategy::None), None) => return Ok(()),
        };
        Err(Error::Invalid(format!(
            "`meta.consumer.offset.{refused}` is refused: offsets that Fluvio stores run ahead of \
             the records that are stored, so a crash would lose records; remove it, the offsets \
             are committed together with the records"
        )))
    }
}

/// A start position in a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// The first record that the topic still holds, so that no record is missed.
    #[default]
    Beginning,
    /// This many records after the first one.
    FromBeginning(u32),
    /// The record at this offset.
    Absolute(u64),
    /// This many records before the end.
    FromEnd(u32),
    /// The next record that is produced.
    End,
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StartVisitor)
    }
}

struct StartVisitor;

impl<'de> Visitor<'de> for StartVisitor {
    type Value = Start;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "`beginning`, `end`, or one of `absolute`, `from-beginning` and `from-end` with a \
             number",
        )
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Start, E> {
        match word {
            "beginning" => Ok(Start::Beginning),
            "end" => Ok(Start::End),
            other => Err(E::invalid_value(Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Start, A::Error> {
        let start = match map.next_key::<String>()?.as_deref() {
            Some("absolute") => Start::Absolute(map.next_value()?),
            Some("from-beginning") => Start::FromBeginning(map.next_value()?),
            Some("from-end") => Start::FromEnd(map.next_value()?),
            Some(other) => return Err(de::Error::invalid_value(Unexpected::Str(other), &self)),
            None => return Err(de::Error::invalid_length(0, &self)),
        };
        match map.next_key::<String>()? {
            None => Ok(start),
            Some(second) => Err(de::Error::invalid_value(Unexpected::Str(&second), &self)),
        }
    }
}
