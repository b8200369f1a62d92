//! What a batch leaves in a real PostgreSQL, whatever happens meanwhile.

use std::time::Duration;

use crate::support::{NOON, Tables, batch, envelope, fact, shopping, stored};
use bytes::Bytes;
use connector_common::Stop;
use postgres_sink::delivery::deliver;
use postgres_sink::writer::{WriteError, Written};
use serde_json::{Value, json};

fn inserted(inserted: u64, duplicates: u64) -> Written {
    Written {
        inserted,
        duplicates,
        ..Written::default()
    }
}

#[tokio::test]
async fn where_a_partition_begins_is_stored_once() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(6);
    assert_eq!(writer.position().await.unwrap(), None);
    assert_eq!(writer.begin(1_000).await.unwrap(), 1_000);
    // A second start finds a later end of the topic; the records in between are wanted all the same.
    assert_eq!(writer.begin(1_234).await.unwrap(), 1_000);
    let written = writer.write(&batch(1_000, shopping(0, 3))).await.unwrap();
    assert_eq!(written.inserted, 3);
    assert_eq!(writer.position().await.unwrap(), Some(1_003));
}

#[tokio::test]
async fn every_field_arrives_exactly() {
    let tables = Tables::new().await;
    let said = json!({
        "event_time": NOON, "event_name": "purchase", "event_id": "e-1", "user_id": "u-1",
        "user_pseudo_id": "p-1", "session_id": "s-1", "platform": "IOS", "product_id": "SKU-A",
        "product_name": "Tee \"blå\" \\ 👕", "product_brand": "Acme", "product_category": "Apparel",
        "product_category2": "Adult", "product_category3": "Shirts", "product_category4": "Crew",
        "product_category5": "Short sleeve", "product_variant": "green", "list_id": "L1",
        "list_name": "Related", "list_position": -3, "item_ordinal": 2,
        "price": "0.0000000000000000000000000001", "quantity": "3", "discount": "-2.5",
        "item_coupon": "SUMMER", "affiliation": "Store", "location_id": "ChIJ", "promotion_id": "P1",
        "promotion_name": "Sale", "creative_name": "banner", "creative_slot": "slot-1",
        "currency": "EUR", "value": "9999999999999999999999999999", "transaction_id": "T-1",
        "tax": "4.9", "shipping": "5.99", "event_coupon": "EVENT",
        "extra": {"event": {"app": [1, "\u{1}", null]}, "item": {"x": "y"}},
        "fact_hash": "00ff00000000000000000000000000ab",
    });
    let bare = fact(1, NOON, json!({"item_ordinal": 0}));
    let events = [envelope(&[said.clone(), bare])].into_iter();
    let events = events.chain(shopping(1 << 64, 2_000));
    let written = tables.writer(4).write(&batch(0, events)).await.unwrap();
    assert_eq!(written, inserted(2_002, 0));

    let decimals = "f.price::text AS price, f.quantity::text AS quantity, f.discount::text AS discount, \
                    f.value::text AS value, f.tax::text AS tax, f.shipping::text AS shipping";
    let rows = tables
        .rows(&format!(
            "SELECT p.*, l.*, f.*, {decimals} FROM fact_events f LEFT JOIN dim_product p USING (product_key) LEFT JOIN dim_list l USING (list_key) WHERE f.source_offset = 0"
        ))
        .await;
    assert_eq!(rows.len(), 2);
    let full = rows.iter().find(|row| row["item_ordinal"] == 2).unwrap();
    for (name, value) in said.as_object().unwrap() {
        let expected = match name.as_str() {
            "event_time" => json!("2026-11-22T12:00:00.123456+00:00"),
            "fact_hash" => json!("00ff0000-0000-0000-0000-0000000000ab"),
            _ => value.clone(),
        };
        assert_eq!(full[name], expected, "{name}");
    }
    assert_eq!(
        (
            &full["source_topic"],
            &full["source_partition"],
            &full["source_offset"]
        ),
        (&json!("shop-events"), &json!(4), &json!(0))
    );
    let bare = rows.iter().find(|row| row["item_ordinal"] == 0).unwrap();
    for name in said.as_object().unwrap().keys().filter(|name| {
        !["event_time", "event_name", "item_ordinal", "fact_hash"].contains(&name.as_str())
    }) {
        assert_eq!(bare[name], Value::Null, "{name} of an event without items");
    }
}

