//! `meta.consumer.offset`: where a consumer begins.
//!
//! Fluvio would also keep the offsets reached, and there it is refused: with `auto` a record counts
//! as consumed when it is handed out, which is before it is stored, and `manual` commits wait for a
//! lock that the next read holds. A crash would lose records either way.

use std::fmt;

use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The section `meta.consumer.offset`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConsumerOffset {
    /// Where to begin in a partition whose offset is not kept yet.
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

impl ConsumerOffset {
    /// Refuses what would have Fluvio keep the offsets.
    pub(crate) fn check(&self) -> Result<(), String> {
        let refused = match (self.strategy, &self.flush_period) {
            (Some(Strategy::Auto), _) => "strategy: auto",
            (Some(Strategy::Manual), _) => "strategy: manual",
            (_, Some(_)) => "flush-period",
            (None | Some(Strategy::None), None) => return Ok(()),
        };
        Err(format!(
            "`meta.consumer.offset.{refused}` is refused: offsets that Fluvio keeps run ahead of what is stored, and a \
             crash would lose records; remove it, the offsets are kept where the records are stored"
        ))
    }
}

/// A place in a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// The first record that the topic still holds. A consumer that names no start begins here:
    /// nothing that was ever produced should be missing.
    #[default]
    Beginning,
    /// This many records behind the first one.
    FromBeginning(u32),
    /// The record at this offset.
    Absolute(u64),
    /// This many records before the end.
    FromEnd(u32),
    /// The first record that is not there yet.
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
            "`beginning`, `end`, or one of `absolute`, `from-beginning` and `from-end` with a number",
        )
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Start, E> {
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
            Some(other) => return Err(A::Error::invalid_value(Unexpected::Str(other), &self)),
            None => return Err(A::Error::invalid_length(0, &self)),
        };
        match map.next_key::<String>()? {
            None => Ok(start),
            Some(second) => Err(A::Error::invalid_value(Unexpected::Str(&second), &self)),
        }
    }
}
