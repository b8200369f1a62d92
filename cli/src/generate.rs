//! Made-up shop events that behave like real ones: people come, see lists, look at products, some
//! check out and some buy.
//!
//! Popular products and lists get more of everything and some lists lead to more clicks than
//! others, so that the analysts' questions have answers worth looking at. The same seed makes the
//! same events.

use chrono::{DateTime, Duration, Utc};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

/// Of a hundred messages, one is sent a second time, as a producer with a shaky network does.
const DUPLICATE_SHARE: f64 = 0.01;
/// Of two hundred messages, one can't be read.
const UNREADABLE_SHARE: f64 = 0.005;

const PRODUCTS: usize = 48;
const BRANDS: [&str; 8] = [
    "Aurora",
    "Birch & Co",
    "Cobalt",
    "Driftwood",
    "Ember",
    "Fjord",
    "Granite",
    "Høst",
];
/// A category's path, and what a product of it is called.
const CATEGORIES: [(&str, &str); 6] = [
    ("Apparel/Women/Dresses", "dress"),
    ("Apparel/Men/Shirts", "shirt"),
    ("Home/Kitchen/Cookware", "saucepan"),
    ("Home/Living/Lighting", "floor lamp"),
    ("Sports/Outdoor/Tents", "tent"),
    ("Electronics/Audio/Headphones", "headphones"),
];
const VARIANTS: [&str; 5] = ["black", "white", "green", "sand", "blue"];
/// A list's id, its name, and how likely somebody who sees it opens one of its products.
const LISTS: [(&str, &str, f64); 7] = [
    ("search_results", "Search results", 0.55),
    ("related_products", "Related products", 0.42),
    ("recently_viewed", "Recently viewed", 0.60),
    ("home_bestsellers", "Bestsellers", 0.35),
    ("home_new", "New in", 0.28),
    ("category_page", "Category page", 0.33),
    ("newsletter_picks", "Picks of the week", 0.18),
];

/// An endless stream of message bodies.
pub struct Generator {
    random: StdRng,
    products: Vec<Product>,
    now: DateTime<Utc>,
    /// Bodies of the session under way, last one first.
    session: Vec<String>,
    recent: Option<String>,
}

struct Product {
    id: String,
    name: String,
    brand: &'static str,
    category: &'static str,
    cents: u32,
    appeal: f64,
}

impl Generator {
    /// Events of the seven days before `now`.
    pub fn new(seed: u64, now: DateTime<Utc>) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let products = (0..PRODUCTS)
            .map(|number| Product::new(number, &mut random))
            .collect();
        Self {
            random,
            products,
            now,
            session: Vec::new(),
            recent: None,
        }
    }

    fn play_session(&mut self) {
        let visitor = Visitor::new(&mut self.random, self.now);
        let mut session = Session {
            visitor,
            bodies: Vec::new(),
        };
        let lists = self.random.random_range(1..=4);
        for _ in 0..lists {
            let Some(list) = LISTS.choose(&mut self.random) else {
                continue;
            };
            let count = self.random.random_range(4..=9);
            let shown: Vec<&Product> = self
                .products
                .iter()
                .choose_multiple(&mut self.random, count);
            session.view_list(&mut self.random, list, &shown);
            if !self.random.random_bool(list.2) {
                continue;
            }
            let Ok(&opened) = shown.choose_weighted(&mut self.random, |product| product.appeal)
            else {
                continue;
            };
            session.product_event(&mut self.random, "view_item", &[(opened, 1)], Some(list));
            if !self.random.random_bool(0.25 + 0.5 * opened.appeal) {
                continue;
            }
            let mut basket = vec![(opened, self.random.random_range(1..=3))];
            if let Some(&another) = shown.choose(&mut self.random)
                && another.id != opened.id
                && self.random.random_bool(0.4)
            {
                session.product_event(&mut self.random, "view_item", &[(another, 1)], Some(list));
                basket.push((another, 1));
            }
            session.product_event(&mut self.random, "begin_checkout", &basket, None);
            if self.random.random_bool(0.6) {
                session.product_event(&mut self.random, "purchase", &basket, None);
            }
        }
        self.session = session.bodies;
        self.session.reverse();
    }

    fn unreadable(&mut self) -> String {
        let kinds = [
            "not json at all",
            r#"{"event_name": "view_item", "event_timestamp": 17"#,
            r#"{"event_name": "view_item", "items": "[]"}"#,
            r#"{"event_name": "purchase", "event_timestamp": "yesterday"}"#,
            r#"{"event_name": "view_item", "event_timestamp": 1767225600000, "items": "[{\"item_id\": \"A\""}"#,
        ];
        let kind = kinds.choose(&mut self.random).copied().unwrap_or_default();
        kind.to_owned()
    }
}

impl Iterator for Generator {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.random.random_bool(DUPLICATE_SHARE)
            && let Some(again) = self.recent.take()
        {
            return Some(again);
        }
        if self.random.random_bool(UNREADABLE_SHARE) {
            return Some(self.unreadable());
        }
        while self.session.is_empty() {
            self.play_session();
        }
        let body = self.session.pop();
        self.recent.clone_from(&body);
        body
    }
}

impl Product {
    fn new(number: usize, random: &mut StdRng) -> Self {
        let brand = BRANDS.choose(random).copied().unwrap_or_default();
        let (category, noun) = CATEGORIES.choose(random).copied().unwrap_or_default();
        Self {
            id: format!("SKU_{:05}", 10_000 + number),
            name: format!("{brand} {noun} No. {number}"),
            brand,
            category,
            cents: random.random_range(499..=24_999),
            appeal: random.random_range(0.05..0.95),
        }
    }

