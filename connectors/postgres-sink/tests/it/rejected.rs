//! What goes to `rejected_events`, and how often.

use bytes::Bytes;
use connector_common::Stop;
use postgres_sink::batch::{Batch, Record};
use postgres_sink::delivery::deliver;
use postgres_sink::writer::Written;
use serde_json::json;

use crate::support::{NOON, Tables, batch, envelope, fact, shopping, stored};

#[tokio::test]
async fn what_is_no_envelope_is_rejected_once_with_its_payload() {
    let tables = Tables::new().await;
    let records = [
        Bytes::from_static(b"{\"event_name\":\"raw event, no SmartModule\"}"),
        Bytes::from_static(b"\xff\x00 binary"),
        Bytes::from_static(b"nul \0 text"),
        Bytes::new(),
        Bytes::from_static(br#"{"rejected":[{"reason":"not-json","detail":"d\u0000","at":"$","raw":"QUI=","raw_encoding":"base64"},{"reason":"r","detail":"d","at":"$","raw":"a\u0000"}]}"#),
        Bytes::from_static(br#"{"facts":[{"event_time":"yesterday","event_name":"x","item_ordinal":1,"fact_hash":"00"}]}"#),
    ];
    let mut writer = tables.writer(0);
    assert_eq!(
        writer
            .write(&batch(0, records.clone()))
            .await
            .unwrap()
            .rejected,
        7
    );
    tables
        .client
        .execute("DELETE FROM sink_offsets", &[])
        .await
        .unwrap();
    assert_eq!(
        tables
            .writer(0)
            .write(&batch(0, records))
            .await
            .unwrap()
            .rejected,
        0,
        "a replay doubled rejections"
    );
    let mut rows = tables.rows("SELECT source_offset AS o, ordinal AS n, reason, raw, raw_encoding AS enc FROM rejected_events").await;
    rows.sort_by_key(|row| (row["o"].as_i64(), row["n"].as_i64()));
    let shown: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["reason"].as_str().unwrap(),
                row["raw"].as_str().unwrap(),
                row["enc"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (
                "not-an-envelope",
                "{\"event_name\":\"raw event, no SmartModule\"}",
                None
            ),
            ("not-an-envelope", "/wAgYmluYXJ5", Some("base64")),
            ("not-an-envelope", "bnVsIAAgdGV4dA==", Some("base64")),
            ("not-an-envelope", "", None),
            ("not-json", "QUI=", Some("base64")),
            ("r", "YQA=", Some("base64")),
            (
                "not-an-envelope",
                r#"{"facts":[{"event_time":"yesterday","event_name":"x","item_ordinal":1,"fact_hash":"00"}]}"#,
                None
            ),
        ]
    );
}

#[tokio::test]
async fn a_message_that_is_delivered_twice_is_rejected_once() {
    let tables = Tables::new().await;
    let rejected = r#"{"rejected":[{"reason":"not-json","detail":"d","at":"$","raw":"x"}]}"#;
    let record = |(offset, key): (i64, Option<&'static str>)| Record {
        offset,
        key: key.map(Bytes::from),
        value: Bytes::from(rejected),
    };
    let deliveries = [Some("m1"), Some("m2"), Some("m1"), None, None];
    let first = Batch::of(0, (0..).zip(deliveries).map(record)).finish();
    let mut writer = tables.writer(0);
    assert_eq!(
        writer.write(&first).await.unwrap().rejected,
        4,
        "two messages, and two records without an id"
    );
    let again = Batch::of(5, [record((5, Some("m2")))]).finish();
    assert_eq!(writer.write(&again).await.unwrap().rejected, 0);
    let elsewhere = Batch::of(0, [record((0, Some("m1")))]).finish();
    let written = tables.writer(1).write(&elsewhere).await.unwrap();
    assert_eq!(written.rejected, 0, "the same message in another partition");
}

#[tokio::test]
async fn an_event_that_postgresql_refuses_is_set_aside_and_the_rest_goes_in() {
    let tables = Tables::new().await;
    let mut events = shopping(0, 100);
    let nul = r#"{"facts":[{"event_time":"2026-11-22T12:00:00Z","event_name":"bad","item_ordinal":1,"extra":{"event":{"k":"a\u0000b"}},"fact_hash":"000000000000000000000000000f0001"},{"event_time":"2026-11-22T12:00:00Z","event_name":"beside it","item_ordinal":2,"fact_hash":"000000000000000000000000000f0002"}],"rejected":[{"reason":"bad-items","detail":"d","at":"$.items[2]","raw":"r"}]}"#;
    events.insert(37, Bytes::from(nul));
    // Too long for an index, and not to be compressed: the server's limit is 2704 bytes.
    let mut state = 1u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'A' + (state >> 60) as u8)
    };
    let long: String = (0..20_000).map(|_| random()).collect();
    events.insert(
        90,
        envelope(&[fact(0xf3, NOON, json!({"product_id": long}))]),
    );
    let (stop, _trigger) = Stop::manual();
    let mut writer = tables.writer(0);
    let written = deliver(&mut writer, batch(0, events), &stop).await.unwrap();
    assert_eq!(
        written,
        Written {
            inserted: 100,
            rejected: 3,
            ..Written::default()
        }
    );
    assert_eq!(stored(&writer).await, 102);
    let rejected = tables.rows("SELECT reason, source_offset, ordinal, raw, detail ~ 'SQLSTATE' AS says FROM rejected_events ORDER BY id").await;
    let places: Vec<_> = rejected
        .iter()
        .map(|row| {
            (
                row["reason"].as_str().unwrap(),
                row["source_offset"].as_i64().unwrap(),
                row["ordinal"].as_i64().unwrap(),
            )
        })
        .collect();
    let mut sorted = places.clone();
    sorted.sort_by_key(|(_, offset, ordinal)| (*offset, *ordinal));
    assert_eq!(
        sorted,
        [
            ("bad-items", 37, 0),
            ("refused-by-postgres", 37, 1),
            ("refused-by-postgres", 90, 0)
        ]
    );
    for row in rejected
        .iter()
        .filter(|row| row["reason"] == "refused-by-postgres")
    {
        assert_eq!(row["says"], true);
        assert!(
            row["source_offset"] == 90 || row["raw"] == nul,
            "the record is kept as it was read"
        );
    }
}
