//! Amounts in local notation: `1.234,56`, `€ 9,99`, `1 299,50`, `R$ 1.299,90`.
//!
//! The last of `.` and `,` is the decimal separator if both occur. A single comma before one or two
//! digits is decimal; before three digits it is ambiguous, so `1,234` is not an amount. It is one
//! in a currency without a minor unit, which has no decimals: `1,234` yen are 1234. Spaces (also
//! non-breaking ones), apostrophes and a repeated separator group thousands, and each group must
//! have three digits, or in India's grouping two and the last one three: `1,29,999.00`. A currency
//! sign, its letters or three-letter code may precede and follow the number.

use crate::decimal::Decimal;

/// The longest text that is parsed.
const MAX_LENGTH: usize = 64;
/// Currency signs.
const SIGNS: &str = "$€£¥₽₴₹₺₩₪₫₱₦₡₲₵₸₼₾฿₿¢";
/// Letters that stand for a currency (Unicode CLDR, <https://cldr.unicode.org>). Of two that fit
/// the longer one comes first.
const LETTERS: [&str; 42] = [
    "COP$", "CLP$", "AU$", "CA$", "HK$", "MX$", "NT$", "NZ$", "US$", "A$", "C$", "R$", "S$", "S/.",
    "S/", "kr.", "Kr.", "kr", "Kr", "zł", "Kč", "Ft", "lei", "Lei", "RM", "Rp.", "Rp", "Rs.", "Rs",
    "TL", "Fr.", "Fr", "KM", "Bs.", "Bs", "руб.", "руб", "р.", "грн", "лв.", "лв", "дин.",
];
/// Separators that only group thousands.
const SPACES: [char; 7] = [
    ' ', '\u{a0}', '\u{202f}', '\u{2009}', '\'', '\u{2019}', '\u{66c}',
];
/// Currencies without a minor unit in ISO 4217, and the signs that only they have
/// (<https://www.iso.org/iso-4217-currency-codes.html>).
const WITHOUT_MINOR_UNIT: [&str; 19] = [
    "BIF", "CLP", "CLP$", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND",
    "VUV", "XAF", "XOF", "XPF", "₩", "₫",
];

/// Returns true if the currency has no minor unit.
pub(crate) fn is_without_minor_unit(currency: &str) -> bool {
    WITHOUT_MINOR_UNIT.contains(&currency)
}

/// Returns true if a text ends with a separator and exactly three digits.
pub(crate) fn ends_like_a_group(text: &str) -> bool {
    matches!(
        text.as_bytes(),
        [
            ..,
            b'0'..=b'9',
            b'.' | b',',
            b'0'..=b'9',
            b'0'..=b'9',
            b'0'..=b'9'
        ]
    )
}

/// Parses an amount in a currency, if that is known. `None` if it is ambiguous or not an amount.
pub(crate) fn parse(text: &str, currency: Option<&str>) -> Option<Decimal<'static>> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let (text, before) = minus(text.trim());
    let (text, prefix) = prefix(text);
    let (text, after) = minus(text);
    let (text, suffix) = suffix(text);
    if before && after {
        return None;
    }
    let beside = prefix.or(suffix);
    // Letters such as `kr` stand for several currencies; a code only for one.
    let is_code =
        |text: &&str| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    let has_no_decimals = [
        prefix,
        suffix,
        currency.filter(|_| !beside.is_some_and(|b| is_code(&b))),
    ]
    .into_iter()
    .flatten()
    .any(is_without_minor_unit);
    let number = plain(text, beside.is_some(), has_no_decimals)?;
    let sign = if before || after { "-" } else { "" };
    Decimal::parse(&format!("{sign}{number}")).map(Decimal::into_owned)
}

/// Removes a leading minus sign and returns true if there was one.
fn minus(text: &str) -> (&str, bool) {
    match text.strip_prefix(['-', '\u{2212}']) {
        Some(text) => (text.trim_start(), true),
        None => (text, false),
    }
}

/// Splits off a currency before the number.
fn prefix(text: &str) -> (&str, Option<&str>) {
    let letters = LETTERS
        .into_iter()
        .find(|letters| text.starts_with(letters));
    let sign = text.chars().next().filter(|c| SIGNS.contains(*c));
    let code = text
        .get(..3)
        .filter(|code| code.bytes().all(|byte| byte.is_ascii_uppercase()));
    let length = letters
        .map(str::len)
        .or(sign.map(char::len_utf8))
        .or(code.map(str::len));
    match text.split_at_checked(length.unwrap_or_default()) {
        Some((currency, rest)) if !currency.is_empty() => (rest.trim(), Some(currency)),
        _ => (text, None),
    }
}

/// Splits off a currency behind the number.
fn suffix(text: &str) -> (&str, Option<&str>) {
    let letters = LETTERS.into_iter().find(|letters| text.ends_with(letters));
    let sign = text.chars().next_back().filter(|c| SIGNS.contains(*c));
    let code = text.len().checked_sub(3).and_then(|at| text.get(at..));
    let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_uppercase()));
    let length = letters
        .map(str::len)
        .or(sign.map(char::len_utf8))
        .or(code.map(str::len));
    let at = text.len() - length.unwrap_or_default();
    match text.split_at_checked(at) {
        Some((rest, currency)) if !currency.is_empty() => (rest.trim(), Some(currency)),
        _ => (text, None),
    }
}

