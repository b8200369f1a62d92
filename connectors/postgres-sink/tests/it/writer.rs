//! What a batch leaves in a real PostgreSQL, whatever happens meanwhile.

use std::time::Duration;

use crate::support::{Tables, batch, envelope, fact};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use connector_common::Stop;
use postgres_sink::delivery::deliver;
use postgres_sink::months::Months;
use postgres_sink::writer::{WriteError, Written};
use serde_json::{Value, json};

const NOON: &str = "2026-11-22T12:00:00.123456Z";

/// Facts on 20 products in 3 lists at times around noon. The same seed gives the same facts.
fn shopping(seed: u128, count: u128) -> Vec<Bytes> {
    let one = |number: u128| {
        let hash = seed + number;
        let product = format!("SKU-{}", hash * 7 % 20);
        let time = format!("2026-11-22T12:{:02}:{:02}Z", hash * 13 % 60, hash * 17 % 60);
        let more = json!({"product_id": product, "product_name": format!("Product {hash}"), "list_name": format!("List {}", hash % 3)});
        envelope(&[fact(hash, &time, more)])
    };
    (0..count).map(one).collect()
}

fn inserted(inserted: u64, duplicates: u64) -> Written {
    Written {
        inserted,
        duplicates,
        rejected: 0,
    }
}

