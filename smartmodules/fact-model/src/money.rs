//! Amounts as people write them: `1.234,56`, `€ 9,99`, `1 299,50`.
//!
//! Of both `.` and `,` the last is the decimal one. A single comma before one or two digits is decimal; before
//! three it may be either, so `1,234` is no amount. Spaces (the unbreakable ones too), apostrophes, and
//! a separator that comes more than once, split thousands, and must do so in groups of three. A currency's sign or
//! three-letter code may stand in front or behind; which it is doesn't matter here.

use crate::decimal::Decimal;

/// Longer texts are no amounts.
const MAX_LENGTH: usize = 64;
/// Signs of currencies that shops use.
const SIGNS: &str = "$€£¥₽₴₹₺₩₪₫₱₦₡₲₵₸₼₾฿₿¢";
/// What splits thousands and nothing else.
const SPACES: [char; 7] = [
    ' ', '\u{a0}', '\u{202f}', '\u{2009}', '\'', '\u{2019}', '\u{66c}',
];

/// Reads an amount. `None` where it is ambiguous, or none.
pub(crate) fn parse(text: &str) -> Option<Decimal<'static>> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let (text, before) = minus(text.trim());
    let (text, signed) = currency(text);
    let (text, after) = minus(text);
    if before && after {
        return None;
    }
    let number = plain(text, signed)?;
    let sign = if before || after { "-" } else { "" };
    Decimal::parse(&format!("{sign}{number}")).map(Decimal::into_owned)
}

/// Cuts a minus sign off.
fn minus(text: &str) -> (&str, bool) {
    match text.strip_prefix(['-', '\u{2212}']) {
        Some(text) => (text.trim_start(), true),
        None => (text, false),
    }
}

/// Cuts a currency off one end, and tells whether there was any.
fn currency(text: &str) -> (&str, bool) {
    let is_sign = |c: char| SIGNS.contains(c);
    let code = |code: Option<&str>| code.is_some_and(|c| c.bytes().all(|b| b.is_ascii_uppercase()));
    let rest = if text.starts_with(is_sign) {
        text.trim_start_matches(is_sign)
    } else if text.ends_with(is_sign) {
        text.trim_end_matches(is_sign)
    } else if code(text.get(..3)) {
        text.get(3..).unwrap_or_default()
    } else if code(text.len().checked_sub(3).and_then(|at| text.get(at..))) {
        text.get(..text.len() - 3).unwrap_or_default()
    } else {
        return (text, false);
    };
    (rest.trim(), true)
}

/// An unsigned amount as digits with perhaps a point. Beside a currency a single point is as ambiguous as a
/// comma; without one, `1.234` is a plain number and never comes here.
fn plain(text: &str, signed: bool) -> Option<String> {
    let spaced = text.contains(SPACES);
    let last = text.rfind(['.', ',']);
    let (whole, fraction) = match last {
        None => (text, ""),
        Some(at) => {
            let (whole, rest) = text.split_at_checked(at)?;
            let separator = rest.chars().next()?;
            let fraction = rest.get(1..)?;
            if whole.contains(separator) {
                // It comes more than once, so it splits thousands; then there is no decimal one.
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

/// Digits, perhaps in groups of three with the same separator between all of them.
fn thousands(text: &str) -> Option<String> {
    let mut separator = None;
    let mut digits = String::new();
    let mut group = 0;
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            group += 1;
            continue;
        }
        let first = separator.is_none();
        let splits = SPACES.contains(&c) || matches!(c, '.' | ',');
        let complete = if first {
            (1..=3).contains(&group)
        } else {
            group == 3
        };
        if !splits || !complete || separator.is_some_and(|separator| separator != c) {
            return None;
        }
        separator = Some(c);
        group = 0;
    }
    let complete = if separator.is_none() {
        group > 0
    } else {
        group == 3
    };
    complete.then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::parse;

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
        ] {
            let parsed = parse(text).map(|number| number.to_string());
            assert_eq!(parsed.as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_ambiguous_or_no_amount_is_none() {
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
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
