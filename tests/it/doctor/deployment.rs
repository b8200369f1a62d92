//! A running pipeline, with one error after another in its files, cluster, queue and offsets.

use end_to_end::pipeline::Pipeline;
use end_to_end::shop;
use local_stack::artefacts::Artefacts;
use local_stack::cluster::load_smart_module;
use local_stack::{Part, StackOptions};
use sqs_endpoint::{Fault, Operation};

use super::findings::{Doctor, Findings};

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_in_order_has_no_failures_and_each_mistake_has_one() {
    let mut pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
    pipeline.send(&shop::bodies(71, 100)).await.unwrap();
    pipeline.arrived().await.unwrap();
    let doctor = Doctor::new(&pipeline);

    let sound = doctor.run(&[]).await;
    assert_eq!(sound.code, Some(0), "{:#}", sound.report);
    for (area, check) in [
        ("files", "source"),
        ("files", "sink"),
        ("files", "topic"),
        ("files", "sink-name"),
        ("files", "notifications-secret"),
        ("cluster", "profile"),
        ("cluster", "version"),
        ("topic", "exists"),
        ("topic", "replication"),
        ("topic", "commit-notifications"),
        ("topic", "readable"),
        ("topic", "max-bytes"),
        ("smartmodule", "loaded"),
        ("smartmodule", "build"),
        ("database", "connection"),
        ("database", "tls"),
        ("database", "clock"),
        ("database", "sessions"),
        ("database", "schema"),
        ("database", "connections"),
        ("database", "aggregates"),
        ("database", "writers"),
        ("database", "offsets"),
        ("database", "lag"),
        ("queue", "attributes"),
        ("queue", "delete"),
        ("queue", "extend"),
        ("queue", "clock"),
    ] {
        sound.has(area, check, "ok", &[]);
    }
    sound
        .has(
            "topic",
            "exists",
            "ok",
            &["the embedded node keeps all records"],
        )
        .has("queue", "receive", "skip", &["--receive"])
        .has("queue", "retention", "skip", &[])
        .has("queue", "redrive", "warn", &["no redrive policy"])
        .has("queue", "visibility", "warn", &["30s"])
        .has("database", "rights", "warn", &["etl_writer"])
        .has("connectors", "sink", "skip", &["--sink-metrics"]);
    doctor
        .run(&["--receive"])
        .await
        .has("queue", "receive", "ok", &["none was available"]);
    let text = doctor.command(&[]).output().await.unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("ok    cluster version: platform 0.18.1"),
        "{text}"
    );
    assert!(text.contains(" 0 failed, "), "{text}");

    files(&doctor).await;
    smartmodules(&doctor).await;
    queues(&doctor, &pipeline).await;
    doctor
        .run(&["--sink-metrics", "http://127.0.0.1:1"])
        .await
        .has(
            "connectors",
            "sink",
            "fail",
            &["no response from http://127.0.0.1:1", "metrics-address"],
        );
    let mut nowhere = doctor.command(&["--json"]);
    nowhere.env("FLV_PROFILE_PATH", doctor.file("none.toml"));
    Findings::of(&mut nowhere)
        .await
        .has("cluster", "profile", "fail", &["fluvio profile add"]);
    let profile = std::fs::read_to_string(pipeline.stack.profile()).unwrap();
    let elsewhere = profile.replace(pipeline.stack.fluvio_address(), "127.0.0.1:1");
    std::fs::write(doctor.file("elsewhere.toml"), elsewhere).unwrap();
    let mut elsewhere = doctor.command(&["--json"]);
    elsewhere.env("FLV_PROFILE_PATH", doctor.file("elsewhere.toml"));
    Findings::of(&mut elsewhere)
        .await
        .has("cluster", "connection", "fail", &["127.0.0.1:1"]);

    pipeline.stack.stop_part(Part::Sink).await.unwrap();
    let doctor = Doctor::new(&pipeline);
    let move_offset = async |to: i64| {
        let statement = "UPDATE sink_offsets SET next_offset = $1";
        pipeline.database.execute(statement, &[&to]).await.unwrap();
    };
    doctor.run(&[]).await.has(
        "database",
        "writers",
        "warn",
        &["no sink writes", "start the sink"],
    );
    move_offset(1_000_000).await;
    doctor.run(&[]).await.has(
        "database",
        "offsets",
        "fail",
        &[
            "committed offset is 1000000",
            "recreated",
            "DELETE FROM sink_offsets WHERE sink = 'shop-events-sink'",
        ],
    );
    move_offset(0).await;
    doctor.run(&[]).await.has("database", "offsets", "ok", &[]);
    // A cluster that is not the test's own would keep the second one.
    if std::env::var_os("ETL_TEST_CLUSTER").is_none() {
        let manifest = include_str!("../../../smartmodules/flatten-items/SmartModule.toml");
        let older = manifest.replace("\nversion = \"0.1.0\"", "\nversion = \"0.0.9\"");
        let admin = pipeline.stack.admin().await.unwrap();
        let module = Artefacts::find().unwrap().flatten_items();
        load_smart_module(&admin, &older, &module).await.unwrap();
        doctor.run(&[]).await.has(
            "smartmodule",
            "loaded",
            "fail",
            &[
                "2 SmartModules answer to `flatten-items`",
                "smartmodule delete",
            ],
        );
    }
    pipeline.stack.stop().await.unwrap();
}

