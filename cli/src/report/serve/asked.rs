//! The days that a viewer asks for, read from the query string, and the bar to choose them.

use std::fmt;

use chrono::{NaiveDate, SecondsFormat};

use crate::report::figures::Figures;
use crate::report::page::{Bar, Preset};

/// The longest name of a time zone that is read, in characters.
const MAX_ZONE: usize = 64;

/// The days that a viewer asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Days {
    /// Four weeks up to the last day with facts.
    #[default]
    Newest,
    /// Today.
    Today,
    /// The day before.
    Yesterday,
    /// This many days up to today.
    Last(u64),
    /// From one day to another; each may be open.
    Between(Option<NaiveDate>, Option<NaiveDate>),
}

impl Days {
    /// The presets: the value of `range` in a query string, and the name of its link.
    const PRESETS: [(&str, &str, Self); 5] = [
        ("today", "Today", Self::Today),
        ("yesterday", "Yesterday", Self::Yesterday),
        ("7-days", "7 days", Self::Last(7)),
        ("28-days", "28 days", Self::Last(28)),
        ("90-days", "90 days", Self::Last(90)),
    ];

    /// The first and the last day.
    pub fn range(self, today: NaiveDate) -> (Option<NaiveDate>, Option<NaiveDate>) {
        let ago = |days: u64| today.checked_sub_days(chrono::Days::new(days));
        match self {
            Self::Newest => (None, None),
            Self::Between(from, to) => (from, to),
            Self::Today => (ago(0), ago(0)),
            Self::Yesterday => (ago(1), ago(1)),
            Self::Last(days) => (ago(days.saturating_sub(1)), ago(0)),
        }
    }
}

/// The days and their time zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Asked {
    pub days: Days,
    /// Empty for the reporting time zone.
    pub zone: String,
}

/// A query string that can't be read; the message says how to write it.
#[derive(Debug)]
pub enum BadQuery {
    Range,
    Day,
    Order { from: NaiveDate, to: NaiveDate },
}

impl fmt::Display for BadQuery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range => formatter.write_str("unknown range; choose one above"),
            Self::Day => formatter.write_str("a day is written YYYY-MM-DD"),
            Self::Order { from, to } => {
                write!(
                    formatter,
                    "the first day, {from}, is after the last one, {to}"
                )
            }
        }
    }
}

impl std::error::Error for BadQuery {}

impl Asked {
    /// Reads a query string: `range`, or `from` and `to`, and `zone`.
    ///
    /// # Errors
    /// Fails if a value is malformed.
    pub fn parse(query: &str) -> Result<Self, BadQuery> {
        let (mut from, mut to, mut preset, mut zone) = (None, None, None, String::new());
        let day = |text: &str| text.parse().map_err(|_| BadQuery::Day);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match (name.as_ref(), value.as_ref().trim()) {
                (_, "") => {}
                ("from", text) => from = Some(day(text)?),
                ("to", text) => to = Some(day(text)?),
                ("range", text) => {
                    let found = Days::PRESETS.iter().find(|(name, ..)| *name == text);
                    let (.., days) = found.ok_or(BadQuery::Range)?;
                    preset = Some(*days);
                }
                ("zone", text) => zone = text.chars().take(MAX_ZONE).collect(),
                _ => {}
            }
        }
        let days = match (preset, from, to) {
            (Some(preset), ..) => preset,
            (_, None, None) => Days::Newest,
            (_, Some(from), Some(to)) if from > to => return Err(BadQuery::Order { from, to }),
            _ => Days::Between(from, to),
        };
        Ok(Self { days, zone })
    }

    /// The bar of a page with numbers. `stale_slot` is replaced by the reason that it is stale.
    pub fn bar(&self, figures: &Figures, stale_slot: String) -> Bar {
        let range = figures.range;
        Bar {
            zone_note: format!("Days and times are those of {}.", figures.time_zone),
            read_at: figures.read_at.to_rfc3339_opts(SecondsFormat::Millis, true),
            stale_slot,
            ..self.bar_of(Some(range.from), Some(range.to))
        }
    }

    /// The bar of a page without numbers.
    pub fn waiting_bar(&self) -> Bar {
        match self.days {
            Days::Between(from, to) => self.bar_of(from, to),
            _ => self.bar_of(None, None),
        }
    }

    fn bar_of(&self, from: Option<NaiveDate>, to: Option<NaiveDate>) -> Bar {
        let day = |day: Option<NaiveDate>| day.map_or(String::new(), |day| day.to_string());
        let zone: String = form_urlencoded::byte_serialize(self.zone.as_bytes()).collect();
        let presets = Days::PRESETS.iter().map(|(value, name, days)| Preset {
            query: format!("range={value}&zone={zone}"),
            name,
            is_current: *days == self.days,
        });
        Bar {
            from: day(from),
            to: day(to),
            zone: self.zone.clone(),
            presets: presets.collect(),
            zone_note: String::new(),
            read_at: String::new(),
            stale_slot: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_string_names_days_and_a_zone() {
        let day = |text: &str| text.parse::<NaiveDate>().ok();
        let asked = Asked::parse("from=2026-11-01&to=&zone=Asia%2FTokyo&more=x").unwrap();
        assert_eq!(asked.days, Days::Between(day("2026-11-01"), None));
        assert_eq!(asked.zone, "Asia/Tokyo");
        assert_eq!(Asked::parse("from=&to=&zone=").unwrap(), Asked::default());
        let today = day("2026-03-01").unwrap();
        let range = |query: &str| Asked::parse(query).unwrap().days.range(today);
        assert_eq!(range("range=today"), (day("2026-03-01"), day("2026-03-01")));
        assert_eq!(
            range("range=yesterday"),
            (day("2026-02-28"), day("2026-02-28"))
        );
        assert_eq!(
            range("range=7-days"),
            (day("2026-02-23"), day("2026-03-01"))
        );
        assert_eq!(range("range=today&from=2026-01-01").0, day("2026-03-01"));
        for wrong in ["from=x", "range=8-days", "from=2026-11-02&to=2026-11-01"] {
            Asked::parse(wrong).unwrap_err();
        }
    }
}
