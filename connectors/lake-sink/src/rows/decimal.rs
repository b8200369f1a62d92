//! Decimals of facts as the integers that Arrow and Parquet store.

/// The digits behind the point of amounts. An amount that was computed with floats has up to 17
/// digits, and `decimal(38, 18)` is the widest type that Athena, Spark, Trino and DuckDB have in
/// common.
pub const SCALE: usize = 18;
/// The digits of a `decimal(38, …)`.
pub const PRECISION: usize = 38;

/// The value of a canonical decimal text times 10^`scale`; `None` if the type can't hold it
/// exactly.
pub fn unscaled(text: &str, scale: usize) -> Option<i128> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.len() > scale || integer.len() + scale > PRECISION {
        return None;
    }
    let mut value: i128 = 0;
    for digit in integer.bytes().chain(fraction.bytes()) {
        let digit = char::from(digit).to_digit(10)?;
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    for _ in fraction.len()..scale {
        value = value.checked_mul(10)?;
    }
    Some(if is_negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_exact_or_refused() {
        let one = 10_i128.pow(18);
        for (text, expected) in [
            ("0", Some(0)),
            ("12", Some(12 * one)),
            ("-0.5", Some(-one / 2)),
            ("19.989999999999998", Some(19_989_999_999_999_998_000)),
            ("0.000000000000000001", Some(1)),
            ("0.0000000000000000001", None),
            (
                "99999999999999999999",
                Some(99_999_999_999_999_999_999 * one),
            ),
            ("100000000000000000000", None),
        ] {
            assert_eq!(unscaled(text, SCALE), expected, "{text}");
        }
        let longest = "9".repeat(PRECISION);
        assert_eq!(unscaled(&longest, 0), longest.parse().ok());
        assert_eq!(unscaled(&format!("1{longest}"), 0), None);
    }
}
