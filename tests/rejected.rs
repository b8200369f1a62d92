//! `etl rejected` and `etl partitions`, as an operator uses them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use end_to_end::{cli, found};
use private_postgres::PrivatePostgres;

#[tokio::test]
async fn rejected_events_are_looked_at_sent_again_and_given_up() {
    let server = PrivatePostgres::start().await.unwrap();
    let url = server.url();
    let says = async |args: &[&str], code: i32, parts: &[&str]| {
        let mut command = cli::command().unwrap();
        command.args(args).env("DATABASE_URL", &url);
        cli::ensure_says(&mut command, code, parts).await.unwrap();
    };
    says(&["migrate"], 0, &["V2__roles_and_partitions"]).await;
    says(&["rejected", "list"], 0, &["nothing is rejected"]).await;

    let client = found::connect(&url).await.unwrap();
    let bodies = [
        r#"{"event_id":"1","event_name":"view_item","timestamp":"2026-11-24T10:00:00Z","items":[{"item_id":"A"}]}"#,
        r#"{"event_id":"2","event_name":"view_item","items":[{"item_id":"B"},{"item_id":"C"}]}"#,
        "no event",
    ];
    for (offset, body) in (0_i64..).zip(bodies) {
        let insert = "INSERT INTO rejected_events (reason, detail, at_path, raw, raw_hash, source_topic, source_partition, source_offset, source_key, ordinal) \
                      VALUES ('not-json', 'said an older one', '$', $1, gen_random_uuid(), 'shop-events', 0, $2, 'k', 0)";
        client.execute(insert, &[&body, &offset]).await.unwrap();
    }
    says(
        &["rejected", "list"],
        0,
        &["not-json", "said an older one", "no event"],
    )
    .await;
    says(&["rejected", "show", "2"], 0, &[bodies[1], "offset 1"]).await;
    says(
        &["rejected", "show", "77"],
        1,
        &["there is no rejected event 77"],
    )
    .await;
    says(&["rejected", "retry"], 1, &["--all"]).await;
    let dry = ["rejected", "retry", "--all", "--dry-run"];
    says(
        &dry,
        1,
        &[
            "1 rejected events would",
            "1 still rejected: missing-time",
            "1 still rejected: not-json",
        ],
    )
    .await;
    says(
        &["rejected", "retry", "--all"],
        1,
        &["1 rejected events became facts: 1 inserted"],
    )
    .await;
    let with = [
        "rejected",
        "retry",
        "--id",
        "2",
        "--with",
        "missing-time=record",
    ];
    says(&with, 0, &["2 inserted, 0 there already"]).await;
    says(&["rejected", "purge"], 1, &["--all"]).await;
    says(
        &["rejected", "purge", "--older-than", "1 hour"],
        0,
        &["0 purged"],
    )
    .await;
    says(
        &["rejected", "purge", "--reason", "not-json"],
        0,
        &["1 purged"],
    )
    .await;
    let facts = client.query("SELECT FROM fact_events", &[]).await.unwrap();
    assert_eq!(facts.len(), 3);

    says(
        &["partitions", "list"],
        0,
        &["fact_events_default", "fact_events_y20"],
    )
    .await;
    says(
        &["partitions", "drop", "--older-than", "3 days"],
        1,
        &["nothing was changed", "a month or more"],
    )
    .await;
    says(
        &["partitions", "drop", "--older-than", "13months"],
        0,
        &["0 partitions dropped"],
    )
    .await;
    says(
        &["partitions", "detach", "--older-than", "2 years"],
        0,
        &["0 partitions detached"],
    )
    .await;
    says(&["partitions", "move-default"], 0, &["0 facts left"]).await;
}
