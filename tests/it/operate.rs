//! An operator's commands on a pipeline with data: `etl verify`, `replay` and `status`.

use std::net::TcpListener;
use std::process::Stdio;

use chrono::{Duration, Utc};
use end_to_end::pipeline::Pipeline;
use end_to_end::{cli, found, shop};
use local_stack::{Part, StackOptions, queue};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

fn command(pipeline: &Pipeline, args: &[&str]) -> Command {
    let stack = &pipeline.stack;
    let mut command = cli::command().unwrap();
    command
        .args(args)
        .args(["--topic", stack.topic()])
        .env("DATABASE_URL", stack.database_url())
        .env("QUEUE_URL", stack.queue_url())
        .env("FLV_PROFILE_PATH", stack.profile())
        .envs(queue::environment(stack.sqs_url()));
    command
}

async fn etl(pipeline: &Pipeline, args: &[&str]) -> (Option<i32>, String) {
    cli::output(&mut command(pipeline, args)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_lost_from_the_tables_are_found_and_read_again() {
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    let mut bodies = shop::bodies(61, 600);
    bodies.push("no event at all".to_owned());
    pipeline.send(&bodies).await.unwrap();
    pipeline.arrived().await.unwrap();
    let (code, output) = etl(&pipeline, &["verify"]).await;
    assert_eq!(code, Some(0), "{output}");
    for column in ["facts read", "repeats"] {
        assert!(output.contains(column), "no «{column}» in {output}");
    }
    let before = found::rows(&pipeline.database).await.unwrap();
    for (nothing, why) in [
        (
            vec!["--sink", "no-such"],
            "the sink `no-such` has not committed",
        ),
        (vec!["--from", "99999"], "before the first, 99999"),
        (vec!["--from", "10", "--to", "5"], "--to 5 is before"),
    ] {
        let arguments: Vec<&str> = ["verify"].into_iter().chain(nothing).collect();
        let (code, output) = etl(&pipeline, &arguments).await;
        assert_eq!(code, Some(1), "nothing is compared: {output}");
        assert!(output.contains(why), "{output}");
    }

    let running = etl(&pipeline, &["replay", "--partition", "0", "--from", "0"]).await;
    assert_eq!(running.0, Some(1), "{}", running.1);
    assert!(
        running.1.contains("is writing partition 0"),
        "{}",
        running.1
    );

    let dry = ["replay", "--partition", "0", "--from", "0", "--dry-run"];
    let (code, output) = etl(&pipeline, &dry).await;
    assert_eq!(code, Some(0), "{output}");
    for part in ["would move partition 0", "Stop the sink first."] {
        assert!(output.contains(part), "no «{part}» in {output}");
    }

    pipeline.stack.stop_part(Part::Sink).await.unwrap();
    let (code, output) = etl(&pipeline, &["rejected", "purge"]).await;
    assert_eq!(code, Some(0), "{output}");
    let (code, output) = etl(&pipeline, &["verify"]).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(
        output.contains("no longer have a row in rejected_events"),
        "{output}"
    );
    let (code, output) = etl(&pipeline, &["verify", "--strict"]).await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains(": not in rejected_events"), "{output}");

    let lost = "DELETE FROM fact_events WHERE source_offset BETWEEN 100 AND 149";
    pipeline.database.batch_execute(lost).await.unwrap();
    let (code, output) = etl(&pipeline, &["verify"]).await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("no fact with the hash"), "{output}");
    let (code, output) = etl(&pipeline, &["verify", "--to", "100"]).await;
    assert_eq!(code, Some(0), "existing facts are not reported: {output}");

    let end = pipeline.topic_end().await.unwrap();
    let beyond = (end + 1).to_string();
    let (code, output) = etl(
        &pipeline,
        &["replay", "--partition", "0", "--from", &beyond],
    )
    .await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("would skip records"), "{output}");

    let hour_ago = (Utc::now() - Duration::hours(1)).to_rfc3339();
    let (code, output) = etl(
        &pipeline,
        &["replay", "--partition", "0", "--from", &hour_ago],
    )
    .await;
    assert_eq!(code, Some(0), "{output}");
    assert!(
        output.contains(&format!("from offset {end} back to 0")),
        "{output}"
    );
    assert_eq!(pipeline.committed().await.unwrap(), 0);

    pipeline.start_part(Part::Sink).await.unwrap();
    pipeline.arrived().await.unwrap();
    assert_eq!(found::rows(&pipeline.database).await.unwrap(), before);
    let (code, output) = etl(&pipeline, &["verify", "--strict"]).await;
    assert_eq!(code, Some(0), "{output}");
}

