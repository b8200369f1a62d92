//! What an operator does with a pipeline that holds data: compare topic and tables, and read again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::process::Stdio;

use chrono::{Duration, Utc};
use end_to_end::pipeline::Pipeline;
use end_to_end::{found, shop};
use local_stack::artefacts::Artefacts;
use local_stack::{Part, StackOptions};
use tokio::process::Command;

async fn etl(pipeline: &Pipeline, args: &[&str]) -> (Option<i32>, String) {
    let stack = &pipeline.stack;
    let output = Command::new(Artefacts::find().unwrap().program("etl"))
        .args(args)
        .args(["--topic", stack.topic()])
        .env("DATABASE_URL", stack.database_url())
        .env("FLV_PROFILE_PATH", stack.profile())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    (output.status.code(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_from_the_tables_is_found_and_read_again() {
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    let mut bodies = shop::bodies(61, 600);
    bodies.push("no event at all".to_owned());
    pipeline.send(&bodies).await.unwrap();
    pipeline.arrived().await.unwrap();
    let (code, said) = etl(&pipeline, &["verify"]).await;
    assert_eq!(code, Some(0), "{said}");
    let before = found::rows(&pipeline.database).await.unwrap();

    let running = etl(&pipeline, &["replay", "--partition", "0", "--from", "0"]).await;
    assert_eq!(running.0, Some(1), "{}", running.1);
    assert!(
        running.1.contains("is writing partition 0"),
        "{}",
        running.1
    );

    pipeline.stack.stop_part(Part::Sink).await.unwrap();
    let lost = "DELETE FROM fact_events WHERE source_offset BETWEEN 100 AND 149; DELETE FROM rejected_events WHERE source_offset >= 100";
    pipeline.database.batch_execute(lost).await.unwrap();
    let (code, said) = etl(&pipeline, &["verify"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no fact with the hash"), "{said}");
    let (code, said) = etl(&pipeline, &["verify", "--to", "100"]).await;
    assert_eq!(code, Some(0), "what was not lost is not reported: {said}");

    let end = pipeline.topic_end().await.unwrap();
    let beyond = (end + 1).to_string();
    let (code, said) = etl(
        &pipeline,
        &["replay", "--partition", "0", "--from", &beyond],
    )
    .await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("would leave records out"), "{said}");

    let hour_ago = (Utc::now() - Duration::hours(1)).to_rfc3339();
    let (code, said) = etl(
        &pipeline,
        &["replay", "--partition", "0", "--from", &hour_ago],
    )
    .await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains(&format!("from offset {end} back to 0")),
        "{said}"
    );
    assert_eq!(pipeline.committed().await.unwrap(), 0);

    pipeline.start_part(Part::Sink).await.unwrap();
    pipeline.arrived().await.unwrap();
    assert_eq!(found::rows(&pipeline.database).await.unwrap(), before);
    let (code, said) = etl(&pipeline, &["verify"]).await;
    assert_eq!(code, Some(0), "{said}");
}