#[tokio::test]
async fn decimals_of_every_length_arrive_exactly() {
    let tables = Tables::new().await;
    let digits = "1020304050607080900010002003";
    let (before, behind) = (1..=28)
        .flat_map(|length| {
            let (whole, rest) = digits.split_at(length);
            let number = if rest.is_empty() {
                whole.to_owned()
            } else {
                format!("{whole}.{rest}")
            };
            [(
                number.clone(),
                format!("-0.{}{}", "0".repeat(28 - length), "9".repeat(length)),
            )]
        })
        .unzip::<_, _, Vec<_>, Vec<_>>();
    let mut numbers: Vec<String> = before.into_iter().chain(behind).collect();
    numbers.extend(
        [
            "0",
            "1",
            "-1",
            "9999",
            "10000",
            "-10000",
            "0.1",
            "0.0001",
            "0.00001",
            "100000000",
            "12345.6789",
        ]
        .map(str::to_owned),
    );
    let facts: Vec<Value> = (0..)
        .zip(&numbers)
        .map(|(hash, number)| fact(hash, NOON, json!({"price": number})))
        .collect();
    tables
        .writer(0)
        .write(&batch(0, [envelope(&facts)]))
        .await
        .unwrap();
    let rows = tables
        .rows("SELECT price::text AS price FROM fact_events")
        .await;
    let arrived: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["price"].as_str())
        .collect();
    numbers.sort();
    assert_eq!(arrived, numbers);
}

#[tokio::test]
async fn facts_that_are_there_are_told_from_those_that_are_new() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    let events = shopping(0, 9_000);
    let mut next = 0;
    let mut write = async |events: Vec<Bytes>| {
        let batch = batch(next, events);
        next = batch.next_offset();
        writer.write(&batch).await.unwrap()
    };
    // Every tenth, then all in thirds: an unforeseen one in the midst of each kind of batch, all of them, none.
    let tenth = events.iter().step_by(10).cloned().collect();
    assert_eq!(write(tenth).await, inserted(900, 0));
    assert_eq!(write(events[..3_000].to_vec()).await, inserted(2_700, 300));
    assert_eq!(
        write(events[3_000..6_000].to_vec()).await,
        inserted(2_700, 300)
    );
    assert_eq!(write(events[..6_000].to_vec()).await, inserted(0, 6_000));
    let fresh = events[6_000..]
        .iter()
        .skip(1)
        .step_by(10)
        .cloned()
        .collect();
    assert_eq!(write(fresh).await, inserted(300, 0));
    assert_eq!(write(shopping(10_000, 500)).await, inserted(500, 0));
    assert_eq!(write(events[6_000..].to_vec()).await, inserted(2_400, 600));
    assert_eq!(tables.count("fact_events").await, 9_500);

    let other = Tables::new().await;
    let all = events.into_iter().chain(shopping(10_000, 500));
    other.writer(0).write(&batch(0, all)).await.unwrap();
    let facts = "SELECT event_time, fact_hash, event_name, product_name, list_name FROM product_interactions ORDER BY fact_hash";
    assert!(tables.rows(facts).await == other.rows(facts).await);
}

#[tokio::test]
async fn the_same_event_again_changes_nothing() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    let events = shopping(0, 300);
    // The third hundred is sent twice within the batch.
    let twice = events.iter().chain(&events[200..]).cloned();
    assert_eq!(
        writer.write(&batch(0, twice)).await.unwrap(),
        inserted(300, 100)
    );
    assert_eq!(stored(&writer).await, 400);
    let before = tables.everything().await;

    assert_eq!(
        writer
            .write(&batch(400, events.iter().rev().cloned()))
            .await
            .unwrap(),
        inserted(0, 300)
    );
    assert_eq!(stored(&writer).await, 700);
    tables
        .client
        .execute("DELETE FROM sink_offsets", &[])
        .await
        .unwrap();
    let replay = events.iter().chain(&events[200..]).cloned();
    assert_eq!(
        tables.writer(0).write(&batch(0, replay)).await.unwrap(),
        inserted(0, 400)
    );
    assert_eq!(
        tables.everything().await,
        before,
        "a replay from the start leaves what was there"
    );
}

