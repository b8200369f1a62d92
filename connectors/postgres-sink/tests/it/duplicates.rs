//! `analytics.duplicates`: the numbers of records that were read, and of those without new rows.

use bytes::Bytes;
use serde_json::json;
use warehouse::Batch;
use warehouse::OnConflict;
use warehouse::Writer;

use crate::support::{NOON, Tables, batch, envelope, fact, records};

/// An event of two items, with these prices in a purchase.
fn event(number: u128, prices: [&str; 2]) -> Bytes {
    let items = (0..).zip(prices);
    let facts: Vec<_> = items
        .map(|(item, price)| fact(number * 16 + item, NOON, json!({"price": price})))
        .collect();
    envelope(&facts)
}

async fn counted(tables: &Tables) -> [i64; 3] {
    let query = "SELECT records, records_with_rows, records_without_rows FROM analytics.duplicates \
                 WHERE topic = 'shop-events'";
    let row = tables.client.query_one(query, &[]).await.unwrap();
    [row.get(0), row.get(1), row.get(2)]
}

async fn write(writer: &mut Writer, from: i64, values: impl IntoIterator<Item = Bytes>) {
    writer.write(&batch(from, values)).await.unwrap();
}

#[tokio::test]
async fn a_record_counts_as_long_as_one_of_its_rows_is_new() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    let same = ["1", "2"];
    let not_an_envelope = || Bytes::from_static(b"not an envelope");

    let all = [event(1, same), event(2, same), not_an_envelope()];
    write(&mut writer, 0, all).await;
    assert_eq!(counted(&tables).await, [3, 3, 0]);

    // One event again, one in part, one twice in the batch, and one without rows.
    let half = envelope(&[fact(2 * 16, NOON, json!({})), fact(999, NOON, json!({}))]);
    let all = [
        event(1, same),
        half,
        event(3, same),
        event(3, same),
        envelope(&[]),
    ];
    write(&mut writer, 3, all).await;
    assert_eq!(counted(&tables).await, [8, 5, 3]);

    // A batch whose commit was not answered is written again, and not counted again.
    write(&mut writer, 7, [envelope(&[])]).await;
    assert_eq!(counted(&tables).await, [8, 5, 3]);

    write(&mut tables.writer(1), 0, [event(4, same), event(1, same)]).await;
    let query = "SELECT partition, records, records_without_rows FROM analytics.duplicates";
    assert_eq!(
        tables.rows(query).await,
        [
            json!({"partition": 1, "records": 2, "records_without_rows": 1}),
            json!({"partition": 0, "records": 8, "records_without_rows": 3}),
        ]
    );
}

#[tokio::test]
async fn a_record_that_corrects_another_brings_something() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    write(&mut writer, 0, [event(1, ["1", "2"]), event(2, ["1", "2"])]).await;
    let mut corrections = Batch::after(2).on_conflict(OnConflict::Update);
    let events = [event(1, ["1", "9"]), event(2, ["1", "2"])];
    records(2, events).for_each(|record| corrections.push(record));
    writer.write(&corrections.finish()).await.unwrap();
    assert_eq!(counted(&tables).await, [4, 3, 1]);
}
