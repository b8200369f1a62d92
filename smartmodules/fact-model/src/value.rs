//! Converts a JSON value to the type of its column.

use crate::decimal::Decimal;
use crate::json::unescape;
use crate::limits::{MAX_TEXT, cut_text};
use crate::money;
use crate::raw::Raw;
use crate::text::Arena;

/// A JSON value converted for a column of type `T`.
#[derive(Debug, PartialEq)]
pub(crate) enum Column<T> {
    /// JSON null or a sentinel.
    Null,
    /// A value of the column.
    Value(T),
    /// A text that is cut for the column; the whole goes to `extra`.
    Cut(T),
    /// A value that the column can't hold; it goes to `extra`.
    Misfit,
}

impl<T> Column<T> {
    fn of(value: Option<T>) -> Self {
        value.map_or(Self::Misfit, Self::Value)
    }

    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Column<U> {
        self.and_then(|value| Some(f(value)))
    }

    fn and_then<U>(self, f: impl FnOnce(T) -> Option<U>) -> Column<U> {
        match self {
            Self::Null => Column::Null,
            Self::Value(value) => Column::of(f(value)),
            Self::Cut(value) => f(value).map_or(Column::Misfit, Column::Cut),
            Self::Misfit => Column::Misfit,
        }
    }
}

/// Texts that mean a missing value: that of Google Analytics, then what platforms print for one:
/// Java and JavaScript, iOS (`NSNull`, a nil in a format), Swift, Go, Python, pandas, SQL.
const SENTINELS: [&str; 14] = [
    "(not set)",
    "",
    "null",
    "undefined",
    "NaN",
    "<null>",
    "(null)",
    "nil",
    "<nil>",
    "None",
    "nan",
    "NaT",
    "<NA>",
    "NULL",
];

/// Returns true if a text means a missing value.
pub(crate) fn is_sentinel(text: &str) -> bool {
    // The first byte rules out most texts.
    let can_be = match text.as_bytes().first() {
        Some(first) => matches!(first, b'(' | b'n' | b'u' | b'N' | b'<'),
        None => true,
    };
    can_be && text.len() <= "(not set)".len() && SENTINELS.contains(&text)
}

/// Trims white space, of which there nearly never is any.
pub(crate) fn trim(text: &str) -> &str {
    let is_sign = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    if is_sign(text.as_bytes().first()) && is_sign(text.as_bytes().last()) {
        text
    } else {
        text.trim()
    }
}

/// Returns true for null and for sentinels.
pub(crate) fn is_null(raw: Raw<'_>) -> bool {
    let json = raw.get();
    json == "null"
        || json
            .strip_prefix('"')
            .and_then(|json| json.strip_suffix('"'))
            .is_some_and(|text| is_sentinel(trim(text)))
}

/// Converts a value to trimmed text. A number becomes plain text without `.0`, since a producer's
/// JSON library may write the id 7 as `7.0` or `7e0`.
pub(crate) fn text<'a>(raw: Raw<'a>, arena: &'a Arena) -> Column<&'a str> {
    let json = raw.get();
    match json.as_bytes().first() {
        Some(b'"') => match raw.plain().or_else(|| unescape(json, arena)).map(trim) {
            Some(text) if is_sentinel(text) => Column::Null,
            text => Column::of(text),
        },
        Some(b'n') => Column::Null,
        Some(b't' | b'f') => Column::Value(json),
        Some(b'-' | b'0'..=b'9') => Column::Value(number_text(json, arena)),
        _ => Column::Misfit,
    }
}

/// Converts a value to the text of a column, as [`text`] does, and cuts it to [`MAX_TEXT`].
pub(crate) fn column_text<'a>(raw: Raw<'a>, arena: &'a Arena) -> Column<&'a str> {
    cut(text(raw, arena), arena)
}

/// Converts a value to the upper-case text of a column, cut to [`MAX_TEXT`].
pub(crate) fn column_upper<'a>(raw: Raw<'a>, arena: &'a Arena) -> Column<&'a str> {
    cut(upper(raw, arena), arena)
}

#[inline]
fn cut<'a>(column: Column<&'a str>, arena: &'a Arena) -> Column<&'a str> {
    match column {
        // The length rules out nearly all texts without a call.
        Column::Value(text) if text.len() > MAX_TEXT => {
            let cut = cut_text(text, MAX_TEXT);
            Column::Cut(cut.map_or(text, |cut| arena.text(&cut)))
        }
        other => other,
    }
}

fn number_text<'a>(number: &'a str, arena: &'a Arena) -> &'a str {
    if number.bytes().all(|byte| byte.is_ascii_digit()) {
        return number;
    }
    match Decimal::parse(number) {
        Some(decimal) => decimal.into_text(arena),
        None => number,
    }
}

/// Converts a number, or a text with an unambiguous one, to an exact decimal.
pub(crate) fn decimal<'a>(raw: Raw<'a>, arena: &'a Arena) -> Column<Decimal<'a>> {
    let json = raw.get();
    match json.as_bytes().first() {
        Some(b't' | b'f') => Column::Misfit,
        Some(b'-' | b'0'..=b'9') => Column::of(Decimal::parse(json)),
        _ => text(raw, arena)
            .and_then(|text| Decimal::parse(text).or_else(|| money::parse(text, None))),
    }
}

