//! Deserialising texts without copying them: serde borrows a `Cow` only where it stands alone as a
//! field, not inside an `Option`.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

/// A text that is borrowed from the input wherever it has no escapes.
#[derive(Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Reads an optional text, borrowing it where the input allows.
pub(crate) fn optional_text<'de: 'a, 'a, D>(
    deserializer: D,
) -> Result<Option<Cow<'a, str>>, D::Error>
where
    D: Deserializer<'de>,
{
    let text = Option::<Text<'a>>::deserialize(deserializer)?;
    Ok(text.map(|Text(text)| text))
}