#[tokio::test]
async fn every_field_arrives_exactly() {
    let tables = Tables::new().await;
    let said = json!({
        "event_time": NOON, "event_name": "purchase", "event_id": "e-1", "user_id": "u-1",
        "user_pseudo_id": "p-1", "session_id": "s-1", "platform": "IOS", "product_id": "SKU-1",
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
    tables
        .writer(4)
        .write(&batch(0, [envelope(&[said.clone(), bare])]))
        .await
        .unwrap();

    let decimals = "f.price::text AS price, f.quantity::text AS quantity, f.discount::text AS discount, \
                    f.value::text AS value, f.tax::text AS tax, f.shipping::text AS shipping";
    let rows = tables
        .rows(&format!(
            "SELECT p.*, l.*, f.*, {decimals} FROM fact_events f LEFT JOIN dim_product p USING (product_key) LEFT JOIN dim_list l USING (list_key)"
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
    assert_eq!(writer.position().await.unwrap(), 400);
    let before = tables.everything().await;

    assert_eq!(
        writer
            .write(&batch(400, events.iter().rev().cloned()))
            .await
            .unwrap(),
        inserted(0, 300)
    );
    assert_eq!(writer.position().await.unwrap(), 700);
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
async fn a_dimension_depends_on_the_events_and_not_on_their_order() {
    let tables = Tables::new().await;
    let told = |hash, time, more: Value| {
        let mut all = json!({"product_id": "SKU-1", "list_id": "L1"});
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        envelope(&[fact(hash, time, all)])
    };
    let events = [
        told(
            1,
            "2026-11-01T00:00:00Z",
            json!({"product_name": "oldest", "product_category": "A", "product_category2": "B", "list_name": "old"}),
        ),
        told(2, "2026-11-03T00:00:00Z", json!({"product_brand": "brand"})),
        told(
            3,
            "2026-11-02T00:00:00Z",
            json!({"product_name": "middle", "product_category": "C", "list_name": "new"}),
        ),
        told(
            4,
            "2026-11-02T00:00:00Z",
            json!({"product_name": "the greater in the same moment"}),
        ),
        // A broken clock: it fills in what nobody else has said, and decides nothing else.
        told(
            5,
            "2090-01-01T00:00:00Z",
            json!({"product_name": "zz from the future", "product_variant": "green"}),
        ),
    ];
    let mut seen = Vec::new();
    for order in permutations(events.len()) {
        let mut writer = tables.writer(0);
        let ordered: Vec<Bytes> = order.iter().map(|place| events[*place].clone()).collect();
        let cut = seen.len() % (events.len() + 1);
        if cut > 0 {
            writer
                .write(&batch(0, ordered[..cut].to_vec()))
                .await
                .unwrap();
        }
        if cut < events.len() {
            writer
                .write(&batch(cut as i64, ordered[cut..].to_vec()))
                .await
                .unwrap();
        }
        let mut rows = tables
            .rows("SELECT *, NULL AS product_key FROM dim_product")
            .await;
        rows.extend(
            tables
                .rows("SELECT *, NULL AS list_key FROM dim_list")
                .await,
        );
        seen.push(rows);
        tables.client.batch_execute("DELETE FROM fact_events; DELETE FROM dim_product; DELETE FROM dim_list; DELETE FROM sink_offsets").await.unwrap();
    }
    assert_eq!(seen.len(), 120);
    let (product, list) = (&seen[0][0], &seen[0][1]);
    assert_eq!(product["product_name"], "the greater in the same moment");
    assert_eq!(
        (&product["product_category"], &product["product_category2"]),
        (&json!("C"), &Value::Null),
        "a path is replaced whole"
    );
    assert_eq!(
        (&product["product_brand"], &product["product_variant"]),
        (&json!("brand"), &json!("green"))
    );
    assert_eq!(
        (&product["first_seen"], &product["last_seen"]),
        (
            &json!("2026-11-01T00:00:00+00:00"),
            &json!("2026-11-03T00:00:00+00:00")
        )
    );
    assert_eq!(list["list_name"], "new");
    assert!(seen.iter().all(|rows| *rows == seen[0]));
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(count - 1);
    let insert = |order: &Vec<usize>, place| {
        let mut order = order.clone();
        order.insert(place, count - 1);
        order
    };
    shorter
        .iter()
        .flat_map(|order| (0..count).map(move |place| insert(order, place)))
        .collect()
}

#[tokio::test]
async fn products_and_lists_without_an_id_go_by_their_name() {
    let tables = Tables::new().await;
    let facts = [
        fact(
            1,
            NOON,
            json!({"product_id": "X", "product_name": "Shirt", "list_id": "X", "list_name": "Sale"}),
        ),
        fact(2, NOON, json!({"product_name": "X", "list_name": "X"})),
        fact(
            3,
            NOON,
            json!({"product_brand": "B", "product_category2": "C"}),
        ),
        fact(4, NOON, json!({"product_name": "X"})),
    ];
    tables
        .writer(0)
        .write(&batch(0, [envelope(&facts)]))
        .await
        .unwrap();
    let keys = tables
        .rows("SELECT right(f.fact_hash::text, 1) AS fact, p.natural_key AS product, l.natural_key AS list FROM fact_events f LEFT JOIN dim_product p USING (product_key) LEFT JOIN dim_list l USING (list_key)")
        .await;
    assert_eq!(
        keys,
        [
            json!({"fact": "1", "product": "id:X", "list": "id:X"}),
            json!({"fact": "2", "product": "name:X", "list": "name:X"}),
            json!({"fact": "3", "product": "is:B\u{1f}\u{1f}C\u{1f}\u{1f}\u{1f}\u{1f}\u{1f}", "list": null}),
            json!({"fact": "4", "product": "name:X", "list": null}),
        ]
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
                let from = usize::try_from(writer.position().await.unwrap()).unwrap();
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
            tables.writer(0).position().await.unwrap()
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
                let mut events = shopping(round * 1000, 60);
                if partition % 2 == 1 {
                    events.reverse();
                }
                writer
                    .write(&batch(round as i64 * 60, events))
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(tables.count("fact_events").await, 25 * 60);
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
        writer.position().await.unwrap();
        let events = shopping(from as u128 * 10, 50);
        let cut = tokio::time::timeout(
            Duration::from_micros(patience * 400),
            writer.write(&batch(from, events.clone())),
        )
        .await;
        let there = tables.count("fact_events").await;
        let mut fresh = tables.writer(0);
        let stored = fresh.position().await.unwrap();
        assert!(
            stored == from || stored == from + 50,
            "stored {stored}, was at {from}"
        );
        if cut.is_ok() {
            assert_eq!(stored, from + 50);
        }
        // The count was taken first: a commit on its way may have come between.
        assert!(
            there == from || there == stored,
            "{there} facts with offset {from} -> {stored}"
        );
        fresh.write(&batch(from, events)).await.unwrap();
        from += 50;
        assert_eq!(
            (
                tables.count("fact_events").await,
                fresh.position().await.unwrap()
            ),
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
            duplicates: 0,
            rejected: 3
        }
    );
    assert_eq!(writer.position().await.unwrap(), 102);
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

#[tokio::test]
async fn months_get_partitions_and_broken_clocks_do_not() {
    let tables = Tables::new().await;
    let month = |ahead: i32| -> DateTime<Utc> {
        let now = Utc::now();
        let count = chrono::Months::new(ahead.unsigned_abs());
        if ahead < 0 {
            now.checked_sub_months(count).unwrap()
        } else {
            now.checked_add_months(count).unwrap()
        }
    };
    let at = |time: DateTime<Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let within = [-24, -1, 0, 2].map(month);
    let far = [
        "2000-01-01T00:00:00Z".to_owned(),
        at(month(-25)),
        at(month(3)),
        "2099-12-31T23:59:59.999999Z".to_owned(),
    ];
    let times: Vec<String> = within.into_iter().map(at).chain(far).collect();
    let facts: Vec<Value> = times
        .iter()
        .enumerate()
        .map(|(number, time)| fact(number as u128, time, json!({})))
        .collect();
    tables
        .writer(0)
        .write(&batch(0, [envelope(&facts)]))
        .await
        .unwrap();
    assert_eq!(
        (
            tables.count("fact_events").await,
            tables.count("fact_events_default").await
        ),
        (8, 4)
    );
    for time in within {
        assert_eq!(
            tables
                .count(&format!("fact_events_y{}", time.format("%Ym%m")))
                .await,
            1
        );
    }
    let partitions = "SELECT 1 FROM pg_inherits WHERE inhparent = 'fact_events'::regclass";
    let made = tables.rows(partitions).await.len();
    assert_eq!(
        made, 6,
        "the default one, four months with facts, and the next month ahead"
    );

    // A month later, the month that was too far ahead gets its partition, and its facts move there.
    let mut client = tables.database.connect().await.unwrap();
    let facts_there = [month(3).timestamp_micros()];
    Months::default()
        .make(&mut client, facts_there.into_iter(), month(1))
        .await
        .unwrap();
    assert_eq!(
        (
            tables.count("fact_events").await,
            tables.count("fact_events_default").await
        ),
        (8, 3)
    );
    assert_eq!(
        tables
            .count(&format!("fact_events_y{}", month(3).format("%Ym%m")))
            .await,
        1
    );
}

#[tokio::test]
async fn a_new_month_waits_for_readers_without_locking_others_out() {
    let tables = Tables::new().await;
    let mut report = tables.database.connect().await.unwrap();
    let long_query = report.transaction().await.unwrap();
    long_query
        .query("SELECT count(*) FROM fact_events", &[])
        .await
        .unwrap();
    let (stop, _trigger) = Stop::manual();
    let mut writer = tables.writer(0);
    let writing = tokio::spawn(async move {
        deliver(&mut writer, batch(0, shopping(0, 10)), &stop)
            .await
            .unwrap()
    });
    // Until the long query ends, the others are answered all the time.
    for _ in 0..30 {
        assert_eq!(tables.count("fact_events").await, 0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    long_query.commit().await.unwrap();
    assert_eq!(writing.await.unwrap().inserted, 10);
    assert_eq!(
        tables.count("fact_events_default").await,
        0,
        "the facts are in their month"
    );
}
