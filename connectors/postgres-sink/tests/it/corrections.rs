//! `on-conflict: update`: a fact that comes again with other content.

use bytes::Bytes;
use postgres_sink::OnConflict;
use postgres_sink::batch::Batch;
use postgres_sink::writer::Written;
use serde_json::{Value, json};

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
    let more = json!({"event_id": "e-1", "price": price, "product_id": "SKU-1", "extra": {"event": {"k": [1]}}});
    fact(0xc0, NOON, more)
}

const SHOWN: &str = "SELECT price::text, source_offset, source_partition, ingested_at = (SELECT max(ingested_at) FROM fact_events) AS last \
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

    // The same number, written otherwise, is no other content.
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
async fn without_it_the_first_stays() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    let both = [envelope(&[purchase("9.90")]), envelope(&[purchase("1")])];
    let first = batch(0, both, OnConflict::Ignore);
    assert_eq!(writer.write(&first).await.unwrap(), written(1, 0, 1));
    let again = batch(2, [envelope(&[purchase("2")])], OnConflict::Ignore);
    assert_eq!(writer.write(&again).await.unwrap(), written(0, 0, 1));
    assert_eq!(tables.rows(SHOWN).await[0]["price"], "9.9");
}

/// The event `e-1` with its items at these places.
fn event(ordinals: &[i32]) -> Vec<Value> {
    let item = |ordinal: &i32| {
        let more = json!({"event_id": "e-1", "item_ordinal": ordinal, "product_id": "SKU-1", "list_id": "home"});
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
    let half_read = json!({"facts": event(&[1]), "rejected": [{"reason": "item", "detail": "", "at": "$", "raw": "?"}]});
    let half_read = || Bytes::from(half_read.to_string());
    let versions = [
        (
            vec![envelope(&event(&[1, 2, 3])), envelope(&[other, unknown])],
            0,
            vec![1, 2, 3],
        ),
        (vec![envelope(&event(&[1, 2]))], 1, vec![1, 2]),
        // Nobody knows what the item was that can't be read.
        (vec![half_read()], 0, vec![1, 2]),
        (vec![envelope(&event(&[0]))], 2, vec![0]),
        (vec![envelope(&event(&[1, 2, 3, 4]))], 1, vec![1, 2, 3, 4]),
        // Of several in one batch the last one that can be read whole counts.
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
    for (step, (records, vanished, left)) in versions.into_iter().enumerate() {
        let count = records.len() as i64;
        let written = writer
            .write(&batch(next, records, OnConflict::Update))
            .await
            .unwrap();
        next += count;
        assert_eq!(written.vanished, vanished, "step {step}");
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
    let scans = "SELECT sum(seq_tup_read) AS read FROM pg_stat_user_tables WHERE relname LIKE 'fact_events%'";
    tables
        .client
        .batch_execute("SELECT pg_stat_force_next_flush()")
        .await
        .unwrap();
    let read = tables.rows(scans).await[0]["read"].as_u64().unwrap();
    assert!(read < 60_000, "{read} rows were read one after the other");
}
