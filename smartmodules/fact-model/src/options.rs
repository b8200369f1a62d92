//! Options of the operator: the parameters of the SmartModules.
//!
//! - `events`: names of events to keep, `view_item,purchase` or a JSON array. Default: all. A
//!   filtered event becomes an envelope without facts, `{"facts":[]}`, since each record in must be
//!   one record out. An event whose name can't be read is still rejected.
//! - `missing-time`: `reject` (default), or `record` to give an event without a time its record's.
//!   This is for formats without times, such as web hits. It disables deduplication of
//!   redeliveries: a message that is delivered twice is two records with two times, so its facts
//!   are new rows.
//! - `max-items`: the most items of an event; an event with more is rejected. Default: no limit.
//! - `max-body`: the largest body, in bytes or as `256KiB`, `1MiB`; a larger one is rejected.
//!   Default: no limit.
//! - `identity`: `event-id` (default), or `content` to exclude the event id from `fact_hash`: for
//!   producers that give a retry a new id, and for those that are not trusted, since with an event
//!   id whoever sends it first decides on its facts.
//! - `identity-ignores`: keys of an event to exclude from `fact_hash`, `sent_at,attempt` or a JSON
//!   array. Use it for keys that describe the delivery and not the event. An event that comes again
//!   with another value of such a key is the same fact; the first value stays in `extra`.
//!   `replay_timestamp`, the time when an event was sent into the queue again, is always excluded.
//!   Keys with a column, such as `user_id`, can't be ignored. An identity by event id contains no
//!   other keys anyway.
//! - `tracking-plan`: rules for events as JSON, a subset of JSON Schema (`docs/formats.md`). An
//!   event that violates one is flagged or rejected. Default: none.

use std::fmt;

use serde::Deserialize as _;

use crate::names::is_known;
use crate::plan::Plan;

/// The values of all parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Sorted; `None` keeps all events.
    events: Option<Vec<String>>,
    pub(crate) missing_time: MissingTime,
    pub(crate) max_items: usize,
    pub(crate) max_body: usize,
    pub(crate) identity: Identity,
    /// Sorted.
    identity_ignores: Vec<String>,
    pub(crate) plan: Option<Plan>,
}

/// The handling of an event without a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MissingTime {
    Reject,
    Record,
}

/// The input of a fact's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The producer's event id if there is one, else the content.
    EventId,
    /// The content without the event id, for producers that give a retry a new id or several events
    /// the same id, or that are not trusted.
    Content,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            events: None,
            missing_time: MissingTime::Reject,
            max_items: usize::MAX,
            max_body: usize::MAX,
            identity: Identity::EventId,
            identity_ignores: IGNORED.map(str::to_owned).into(),
            plan: None,
        }
    }
}

/// Keys of an event that describe its delivery: never part of an identity, and allowed by each
/// tracking plan.
pub(crate) const IGNORED: [&str; 1] = ["replay_timestamp"];

impl Options {
    /// The names of all parameters.
    pub const NAMES: [&'static str; 7] = [
        "events",
        "missing-time",
        "max-items",
        "max-body",
        "identity",
        "identity-ignores",
        "tracking-plan",
    ];

    /// Parses parameters, each a name and a value. White space around a value is ignored.
    ///
    /// # Errors
    /// A parameter is unknown or its value isn't allowed.
    pub fn parse<'p>(
        parameters: impl IntoIterator<Item = (&'p str, &'p str)>,
    ) -> Result<Self, BadOption> {
        let mut options = Self::default();
        for (name, value) in parameters {
            options.set(name, value.trim())?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), BadOption> {
        let bad = |allowed| BadOption::Value {
            name: name.to_owned(),
            value: value.to_owned(),
            allowed,
        };
        match name {
            "events" => self.events = Some(names(value).ok_or_else(|| bad(SOME_NAMES))?),
            "missing-time" => {
                self.missing_time = match value {
                    "reject" => MissingTime::Reject,
                    "record" => MissingTime::Record,
                    _ => return Err(bad("`reject` or `record`")),
                }
            }
            "max-items" => {
                self.max_items = positive(value).ok_or_else(|| bad("a number from 1 on"))?;
            }
            "max-body" => self.max_body = size(value).ok_or_else(|| bad(A_SIZE))?,
            "identity" => {
                self.identity = match value {
                    "event-id" => Identity::EventId,
                    "content" => Identity::Content,
                    _ => return Err(bad("`event-id` or `content`")),
                }
            }
            "identity-ignores" => {
                let keys = names(value).ok_or_else(|| bad(SOME_NAMES))?;
                if keys.iter().any(|key| is_known(key)) {
                    return Err(bad("names of keys that have no column"));
                }
                self.identity_ignores.extend(keys);
                self.identity_ignores.sort();
            }
            "tracking-plan" => self.plan = Some(Plan::parse(value).map_err(BadOption::Plan)?),
            _ => return Err(BadOption::Unknown(name.to_owned())),
        }
        Ok(())
    }

    /// Returns true if events with the same event id, time and name are versions of one event.
    #[must_use]
    pub fn identifies_by_event_id(&self) -> bool {
        self.identity == Identity::EventId
    }

    /// Returns true if a key of an event is not part of an identity.
    pub(crate) fn is_ignored(&self, key: &str) -> bool {
        contains(&self.identity_ignores, key)
    }

    /// Returns true if events of this name become facts.
    pub(crate) fn pass(&self, event_name: &str) -> bool {
        self.events
            .as_ref()
            .is_none_or(|names| contains(names, event_name))
    }
}

