//! The path of a body for `etl flatten --explain`: what was around it, its format, and the rules
//! that changed a value.
//!
//! Readers add steps to an [`Arena::explaining`]. Values are explained after an event has been read,
//! from its JSON, so reading costs nothing while no path is recorded.

use std::cell::RefCell;

use crate::columns::{self, Kind};
use crate::decimal::Decimal;
use crate::json::{entries, unescape};
use crate::keys::EventKeys;
use crate::names::ga4_item_key;
use crate::raw::{Raw, beginning};
use crate::text::Arena;
use crate::time;
use crate::value::{self, Column, is_null};

/// A step on the path from a body to its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The kind.
    pub kind: StepKind,
    /// A sentence for a person. It may contain parts of the body.
    pub detail: String,
}

/// The kinds of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// Another part of the body begins. The detail is its location.
    Part,
    /// Something was around the body and was removed.
    Envelope,
    /// A format was recognized.
    Format,
    /// A rule changed a value or left it out of its column.
    Value,
}

impl StepKind {
    /// Returns the name of the kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Envelope => "envelope",
            Self::Format => "format",
            Self::Value => "value",
        }
    }
}

/// The most steps of a path.
const MAX_STEPS: usize = 1000;

/// The recorded steps of one body.
#[derive(Debug, Default)]
pub(crate) struct Path(RefCell<Vec<Step>>);

impl Path {
    pub(crate) fn push(&self, kind: StepKind, detail: String) {
        if let Ok(mut steps) = self.0.try_borrow_mut()
            && steps.len() < MAX_STEPS
        {
            steps.push(Step { kind, detail });
        }
    }

    pub(crate) fn take(&self) -> Vec<Step> {
        self.0.take()
    }
}

/// Explains the values of an event's own keys.
pub(crate) fn event(json: &str, path: &Path) {
    let arena = Arena::new();
    let Ok(keys) = EventKeys::read(json, &arena) else {
        return;
    };
    for found in keys.found() {
        if let Some(column) = columns::of_event_key(found.key) {
            explain(found.key, column, found.raw, path);
        }
    }
    let top = entries(json, &arena);
    let objects = { top.iter() }.filter(|(key, _)| ["params", "event_params"].contains(key));
    let nested = Vec::from_iter(objects.flat_map(|(_, raw)| entries(raw.get(), &arena)));
    for (key, raw) in top.iter().chain(&nested) {
        if columns::of_event_key(key).is_some() && is_null(*raw) {
            explain_null(key, *raw, path);
        }
    }
}

/// Explains the values of items, which are a JSON array of objects or one object.
pub(crate) fn items(json: &str, path: &Path) {
    let arena = Arena::new();
    let list = Raw::read(json, false);
    let items = list.elements().unwrap_or_else(|| vec![list]);
    for (index, item) in items.into_iter().enumerate() {
        let entries = entries(item.get(), &arena);
        for (key, raw) in &entries {
            let shown = format!("items[{index}].{key}");
            let ga4 = ga4_item_key(key);
            if ga4.is_some_and(|ga4| entries.iter().any(|(key, _)| *key == ga4)) {
                // GA4's name wins.
                path.push(
                    StepKind::Value,
                    format!("{shown} stays in extra: another key wins"),
                );
            } else if let Some(column) = columns::of_item_key(key) {
                explain(&shown, column, *raw, path);
            }
        }
    }
}

fn explain_null(key: &str, raw: Raw<'_>, path: &Path) {
    if raw.get() != "null" {
        let detail = format!("{key}: {} is no value", beginning(raw.get()));
        path.push(StepKind::Value, detail);
    }
}

/// Explains the difference between a value and its column.
fn explain(key: &str, column: &str, raw: Raw<'_>, path: &Path) {
    let arena = Arena::new();
    let shown = beginning(raw.get());
    let read: Column<String> = match column {
        "items" => return,
        "event_time" => match value::text(raw, &arena) {
            Column::Value(text) => time::read(text).map_or(Column::Misfit, |time| {
                Column::Value(time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
            }),
            _ => Column::Misfit,
        },
        "platform" => value::column_upper(raw, &arena).map(str::to_owned),
        "currency" => value::currency(raw, &arena).map(str::to_owned),
        "list_position" => value::integer(raw, &arena).map(|number| number.to_string()),
        _ if columns::kind(column) == Some(Kind::Number) => {
            value::decimal(raw, &arena).map(|number| number.to_string())
        }
        _ => value::column_text(raw, &arena).map(str::to_owned),
    };
    let detail = match read {
        Column::Null => return explain_null(key, raw, path),
        Column::Value(value) => {
            let sent = unescape(raw.get(), &arena).unwrap_or(raw.get());
            let is_same_number = Decimal::parse(sent).is_some_and(|sent| sent.as_str() == value);
            if sent == value || is_same_number && !raw.get().starts_with('"') {
                return;
            }
            format!("{key}: {shown} becomes {}", beginning(&value))
        }
        Column::Cut(_) => format!("{key}: {shown} is cut for its column, and whole in extra"),
        Column::Misfit => format!("{key}: {shown} does not fit its column, and stays in extra"),
    };
    path.push(StepKind::Value, detail);
}
