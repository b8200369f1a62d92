//! Each fact is stored once, however often it arrives.

use bytes::Bytes;
use serde_json::json;
use warehouse::{Database, Writer};

use crate::support::{Tables, batch, inserted, settings, shopping, stored};

#[tokio::test]
async fn where_a_partition_begins_is_stored_once() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(6);
    assert_eq!(writer.committed_offset().await.unwrap(), None);
    assert_eq!(writer.begin(1_000).await.unwrap(), 1_000);
    // A second start finds a later end of the topic; the records in between are wanted all the
    // same.
    assert_eq!(writer.begin(1_234).await.unwrap(), 1_000);
    let written = writer.write(&batch(1_000, shopping(0, 3))).await.unwrap();
    assert_eq!(written.inserted, 3);
    assert_eq!(writer.committed_offset().await.unwrap(), Some(1_003));
}

#[tokio::test]
async fn a_commit_is_on_disk_whatever_the_default_of_the_database_is() {
    let tables = Tables::new().await;
    let note = "CREATE TABLE noted (setting text); \
                CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO \
                noted VALUES (current_setting(''synchronous_commit'')); RETURN NULL; END'; \
                CREATE TRIGGER note AFTER UPDATE ON sink_offsets FOR EACH STATEMENT EXECUTE \
                FUNCTION note()";
    tables.client.batch_execute(note).await.unwrap();
    for (default, expected) in [
        ("off", "on"),
        ("local", "on"),
        ("on", "on"),
        ("remote_apply", "remote_apply"),
    ] {
        let set = format!("TRUNCATE noted; ALTER DATABASE etl SET synchronous_commit = {default}");
        tables.client.batch_execute(&set).await.unwrap();
        let source = tables.writer(0).source().clone();
        // The sessions of a new pool have the new default.
        let database = Database::new(&settings(tables.server.url())).unwrap();
        let mut writer = Writer::new(database, source);
        let from = stored(&writer).await;
        let next = batch(from, shopping(0, 3));
        writer.write(&next).await.unwrap();
        let noted = tables.rows("SELECT setting FROM noted").await;
        assert_eq!(noted, [json!({"setting": expected})], "{default}");
    }
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
    // Every tenth, then all in thirds: stored facts among new ones, only stored ones, none.
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
    let facts = "SELECT event_time, fact_hash, event_name, product_name, list_name FROM \
                 product_interactions ORDER BY fact_hash";
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
