//! Texts that are longer than their columns allow.

use bytes::Bytes;
use chrono::{Duration, Utc};
use connector_common::Stop;
use fact_model::MAX_TEXT;
use serde_json::{Map, Value, json};

use crate::support::{NOON, Tables, batch, deliver, envelope, fact};

/// Keys of an event and of an item with a text column.
const EVENT: [&str; 14] = [
    "event_id",
    "user_id",
    "user_pseudo_id",
    "session_id",
    "platform",
    "source",
    "medium",
    "campaign",
    "device_category",
    "country",
    "app_version",
    "transaction_id",
    "coupon",
    "item_list_name",
];
const ITEM: [&str; 17] = [
    "item_id",
    "item_name",
    "item_brand",
    "item_category",
    "item_category2",
    "item_category3",
    "item_category4",
    "item_category5",
    "item_variant",
    "item_list_id",
    "coupon",
    "affiliation",
    "location_id",
    "promotion_id",
    "promotion_name",
    "creative_name",
    "creative_slot",
];

const ORDERS: &str = "analytics.orders_in('-infinity', 'infinity')";

/// 3,000 characters that don't compress, others for each seed.
fn noise(seed: &str) -> String {
    let mut state = seed.bytes().fold(7_u64, |state, byte| {
        state.wrapping_mul(31).wrapping_add(byte.into())
    });
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'A' + (state >> 33) as u8 % 50)
    };
    (0..3000).map(|_| next()).collect()
}

#[tokio::test]
async fn every_text_at_3_kb_of_noise_is_stored_asked_for_and_retired() {
    let tables = Tables::new().await;
    let texts = |keys: &[&str]| -> Map<String, Value> {
        let texts = keys.iter();
        texts
            .map(|key| ((*key).to_owned(), Value::from(noise(key))))
            .collect()
    };
    let item = texts(&ITEM);
    let began = Utc::now() - Duration::days(100);
    let long_name = noise("event_name");
    let names = [
        "view_item_list",
        "select_item",
        "view_item",
        "add_to_cart",
        "begin_checkout",
        "purchase",
        "refund",
        "view_promotion",
        "select_promotion",
        &long_name,
    ];
    let bodies = (0..).zip(names).map(|(minute, name)| {
        let mut event = texts(&EVENT);
        event.insert("event_name".to_owned(), name.into());
        let time = began + Duration::minutes(minute);
        event.insert("event_time".to_owned(), time.to_rfc3339().into());
        let mut item = item.clone();
        item.extend([
            ("price".to_owned(), json!(9.9)),
            ("index".to_owned(), json!(1)),
        ]);
        event.insert("items".to_owned(), json!([item]));
        let envelope = fact_model::flatten(Value::Object(event).to_string().as_bytes());
        Bytes::from(serde_json::to_vec(&envelope).unwrap())
    });
    let (stop, _trigger) = Stop::manual();
    let events = batch(0, bodies);
    let written = deliver(&mut tables.writer(0), events, &stop).await;
    let written = written.unwrap();
    assert_eq!((written.inserted, written.rejected), (10, 0));
    let whole = "SELECT extra->'event'->>'event_name' AS name, extra->'item'->>'item_id' AS id \
                 FROM fact_events WHERE extra->'event' ? 'event_name'";
    let row = json!({"name": long_name, "id": noise("item_id")});
    assert_eq!(tables.rows(whole).await, [row]);

    answers(&tables, "open").await;
    for step in ["SELECT 1", "SELECT analytics.touch()"] {
        tables.client.batch_execute(step).await.unwrap();
        let store = "SELECT analytics.refresh(100000, '0')";
        tables.client.batch_execute(store).await.unwrap();
        assert_eq!(tables.count("analytics.open_hours").await, 0, "{step}");
        assert_eq!(tables.count("analytics.differences()").await, 0, "{step}");
        answers(&tables, step).await;
    }
    let retire = "SELECT etl_retire_partitions('1 month', true)";
    tables.client.batch_execute(retire).await.unwrap();
    assert_eq!(tables.count("fact_events").await, 0);
    answers(&tables, "retired").await;
    assert_eq!(tables.count(ORDERS).await, 1);
}

/// Asks every question, in the state `when`.
async fn answers(tables: &Tables, when: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sql/queries");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let sql = std::fs::read_to_string(&path).unwrap();
        let outcome = tables.client.simple_query(&sql).await;
        assert!(outcome.is_ok(), "{when}, {}: {outcome:?}", path.display());
    }
}

#[tokio::test]
async fn long_texts_of_another_smartmodule_are_rejected_alone() {
    let tables = Tables::new().await;
    let columns = "SELECT attname::text AS name FROM pg_attribute \
                   WHERE attrelid = ANY ('{fact_events,dim_product,dim_list}'::regclass[]) \
                     AND atttypid = 'text'::regtype AND attnum > 0 \
                     AND attname NOT IN ('natural_key', 'source_topic') GROUP BY 1";
    let columns: Vec<String> = tables
        .rows(columns)
        .await
        .iter()
        .map(|row| row["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(columns.len(), 33);
    let with = |hash: u128, column: &str, length: usize| {
        let mut more = json!({"product_id": "A", "list_id": "L"});
        more[column] = "x".repeat(length).into();
        envelope(&[fact(hash, NOON, more)])
    };
    let events = (0..).zip(&columns).flat_map(|(number, column)| {
        [
            with(2 * number, column, MAX_TEXT),
            with(2 * number + 1, column, MAX_TEXT + 1),
        ]
    });
    let (stop, _trigger) = Stop::manual();
    let written = deliver(&mut tables.writer(0), batch(0, events), &stop).await;
    let written = written.unwrap();
    assert_eq!((written.inserted, written.rejected), (33, 33));
    let names = "SELECT count(*) AS named FROM rejected_events \
                 WHERE reason = 'refused-by-postgres' AND detail ~ 'check constraint'";
    assert_eq!(tables.rows(names).await, [json!({"named": 33})]);
}

#[tokio::test]
async fn products_of_long_attributes_alone_stay_two() {
    let tables = Tables::new().await;
    let product = |end: &str| {
        let keys = ITEM.iter().filter(|key| {
            key.starts_with("item_brand")
                || key.starts_with("item_category")
                || key.starts_with("item_variant")
        });
        let texts = keys.map(|key| {
            let text = format!("{}{end}", noise(key));
            ((*key).to_owned(), Value::from(text))
        });
        let item: Map<String, Value> = texts.collect();
        let event = json!({"event_name": "view_item", "event_time": NOON, "items": [item]});
        let envelope = fact_model::flatten(event.to_string().as_bytes());
        Bytes::from(serde_json::to_vec(&envelope).unwrap())
    };
    let events = [product("1"), product("2"), product("1")];
    let written = tables.writer(0).write(&batch(0, events)).await.unwrap();
    assert_eq!((written.inserted, written.duplicates), (2, 1));
    assert_eq!(tables.count("dim_product").await, 2);
}
