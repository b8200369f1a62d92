//! `on-conflict: update`: the newer version of an event wins, in whichever order its versions
//! arrive.

use bytes::Bytes;
use fact_model::Options;
use serde_json::{Value, json};
use warehouse::retry::{Retry, Selection};
use warehouse::{Batch, OnConflict, Record, Written};

use crate::support::{NOON, Tables, envelope, fact};

/// The event `e-1`, with one price for items of these ordinals.
fn event(price: &str, ordinals: &[i32]) -> Vec<Value> {
    let item = |ordinal: &i32| {
        let more = json!({"event_id": "e-1", "item_ordinal": ordinal, "price": price});
        fact(0xe0 + u128::from(ordinal.unsigned_abs()), NOON, more)
    };
    ordinals.iter().map(item).collect()
}

fn record(offset: i64, key: &str, value: Bytes) -> Record {
    Record {
        offset,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value,
    }
}

/// A version of the event: the millisecond in which its message was sent, its price and ordinals.
type Version<'a> = (u64, &'a str, &'a [i32]);

fn batch(from: i64, versions: &[Version<'_>]) -> Batch {
    let mut batch = Batch::after(from).on_conflict(OnConflict::Update);
    for (offset, (sent, price, ordinals)) in (from..).zip(versions) {
        let key = format!("m-{sent} sent={sent}");
        batch.push(record(offset, &key, envelope(&event(price, ordinals))));
    }
    batch.finish()
}

const ITEMS: &str = "SELECT item_ordinal AS item, price::text, event_version::text AS version \
                     FROM fact_events WHERE event_id = 'e-1'";

/// When the messages of the event were sent first.
const SENT_AT: &str = "SELECT DISTINCT sent_at FROM fact_events WHERE event_id = 'e-1'";

/// The row of [`SENT_AT`] for a millisecond of 1970.
fn sent_at(millis: u64) -> Vec<Value> {
    vec![json!({"sent_at": format!("1970-01-01T00:00:00.{millis:03}+00:00")})]
}

fn items((sent, price, ordinals): Version<'_>) -> Vec<Value> {
    let item =
        |ordinal: &i32| json!({"item": ordinal, "price": price, "version": sent.to_string()});
    ordinals.iter().map(item).collect()
}

/// An original, two copies of it with other items, and the newest version.
const VERSIONS: [Version<'static>; 4] = [
    (1, "9", &[1, 2, 3]),
    (2, "8", &[0]),
    (3, "9", &[1, 2, 3, 4]),
    (4, "7", &[1, 2]),
];
const NEWEST: Version<'static> = VERSIONS[3];

/// All orders of the numbers below `count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else {
        return vec![Vec::new()];
    };
    let insert = |order: Vec<usize>| {
        (0..count).map(move |at| {
            let mut order = order.clone();
            order.insert(at, last);
            order
        })
    };
    orders(last).into_iter().flat_map(insert).collect()
}

#[tokio::test]
async fn the_newest_version_wins_in_every_order_and_a_replay_changes_nothing() {
    let tables = Tables::new().await;
    for order in orders(VERSIONS.len()) {
        let versions: Vec<_> = order.iter().map(|index| VERSIONS[*index]).collect();
        // In one batch, in two, and each in a batch of its own.
        for size in [4, 2, 1] {
            tables
                .client
                .batch_execute("DELETE FROM fact_events; DELETE FROM sink_offsets")
                .await
                .unwrap();
            let mut writer = tables.writer(0);
            for (number, some) in (0..).zip(versions.chunks(size)) {
                let some = batch(number * size as i64, some);
                writer.write(&some).await.unwrap();
            }
            let found = tables.rows(ITEMS).await;
            assert_eq!(found, items(NEWEST), "{order:?} in batches of {size}");
            let first = tables.rows(SENT_AT).await;
            assert_eq!(first, sent_at(1), "{order:?} in batches of {size}");
            let before = tables.everything().await;
            writer.set_offset_back(4, 0).await.unwrap();
            let replayed = writer.write(&batch(0, &versions)).await.unwrap();
            assert_eq!(
                replayed,
                Written {
                    duplicates: replayed.duplicates,
                    ..Written::default()
                }
            );
            assert_eq!(tables.everything().await, before, "{order:?}, {size}");
        }
    }
    tables
        .client
        .batch_execute("SELECT analytics.refresh(100, '0')")
        .await
        .unwrap();
    assert_eq!(tables.count("analytics.differences()").await, 0);
}

