//! Events of apps that use GA4's names: with event, session and order ids, a currency, and `items`
//! as JSON, mostly in a string.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Map, Value, json};

use super::shop::{Event, Line};

/// The numbers of products in a list view, equally likely.
pub const LIST_VIEW_SIZES: [usize; 6] = [4, 5, 6, 7, 8, 9];

const UNREADABLE: [&str; 5] = [
    "not json at all",
    r#"{"event_name": "view_item", "event_timestamp": 17"#,
    r#"{"event_name": "view_item", "items": "[]"}"#,
    r#"{"event_name": "purchase", "event_timestamp": "yesterday"}"#,
    r#"{"event_name": "view_item", "event_timestamp": 1767225600000, "items": "[{\"item_id\": \"A\""}"#,
];

pub fn unreadable(random: &mut StdRng) -> String {
    let body = UNREADABLE.choose(random).copied().unwrap_or_default();
    body.to_owned()
}

pub fn body(event: &Event) -> String {
    let person = event.person.number;
    let id = uuid::Builder::from_u128(u128::from(event.number) << 64 | u128::from(event.number));
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| drop(body.insert(key.to_owned(), value));
    put("event_id", json!(id.into_uuid().to_string()));
    put("event_name", json!(event.name));
    put("event_timestamp", json!(event.at.timestamp_micros()));
    if event.is_signed_in && person.is_multiple_of(3) {
        put("user_id", json!(format!("U{person:06}")));
    }
    let device = u64::from(person).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    put("user_pseudo_id", json!(format!("{device:016x}")));
    put("session_id", json!(event.visit_began.timestamp()));
    put("platform", json!(event.person.platform));
    put("source", json!(event.traffic.source));
    put("medium", json!(event.traffic.medium));
    if let Some(campaign) = event.traffic.campaign {
        put("campaign", json!(campaign));
    }
    put("device_category", json!(event.person.device_category));
    put("country", json!(event.person.country));
    put("app_version", json!(event.app_version));
    let is_list_view = event.name == "view_item_list";
    match event.list {
        Some(list) if is_list_view => {
            put("item_list_id", json!(list.id));
            put("item_list_name", json!(list.name));
        }
        _ => {
            let lines = event.lines.iter();
            let value: f64 = lines
                .map(|line| line.product.price * f64::from(line.quantity))
                .sum();
            put("currency", json!("EUR"));
            put("value", json!(cents(value)));
            if event.name == "purchase" {
                let order = event.number % 10_000_000_000;
                put("transaction_id", json!(format!("T{order:010}")));
                put("tax", json!(cents(value / 5.0)));
                put("shipping", json!(4.9));
            }
        }
    }
    let items: Vec<Value> = event.lines.iter().map(|line| item(event, line)).collect();
    let items = Value::Array(items);
    // Apps send `items` as a string far more often than as an array.
    if event.number.is_multiple_of(3) {
        put("items", items);
    } else {
        put("items", Value::String(items.to_string()));
    }
    Value::Object(body).to_string()
}

fn item(event: &Event, line: &Line) -> Value {
    let product = line.product;
    let mut item = Map::new();
    let mut put = |key: &str, value: Value| drop(item.insert(key.to_owned(), value));
    put("item_id", json!(product.id));
    put("item_name", json!(line.name));
    if let Some(brand) = product.brand {
        put("item_brand", json!(brand));
    }
    if !product.categories.is_empty() {
        put("item_category", json!(product.categories.join("/")));
    }
    if let Some(variant) = product.variant {
        put("item_variant", json!(variant));
    }
    put("price", json!(product.price));
    put("quantity", json!(line.quantity));
    put("index", json!(line.position));
    if let Some(list) = event.list
        && event.name != "view_item_list"
    {
        put("item_list_id", json!(list.id));
        put("item_list_name", json!(list.name));
    }
    Value::Object(item)
}

fn cents(amount: f64) -> f64 {
    (amount * 100.0).round() / 100.0
}
