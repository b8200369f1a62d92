//! `etl rejected` and `etl partitions`.

use connector_common::escape::escaped;
use end_to_end::{cli, found};
use private_postgres::PrivatePostgres;

#[tokio::test]
async fn rejected_events_are_listed_shown_retried_and_purged() {
    let server = PrivatePostgres::start().await.unwrap();
    let url = server.url();
    let run = async |args: &[&str], code: i32, parts: &[&str]| {
        let mut command = cli::command().unwrap();
        command.args(args).env("DATABASE_URL", &url);
        cli::ensure_output(&mut command, code, parts).await.unwrap();
    };
    run(&["migrate"], 0, &["V2__roles_and_partitions"]).await;
    run(&["rejected", "list"], 0, &["there are no rejected events"]).await;

    let client = found::connect(&url).await.unwrap();
    let bodies = [
        r#"{"event_id":"1","event_name":"view_item","timestamp":"2026-11-24T10:00:00Z","items":[{"item_id":"A"}]}"#,
        r#"{"event_id":"2","event_name":"view_item","items":[{"item_id":"B"},{"item_id":"C"}]}"#,
        "no event",
    ];
    for (offset, body) in (0_i64..).zip(bodies) {
        let insert = "INSERT INTO rejected_events (reason, detail, at_path, raw, raw_hash, \
            source_topic, source_partition, source_offset, source_key, ordinal) \
                      VALUES ('not-json', 'an older detail', '$', $1, gen_random_uuid(), \
                      'shop-events', 0, $2, 'k', 0)";
        client.execute(insert, &[&body, &offset]).await.unwrap();
    }
    run(
        &["rejected", "list"],
        0,
        &["not-json", "an older detail", "no event"],
    )
    .await;
    run(
        &["rejected", "list", "--reason", "nonsense"],
        0,
        &["no rejected event has the reason `nonsense`; the reasons are not-json"],
    )
    .await;
    run(
        &["rejected", "list", "--topic", "other"],
        0,
        &["no rejected event meets all conditions; there are 3"],
    )
    .await;
    run(&["rejected", "show", "2"], 0, &[bodies[1], "offset 1"]).await;
    run(
        &["rejected", "show", "77"],
        1,
        &["the rejected event 77 does not exist"],
    )
    .await;
    run(&["rejected", "retry"], 1, &["--all"]).await;
    let dry = ["rejected", "retry", "--all", "--dry-run"];
    run(
        &dry,
        1,
        &[
            "1 rejected event would",
            "1 still rejected: missing-time",
            "1 still rejected: not-json",
            "`etl rejected show ID` shows the cause",
        ],
    )
    .await;
    run(
        &["rejected", "retry", "--all"],
        1,
        &["1 rejected event became facts: 1 inserted"],
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
    run(&with, 0, &["2 inserted, 0 there already"]).await;
    let roles = "CREATE ROLE analyst LOGIN PASSWORD 'word' IN ROLE etl_reader; \
                 CREATE ROLE support LOGIN PASSWORD 'word' IN ROLE etl_operator";
    client.batch_execute(roles).await.unwrap();
    let (_, address) = url.split_once('@').unwrap();
    let list = ["rejected", "list"];
    for (user, arguments, code, shown) in [
        ("analyst", &list[..], 1, "GRANT etl_operator TO"),
        ("support", &list, 0, "no event"),
        ("analyst", &["export", "--user", "u1"], 1, "etl_operator"),
        ("support", &["aggregates", "check"], 1, "etl_reader"),
        ("analyst", &["aggregates", "rebuild"], 1, "only the owner"),
        ("analyst", &["migrate"], 1, "only the owner"),
    ] {
        let mut command = cli::command().unwrap();
        command
            .args(arguments)
            .env("DATABASE_URL", format!("postgres://{user}:word@{address}"));
        cli::ensure_output(&mut command, code, &[shown])
            .await
            .unwrap();
    }
    run(&["rejected", "purge"], 1, &["--all"]).await;
    run(
        &["rejected", "purge", "--older-than", "1 hour"],
        0,
        &["0 purged"],
    )
    .await;
    let dry = ["rejected", "purge", "--all", "--dry-run"];
    for _ in 0..2 {
        run(
            &dry,
            0,
            &[
                "would purge 1 rejected event of the reason not-json",
                "1 would be purged; nothing was changed",
            ],
        )
        .await;
    }
    run(
        &["rejected", "purge", "--reason", "not-json"],
        0,
        &["1 purged"],
    )
    .await;
    let facts = client.query("SELECT FROM fact_events", &[]).await.unwrap();
    assert_eq!(facts.len(), 3);

    run(
        &["partitions", "list"],
        0,
        &["fact_events_default", "fact_events_y20"],
    )
    .await;
    run(
        &["partitions", "drop", "--older-than", "3 days"],
        1,
        &["nothing was changed", "a month or more"],
    )
    .await;
    run(
        &["partitions", "drop", "--older-than", "13months"],
        0,
        &["0 partitions dropped"],
    )
    .await;
    let old = "SELECT etl_add_partition('2020-03-01'); \
               INSERT INTO fact_events SELECT (jsonb_populate_record(f, jsonb_build_object( \
                   'event_time', '2020-03-05T10:00:00Z'))).* FROM fact_events f LIMIT 1";
    client.batch_execute(old).await.unwrap();
    let listed = ["partitions", "list"];
    run(&listed, 0, &["fact_events_y2020m03"]).await;
    for (verb, done) in [("drop", "dropped"), ("detach", "detached")] {
        let dry = ["partitions", verb, "--older-than", "2 years", "--dry-run"];
        let would = format!("would {verb} fact_events_y2020m03: 1 fact, ");
        let all = format!("1 partition would be {done}; nothing was changed");
        run(&dry, 0, &[&would, &all]).await;
        run(&listed, 0, &["fact_events_y2020m03"]).await;
    }
    run(
        &["partitions", "drop", "--older-than", "2 years"],
        0,
        &["1 partition dropped"],
    )
    .await;
    run(
        &["partitions", "detach", "--older-than", "2 years"],
        0,
        &["0 partitions detached"],
    )
    .await;
    run(&["partitions", "move-default"], 0, &["0 facts left"]).await;
}

#[tokio::test]
async fn no_command_sends_the_terminal_what_a_payload_holds() {
    const HOSTILE: &str = "\u{1b}[2J\u{9b}31m\u{202e}\u{200b}\r";
    let server = PrivatePostgres::start().await.unwrap();
    let url = server.url();
    let run = async |args: &[&str]| {
        let mut command = cli::command().unwrap();
        let (_, output) = cli::output(command.args(args).env("DATABASE_URL", &url))
            .await
            .unwrap();
        assert_eq!(escaped(&output), output, "{args:?}");
        output
    };
    run(&["migrate"]).await;
    let client = found::connect(&url).await.unwrap();
    let insert = "INSERT INTO rejected_events (reason, detail, at_path, raw, raw_hash, \
        source_topic, source_partition, source_offset, source_key, ordinal) \
        VALUES ($1, $1, $1, $1, gen_random_uuid(), $1, 0, 0, $1, 0)";
    client.execute(insert, &[&HOSTILE]).await.unwrap();
    let shown = run(&["rejected", "show", "1"]).await;
    let raw = "\\u{1b}[2J\\u{9b}31m\\u{202e}\\u{200b}\\u{d}\n";
    assert!(shown.ends_with(raw), "{shown}");
    let listed = run(&["rejected", "list"]).await;
    assert!(listed.contains("\\u{9b}31m"), "{listed}");
    run(&["rejected", "retry", "--all"]).await;
    run(&["rejected", "purge", "--all"]).await;

    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("body");
    let fact = serde_json::json!({
        "name": HOSTILE, "ts": 1_795_382_400, "items": [{"item_id": HOSTILE, HOSTILE: HOSTILE}],
    });
    std::fs::write(&body, fact.to_string()).unwrap();
    let body = body.to_str().unwrap();
    let table = run(&["flatten", body]).await;
    assert!(table.contains("\\u{9b}31m"), "{table}");
    let json = run(&["flatten", "--json", body]).await;
    let read: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    let name = read["event_name"].as_str().unwrap();
    assert!(name.contains("\u{9b}31m\u{202e}\u{200b}"), "{name:?}");
}
