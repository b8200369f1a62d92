//! Rejected events: each is stored once.

use std::time::Duration;

use bytes::Bytes;
use connector_common::{Health, Stop};
use postgres_sink::delivery::{self, Refusals};
use postgres_sink::metrics::{Metrics, TransactionMetrics};
use serde_json::json;
use warehouse::Written;
use warehouse::{Batch, Record};

use crate::support::{NOON, Tables, batch, deliver, envelope, fact, shopping, stored};

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
    let mut rows = tables
        .rows(
            "SELECT source_offset AS o, ordinal AS n, reason, raw, raw_encoding \
                                AS enc FROM rejected_events",
        )
        .await;
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
    // flatten-items would have cut it.
    let long = "x".repeat(20_000);
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
    let rejected = tables
        .rows(
            "SELECT reason, source_offset, ordinal, raw, detail ~ 'SQLSTATE' AS \
                                says FROM rejected_events ORDER BY id",
        )
        .await;
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

#[tokio::test]
async fn events_that_are_all_refused_alike_wait_until_somebody_mends_the_table() {
    let tables = Tables::new().await;
    let add = "ALTER TABLE fact_events ADD COLUMN warehouse text NOT NULL";
    tables.client.batch_execute(add).await.unwrap();
    let health = Health::default();
    let timeout = Duration::from_secs(60);
    let metrics = TransactionMetrics::new(Metrics::new().unwrap(), health.clone(), 0, timeout);
    let mut writer = tables.writer(0);
    let writing = tokio::spawn(async move {
        let (stop, _trigger) = Stop::manual();
        let mut refusals = Refusals::new(5);
        let events = batch(0, shopping(0, 60));
        delivery::deliver(&mut writer, events, &stop, Some(&metrics), &mut refusals).await
    });
    let is_waiting = async {
        loop {
            let ready = health.ready().map_err(|error| error.to_string());
            if let Err(reason) = ready
                && reason.contains("max-refused-events")
            {
                return reason;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let reason = tokio::time::timeout(timeout, is_waiting).await.unwrap();
    for part in [
        "5 events in a row",
        "offset 5",
        "warehouse",
        "SQLSTATE 23502",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    // The message would show more than /readyz may.
    assert!(!reason.contains("null value"), "{reason}");
    assert_eq!(tables.count("rejected_events").await, 5);
    assert_eq!(stored(&tables.writer(0)).await, 5);

    let mend = "ALTER TABLE fact_events ALTER COLUMN warehouse DROP NOT NULL";
    tables.client.batch_execute(mend).await.unwrap();
    let written = tokio::time::timeout(timeout, writing).await.unwrap();
    assert_eq!(written.unwrap().unwrap().inserted, 55);
    assert_eq!(tables.count("rejected_events").await, 5);
    assert_eq!(health.ready().map_err(|error| error.to_string()), Ok(()));
}

#[tokio::test]
async fn records_of_another_smart_module_are_not_rejected_without_end() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    let (stop, _trigger) = Stop::manual();
    let mut refusals = Refusals::new(25);
    let raw = |count: usize| vec![Bytes::from_static(b"{\"event_name\":\"raw\"}"); count];
    let mut from = 0;
    let mut deliver = async |values: Vec<Bytes>| {
        let next = batch(from, values);
        let until = next.next_offset();
        let delivered = delivery::deliver(&mut writer, next, &stop, None, &mut refusals).await;
        if delivered.is_ok() {
            from = until;
        }
        delivered
    };
    // An envelope between them shows that the SmartModule is the right one.
    deliver(raw(20)).await.unwrap();
    deliver([shopping(0, 1), raw(20)].concat()).await.unwrap();
    deliver(raw(20)).await.unwrap();
    for _ in 0..2 {
        let error = deliver(raw(20)).await.unwrap_err();
        assert!(
            matches!(error, postgres_sink::Error::NotEnvelopes { .. }),
            "{error}"
        );
    }
    assert_eq!(tables.count("rejected_events").await, 60);
    // The same records through the right SmartModule.
    deliver(shopping(100, 20)).await.unwrap();
    assert_eq!(tables.count("fact_events").await, 21);
}

/// Facts with 4 KB each, which a constraint refuses or not.
fn large(from: i64, count: i64, name: &str) -> Batch {
    let one = |number: i64| {
        let text = "x".repeat(500);
        let more = json!({"event_name": name, "user_id": format!("user-{number}"),
            "product_id": format!("SKU-{number}"), "event_coupon": text, "item_coupon": text,
            "affiliation": text, "location_id": text, "promotion_name": text,
            "creative_name": text, "creative_slot": text, "traffic_campaign": text});
        envelope(&[fact(number as u128, NOON, more)])
    };
    batch(from, (from..from + count).map(one))
}

#[tokio::test]
async fn many_refused_events_become_rejected_events() {
    let tables = Tables::new().await;
    let forbid = "ALTER TABLE fact_events ADD CHECK (event_name NOT LIKE 'bad%')";
    tables.client.batch_execute(forbid).await.unwrap();
    let (stop, _trigger) = Stop::manual();
    let mut writer = tables.writer(0);
    // Creates the partition, and prepares the statements.
    deliver(&mut writer, large(0, 10, "good"), &stop)
        .await
        .unwrap();
    let mut from = 10;
    let mut write = async |count: i64, name: &str| {
        let events = large(from, count, name);
        from += count;
        deliver(&mut writer, events, &stop).await.unwrap()
    };
    let written = write(1_500, "good").await;
    assert_eq!(written.inserted, 1_500);
    let written = write(1_500, "bad").await;
    assert_eq!((written.inserted, written.rejected), (0, 1_500));
}

#[tokio::test]
async fn refused_events_among_good_ones_are_found_wherever_they_are() {
    let tables = Tables::new().await;
    let forbid = "ALTER TABLE fact_events ADD CHECK (event_name NOT LIKE 'bad%')";
    tables.client.batch_execute(forbid).await.unwrap();
    let (stop, _trigger) = Stop::manual();
    let mut writer = tables.writer(0);
    let mut from = 0;
    for bad in [&[0][..], &[99], &[0, 1, 2], &[3, 50, 51, 98], &[97, 98, 99]] {
        let mut events = shopping(from as u128, 100);
        for index in bad {
            let refused = fact((from + index) as u128, NOON, json!({"event_name": "bad"}));
            events[usize::try_from(*index).unwrap()] = envelope(&[refused]);
        }
        let written = deliver(&mut writer, batch(from, events), &stop).await;
        let count = bad.len() as u64;
        let expected = Written {
            inserted: 100 - count,
            rejected: count,
            ..Written::default()
        };
        assert_eq!(written.unwrap(), expected, "{bad:?}");
        let rejected = "SELECT source_offset AS o FROM rejected_events WHERE source_offset >= ";
        let offsets = tables.rows(&format!("{rejected} {from}")).await;
        let mut found: Vec<i64> = offsets
            .iter()
            .map(|row| row["o"].as_i64().unwrap() - from)
            .collect();
        found.sort_unstable();
        assert_eq!(found, bad);
        from += 100;
        assert_eq!(stored(&writer).await, from);
    }
}

/// PostgreSQL's detail is `Failing row contains (…)`.
#[tokio::test]
async fn a_log_shows_nothing_of_a_refused_row() {
    let tables = Tables::new().await;
    let forbid = "ALTER TABLE fact_events ADD CONSTRAINT no_bad CHECK (event_name NOT LIKE 'bad%')";
    tables.client.batch_execute(forbid).await.unwrap();
    let error = tables.writer(0).write(&large(0, 1, "bad")).await;
    let error = error.unwrap_err();
    let logged = error.chain();
    assert!(
        logged.contains("no_bad") && logged.contains("23514"),
        "{logged}"
    );
    assert!(!logged.contains("user-0"), "{logged}");

    let (stop, _trigger) = Stop::manual();
    let mut writer = tables.writer(0);
    deliver(&mut writer, large(0, 8, "bad"), &stop)
        .await
        .unwrap();
    let detail = "SELECT FROM rejected_events WHERE detail LIKE '%user-0%'";
    assert_eq!(tables.client.query(detail, &[]).await.unwrap().len(), 1);
}