#[tokio::test]
async fn an_old_copy_counts_as_a_duplicate_and_a_newer_one_with_the_same_content_does_not() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    writer.write(&batch(0, &[NEWEST])).await.unwrap();
    let old = writer.write(&batch(1, &[VERSIONS[0]])).await.unwrap();
    let duplicates = 3;
    assert_eq!(
        old,
        Written {
            duplicates,
            ..Written::default()
        }
    );
    let without = "SELECT records, records_without_rows FROM sink_offsets";
    assert_eq!(
        tables.rows(without).await,
        [json!({"records": 2, "records_without_rows": 1})]
    );
    // Sent again later, it is the newest version: one between both must not replace it.
    let (_, price, ordinals) = NEWEST;
    let again = (6, price, ordinals);
    assert_eq!(writer.write(&batch(2, &[again])).await.unwrap().updated, 2);
    writer.write(&batch(3, &[(5, "1", &[1])])).await.unwrap();
    assert_eq!(tables.rows(ITEMS).await, items(again));
}

#[tokio::test]
async fn versions_that_two_partitions_bring_at_once_end_alike_in_both_orders() {
    let tables = Tables::new().await;
    let without_items: Version<'_> = (2, "8", &[0]);
    let with_items: Version<'_> = (1, "9", &[1, 2, 3]);
    let fewer_items: Version<'_> = (2, "7", &[1, 2]);
    // Two of them have no fact in common whose key one sink could wait for.
    for (older, newer) in [(with_items, without_items), (with_items, fewer_items)] {
        for round in 0..20 {
            tables
                .client
                .batch_execute("DELETE FROM fact_events; DELETE FROM sink_offsets")
                .await
                .unwrap();
            let (mut first, mut second) = (tables.writer(0), tables.writer(1));
            let mut batches = [batch(0, &[older]), batch(0, &[newer])];
            if round % 2 == 1 {
                batches.reverse();
            }
            let [one, other] = batches;
            let (one, other) = tokio::join!(first.write(&one), second.write(&other));
            one.unwrap();
            other.unwrap();
            assert_eq!(tables.rows(ITEMS).await, items(newer), "round {round}");
        }
    }
}

#[tokio::test]
async fn a_sequence_number_is_a_version_and_a_fact_without_one_is_the_oldest() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    let mut write = async |offset: i64, key: &str, price: &str| {
        let mut batch = Batch::after(offset).on_conflict(OnConflict::Update);
        batch.push(record(offset, key, envelope(&event(price, &[1]))));
        writer.write(&batch.finish()).await.unwrap();
        tables.rows(ITEMS).await[0].clone()
    };
    let item =
        |price: &str, version: Option<&str>| json!({"item": 1, "price": price, "version": version});
    assert_eq!(
        write(0, "key of another producer", "1").await,
        item("1", None)
    );
    assert_eq!(write(1, "another", "2").await, item("2", None));
    let sequence = "18849496460467696128";
    let newer = format!("g id=m sent=1 sequence={sequence}");
    assert_eq!(write(2, &newer, "3").await, item("3", Some(sequence)));
    let older = "g id=n sent=9 sequence=18849496460467696127";
    assert_eq!(write(3, older, "4").await, item("3", Some(sequence)));
    assert_eq!(write(4, "another", "5").await, item("3", Some(sequence)));
    // Two events in one message, for example: the order of arrival is theirs.
    assert_eq!(write(5, &newer, "6").await, item("6", Some(sequence)));
    let unknown = [json!({"sent_at": null})];
    assert_eq!(tables.rows(SENT_AT).await, unknown, "that of the oldest");
}

