//! Explains values for `etl flatten --explain`: the rules that changed one or left it out of its
//! column.
//!
//! Items are explained by their facts, so reading them costs nothing while no path is recorded.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::columns::{self, Value};
use crate::decimal::Decimal;
use crate::fact::Fact;
use crate::json::{entries, unescape};
use crate::limits::{MAX_TEXT, cut_text};
use crate::path::{Path, StepKind};
use crate::raw::{Raw, beginning};
use crate::text::Arena;
use crate::value::{Column, is_null, trim};

/// Explains the keys of an event that have a column and no value.
pub(crate) fn nulls(json: &str, path: &Path) {
    let arena = Arena::new();
    let top = entries(json, &arena);
    let objects = { top.iter() }.filter(|(key, _)| ["params", "event_params"].contains(key));
    let nested = Vec::from_iter(objects.flat_map(|(_, raw)| entries(raw.get(), &arena)));
    for (key, raw) in top.iter().chain(&nested) {
        if columns::of_event_key(key).is_some() && is_null(*raw) {
            null(key, *raw, path);
        }
    }
}

fn null(key: &str, raw: Raw<'_>, path: &Path) {
    if raw.get() != "null" {
        let detail = format!("{key}: {} is no value", beginning(raw.get()));
        path.push(StepKind::Value, detail);
    }
}

/// Explains the difference between a value of an event and what was read.
#[cold]
pub(crate) fn value<T: Display>(key: &str, raw: Raw<'_>, read: &Column<T>, path: &Path) {
    match read {
        Column::Null => null(key, raw, path),
        Column::Value(value) => changed(key, raw, &value.to_string(), path),
        Column::Cut(_) => cut(key, raw, path),
        Column::Misfit => misfit(key, raw, path),
    }
}

/// Explains the items of an event, a JSON array of objects or one object, by their facts: a value
/// may depend on other keys of the item or the event.
pub(crate) fn items(json: &str, facts: &[Fact<'_>], path: &Path) {
    let arena = Arena::new();
    let list = Raw::read(json, false);
    let mut items = list.elements().unwrap_or_else(|| vec![list]);
    items.retain(|item| item.is_object());
    for (index, (item, fact)) in items.into_iter().zip(facts).enumerate() {
        let extra = fact.extra.as_ref().map_or(&[][..], |extra| extra.parts().1);
        // Of a repeated key the last value counts.
        let entries = entries(item.get(), &arena);
        let values = { entries.iter() }.filter(|(_, raw)| !is_null(*raw));
        let last: BTreeMap<_, _> = values
            .map(|(key, raw)| (*key, raw.get().as_ptr()))
            .collect();
        for (key, raw) in entries {
            let shown = format!("items[{index}].{key}");
            let Some(column) = columns::of_item_key(key) else {
                continue;
            };
            if is_null(raw) {
                null(&shown, raw, path);
                continue;
            }
            if last.get(key) != Some(&raw.get().as_ptr()) {
                continue;
            }
            let kept = extra.iter().find(|(name, _)| *name == key);
            let is_kept = kept.is_some_and(|(_, kept)| kept.get() == raw.get());
            let sent = unescape(raw.get(), &arena).unwrap_or(raw.get());
            match columns::value(fact, column) {
                None if kept.is_some() => misfit(&shown, raw, path),
                None => {}
                Some(Value::Text(text))
                    if is_kept && cut_text(trim(sent), MAX_TEXT).as_deref() == Some(text) =>
                {
                    cut(&shown, raw, path);
                }
                Some(value) if is_kept => {
                    let value = beginning(value.as_str());
                    let sent = beginning(raw.get());
                    let detail = format!("{shown}: {sent} stays in extra: {column} is {value}");
                    path.push(StepKind::Value, detail);
                }
                Some(value) => changed(&shown, raw, value.as_str(), path),
            }
        }
    }
}

fn changed(key: &str, raw: Raw<'_>, value: &str, path: &Path) {
    let arena = Arena::new();
    let sent = unescape(raw.get(), &arena).unwrap_or(raw.get());
    let is_same_number = Decimal::parse(sent).is_some_and(|sent| sent.as_str() == value);
    if sent == value || is_same_number && !raw.get().starts_with('"') {
        return;
    }
    let (sent, value) = (beginning(raw.get()), beginning(value));
    path.push(StepKind::Value, format!("{key}: {sent} becomes {value}"));
}

fn cut(key: &str, raw: Raw<'_>, path: &Path) {
    let sent = beginning(raw.get());
    let detail = format!("{key}: {sent} is cut for its column, and whole in extra");
    path.push(StepKind::Value, detail);
}

fn misfit(key: &str, raw: Raw<'_>, path: &Path) {
    let sent = beginning(raw.get());
    let detail = format!("{key}: {sent} does not fit its column, and stays in extra");
    path.push(StepKind::Value, detail);
}
