//! From the queue to the tables, with nothing in the way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

use end_to_end::pipeline::Pipeline;
use end_to_end::{found, shop};
use local_stack::StackOptions;

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_what_the_bodies_say() {
    let bodies = shop::bodies(1, 5_000);
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    pipeline.send(&bodies).await.unwrap();
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_partitions_hold_the_same_rows() {
    let bodies = shop::bodies(2, 3_000);
    let options = StackOptions {
        partitions: Some(3),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    pipeline.send(&bodies).await.unwrap();
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    let query = "SELECT count(*) FROM sink_offsets WHERE next_offset > 0";
    let partitions: i64 = pipeline
        .database
        .query_one(query, &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(partitions, 3, "every partition was written to and read");
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_kept_with_the_reason() {
    let bodies: Vec<String> = shop::UNREADABLE
        .iter()
        .map(|(body, _)| (*body).to_owned())
        .collect();
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    pipeline.send(&bodies).await.unwrap();
    pipeline.arrived().await.unwrap();
    let rows = pipeline
        .database
        .query("SELECT raw, reason, detail FROM rejected_events", &[])
        .await
        .unwrap();
    let mut found: Vec<(String, String)> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut expected: Vec<(String, String)> = shop::UNREADABLE
        .iter()
        .map(|(body, reason)| ((*body).to_owned(), (*reason).to_owned()))
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert!(
        rows.iter().all(|row| !row.get::<_, String>(2).is_empty()),
        "each has a sentence for a person"
    );
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_event_arrives_whole() {
    // Close to SQS's limit of 1 MiB: 6,000 items in one event.
    let items: Vec<_> = (0..6_000)
        .map(|index| serde_json::json!({"item_id": format!("SKU-{index}"), "price": 1.5, "quantity": 2, "index": index, "engraving": "x".repeat(60)}))
        .collect();
    let body = serde_json::json!({
        "event_id": "large", "event_name": "view_item_list", "event_timestamp": 1_767_225_600_000_000_u64, "items": items,
    })
    .to_string();
    assert!((700_000..1 << 20).contains(&body.len()), "{}", body.len());
    let bodies = vec![body];
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    pipeline.send(&bodies).await.unwrap();
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    pipeline.stack.stop().await.unwrap();
}