/// Returns true if `sorted` contains `name`.
fn contains(sorted: &[String], name: &str) -> bool {
    let found = sorted.binary_search_by(|known| known.as_str().cmp(name));
    found.is_ok()
}

const SOME_NAMES: &str =
    "names, separated by commas or as a JSON array of strings, none of them empty";
const A_SIZE: &str = "a number of bytes from 1 on, also as `256KiB` or `1MiB`";

/// A parameter is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadOption {
    /// The name is unknown.
    Unknown(String),
    /// The value isn't allowed.
    Value {
        /// The parameter's name.
        name: String,
        /// The refused value.
        value: String,
        /// A description of the allowed values.
        allowed: &'static str,
    },
    /// The tracking plan can't be used. Holds the reason.
    Plan(String),
}

impl std::error::Error for BadOption {}

impl fmt::Display for BadOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(
                f,
                "unknown parameter `{name}`; the parameters are {}",
                Options::NAMES.join(", ")
            ),
            Self::Value {
                name,
                value,
                allowed,
            } => write!(
                f,
                "the parameter `{name}` is `{value}`; it can be {allowed}"
            ),
            Self::Plan(why) => write!(f, "the parameter `tracking-plan` can't be used: {why}"),
        }
    }
}

/// Parses and sorts a list of names.
fn names(value: &str) -> Option<Vec<String>> {
    let mut names: Vec<String> = if value.starts_with('[') {
        let mut json = serde_json::Deserializer::from_str(value);
        let names = Vec::deserialize(&mut json).ok()?;
        json.end().ok()?;
        names
    } else {
        value.split(',').map(str::to_owned).collect()
    };
    for name in &mut names {
        *name = name.trim().to_owned();
    }
    names.sort();
    (!names.is_empty() && names.iter().all(|name| !name.is_empty())).then_some(names)
}

fn positive(value: &str) -> Option<usize> {
    value.parse().ok().filter(|number| *number > 0)
}

fn size(value: &str) -> Option<usize> {
    let (number, unit) = if let Some(number) = value.strip_suffix("KiB") {
        (number, 1024)
    } else if let Some(number) = value.strip_suffix("MiB") {
        (number, 1024 * 1024)
    } else {
        (value, 1)
    };
    positive(number.trim_end())?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parameter_is_every_default() {
        assert_eq!(Options::parse([]), Ok(Options::default()));
        assert!(Options::default().pass("anything"));
    }

    #[test]
    fn every_parameter_is_read() {
        let options = Options::parse([
            ("events", " view_item , purchase"),
            ("missing-time", "record"),
            ("max-items", "200"),
            ("max-body", "256KiB"),
            ("identity", "content"),
            ("identity-ignores", "sent_at"),
        ])
        .unwrap();
        assert!(options.pass("view_item") && options.pass("purchase"));
        assert!(!options.pass("view_item_list") && !options.pass("PURCHASE") && !options.pass(""));
        assert_eq!(options.missing_time, MissingTime::Record);
        assert_eq!(options.max_items, 200);
        assert_eq!(options.max_body, 262_144);
        assert_eq!(options.identity, Identity::Content);
        assert!(options.is_ignored("sent_at") && options.is_ignored("replay_timestamp"));
        assert!(!options.is_ignored("attempt"));
    }

    #[test]
    fn a_list_in_yaml_arrives_as_json() {
        let options = Options::parse([("events", r#"["Order, placed", "x"]"#)]).unwrap();
        assert!(options.pass("Order, placed") && options.pass("x"));
        assert!(!options.pass("placed"));
    }

    #[test]
    fn an_error_names_the_parameter_its_value_and_what_it_can_be() {
        for (name, value, expected) in [
            (
                "event",
                "purchase",
                "unknown parameter `event`; the parameters are \
                 events, missing-time, max-items, max-body, identity, identity-ignores, \
                 tracking-plan",
            ),
            (
                "missing-time",
                "now",
                "the parameter `missing-time` is `now`; it can be `reject` or `record`",
            ),
            (
                "max-items",
                "0",
                "the parameter `max-items` is `0`; it can be a number from 1 on",
            ),
            (
                "max-body",
                "1 GB",
                "the parameter `max-body` is `1 GB`; \
                 it can be a number of bytes from 1 on, also as `256KiB` or `1MiB`",
            ),
            (
                "identity",
                "",
                "the parameter `identity` is ``; it can be `event-id` or `content`",
            ),
            (
                "identity-ignores",
                "user_id",
                "the parameter `identity-ignores` is `user_id`; \
                 it can be names of keys that have no column",
            ),
        ] {
            let error = Options::parse([(name, value)]).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        for value in [
            "",
            ",",
            "a,,b",
            "[]",
            "[1]",
            "[\"a\"",
            "[\"a\"] b",
            "[\"\"]",
        ] {
            let error = Options::parse([("events", value)]).unwrap_err();
            assert!(error.to_string().ends_with("none of them empty"), "{value}");
        }
        for value in ["-1", "1.5", "18446744073709551615MiB", "KiB", "0KiB", "1kb"] {
            assert!(Options::parse([("max-body", value)]).is_err(), "{value}");
        }
    }
}
