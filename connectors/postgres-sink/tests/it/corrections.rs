//! `on-conflict: update`: a fact that arrives again with other content.

use bytes::Bytes;
use serde_json::{Value, json};
use warehouse::Batch;
use warehouse::OnConflict;
use warehouse::Written;

use crate::support::{NOON, Tables, envelope, fact, records, shopping};

fn written(inserted: u64, updated: u64, duplicates: u64) -> Written {
    Written {
        inserted,
        updated,
        duplicates,
        ..Written::default()
    }
}

fn batch(from: i64, values: impl IntoIterator<Item = Bytes>, on_conflict: OnConflict) -> Batch {
    let mut batch = Batch::after(from).on_conflict(on_conflict);
    records(from, values).for_each(|record| batch.push(record));
    batch.finish()
}

fn purchase(price: &str) -> Value {
    let more = json!({"event_id": "e-1", "price": price, "product_id": "SKU-1",
        "extra": {"event": {"k": [1]}}});
    fact(0xc0, NOON, more)
}

const SHOWN: &str = "SELECT price::text, source_offset, source_partition, ingested_at = (SELECT \
                     max(ingested_at) FROM fact_events) AS last \
                     FROM fact_events WHERE fact_hash = '00000000-0000-0000-0000-0000000000c0'";

async fn a_correction_among(others: u128) {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    let of = |from, facts: &[Value]| {
        let events = [envelope(facts)]
            .into_iter()
            .chain(shopping(1 << 64, others));
        batch(from, events, OnConflict::Update)
    };
    let all = others as u64;
    let each = others as i64 + 1;
    let first = of(0, &[purchase("9.90")]);
    assert_eq!(writer.write(&first).await.unwrap(), written(all + 1, 0, 0));
    let before = tables.everything().await;

    // The same number in another notation is the same content.
    let same = of(each, &[purchase("9.9")]);
    assert_eq!(writer.write(&same).await.unwrap(), written(0, 0, all + 1));
    let facts = |all: &[Value]| -> Vec<Value> {
        let facts = all.iter().filter(|row| row["fact_hash"].is_string());
        facts.cloned().collect()
    };
    assert_eq!(facts(&tables.everything().await), facts(&before));

    // Of two corrections in one batch the last one counts.
    let corrected = of(
        2 * each,
        &[purchase("8"), purchase("7.5"), fact(1, NOON, json!({}))],
    );
    assert_eq!(
        writer.write(&corrected).await.unwrap(),
        written(1, 1, all + 1)
    );
    let row =
        json!({"price": "7.5", "source_offset": 2 * each, "source_partition": 0, "last": true});
    assert_eq!(tables.rows(SHOWN).await, [row]);
    assert_eq!(tables.count("fact_events").await, others as i64 + 2);
}

#[tokio::test]
async fn a_correction_replaces_what_differs_and_nothing_else() {
    a_correction_among(0).await;
    a_correction_among(1_000).await;
}

#[tokio::test]
async fn facts_with_the_identity_of_a_stored_one_and_other_content_are_counted() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    let with = |hash: u128, more: Value| {
        let mut all = json!({"event_id": format!("e-{hash}"), "price": "9.9", "product_id": "SKU-1",
            "list_id": "home", "transaction_id": "T-1", "extra": {"event": {"sent": 1}}});
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        fact(hash, NOON, all)
    };
    let without_id = || with(9, json!({"event_id": null}));
    let stored = [with(1, json!({})), with(2, json!({})), without_id()];
    let first = batch(0, [envelope(&stored)], OnConflict::Ignore);
    assert_eq!(writer.write(&first).await.unwrap(), written(3, 0, 0));

    let mut offset = 1;
    for (again, conflicts) in [
        // The same again, and with what the identity ignores.
        (with(1, json!({})), 0),
        (
            with(1, json!({"price": "9.90", "extra": {"event": {"sent": 2}}})),
            0,
        ),
        (with(1, json!({"event_id": "e-7"})), 0),
        (with(1, json!({"price": "0"})), 1),
        (with(1, json!({"transaction_id": null})), 1),
        (with(1, json!({"product_id": "SKU-2"})), 1),
        (with(1, json!({"list_id": "search"})), 1),
        // The content decided on its hash.
        (with(9, json!({"event_id": null, "price": "0"})), 0),
    ] {
        let shown = again.to_string();
        let twice = [envelope(&[again]), envelope(&shopping_event(offset))];
        let batch = batch(offset, twice, OnConflict::Ignore);
        offset = batch.next_offset();
        let found = writer.write(&batch).await.unwrap();
        assert_eq!(
            (found.duplicates, found.conflicts),
            (1, conflicts),
            "{shown}"
        );
    }

    // Of two in one batch the first stays.
    let new = [
        with(3, json!({})),
        with(3, json!({"price": "1"})),
        with(3, json!({"extra": null})),
        with(4, json!({"event_id": null})),
        with(4, json!({"event_id": null, "price": "1"})),
    ];
    let both = batch(offset, [envelope(&new)], OnConflict::Ignore);
    let found = writer.write(&both).await.unwrap();
    assert_eq!(
        (found.inserted, found.duplicates, found.conflicts),
        (2, 3, 1)
    );

    // A replay brings the same records.
    let set_back = "UPDATE sink_offsets SET next_offset = 0";
    tables.client.batch_execute(set_back).await.unwrap();
    assert_eq!(writer.write(&first).await.unwrap(), written(0, 0, 3));
}

