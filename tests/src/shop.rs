//! Message bodies with every variation of the format: no items, one, many; as an array, as a
//! string; duplicate; unreadable.

#![allow(
    clippy::indexing_slicing,
    reason = "the one index is drawn from the array's own range"
)]

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// Unreadable bodies and the reasons of their rejection.
pub const UNREADABLE: [(&str, &str); 6] = [
    ("plain text", "not-json"),
    (" ", "empty-body"),
    ("[1, 2", "not-json"),
    (r#"{"event_name":"view_item","items":[]}"#, "missing-time"),
    (
        r#"{"event_timestamp":1767225600000,"items":[]}"#,
        "missing-name",
    ),
    (
        r#"{"event_name":"view_item","event_timestamp":1767225600000,"items":"[{\"item_id\""}"#,
        "bad-items",
    ),
];

/// `count` bodies; the same `seed` makes the same bodies.
#[must_use]
pub fn bodies(seed: u64, count: usize) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut bodies: Vec<String> = Vec::with_capacity(count);
    while bodies.len() < count {
        let number = bodies.len();
        let earlier = random.random_range(0..=number);
        let body = match (random.random_range(0..100), bodies.get(earlier)) {
            (0..2, Some(again)) => again.clone(),
            (2, _) => UNREADABLE
                .get(number % UNREADABLE.len())
                .map_or(String::new(), |(body, _)| (*body).to_owned()),
            _ => event(seed, number, &mut random).to_string(),
        };
        bodies.push(body);
    }
    bodies
}

fn event(seed: u64, number: usize, random: &mut StdRng) -> Value {
    let name = [
        "view_item_list",
        "view_item",
        "begin_checkout",
        "purchase",
        "screen_view",
    ];
    let size = [0, 1, 1, 2, 3, 5, 8, 21, 60];
    let items: Vec<Value> = (0..pick(size, random))
        .map(|index| item(index, random))
        .collect();
    let items = Value::Array(items);
    let mut event = json!({
        "event_id": format!("{seed}-{number}"),
        "event_name": pick(name, random),
        "event_timestamp": 1_767_225_600_000_000_u64
            + random.random_range(0..20 * 86_400_000_000_u64),
        "user_id": format!("user {}", random.random_range(0..500)),
        "session_id": random.random_range(1_000_000..2_000_000),
        "platform": pick(["ANDROID", "IOS", "WEB"], random),
        "currency": "EUR",
        "value": f64::from(random.random_range(0..100_000)) / 100.0,
        "note": "Größe „M“ 🛒 \"quoted\"\n",
    });
    if let Some(event) = event.as_object_mut() {
        match random.random_range(0..4) {
            0 => {}
            1 => drop(event.insert("items".to_owned(), items)),
            _ => drop(event.insert("items".to_owned(), Value::String(items.to_string()))),
        }
        if random.random_bool(0.5) {
            event.insert(
                "item_list_id".to_owned(),
                json!(format!("list-{}", random.random_range(0..9))),
            );
        }
        if random.random_bool(0.5) {
            let source = pick(["source", "utm_source"], random);
            event.insert(
                source.to_owned(),
                json!(pick(["google", "(direct)"], random)),
            );
            event.insert("medium".to_owned(), json!(pick(["cpc", "(none)"], random)));
            event.insert("campaign".to_owned(), json!("été, 2026"));
            event.insert("device_category".to_owned(), json!("tablet"));
            event.insert("country".to_owned(), json!("Côte d’Ivoire"));
            event.insert("app_version".to_owned(), json!("7.4.2"));
        }
    }
    event
}

fn item(index: usize, random: &mut StdRng) -> Value {
    let mut item = json!({
        "item_id": format!("SKU-{}", random.random_range(0..300)),
        "price": f64::from(random.random_range(1..50_000)) / 100.0,
        "quantity": random.random_range(1..4),
        "index": index,
        "engraving": "for Zoë",
    });
    if let (true, Some(item)) = (random.random_bool(0.3), item.as_object_mut()) {
        item.insert("item_list_id".to_owned(), json!("list-of-the-item"));
        item.insert("coupon".to_owned(), json!("SUMMER"));
    }
    item
}

fn pick<T: Copy, const N: usize>(choices: [T; N], random: &mut StdRng) -> T {
    choices[random.random_range(0..N)]
}