#[tokio::test]
async fn a_sink_that_was_overtaken_writes_nothing() {
    let tables = Tables::new().await;
    let (mut first, mut second) = (tables.writer(0), tables.writer(0));
    first.write(&batch(0, shopping(0, 10))).await.unwrap();
    let before = tables.everything().await;
    let overtaken = second.write(&batch(0, shopping(100, 5))).await;
    assert!(
        matches!(
            overtaken,
            Err(WriteError::Fenced {
                stored: 10,
                expected: 0
            })
        ),
        "{overtaken:?}"
    );
    let ahead = second.write(&batch(20, shopping(100, 5))).await;
    assert!(
        matches!(
            ahead,
            Err(WriteError::Fenced {
                stored: 10,
                expected: 20
            })
        ),
        "{ahead:?}"
    );
    assert_eq!(tables.everything().await, before);
    // The same batch again is what a sink does whose commit was never answered.
    assert_eq!(
        first.write(&batch(0, shopping(0, 10))).await.unwrap(),
        Written::default()
    );
    assert_eq!(tables.everything().await, before);
}

#[tokio::test]
async fn two_sinks_at_once_write_one_copy() {
    let tables = Tables::new().await;
    let events = shopping(0, 400);
    let run = |mut writer: postgres_sink::writer::Writer| {
        let events = events.clone();
        tokio::spawn(async move {
            loop {
                let from = usize::try_from(stored(&writer).await).unwrap();
                let Some(next) = events
                    .get(from..(from + 20).min(events.len()))
                    .filter(|next| !next.is_empty())
                else {
                    return;
                };
                match writer.write(&batch(from as i64, next.to_vec())).await {
                    Ok(_) | Err(WriteError::Fenced { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        })
    };
    let (first, second) = (run(tables.writer(0)), run(tables.writer(0)));
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(
        (
            tables.count("fact_events").await,
            stored(&tables.writer(0)).await
        ),
        (400, 400)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn partitions_side_by_side_never_deadlock() {
    let tables = Tables::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for partition in 0..4 {
        let mut writer = tables.writer(partition);
        tasks.spawn(async move {
            for round in 0..25 {
                // All write the same new products and facts at once, in opposite orders.
                let mut events = shopping(round * 1000, 300);
                if partition % 2 == 1 {
                    events.reverse();
                }
                writer
                    .write(&batch(round as i64 * 300, events))
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(tables.count("fact_events").await, 25 * 300);
    let deadlocks: i64 = tables
        .client
        .query_one("SELECT sum(deadlocks)::bigint FROM pg_stat_database", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(deadlocks, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_anywhere_loses_and_doubles_nothing() {
    let tables = Tables::new().await;
    let events = shopping(0, 2000);
    let expected = {
        let mut calm = tables.writer(0);
        calm.write(&batch(0, events.clone())).await.unwrap();
        let expected = tables.everything().await;
        tables.client.batch_execute("DELETE FROM fact_events; DELETE FROM dim_product; DELETE FROM dim_list; DELETE FROM sink_offsets").await.unwrap();
        expected
    };
    let victim = tables.writer(0);
    let breaker = {
        let killer = tables.database.connect().await.unwrap();
        tokio::spawn(async move {
            let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'postgres-sink' AND pid <> pg_backend_pid() AND state <> 'idle'";
            let mut broken = 0;
            loop {
                broken += killer
                    .query_one(kill, &[])
                    .await
                    .map_or(0, |row| row.get::<_, i64>(0));
                if broken >= 12 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(31)).await;
            }
        })
    };
    let (stop, _trigger) = Stop::manual();
    let mut writer = victim;
    for (number, some) in events.chunks(25).enumerate() {
        deliver(&mut writer, batch(number as i64 * 25, some.to_vec()), &stop)
            .await
            .unwrap();
    }
    breaker.abort();
    // Offsets within a batch are the same; what differs is nothing.
    assert_eq!(tables.everything().await, expected);
}

#[tokio::test]
async fn a_sink_that_dies_in_a_transaction_leaves_the_batch_whole_or_absent() {
    let tables = Tables::new().await;
    let mut from = 0;
    for patience in 0..40 {
        let mut writer = tables.writer(0);
        stored(&writer).await;
        let events = shopping(from as u128 * 10, 50);
        let cut = tokio::time::timeout(
            Duration::from_micros(patience * 400),
            writer.write(&batch(from, events.clone())),
        )
        .await;
        let there = tables.count("fact_events").await;
        let mut fresh = tables.writer(0);
        let reached = stored(&fresh).await;
        assert!(
            reached == from || reached == from + 50,
            "stored {reached}, was at {from}"
        );
        if cut.is_ok() {
            assert_eq!(reached, from + 50);
        }
        // The count was taken first: a commit on its way may have come between.
        assert!(
            there == from || there == reached,
            "{there} facts with offset {from} -> {reached}"
        );
        fresh.write(&batch(from, events)).await.unwrap();
        from += 50;
        assert_eq!(
            (tables.count("fact_events").await, stored(&fresh).await),
            (from, from)
        );
    }
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