/// A new fact, so that a batch has both.
fn shopping_event(offset: i64) -> [Value; 1] {
    let hash = (1 << 64) + u128::from(offset.unsigned_abs());
    [fact(hash, NOON, json!({}))]
}

#[tokio::test]
async fn without_it_the_first_stays() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    let both = [envelope(&[purchase("9.90")]), envelope(&[purchase("1")])];
    let first = batch(0, both, OnConflict::Ignore);
    let conflicting = |inserted| Written {
        conflicts: 1,
        ..written(inserted, 0, 1)
    };
    assert_eq!(writer.write(&first).await.unwrap(), conflicting(1));
    let again = batch(2, [envelope(&[purchase("2")])], OnConflict::Ignore);
    assert_eq!(writer.write(&again).await.unwrap(), conflicting(0));
    assert_eq!(tables.rows(SHOWN).await[0]["price"], "9.9");
}

/// The event `e-1` with items of these ordinals.
fn event(ordinals: &[i32]) -> Vec<Value> {
    let item = |ordinal: &i32| {
        let more = json!({"event_id": "e-1", "item_ordinal": ordinal, "product_id": "SKU-1",
            "list_id": "home"});
        fact(0xe0 + u128::from(ordinal.unsigned_abs()), NOON, more)
    };
    ordinals.iter().map(item).collect()
}

const ITEMS: &str = "SELECT item_ordinal FROM fact_events WHERE event_id = 'e-1' ORDER BY 1";

#[tokio::test]
async fn a_corrected_event_loses_the_items_that_it_no_longer_has() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    // At the same time, and with more items.
    let other = fact(1, NOON, json!({"event_id": "e-2", "item_ordinal": 9}));
    let unknown = fact(2, NOON, json!({"item_ordinal": 9}));
    let half_read = json!({"facts": event(&[1]), "rejected": [{"reason": "item", "detail": "",
        "at": "$", "raw": "?"}]});
    let half_read = || Bytes::from(half_read.to_string());
    let versions = [
        (
            vec![envelope(&event(&[1, 2, 3])), envelope(&[other, unknown])],
            0,
            vec![1, 2, 3],
        ),
        (vec![envelope(&event(&[1, 2]))], 1, vec![1, 2]),
        // The unreadable item is unknown.
        (vec![half_read()], 0, vec![1, 2]),
        (vec![envelope(&event(&[0]))], 2, vec![0]),
        (vec![envelope(&event(&[1, 2, 3, 4]))], 1, vec![1, 2, 3, 4]),
        // Of several in one batch the last one that is readable entirely counts.
        (
            vec![
                envelope(&event(&[1])),
                envelope(&event(&[1, 2, 3, 4, 5])),
                envelope(&event(&[1, 2])),
            ],
            3,
            vec![1, 2],
        ),
        (vec![envelope(&event(&[1])), half_read()], 0, vec![1, 2]),
    ];
    let mut next = 0;
    for (step, (records, removed, left)) in versions.into_iter().enumerate() {
        let count = records.len() as i64;
        let written = writer
            .write(&batch(next, records, OnConflict::Update))
            .await
            .unwrap();
        next += count;
        assert_eq!(written.removed, removed, "step {step}");
        let items: Vec<Value> = left
            .iter()
            .map(|ordinal| json!({"item_ordinal": ordinal}))
            .collect();
        assert_eq!(tables.rows(ITEMS).await, items, "step {step}");
        // Changed facts open their hours again.
        tables
            .client
            .batch_execute("SELECT analytics.refresh(100, '0')")
            .await
            .unwrap();
        assert_eq!(
            tables.count("analytics.differences()").await,
            0,
            "step {step}"
        );
    }
    assert_eq!(tables.count("fact_events").await, 4);
    let without = tables
        .rows("SELECT records, records_without_rows FROM sink_offsets")
        .await;
    assert_eq!(without, [json!({"records": 11, "records_without_rows": 2})]);
}

#[tokio::test]
async fn a_correction_finds_its_fact_without_reading_the_table() {
    let tables = Tables::new().await;
    let events = shopping(0, 60_000);
    tables
        .writer(0)
        .write(&batch(0, events, OnConflict::Ignore))
        .await
        .unwrap();
    tables
        .client
        .batch_execute("ANALYZE fact_events; SELECT pg_stat_reset()")
        .await
        .unwrap();
    let with_id = |(number, bytes): (usize, Bytes)| {
        let mut event: Value = serde_json::from_slice(&bytes).unwrap();
        event["facts"][0]["event_id"] = json!(number.to_string());
        envelope(event["facts"].as_array().unwrap())
    };
    let again = shopping(0, 1_000).into_iter().enumerate().map(with_id);
    let again = batch(60_000, again, OnConflict::Update);
    let mut writer = tables.writer(0);
    assert_eq!(writer.write(&again).await.unwrap(), written(0, 1_000, 0));
    let scans = "SELECT sum(seq_tup_read) AS read FROM pg_stat_user_tables WHERE relname LIKE \
                 'fact_events%'";
    tables
        .client
        .batch_execute("SELECT pg_stat_force_next_flush()")
        .await
        .unwrap();
    let read = tables.rows(scans).await[0]["read"].as_u64().unwrap();
    assert!(read < 60_000, "{read} rows were read one after the other");
}
