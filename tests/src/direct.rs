//! The expected rows of the tables, computed from the bodies without the product's code.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde_json::{Map, Value};

/// The key of a fact: the event's id and the item's ordinal.
pub type Key = (String, i32);
/// A fact's columns as text, in the order of [`COLUMNS`].
pub type Row = Vec<Option<String>>;

type Object = Map<String, Value>;

/// The compared columns, as expressions over the view `product_interactions`.
pub const COLUMNS: [&str; 21] = [
    "event_name",
    "to_char(event_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
    "user_id",
    "session_id",
    "platform",
    "traffic_source",
    "traffic_medium",
    "traffic_campaign",
    "device_category",
    "country",
    "app_version",
    "product_id",
    "list_id",
    "list_position::text",
    "trim_scale(price)::text",
    "trim_scale(quantity)::text",
    "item_coupon",
    "currency",
    "trim_scale(value)::text",
    "extra #>> '{event,note}'",
    "extra #>> '{item,engraving}'",
];

/// Every fact of `bodies`, and the number of unreadable bodies.
#[must_use]
pub fn rows(bodies: &[String]) -> (BTreeMap<Key, Row>, usize) {
    let mut rows = BTreeMap::new();
    let mut rejected = 0;
    let mut seen = BTreeSet::new();
    for body in bodies {
        match readable(body) {
            Some((event, items)) => {
                if seen.insert(text(&event, "event_id")) {
                    rows.extend(facts(&event, &items));
                }
            }
            None => rejected += 1,
        }
    }
    (rows, rejected)
}

fn readable(body: &str) -> Option<(Object, Vec<Object>)> {
    let Ok(Value::Object(event)) = serde_json::from_str(body) else {
        return None;
    };
    if !event.contains_key("event_timestamp") || !event.contains_key("event_name") {
        return None;
    }
    let items = match event.get("items") {
        None => Value::Array(Vec::new()),
        Some(Value::String(text)) => serde_json::from_str(text).ok()?,
        Some(items) => items.clone(),
    };
    let items = items
        .as_array()?
        .iter()
        .filter_map(Value::as_object)
        .cloned()
        .collect();
    Some((event, items))
}

fn facts(event: &Object, items: &[Object]) -> Vec<(Key, Row)> {
    let id = text(event, "event_id").unwrap_or_default();
    if items.is_empty() {
        return vec![((id, 0), row(event, &Map::new()))];
    }
    items
        .iter()
        .zip(1..)
        .map(|(item, ordinal)| ((id.clone(), ordinal), row(event, item)))
        .collect()
}

fn row(event: &Object, item: &Object) -> Row {
    let micros = event
        .get("event_timestamp")
        .and_then(Value::as_i64)
        .and_then(DateTime::from_timestamp_micros);
    vec![
        text(event, "event_name"),
        micros.map(|time| time.format("%Y-%m-%d %H:%M:%S%.6f").to_string()),
        text(event, "user_id"),
        text(event, "session_id"),
        text(event, "platform"),
        text(event, "source").or_else(|| text(event, "utm_source")),
        text(event, "medium"),
        text(event, "campaign"),
        text(event, "device_category"),
        text(event, "country"),
        text(event, "app_version"),
        text(item, "item_id"),
        text(item, "item_list_id").or_else(|| text(event, "item_list_id")),
        text(item, "index"),
        text(item, "price"),
        text(item, "quantity"),
        text(item, "coupon"),
        text(event, "currency"),
        text(event, "value"),
        text(event, "note"),
        text(item, "engraving"),
    ]
}

fn text(object: &Object, key: &str) -> Option<String> {
    match object.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string().trim_end_matches(".0").to_owned()),
        _ => None,
    }
}