/// Has both connectors serve their metrics, and returns the addresses.
async fn with_metrics(pipeline: &mut Pipeline) -> [String; 2] {
    let parts = [
        (Part::Source, "sqs-source.yaml"),
        (Part::Sink, "postgres-sink.yaml"),
    ];
    let mut addresses = Vec::new();
    for (part, file) in parts {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let path = pipeline.stack.folder().join(file);
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{config}  metrics-address: {address}\n")).unwrap();
        pipeline.kill_and_restart(part).await.unwrap();
        addresses.push(format!("http://{address}"));
    }
    addresses.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_where_events_wait() {
    let options = StackOptions {
        partitions: Some(2),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    let [source, sink] = with_metrics(&mut pipeline).await;
    let bodies = shop::bodies(62, 400);
    pipeline.send(&bodies).await.unwrap();
    pipeline.arrived().await.unwrap();
    let args = [
        "status",
        "--json",
        "--source-metrics",
        &source,
        "--sink-metrics",
        &sink,
    ];
    let status = async |pipeline: &Pipeline| {
        let (code, output) = etl(pipeline, &args).await;
        let status: Value = serde_json::from_str(&output).unwrap_or_else(|_| panic!("{output}"));
        (code, status)
    };
    // A part that has just started may not be ready yet.
    let mut attempts = 0;
    let all = loop {
        let (code, status) = status(&pipeline).await;
        assert_eq!(code, Some(0), "{status:#}");
        if status["connectors"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["ready"] == true)
        {
            break status;
        }
        attempts += 1;
        assert!(attempts < 100, "{status:#}");
    };
    let end = pipeline.topic_end().await.unwrap();
    assert_eq!(all["whole"], true);
    assert_eq!(all["queue"]["visible"], 0);
    assert_eq!(all["topic"]["records"], end);
    assert_eq!(all["topic"]["partitions"], 2);
    let of = &all["sinks"][0];
    assert_eq!(
        (&of["committed_records"], &of["lag_records"]),
        (&end.into(), &0.into())
    );
    let writer = of["partitions"][1]["writer"].as_str().unwrap();
    assert!(
        writer.starts_with("postgres-sink ") && writer.contains(", pid "),
        "{writer}"
    );
    let rejected: i64 = all["tables"]["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["last_24_hours"].as_i64().unwrap())
        .sum();
    let (_, unreadable) = end_to_end::direct::rows(&bodies);
    assert_eq!(rejected, i64::try_from(unreadable).unwrap());
    let facts = found::rows(&pipeline.database).await.unwrap().len();
    assert_eq!(all["tables"]["facts"], facts);
    assert_eq!(all["connectors"][1]["kind"], "sink");
    assert_eq!(all["connectors"][1]["facts"], facts);

    pipeline.kill(Part::Sink).await.unwrap();
    pipeline.send(&shop::bodies(63, 50)).await.unwrap();
    while pipeline.topic_end().await.unwrap() < end + 50 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let (code, away) = status(&pipeline).await;
    assert_eq!((code, &away["whole"]), (Some(1), &Value::Bool(false)));
    let of = &away["sinks"][0];
    assert_eq!(of["lag_records"], 50);
    assert!(of["lag_seconds"].as_f64().unwrap() > 0.9, "{of:#}");
    assert_eq!(of["partitions"][0]["writer"], Value::Null);
    assert!(
        away["connectors"][1]["error"]
            .as_str()
            .unwrap()
            .contains("no response")
    );
    assert_eq!(away["connectors"][0]["messages_in_flight"], 50);
    let (_, output) = etl(&pipeline, &["status"]).await;
    for part in ["50 records, the oldest", "NONE", "last 24 h", "facts in"] {
        assert!(output.contains(part), "no «{part}» in\n{output}");
    }

    let watch = ["status", "--json", "--watch", "1"];
    let mut watching = command(&pipeline, &watch)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = async || -> Value {
        serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap()
    };
    assert_eq!(next().await["topic"]["records_per_second"], Value::Null);
    pipeline.start_part(Part::Sink).await.unwrap();
    pipeline.arrived().await.unwrap();
    let mut committed = 0.0;
    while committed < 49.0 {
        let reading = next().await;
        let seconds = reading["seconds_since_last"].as_f64().unwrap();
        committed += reading["sinks"][0]["records_per_second"].as_f64().unwrap() * seconds;
    }
    assert!(committed < 51.0, "{committed}");
    let pid = Pid::from_raw(i32::try_from(watching.id().unwrap()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    assert_eq!(watching.wait().await.unwrap().code(), Some(0));
    pipeline.stack.stop().await.unwrap();
}
