//! Reasons why a body, or one event of it, is rejected.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::text::{optional_text, owned};

/// An event that could not be read, with what is needed to find the cause and to process it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection<'a> {
    /// The kebab-case text of a [`Reason`]. It is not the enum, because a reader may be older than
    /// the SmartModule that wrote it.
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    /// A sentence for a person.
    #[serde(borrow)]
    pub detail: Cow<'a, str>,
    /// The location in the body, like a JSONPath: `$`, `$[3].items[2]`.
    #[serde(borrow)]
    pub at: Cow<'a, str>,
    /// The rejected event as it came: the whole body, or one element if the body is an array.
    #[serde(borrow)]
    pub raw: Cow<'a, str>,
    /// `base64` if the body is not a text that PostgreSQL can store; absent for text.
    #[serde(
        borrow,
        default,
        deserialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub raw_encoding: Option<Cow<'a, str>>,
}

impl Rejection<'_> {
    /// Copies all borrowed strings.
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

/// The kinds of rejection. Their texts are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The body is empty or white space.
    EmptyBody,
    /// The body is not UTF-8.
    NotUtf8,
    /// The body is not JSON.
    NotJson,
    /// The body is JSON, but not an object or an array of objects.
    NotAnEvent,
    /// The body, or a text in it, is in a known format, but is cut off or breaks its rules.
    Malformed,
    /// The Amazon SQS Extended Client Library has put the event into S3; the body only points to
    /// it.
    S3Pointer,
    /// The text omits the data, as that of a parcelled Android `Bundle` does.
    Unrecoverable,
    /// The body has too many nested strings or envelopes.
    TooDeep,
    /// The event has no time.
    MissingTime,
    /// The event's time can't be read, or is before 2000 or after 2099.
    BadTime,
    /// The event has no name.
    MissingName,
    /// `items` is not a list of items.
    BadItems,
    /// The facts would be far larger than the body.
    TooLarge,
    /// The body is larger than `max-body`.
    BodyTooLarge,
    /// The event has more items than `max-items`.
    TooManyItems,
    /// The event violates the tracking plan.
    TrackingPlan,
}

impl Reason {
    /// Returns the text for [`Rejection::reason`].
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
            Self::TrackingPlan => "tracking-plan",
        }
    }
}

/// A rejection without the event's text and location in the body.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
    /// The location in the event: empty, or a path like `.items[2]`.
    pub(crate) below: String,
}

impl Refusal {
    /// Refuses the event as a whole.
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self::at(reason, detail, String::new())
    }

    /// Refuses the event because of one location in it.
    pub(crate) fn at(reason: Reason, detail: impl Into<String>, below: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            below: below.into(),
        }
    }

    /// Prepends `place` to the location.
    pub(crate) fn within(mut self, place: &str) -> Self {
        self.below.insert_str(0, place);
        self
    }

    /// Completes the rejection of the event `raw` at `place`.
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
