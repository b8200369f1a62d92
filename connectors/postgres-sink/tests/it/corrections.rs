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
    let again = batch(60_000, shopping(0, 1_000), OnConflict::Update);
    let mut writer = tables.writer(0);
    assert_eq!(writer.write(&again).await.unwrap(), written(0, 0, 1_000));
    let scans = "SELECT sum(seq_tup_read) AS read FROM pg_stat_user_tables WHERE relname LIKE 'fact_events%'";
    tables
        .client
        .batch_execute("SELECT pg_stat_force_next_flush()")
        .await
        .unwrap();
    let read = tables.rows(scans).await[0]["read"].as_u64().unwrap();
    assert!(read < 60_000, "{read} rows were read one after the other");
}
