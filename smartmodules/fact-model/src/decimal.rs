//! Exact decimals, parsed from text without floats.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::text::{Arena, Text};

/// The most digits of a decimal. The 96-bit decimals of `rust_decimal` and .NET hold any number of
/// 28 digits, PostgreSQL's `numeric` far more.
pub const MAX_DIGITS: usize = 28;

/// A decimal number as plain text: an optional `-`, digits, then optionally `.` and digits.
///
/// The text is canonical: no exponent, no plus sign, no leading zeros but the one before the point,
/// no trailing zeros behind it, no negative zero, at most [`MAX_DIGITS`] digits (that lone leading
/// zero not counted). Equal numbers have equal texts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Decimal<'a>(Cow<'a, str>);

impl<'a> Decimal<'a> {
    /// Parses a JSON number. Also accepts a leading `+`, leading zeros, and no digits on one side
    /// of the point.
    ///
    /// `None` for ambiguous or invalid numbers (thousands separators, decimal commas, symbols) and
    /// for more than [`MAX_DIGITS`] digits.
    pub fn parse(text: &'a str) -> Option<Self> {
        if let Some(number) = canonical(text) {
            return Some(Self(Cow::Borrowed(number)));
        }
        let (sign, unsigned) = match text.as_bytes().first()? {
            b'-' => ("-", text.get(1..)?),
            b'+' => ("+", text.get(1..)?),
            _ => ("", text),
        };
        let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
            Some(at) => (unsigned.get(..at)?, read_exponent(unsigned.get(at + 1..)?)?),
            None => (unsigned, 0),
        };
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if integer.is_empty() && fraction.is_empty()
            || !are_digits(integer)
            || !are_digits(fraction)
        {
            return None;
        }
        let significant = integer.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        if significant.is_empty() && fraction.is_empty() {
            return Some(Self(Cow::Borrowed("0")));
        }
        if exponent != 0 {
            return shift(sign, significant, fraction, exponent);
        }
        if significant.len() + fraction.len() > MAX_DIGITS {
            return None;
        }
        // Nearly always the canonical text is a prefix of the source.
        let is_canonical = sign != "+"
            && (significant.len() == integer.len() && !integer.is_empty() || integer == "0");
        let point = usize::from(!fraction.is_empty());
        let text = match text.get(..sign.len() + integer.len() + point + fraction.len()) {
            Some(number) if is_canonical => Cow::Borrowed(number),
            _ => Cow::Owned(plain(sign, significant, fraction)),
        };
        Some(Self(text))
    }

    /// Returns the number as canonical plain text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the number as an integer, if it is one and fits.
    pub fn to_integer(&self) -> Option<i32> {
        self.0.parse().ok()
    }

    /// Compares two numbers.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        match (self.0.strip_prefix('-'), other.0.strip_prefix('-')) {
            (None, None) => compare_unsigned(&self.0, &other.0),
            (Some(one), Some(other)) => compare_unsigned(other, one),
            (one, other) => other.is_some().cmp(&one.is_some()),
        }
    }

    /// Returns the canonical text, stored in `arena` if it isn't part of the source.
    pub(crate) fn into_text(self, arena: &'a Arena) -> &'a str {
        match self.0 {
            Cow::Borrowed(text) => text,
            Cow::Owned(text) => arena.text(&text),
        }
    }

    /// Copies the borrowed text.
    pub fn into_owned(self) -> Decimal<'static> {
        Decimal(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for Decimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Decimal<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        let decimal = match &text {
            Cow::Borrowed(text) => Decimal::parse(text),
            Cow::Owned(text) => Decimal::parse(text).map(Decimal::into_owned),
        };
        decimal.ok_or_else(|| {
            de::Error::invalid_value(
                de::Unexpected::Str(&text),
                &"a decimal of at most 28 digits",
            )
        })
    }
}

/// Compares two canonical texts without a sign.
fn compare_unsigned(one: &str, other: &str) -> Ordering {
    let [one, other] = [one, other].map(|text| text.split_once('.').unwrap_or((text, "")));
    // Without leading and trailing zeros, digits are ordered as texts.
    (one.0.len(), one).cmp(&(other.0.len(), other))
}

/// Fast path: returns the canonical text if it is a prefix of `text`, as in nearly every price:
/// digits without a leading zero, an optional point, digits, and zeros at the end.
/// [`Decimal::parse`] handles all other texts.
fn canonical(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    if bytes.len() > MAX_DIGITS || matches!(bytes, [b'0', b'0'..=b'9', ..]) {
        return None;
    }
    let mut point = None;
    let mut end = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'1'..=b'9' => end = at + 1,
            b'0' if point.is_none() => end = at + 1,
            b'0' => {}
            b'.' if point.is_none() && at > 0 => point = Some(at),
            _ => return None,
        }
    }
    // `end` is 0 if the text doesn't start with a digit.
    text.get(..end).filter(|number| !number.is_empty())
}