/// Converts an unsigned amount to digits with a point. Next to a currency a single point is as
/// ambiguous as a comma; without a currency `1.234` is a plain number, parsed elsewhere.
fn plain(text: &str, signed: bool, has_no_decimals: bool) -> Option<String> {
    let spaced = text.contains(SPACES);
    let last = text.rfind(['.', ',']);
    let (whole, fraction) = match last {
        None => (text, ""),
        Some(at) => {
            let (whole, rest) = text.split_at_checked(at)?;
            let separator = rest.chars().next()?;
            let fraction = rest.get(1..)?;
            if whole.contains(separator)
                || has_no_decimals && fraction.len() == 3 && !whole.contains(['.', ',']) && !spaced
            {
                // The separator groups thousands, so the amount has no decimals.
                (text, "")
            } else {
                let decimal = whole.contains(['.', ','])
                    || spaced
                    || whole == "0"
                    || matches!(fraction.len(), 1 | 2)
                    || separator == '.' && (!signed || fraction.len() != 3);
                if !decimal || fraction.is_empty() {
                    return None;
                }
                (whole, fraction)
            }
        }
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = thousands(whole)?;
    is_digits(fraction).then(|| format!("{whole}.{fraction}"))
}

/// Removes thousands separators, which must be equal and between complete groups.
fn thousands(text: &str) -> Option<String> {
    let is_separator = |c: char| SPACES.contains(&c) || matches!(c, '.' | ',');
    let groups: Vec<&str> = text.split(is_separator).collect();
    let mut separators = text.chars().filter(|c| is_separator(*c));
    let separator = separators.next();
    let fits = match groups.as_slice() {
        [whole] => !whole.is_empty(),
        [first, middle @ .., last] => {
            let all = |length| middle.iter().all(|group| group.len() == length);
            let is_indian = separator == Some(',') && first.len() <= 2 && all(2);
            (1..=3).contains(&first.len()) && last.len() == 3 && (all(3) || is_indian)
        }
        [] => false,
    };
    let digits = groups.concat();
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    (fits && is_number && separators.all(|other| Some(other) == separator)).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (text, expected) in [
            ("1.234,56", "1234.56"),
            ("1,234.56", "1234.56"),
            ("€ 9,99", "9.99"),
            ("9,99 €", "9.99"),
            ("9,9", "9.9"),
            ("€9", "9"),
            ("1 299,50", "1299.5"),
            ("1\u{a0}299,50", "1299.5"),
            ("1\u{202f}299,50\u{a0}€", "1299.5"),
            ("1'299.50", "1299.5"),
            ("CHF 1’299.50", "1299.5"),
            ("12.50 EUR", "12.5"),
            ("1 299,500", "1299.5"),
            ("1 299", "1299"),
            ("1,234,567", "1234567"),
            ("1.234.567,8", "1234567.8"),
            ("0,125", "0.125"),
            ("-9,99", "-9.99"),
            ("\u{2212} 9,99", "-9.99"),
            ("-$9.99", "-9.99"),
            ("$-9.99", "-9.99"),
            ("$ 1,299.00", "1299"),
            ("¥1200", "1200"),
            ("R$ 1.299,90", "1299.9"),
            ("₹1,29,999.00", "129999"),
            ("₹ 12,34,567", "1234567"),
            ("kr 299,00", "299"),
            ("1 299,00 kr.", "1299"),
            ("12,99 zł", "12.99"),
            ("US$4.99", "4.99"),
            ("US$ 4.99 USD", "4.99"),
            ("-R$ 9,90", "-9.9"),
            ("Rp 12.500,00", "12500"),
            ("1 234,50 руб.", "1234.5"),
            ("12.990 ₫", "12990"),
            ("JPY 1,234", "1234"),
        ] {
            let parsed = parse(text, None).map(|number| number.to_string());
            assert_eq!(parsed.as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn ambiguous_and_invalid_amounts_are_refused() {
        for text in [
            "",
            "€",
            "EUR",
            "1,234",
            "€ 1.234",
            "€ 1,234",
            "12,34,56",
            "1.23,456.7",
            "1 29,50",
            "1,2345",
            "9,",
            ",5",
            "9,99,",
            "12 34",
            "--1",
            "- -1",
            "-$-1",
            "1.234,56,78",
            "1  234",
            "abc",
            "9.99 euro",
            "five",
            "1,234.567,89",
            "1.234.56",
            "10%",
            "1e3 €",
            "1 234.567 890",
        ] {
            assert_eq!(parse(text, None), None, "{text}");
        }
    }

    #[test]
    fn a_currency_without_a_minor_unit_has_no_decimals() {
        for (text, currency, expected) in [
            ("1,234", "JPY", Some("1234")),
            ("¥1,234", "JPY", Some("1234")),
            ("¥1,234", "CNY", None),
            ("$ 12.990", "CLP", Some("12990")),
            ("1,234", "KWD", None),
            ("1,234", "EUR", None),
            ("USD 1,234", "JPY", None),
            ("1,5", "JPY", Some("1.5")),
        ] {
            let parsed = parse(text, Some(currency)).map(|number| number.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text} {currency}");
        }
    }
}
