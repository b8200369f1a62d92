//! What one message becomes: the record that the SmartModule puts out and the sink reads.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de};

use crate::fact::Fact;
use crate::rejection::Rejection;

/// Everything that came of one message body, as one JSON record.
///
/// A body may carry several events, some of them good and some not, so both lists may be filled. An
/// empty one is not written, but both are empty where [`Options`](crate::Options) left all events out:
/// `{"facts":[]}`. What has neither list is no envelope.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Envelope<'a> {
    /// One fact for each product interaction, in the order of the body.
    pub facts: Vec<Fact<'a>>,
    /// What could not be read, and why.
    pub rejected: Vec<Rejection<'a>>,
    /// How many U+0000, which PostgreSQL can't hold, were removed from the body's texts.
    pub nuls_removed: u32,
}

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(expecting = "an envelope of facts and rejections")]
        struct Lists<'a> {
            #[serde(borrow)]
            facts: Option<Vec<Fact<'a>>>,
            #[serde(borrow)]
            rejected: Option<Vec<Rejection<'a>>>,
            #[serde(default)]
            nuls_removed: u32,
        }
        let lists = Lists::deserialize(deserializer)?;
        if lists.facts.is_none() && lists.rejected.is_none() {
            return Err(de::Error::custom("there are neither facts nor rejections"));
        }
        Ok(Self {
            facts: lists.facts.unwrap_or_default(),
            rejected: lists.rejected.unwrap_or_default(),
            nuls_removed: lists.nuls_removed,
        })
    }
}

impl Envelope<'_> {
    /// The same envelope with its own copy of every text, to outlive the body and the arena.
    pub fn into_owned(self) -> Envelope<'static> {
        Envelope {
            facts: self.facts.into_iter().map(Fact::into_owned).collect(),
            rejected: self
                .rejected
                .into_iter()
                .map(Rejection::into_owned)
                .collect(),
            nuls_removed: self.nuls_removed,
        }
    }
}

/// An owned copy of a text that may be borrowed.
pub(crate) fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}