async fn files(doctor: &Doctor<'_>) {
    let (source, sink) = ("sqs-source.yaml", "postgres-sink.yaml");
    let wrong = doctor.with(source, "delete-after:", "delete-aftre:");
    wrong
        .run(&[])
        .await
        .has("files", "source", "fail", &["sqs.delete-aftre"]);
    let wrong = doctor.with("secrets.txt", "DATABASE_URL", "DATABASE_ULR");
    wrong
        .run(&[])
        .await
        .has("files", "sink", "fail", &["DATABASE_URL", "no value"]);
    let wrong = doctor.with(sink, "topic: shop-events", "topic: shop-evnets");
    wrong
        .run(&[])
        .await
        .has("files", "topic", "fail", &["shop-events", "shop-evnets"])
        .has(
            "topic",
            "exists",
            "fail",
            &["shop-evnets", "fluvio topic create"],
        );
    let wrong = doctor.with(source, "  sink: ", "  sink: another-");
    wrong.run(&[]).await.has(
        "files",
        "sink-name",
        "fail",
        &["`another-shop-events-sink`", "`shop-events-sink`"],
    );
    const SECRET: &str = "  notifications-secret: ";
    let without = doctor.with(sink, SECRET, "  # notifications-secret: ");
    without.run(&[]).await.has(
        "files",
        "notifications-secret",
        "fail",
        &["does not sign", "no message is deleted"],
    );
    let without = doctor.with(source, SECRET, "  # notifications-secret: ");
    without.run(&[]).await.has(
        "files",
        "notifications-secret",
        "warn",
        &["whoever can write"],
    );
    let risky = without.with(
        source,
        "delete-after: tables\n  sink: ",
        "delete-after: topic\n  # sink: ",
    );
    risky.run(&[]).await.has(
        "topic",
        "replication",
        "warn",
        &["one copy", "delete-after: tables"],
    );
    let wrong = doctor.with(sink, "partition: all", "partition: [0, 5]");
    wrong
        .run(&[])
        .await
        .has("topic", "partitions", "fail", &["partition 5"]);
    let narrow = doctor.with(sink, "max-bytes: 4MiB", "max-bytes: 1MiB");
    narrow
        .run(&[])
        .await
        .has("topic", "max-bytes", "warn", &["512000", "1048576"]);
    let slow = doctor.with(source, "linger: 20ms", "linger: 15s");
    slow.run(&[])
        .await
        .has("queue", "visibility", "fail", &["15s", "30s"]);
}

async fn smartmodules(doctor: &Doctor<'_>) {
    let sink = "postgres-sink.yaml";
    let wrong = doctor.with(sink, "uses: flatten-items", "uses: flatten-itmes");
    wrong.run(&[]).await.has(
        "smartmodule",
        "loaded",
        "fail",
        &["flatten-itmes", "deploy.sh"],
    );
    let wrong = doctor.with(
        sink,
        "uses: flatten-items",
        "uses: flatten-items\n    with: { identity: name }",
    );
    wrong
        .run(&[])
        .await
        .has("files", "sink", "fail", &["identity"]);
    let wrong = doctor.with(sink, "transforms:\n  - uses: flatten-items\n", "");
    wrong
        .run(&[])
        .await
        .has("files", "sink", "fail", &["flatten-items"]);
    let other = Artefacts::find().unwrap().list_items();
    let other = other.display().to_string();
    doctor
        .run(&["--wasm", &other])
        .await
        .has("smartmodule", "build", "warn", &["another build"]);
    doctor
        .run(&["--wasm", "/nowhere"])
        .await
        .has("smartmodule", "build", "fail", &["/nowhere"]);
}

async fn queues(doctor: &Doctor<'_>, pipeline: &Pipeline) {
    let faults = pipeline.stack.endpoint().unwrap().faults();
    for (operation, check, permission) in [
        (
            Operation::GetQueueAttributes,
            "attributes",
            "sqs:GetQueueAttributes on",
        ),
        (
            Operation::DeleteMessageBatch,
            "delete",
            "sqs:DeleteMessage on",
        ),
        (
            Operation::ChangeMessageVisibilityBatch,
            "extend",
            "sqs:ChangeMessageVisibility on",
        ),
        (
            Operation::ReceiveMessage,
            "receive",
            "sqs:ReceiveMessage on",
        ),
    ] {
        faults.fail_share(operation, Fault::Deny, 1.0).unwrap();
        let found = doctor.run(&["--receive"]).await;
        faults.clear();
        found.has("queue", check, "fail", &["AccessDenied", permission]);
    }
    let wrong = doctor.with("secrets.txt", "/shop-events", "/shop-evnets");
    wrong
        .run(&[])
        .await
        .has("queue", "attributes", "fail", &["does not exist"]);
    let away = doctor.with(
        "sqs-source.yaml",
        "  max-in-flight",
        "  endpoint-url: http://127.0.0.1:1\n  max-in-flight",
    );
    away.run(&[])
        .await
        .has("queue", "attributes", "fail", &["network"]);
}