#[tokio::test]
async fn without_update_the_first_stays_and_has_its_version() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    for (offset, version) in (0..).zip([VERSIONS[0], NEWEST]) {
        let (sent, price, ordinals) = version;
        let key = format!("m sent={sent}");
        let value = envelope(&event(price, ordinals));
        let batch = Batch::of(offset, [record(offset, &key, value)]).finish();
        writer.write(&batch).await.unwrap();
    }
    assert_eq!(tables.rows(ITEMS).await, items(VERSIONS[0]));
    assert_eq!(tables.rows(SENT_AT).await, sent_at(1));
}

#[tokio::test]
async fn a_time_that_the_tables_refuse_is_a_version_and_no_sent_time() {
    let tables = Tables::new().await;
    let sent = 10_413_792_000_000_u64; // 1 January 2300
    let keys = [format!("m sent={sent}"), format!("m sent={}", u64::MAX)];
    let mut writer = tables.writer(0);
    for (offset, key) in (0..).zip(&keys) {
        let mut batch = Batch::after(offset).on_conflict(OnConflict::Update);
        batch.push(record(offset, key, envelope(&event("9", &[1]))));
        writer.write(&batch.finish()).await.unwrap();
        assert_eq!(tables.rows(SENT_AT).await, [json!({"sent_at": null})]);
    }
    assert_eq!(tables.rows(ITEMS).await, items((u64::MAX, "9", &[1])));
    let mut batch = Batch::after(2);
    let one = envelope(&[fact(1, NOON, json!({"event_id": "e-2"}))]);
    batch.push(record(2, &format!("m sent={}", sent - 1), one));
    writer.write(&batch.finish()).await.unwrap();
    let last = "SELECT sent_at FROM fact_events WHERE event_id = 'e-2'";
    let expected = json!({"sent_at": "2299-12-31T23:59:59.999+00:00"});
    assert_eq!(tables.rows(last).await, [expected]);
}

/// A body of the event `e-1` with so many items at this price.
fn body(price: &str, count: usize) -> Value {
    let items = vec![json!({"item_id": "SKU-1", "price": price}); count];
    json!({"event_id": "e-1", "event_name": "view_item", "timestamp": NOON, "items": items})
}

/// A record whose event an older flattener rejected.
fn rejected(offset: i64, sent: u64, body: &Value) -> Record {
    let rejection = json!({"reason": "not-json", "detail": "", "at": "$", "raw": body.to_string()});
    let value = json!({"rejected": [rejection]}).to_string();
    record(offset, &format!("m-{sent} sent={sent}"), value.into())
}

fn read(offset: i64, sent: u64, body: &Value) -> Record {
    let envelope = fact_model::flatten(body.to_string().as_bytes());
    let value = serde_json::to_vec(&envelope).unwrap();
    record(offset, &format!("m-{sent} sent={sent}"), value.into())
}

#[tokio::test]
async fn a_retry_knows_the_version_of_a_rejected_event() {
    let tables = Tables::new().await;
    let prices = "SELECT item_ordinal AS item, price::text FROM fact_events";
    let priced = |price: &str, count: i32| -> Vec<Value> {
        let item = |item: i32| json!({"item": item, "price": price});
        (1..=count).map(item).collect()
    };
    for (rejected_at, on_conflict, left, first) in [
        // An old copy changes nothing, but where corrections win the event was sent then.
        (1, OnConflict::Update, priced("7", 2), 1),
        (1, OnConflict::Ignore, priced("7", 2), 2),
        // A correction wins where corrections do.
        (3, OnConflict::Update, priced("9", 3), 2),
    ] {
        tables
            .client
            .batch_execute("TRUNCATE fact_events, sink_offsets, rejected_events")
            .await
            .unwrap();
        let mut batch = Batch::after(0).on_conflict(on_conflict);
        batch.push(rejected(0, rejected_at, &body("9", 3)));
        batch.push(read(1, 2, &body("7", 2)));
        tables.writer(0).write(&batch.finish()).await.unwrap();
        let database = tables.database.clone();
        let mut retry = Retry::new(database, Options::default(), on_conflict);
        let retried = retry.run(&Selection::default(), true).await.unwrap();
        assert_eq!(retried.gone, 1);
        assert_eq!(tables.count("rejected_events").await, 0);
        assert_eq!(tables.rows(prices).await, left, "rejected: {rejected_at}");
        assert_eq!(tables.rows(SENT_AT).await, sent_at(first));
    }
}