/// Converts an amount in a currency as [`decimal`] does. In a currency without a minor unit a comma
/// before three digits groups them. A point in a text does so too, or a program wrote a fraction:
/// that is ambiguous.
pub(crate) fn amount<'a>(
    raw: Raw<'a>,
    currency: Option<&str>,
    arena: &'a Arena,
) -> Column<Decimal<'a>> {
    let currency = currency.filter(|currency| money::is_without_minor_unit(currency));
    if currency.is_none() || !raw.get().starts_with('"') {
        return decimal(raw, arena);
    }
    text(raw, arena).and_then(|text| match Decimal::parse(text) {
        // Without a sign beside it a point groups nothing for certain.
        Some(_) if money::ends_like_a_group(text) && !text.starts_with("0.") => None,
        Some(number) => Some(number),
        None => money::parse(text, currency),
    })
}

/// Returns true for an amount whose meaning depends on its currency.
pub(crate) fn depends_on_currency(raw: Raw<'_>) -> bool {
    let text = raw
        .get()
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    text.is_some_and(money::ends_like_a_group)
}

/// Converts a value to an integer.
pub(crate) fn integer(raw: Raw<'_>, arena: &Arena) -> Column<i32> {
    decimal(raw, arena).and_then(|decimal| decimal.to_integer())
}

/// Converts a value to upper-case text.
fn upper<'a>(raw: Raw<'a>, arena: &'a Arena) -> Column<&'a str> {
    text(raw, arena).map(|text| {
        if text
            .bytes()
            .all(|byte| byte.is_ascii() && !byte.is_ascii_lowercase())
        {
            text
        } else {
            arena.text(&text.to_uppercase())
        }
    })
}

/// Converts a value to a currency code: three letters in upper case. Signs and names don't fit.
pub(crate) fn currency<'a>(raw: Raw<'a>, arena: &'a Arena) -> Column<&'a str> {
    upper(raw, arena).and_then(|text| {
        let is_code = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        is_code.then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Raw<'_> {
        Raw::read(json, false)
    }

    #[test]
    fn sentinels_are_null_in_every_column() {
        let arena = Arena::new();
        for json in [
            "null",
            "\"\"",
            "\"  \"",
            "\"(not set)\"",
            "\"null\"",
            "\"undefined\"",
            "\" NaN\"",
        ] {
            assert!(is_null(raw(json)), "{json}");
            assert_eq!(text(raw(json), &arena), Column::Null, "{json}");
            assert_eq!(decimal(raw(json), &arena), Column::Null, "{json}");
            assert_eq!(integer(raw(json), &arena), Column::Null, "{json}");
            assert_eq!(currency(raw(json), &arena), Column::Null, "{json}");
        }
        for json in [
            "\"none\"",
            "\"Null\"",
            "0",
            "false",
            "\"not set\"",
            "[]",
            "{}",
        ] {
            assert!(!is_null(raw(json)), "{json}");
        }
    }

    #[test]
    fn ids_that_are_numbers_become_plain_text() {
        let arena = Arena::new();
        for (json, expected) in [
            ("7", "7"),
            ("7.0", "7"),
            ("7e2", "700"),
            ("1.50", "1.5"),
            (
                "12345678901234567890123456789012345",
                "12345678901234567890123456789012345",
            ),
            ("1e400", "1e400"),
            ("true", "true"),
            ("\" SKU 9 \"", "SKU 9"),
            ("\"7.0\"", "7.0"),
            ("\"caf\\u00e9 \\\"x\\\"\"", "café \"x\""),
        ] {
            assert_eq!(text(raw(json), &arena), Column::Value(expected), "{json}");
        }
        assert_eq!(text(raw("[1]"), &arena), Column::Misfit);
        assert_eq!(text(raw("{}"), &arena), Column::Misfit);
    }

    #[test]
    fn a_value_that_a_column_cannot_hold_is_a_misfit() {
        let arena = Arena::new();
        assert_eq!(
            decimal(raw("\" 19.90 \""), &arena),
            Column::of(Decimal::parse("19.9"))
        );
        assert_eq!(
            decimal(raw("\"1.234,56\""), &arena),
            Column::of(Decimal::parse("1234.56"))
        );
        for json in ["\"1,234\"", "\"five\"", "true", "[1]", "1e99"] {
            assert_eq!(decimal(raw(json), &arena), Column::Misfit, "{json}");
        }
        assert_eq!(integer(raw("\"3\""), &arena), Column::Value(3));
        assert_eq!(integer(raw("\"Slide 3\""), &arena), Column::Misfit);
        assert_eq!(integer(raw("3.5"), &arena), Column::Misfit);
        assert_eq!(currency(raw("\"usd\""), &arena), Column::Value("USD"));
        for json in ["\"€\"", "\"euro\"", "840"] {
            assert_eq!(currency(raw(json), &arena), Column::Misfit, "{json}");
        }
    }
}