    fn item(&self, index: usize, quantity: u32, variant: &str) -> Value {
        json!({
            "item_id": self.id,
            "item_name": self.name,
            "item_brand": self.brand,
            "item_category": self.category,
            "item_variant": variant,
            "price": f64::from(self.cents) / 100.0,
            "quantity": quantity,
            "index": index,
        })
    }
}

struct Visitor {
    user_id: Option<String>,
    pseudo_id: String,
    session_id: i64,
    platform: &'static str,
    clock: DateTime<Utc>,
}

impl Visitor {
    fn new(random: &mut StdRng, now: DateTime<Utc>) -> Self {
        let person: u32 = random.random_range(0..50_000);
        let clock = now - Duration::milliseconds(random.random_range(0..7 * 86_400_000));
        Self {
            user_id: person.is_multiple_of(3).then(|| format!("U{person:06}")),
            pseudo_id: format!(
                "{:016x}",
                u64::from(person).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ),
            session_id: clock.timestamp(),
            platform: if person % 5 < 3 { "ANDROID" } else { "IOS" },
            clock,
        }
    }
}

struct Session {
    visitor: Visitor,
    bodies: Vec<String>,
}

impl Session {
    fn view_list(&mut self, random: &mut StdRng, list: &(&str, &str, f64), shown: &[&Product]) {
        let variant = VARIANTS.choose(random).copied().unwrap_or_default();
        let items = shown
            .iter()
            .enumerate()
            .map(|(index, product)| product.item(index, 1, variant))
            .collect();
        let mut event = self.event(random, "view_item_list");
        event.insert("item_list_id".to_owned(), json!(list.0));
        event.insert("item_list_name".to_owned(), json!(list.1));
        self.push(random, event, items);
    }

    fn product_event(
        &mut self,
        random: &mut StdRng,
        name: &str,
        basket: &[(&Product, u32)],
        list: Option<&(&str, &str, f64)>,
    ) {
        let variant = VARIANTS.choose(random).copied().unwrap_or_default();
        let cents: u32 = basket
            .iter()
            .map(|(product, quantity)| product.cents * quantity)
            .sum();
        let items = basket
            .iter()
            .enumerate()
            .map(|(index, (product, quantity))| {
                let mut item = product.item(index, *quantity, variant);
                if let (Some(list), Some(item)) = (list, item.as_object_mut()) {
                    item.insert("item_list_id".to_owned(), json!(list.0));
                    item.insert("item_list_name".to_owned(), json!(list.1));
                }
                item
            })
            .collect();
        let mut event = self.event(random, name);
        event.insert("currency".to_owned(), json!("EUR"));
        event.insert("value".to_owned(), json!(f64::from(cents) / 100.0));
        if name == "purchase" {
            event.insert(
                "transaction_id".to_owned(),
                json!(format!("T{:010}", random.random_range(0..u32::MAX))),
            );
            event.insert("tax".to_owned(), json!(f64::from(cents / 5) / 100.0));
            event.insert("shipping".to_owned(), json!(4.9));
        }
        self.push(random, event, items);
    }

    fn event(&mut self, random: &mut StdRng, name: &str) -> Map<String, Value> {
        self.visitor.clock += Duration::microseconds(random.random_range(1_500_000..45_000_000));
        let id = uuid::Builder::from_random_bytes(random.random()).into_uuid();
        let mut event = Map::new();
        event.insert("event_id".to_owned(), json!(id.to_string()));
        event.insert("event_name".to_owned(), json!(name));
        event.insert(
            "event_timestamp".to_owned(),
            json!(self.visitor.clock.timestamp_micros()),
        );
        if let Some(user) = &self.visitor.user_id {
            event.insert("user_id".to_owned(), json!(user));
        }
        event.insert("user_pseudo_id".to_owned(), json!(self.visitor.pseudo_id));
        event.insert("session_id".to_owned(), json!(self.visitor.session_id));
        event.insert("platform".to_owned(), json!(self.visitor.platform));
        event.insert("app_version".to_owned(), json!("7.4.2"));
        event
    }

    /// Apps send `items` as a string far more often than as an array.
    fn push(&mut self, random: &mut StdRng, mut event: Map<String, Value>, items: Vec<Value>) {
        let items = Value::Array(items);
        let sent = if random.random_bool(0.7) {
            Value::String(items.to_string())
        } else {
            items
        };
        event.insert("items".to_owned(), sent);
        self.bodies.push(Value::Object(event).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_events() {
        let now = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        let first: Vec<String> = Generator::new(7, now).take(500).collect();
        let again: Vec<String> = Generator::new(7, now).take(500).collect();
        assert_eq!(first, again);
        assert_ne!(first, Generator::new(8, now).take(500).collect::<Vec<_>>());
    }

    #[test]
    fn all_four_events_duplicates_and_unreadable_bodies_occur() {
        let now = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        let bodies: Vec<String> = Generator::new(1, now).take(20_000).collect();
        for name in ["view_item_list", "view_item", "begin_checkout", "purchase"] {
            assert!(
                bodies
                    .iter()
                    .any(|body| body.contains(&format!("\"event_name\":\"{name}\""))),
                "{name}"
            );
        }
        let rejected = bodies
            .iter()
            .filter(|body| fact_model::flatten(body.as_bytes()).facts.is_empty())
            .count();
        assert!(
            (50..200).contains(&rejected),
            "{rejected} unreadable of 20,000"
        );
        let distinct: std::collections::HashSet<&String> = bodies.iter().collect();
        assert!(
            bodies.len() - distinct.len() - rejected > 100,
            "too few duplicates"
        );
    }
}
