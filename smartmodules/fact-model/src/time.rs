//! Parses an event's time in many notations and formats it in one.

use chrono::{DateTime, Utc};

use crate::decimal::Decimal;

/// The years 2000 and 2100 in seconds of Unix time; times outside are refused.
const EARLIEST: i128 = 946_684_800;
const LATEST: i128 = 4_102_444_800;

/// The units of Unix time, per second. Between 2000 and 2100 their ranges don't overlap, so the
/// magnitude of a number determines its unit.
const UNITS: [i128; 4] = [1, 1_000, 1_000_000, 1_000_000_000];

/// Parses Unix time in s, ms, µs or ns, or RFC 3339 with any offset.
///
/// The error is the last clause of a rejection's detail.
pub(crate) fn read(text: &str) -> Result<DateTime<Utc>, &'static str> {
    if let Some(number) = Decimal::parse(text) {
        return unix_time(&number).ok_or(
            "it is a number, but not Unix time in s, ms, µs or ns between the years 2000 and 2100",
        );
    }
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| {
        "it is neither RFC 3339 with an offset (2026-11-22T21:20:00Z) \
         nor Unix time in s, ms, µs or ns"
    })?;
    micros(i128::from(time.timestamp_micros())).ok_or("it is not between the years 2000 and 2100")
}

fn unix_time(number: &Decimal<'_>) -> Option<DateTime<Utc>> {
    let (whole, fraction) = number
        .as_str()
        .split_once('.')
        .unwrap_or((number.as_str(), ""));
    let whole: i128 = whole.parse().ok()?;
    let unit = UNITS
        .into_iter()
        .find(|unit| (EARLIEST * unit..LATEST * unit).contains(&whole))?;
    // The fraction of a unit in billionths; digits beyond nanoseconds don't matter.
    let digits = fraction.get(..9).unwrap_or(fraction);
    let billionths: i128 = format!("{digits:0<9}").parse().ok()?;
    let nanos = (whole * 1_000_000_000 + billionths) / unit;
    micros(nanos / 1_000)
}

/// Converts ms of Unix time. `None` outside of 2000 to 2100, such as `-1`, Fluvio's missing time.
pub(crate) fn of_millis(millis: i64) -> Option<DateTime<Utc>> {
    micros(i128::from(millis) * 1_000)
}

fn micros(micros: i128) -> Option<DateTime<Utc>> {
    if !(EARLIEST * 1_000_000..LATEST * 1_000_000).contains(&micros) {
        return None;
    }
    DateTime::from_timestamp_micros(i64::try_from(micros).ok()?)
}

/// The format of a fact's time: RFC 3339 in UTC with exactly six decimals,
/// `2026-11-22T21:20:00.123456Z`, so texts sort like times.
pub(crate) mod rfc3339_micros {
    use std::ops::Range;

    use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
    use serde::{Deserialize as _, Deserializer, de};

    use crate::text::Text;

    /// Formats a time whose year has four digits.
    pub(crate) fn text(time: &DateTime<Utc>) -> [u8; 27] {
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let parts: [(Range<usize>, u32); 7] = [
            (0..4, time.year().unsigned_abs()),
            (5..7, time.month()),
            (8..10, time.day()),
            (11..13, time.hour()),
            (14..16, time.minute()),
            (17..19, time.second()),
            (20..26, time.nanosecond() / 1_000),
        ];
        for (place, mut number) in parts {
            for digit in text.get_mut(place).into_iter().flatten().rev() {
                *digit = b"0123456789"
                    .get(number as usize % 10)
                    .copied()
                    .unwrap_or(b'0');
                number /= 10;
            }
        }
        text
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<DateTime<Utc>, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        let time = DateTime::parse_from_rfc3339(&text).map_err(de::Error::custom)?;
        Ok(time.to_utc())
    }
}
