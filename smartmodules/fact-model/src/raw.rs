//! Unparsed JSON values of an event, and their locations.

use serde_json::value::RawValue;

/// The text of one JSON value, without white space around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    text: &'a str,
    /// True for a string that is known to have no escapes.
    is_plain: bool,
}

impl<'a> Raw<'a> {
    pub(crate) const NULL: Self = Self {
        text: "null",
        is_plain: false,
    };

    /// Wraps the text of a value. `is_plain` means that it is a string without escapes.
    pub(crate) const fn read(text: &'a str, is_plain: bool) -> Self {
        Self { text, is_plain }
    }

    pub(crate) const fn get(self) -> &'a str {
        self.text
    }

    /// Returns the content of a string that is known to have no escapes.
    pub(crate) fn plain(self) -> Option<&'a str> {
        self.text
            .get(1..self.text.len().checked_sub(1)?)
            .filter(|_| self.is_plain)
    }

    pub(crate) fn is_object(self) -> bool {
        self.text.starts_with('{')
    }

    /// Returns true for an object or an array.
    pub(crate) fn is_nested(self) -> bool {
        self.text.starts_with(['{', '['])
    }

    /// Returns the elements of an array; `None` for any other value.
    pub(crate) fn elements(self) -> Option<Vec<Self>> {
        let elements: Vec<&RawValue> = serde_json::from_str(self.text).ok()?;
        Some(elements.into_iter().map(Self::from).collect())
    }
}

impl<'a> From<&'a RawValue> for Raw<'a> {
    fn from(value: &'a RawValue) -> Self {
        Self::read(value.get(), false)
    }
}

/// The object of an event that holds a key. Earlier ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Top,
    Params,
    EventParams,
}

impl Place {
    /// Returns the object's key in the event.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Top => "",
            Self::Params => "params",
            Self::EventParams => "event_params",
        }
    }
}

/// A value of an event with its key and location.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) raw: Raw<'a>,
    pub(crate) key: &'a str,
    /// Of several values for one column, the lowest rank wins.
    pub(crate) rank: (Place, u8),
}

impl Found<'_> {
    /// Returns the location in the event, for a rejection.
    pub(crate) fn place(&self) -> String {
        match self.rank.0 {
            Place::Top => format!(".{}", self.key),
            place => format!(".{}.{}", place.key(), self.key),
        }
    }

    /// Returns the key and the start of its value, for a message.
    pub(crate) fn shown(&self) -> String {
        let value = beginning(self.raw.get());
        format!("{} = {value}", self.key)
    }
}

/// Returns the start of a text, for a message.
pub(crate) fn beginning(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
