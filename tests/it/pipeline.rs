//! From the queue to the tables, without faults.

use end_to_end::pipeline::Pipeline;
use end_to_end::{found, shop};
use local_stack::{Part, StackOptions};

#[tokio::test(flavor = "multi_thread")]
async fn every_row_equals_its_body() {
    let bodies = shop::bodies(1, 5_000);
    let pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    pipeline.send(&bodies).await.unwrap();
    pipeline.finish(&bodies).await.unwrap();
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
async fn unreadable_events_are_kept_with_their_reason() {
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
        "each has a detail"
    );
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_event_arrives_whole() {
    // Close to SQS's limit of 1 MiB: 6,000 items in one event.
    let items: Vec<_> = (0..6_000)
        .map(|index| {
            serde_json::json!({
                "item_id": format!("SKU-{index}"), "price": 1.5, "quantity": 2, "index": index,
                "engraving": "x".repeat(60),
            })
        })
        .collect();
    let body = serde_json::json!({
        "event_id": "large", "event_name": "view_item_list", "items": items,
        "event_timestamp": 1_767_225_600_000_000_u64,
    })
    .to_string();
    assert!((700_000..1 << 20).contains(&body.len()), "{}", body.len());
    let bodies = vec![body];
    let pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    pipeline.send(&bodies).await.unwrap();
    pipeline.finish(&bodies).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_larger_than_a_response_arrive() {
    // Each of the 20 items repeats a note of 150 KB: 3 MB of facts an event. The events of one
    // batch of the producer exceed the 4 MiB that the sink requests from the cluster.
    let note = "n".repeat(150_000);
    let items: Vec<_> = (0..20)
        .map(|index| serde_json::json!({"item_id": format!("SKU-{index}"), "index": index}))
        .collect();
    let event = |number: usize| {
        serde_json::json!({
            "event_id": format!("wide-{number}"), "event_name": "view_item_list",
            "note": note, "items": items,
            "event_timestamp": 1_767_225_600_000_000_u64,
        })
        .to_string()
    };
    let mut bodies: Vec<String> = (0..5).map(event).collect();
    bodies.extend(shop::bodies(3, 200));
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    // Sent while the source is stopped, so that they share its batches.
    pipeline.stack.stop_part(Part::Source).await.unwrap();
    for body in &bodies {
        pipeline.send(std::slice::from_ref(body)).await.unwrap();
    }
    pipeline.stack.start_part(Part::Source).await.unwrap();
    pipeline.arrived().await.unwrap();
    found::ensure_equal(&pipeline.database, &bodies)
        .await
        .unwrap();
    let log = pipeline.stack.launch(Part::Sink).log_tail(1_000);
    assert!(
        log.contains("in responses of up to"),
        "the sink noticed and asked for more:\n{log}"
    );
    pipeline.stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: for a cluster, with `cargo test --release -p end-to-end -- --ignored \
    --test-threads=1`"]
async fn a_backlog_of_a_hundred_thousand_is_read_from_the_start() {
    let bodies = shop::bodies(92, 100_000);
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    pipeline.send(&bodies).await.unwrap();
    pipeline.arrived().await.unwrap();
    pipeline.stack.stop_part(Part::Sink).await.unwrap();
    pipeline
        .database
        .batch_execute("TRUNCATE fact_events, dim_product, dim_list, rejected_events, sink_offsets")
        .await
        .unwrap();
    pipeline.stack.start_part(Part::Sink).await.unwrap();
    pipeline.finish(&bodies).await.unwrap();
}
