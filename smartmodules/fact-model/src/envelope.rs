//! What one message becomes: the record that the SmartModule puts out and the sink reads.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::fact::Fact;
use crate::rejection::Rejection;

/// Everything that came of one message body, as one JSON record.
///
/// A body may carry several events, some of them good and some not, so both lists may be filled.
/// They are never both empty: what yields no fact yields a rejection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Envelope<'a> {
    /// One fact for each product interaction, in the order of the body.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact<'a>>,
    /// What could not be read, and why.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejection<'a>>,
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
        }
    }
}

/// An owned copy of a text that may be borrowed.
pub(crate) fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}