fn are_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parses an exponent, clamped to a magnitude beyond any [`Decimal`].
fn read_exponent(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !are_digits(digits) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let magnitude: i32 = if digits.len() > 4 {
        10_000
    } else {
        digits.parse().ok()?
    };
    Some(if text.starts_with('-') {
        -magnitude
    } else {
        magnitude
    })
}

/// Moves the point of `integer.fraction` by `exponent` places to the right.
fn shift(sign: &str, integer: &str, fraction: &str, exponent: i32) -> Option<Decimal<'static>> {
    let digits = format!("{integer}{fraction}");
    let point = i64::try_from(integer.len()).ok()? + i64::from(exponent);
    let significant = digits.trim_start_matches('0');
    let leading = i64::try_from(digits.len() - significant.len()).ok()?;
    let point = point - leading;
    let significant = significant.trim_end_matches('0');
    let count = i64::try_from(significant.len()).ok()?;
    // Digits on both sides of the point, including the zeros next to it.
    if point.max(0).max(count) + (-point).max(0) > i64::try_from(MAX_DIGITS).ok()? {
        return None;
    }
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
    let text = if point <= 0 {
        plain(sign, "", &format!("{}{significant}", zeros(-point)))
    } else if point >= count {
        plain(sign, &format!("{significant}{}", zeros(point - count)), "")
    } else {
        let (integer, fraction) = significant.split_at_checked(usize::try_from(point).ok()?)?;
        plain(sign, integer, fraction)
    };
    Some(Decimal(Cow::Owned(text)))
}

/// Formats a nonzero number. `integer` has no leading and `fraction` no trailing zeros.
fn plain(sign: &str, integer: &str, fraction: &str) -> String {
    let sign = if sign == "-" { "-" } else { "" };
    let integer = if integer.is_empty() { "0" } else { integer };
    let point = if fraction.is_empty() { "" } else { "." };
    [sign, integer, point, fraction].concat()
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn numbers_are_compared_by_their_value() {
        let sorted = [
            "-10", "-9.5", "-9.45", "0", "0.05", "0.5", "9", "9.5", "10", "10.25",
        ];
        let numbers = sorted.map(|text| Decimal::parse(text).unwrap());
        for (at, one) in numbers.iter().enumerate() {
            for (other_at, other) in numbers.iter().enumerate() {
                assert_eq!(one.compare(other), at.cmp(&other_at), "{one} {other}");
            }
        }
    }

    fn parsed(text: &str) -> Option<String> {
        Decimal::parse(text).map(|decimal| decimal.to_string())
    }

    #[test]
    fn equal_numbers_have_equal_texts() {
        for (text, canonical) in [
            ("9.99", "9.99"),
            ("9.90", "9.9"),
            ("9.00", "9"),
            ("+9.", "9"),
            ("0", "0"),
            ("-0.00", "0"),
            ("0e5", "0"),
            (".5", "0.5"),
            ("-.50", "-0.5"),
            ("007.25", "7.25"),
            ("-007", "-7"),
            ("00.5", "0.5"),
            ("0.05", "0.05"),
            ("100", "100"),
            ("1e3", "1000"),
            ("1E+3", "1000"),
            ("1.25e1", "12.5"),
            ("125e-2", "1.25"),
            ("125e-5", "0.00125"),
            ("0.00125e2", "0.125"),
            ("0.00125e3", "1.25"),
            ("-1.5e0", "-1.5"),
            ("1e-0007", "0.0000001"),
            (
                "1234567890123456789012345678",
                "1234567890123456789012345678",
            ),
            (
                "0.1234567890123456789012345678",
                "0.1234567890123456789012345678",
            ),
            ("1e27", "1000000000000000000000000000"),
        ] {
            assert_eq!(parsed(text).as_deref(), Some(canonical), "{text}");
        }
    }

    #[test]
    fn ambiguous_or_too_long_numbers_are_refused() {
        for text in [
            "",
            "-",
            "+",
            ".",
            "e5",
            "1e",
            "1e+",
            "1,234",
            "1.234,56",
            "1 299",
            "€9",
            "9.99 EUR",
            "1.2.3",
            "--1",
            "0x10",
            "1_000",
            "NaN",
            "Infinity",
            "١٢",
            "1e28",
            "1e-29",
            "1e999999999",
            "1e99999999999999999999",
            "1e-999999999",
            "12345678901234567890123456789",
            "0.12345678901234567890123456789",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn integers_must_fit() {
        let integer = |text| Decimal::parse(text).and_then(|decimal| decimal.to_integer());
        assert_eq!(integer("3.0"), Some(3));
        assert_eq!(integer("-1"), Some(-1));
        assert_eq!(integer("3.5"), None);
        assert_eq!(integer("2147483648"), None);
    }
}
