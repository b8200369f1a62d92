//! Exact decimals to multiply and add: amounts of money and units, of which each fact has some.
//!
//! Nearly all of them, and what they add up to, fit into a machine's integers. What does not is left to `bigdecimal`, which
//! allocates for each.

use std::ops::AddAssign;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;

/// A decimal of any size.
#[derive(Clone, Debug)]
pub(super) enum Exact {
    Short(Short),
    Long(BigDecimal),
}

/// `digits` / 10^`scale`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    digits: i128,
    scale: u32,
}

impl Exact {
    /// Reads plain text: perhaps `-`, digits, then perhaps `.` and digits. Anything else is zero.
    pub(super) fn read(text: &str) -> Self {
        match Short::read(text) {
            Some(short) => Self::Short(short),
            None => Self::Long(text.parse().unwrap_or_default()),
        }
    }

    pub(super) fn times(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Short(left), Self::Short(right)) => left.times(*right).map(Self::Short),
            _ => None,
        }
        .unwrap_or_else(|| Self::Long(self.long() * other.long()))
    }

    /// As plain text, without zeros that mean nothing.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Short(short) => short.text(),
            Self::Long(long) => long.normalized().to_plain_string(),
        }
    }

    fn long(&self) -> BigDecimal {
        match self {
            Self::Short(Short { digits, scale }) => {
                BigDecimal::new(BigInt::from(*digits), i64::from(*scale))
            }
            Self::Long(long) => long.clone(),
        }
    }
}

impl From<i64> for Exact {
    fn from(number: i64) -> Self {
        Self::Short(Short {
            digits: i128::from(number),
            scale: 0,
        })
    }
}

impl Default for Exact {
    fn default() -> Self {
        Self::from(0)
    }
}

impl AddAssign<&Self> for Exact {
    fn add_assign(&mut self, other: &Self) {
        if let (Self::Short(left), Self::Short(right)) = (&*self, other)
            && let Some(sum) = left.plus(*right)
        {
            *self = Self::Short(sum);
            return;
        }
        *self = Self::Long(self.long() + other.long());
    }
}

/// Each operation is `None` where its result does not fit.
impl Short {
    fn read(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (integer, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let mut digits = 0_i128;
        for byte in integer.bytes().chain(fraction.bytes()) {
            let digit = byte.is_ascii_digit().then_some(byte & 0x0f)?;
            digits = digits.checked_mul(10)?.checked_add(i128::from(digit))?;
        }
        Some(Self {
            digits: if unsigned.len() < text.len() {
                -digits
            } else {
                digits
            },
            scale: u32::try_from(fraction.len()).ok()?,
        })
    }

    fn times(self, other: Self) -> Option<Self> {
        Some(Self {
            digits: self.digits.checked_mul(other.digits)?,
            scale: self.scale.checked_add(other.scale)?,
        })
    }

    fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let digits = self.at(scale)?.checked_add(other.at(scale)?)?;
        Some(Self { digits, scale })
    }

    /// The digits at a scale that is not smaller.
    fn at(self, scale: u32) -> Option<i128> {
        match scale - self.scale {
            0 => Some(self.digits),
            more => self.digits.checked_mul(10_i128.checked_pow(more)?),
        }
    }

    fn text(self) -> String {
        let Self {
            mut digits,
            mut scale,
        } = self;
        while scale > 0 && digits % 10 == 0 {
            digits /= 10;
            scale -= 1;
        }
        let sign = if digits < 0 { "-" } else { "" };
        let scale = scale as usize;
        let digits = format!("{:0>width$}", digits.unsigned_abs(), width = scale + 1);
        match digits.split_at_checked(digits.len() - scale) {
            Some((integer, fraction)) if scale > 0 => format!("{sign}{integer}.{fraction}"),
            _ => format!("{sign}{digits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From nothing to the longest that a fact can have, and around what fits.
    const NUMBERS: [&str; 13] = [
        "0",
        "1",
        "-1",
        "9.9",
        "-0.01",
        "120",
        "1999.99",
        "0.0000000000000000000000000001",
        "-9999999999999999999999999999",
        "9999999999999999999999999999",
        "999999999999999.9999999999999",
        "170141183460469231731687303715884105727",
        "170141183460469231731687303715884105728",
    ];

    #[test]
    fn products_and_sums_are_those_of_bigdecimal() {
        for left in NUMBERS {
            for right in NUMBERS {
                let [long_left, long_right]: [BigDecimal; 2] =
                    [left, right].map(|text| text.parse().unwrap_or_default());
                let [left, right] = [left, right].map(Exact::read);
                let same = |exact: &Exact, long: &BigDecimal| {
                    assert_eq!(exact.text(), long.normalized().to_plain_string());
                };
                same(&left.times(&right), &(&long_left * &long_right));
                let mut sum = left.clone();
                let mut long_sum = long_left.clone();
                for _ in 0..3 {
                    sum += &right;
                    long_sum += &long_right;
                    same(&sum, &long_sum);
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_is_zero() {
        for text in ["", "-", "1e5x", "NaN"] {
            assert_eq!(Exact::read(text).text(), "0");
        }
    }
}
