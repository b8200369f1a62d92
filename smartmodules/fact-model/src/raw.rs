//! The text of one JSON value, as it stands in the body.

use serde_json::value::RawValue;

/// The text of one JSON value, without white space around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    text: &'a str,
    /// Whether it is a string that was seen to have no escapes.
    is_plain: bool,
}

impl<'a> Raw<'a> {
    pub(crate) const NULL: Self = Self {
        text: "null",
        is_plain: false,
    };

    /// A value that was read, and whether it is a string without escapes.
    pub(crate) const fn read(text: &'a str, is_plain: bool) -> Self {
        Self { text, is_plain }
    }

    pub(crate) const fn get(self) -> &'a str {
        self.text
    }

    /// What stands between the quotes of a string that is known to have no escapes.
    pub(crate) fn plain(self) -> Option<&'a str> {
        self.text
            .get(1..self.text.len().checked_sub(1)?)
            .filter(|_| self.is_plain)
    }

    pub(crate) fn is_object(self) -> bool {
        self.text.starts_with('{')
    }

    /// The elements of an array; `None` for what is none.
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
