//! Why a body, or one event of it, could not become facts.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::borrow::optional_text;
use crate::envelope::owned;

/// An event that could not be read, with all that is needed to understand it and to send it
/// through again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection<'a> {
    /// Machine-readable, kebab-case: the text of a [`Reason`].
    ///
    /// A text and not the enum, because a reader may be older than the SmartModule that wrote it.
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    /// A sentence for a person.
    #[serde(borrow)]
    pub detail: Cow<'a, str>,
    /// The place in the body, like a JSONPath: `$`, `$[3].items[2]`.
    #[serde(borrow)]
    pub at: Cow<'a, str>,
    /// The refused event as it came: the whole body, or its element when the body is an array.
    #[serde(borrow)]
    pub raw: Cow<'a, str>,
    /// `base64` when the body is no text that PostgreSQL can hold; absent for text.
    #[serde(
        borrow,
        default,
        deserialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub raw_encoding: Option<Cow<'a, str>>,
}

impl Rejection<'_> {
    /// The same rejection with its own copy of every text.
    pub fn into_owned(self) -> Rejection<'static> {
        Rejection {
            reason: owned(self.reason),
            detail: owned(self.detail),
            at: owned(self.at),
            raw: owned(self.raw),
            raw_encoding: self.raw_encoding.map(owned),
        }
    }
}

/// The kinds of rejection. Programs may rely on their texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The body is empty, or only white space.
    EmptyBody,
    /// The body is not UTF-8.
    NotUtf8,
    /// The body is not JSON.
    NotJson,
    /// The body is JSON, but no object (or array of objects) that could be an event.
    NotAnEvent,
    /// The body, or the text that it holds, is in a known format and breaks off or breaks its rules.
    Malformed,
    /// The body points to an object in S3, where the Amazon SQS Extended Client Library has put the event.
    S3Pointer,
    /// The text stands for something that was never printed, such as a parcelled Android `Bundle`.
    Unrecoverable,
    /// The body is wrapped too often: texts in texts, envelopes in envelopes.
    TooDeep,
    /// The event tells no time.
    MissingTime,
    /// The event's time can't be read, or is before 2000 or after 2099.
    BadTime,
    /// The event has no name.
    MissingName,
    /// `items` holds something that is no list of items.
    BadItems,
    /// The facts would be out of all proportion to the body.
    TooLarge,
    /// The body is larger than the operator allows.
    BodyTooLarge,
    /// The event has more items than the operator allows.
    TooManyItems,
}

impl Reason {
    /// The text that stands in [`Rejection::reason`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EmptyBody => "empty-body",
            Self::NotUtf8 => "not-utf8",
            Self::NotJson => "not-json",
            Self::NotAnEvent => "not-an-event",
            Self::Malformed => "malformed",
            Self::S3Pointer => "s3-pointer",
            Self::Unrecoverable => "unrecoverable",
            Self::TooDeep => "too-deep",
            Self::MissingTime => "missing-time",
            Self::BadTime => "bad-time",
            Self::MissingName => "missing-name",
            Self::BadItems => "bad-items",
            Self::TooLarge => "too-large",
            Self::BodyTooLarge => "body-too-large",
            Self::TooManyItems => "too-many-items",
        }
    }
}

/// Why an event is refused, before it is known which body it stood in.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
    /// The place below the event: empty, or something like `.items[2]`.
    pub(crate) below: String,
}

impl Refusal {
    /// A refusal of the event as a whole.
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self::at(reason, detail, String::new())
    }

    /// A refusal because of one place in the event.
    pub(crate) fn at(reason: Reason, detail: impl Into<String>, below: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            below: below.into(),
        }
    }

    /// The same refusal of what stands at `place` in something larger.
    pub(crate) fn within(mut self, place: &str) -> Self {
        self.below.insert_str(0, place);
        self
    }

    /// The rejection of the event that stands at `place` and arrived as `raw`.
    pub(crate) fn of<'a>(self, place: &str, raw: &'a [u8]) -> Rejection<'a> {
        let (raw, raw_encoding) = match std::str::from_utf8(raw) {
            Ok(text) if !text.contains('\0') => (Cow::Borrowed(text), None),
            _ => (
                Cow::Owned(STANDARD.encode(raw)),
                Some(Cow::Borrowed("base64")),
            ),
        };
        Rejection {
            reason: Cow::Borrowed(self.reason.as_str()),
            detail: Cow::Owned(self.detail),
            at: Cow::Owned(format!("{place}{}", self.below)),
            raw,
            raw_encoding,
        }
    }
}
