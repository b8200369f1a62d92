//! `etl lake` and `etl partitions drop --archived` on tables that a real lake sink writes beside the
//! PostgreSQL sink. The programs that the commands print are run as they are.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use end_to_end::lake::Tables;
use end_to_end::pipeline::{Pipeline, until};
use end_to_end::{cli, pypi, shop};
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use lake_sink::maintenance::facts::{FactId, FactRow};
use lake_sink::maintenance::positions::Positions;
use lake_sink::offsets;
use local_stack::artefacts::Artefacts;
use local_stack::{StackOptions, queue};
use owned_process::{OwnedProcess, Signal};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A pipeline with a lake sink.
struct Lab {
    pipeline: Pipeline,
    folder: TempDir,
    config: PathBuf,
}

impl Lab {
    async fn start() -> Self {
        let pipeline = Pipeline::start(StackOptions::default()).await.unwrap();
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("lake-sink.yaml");
        let deployed = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../deploy/cluster/lake-sink.yaml"
        );
        let text = std::fs::read_to_string(deployed).unwrap();
        let warehouse = format!("file://{}/lake", folder.path().display());
        let mut edited = text
            .replace(
                "topic: shop-events",
                &format!("topic: {}", pipeline.stack.topic()),
            )
            .replace("s3://my-bucket/lake", &warehouse)
            .replace("commit-interval: 1m", "commit-interval: 1s");
        let metrics = edited.find("  # /metrics for Prometheus").unwrap();
        edited.truncate(metrics);
        std::fs::write(&config, edited).unwrap();
        Self {
            pipeline,
            folder,
            config,
        }
    }

    /// A command with the environment of the connectors.
    fn with_environment(&self, mut command: Command) -> Command {
        let stack = &self.pipeline.stack;
        command
            .env("DATABASE_URL", stack.database_url())
            .env("NOTIFICATIONS_SECRET", "only for these tests")
            .env("FLV_PROFILE_PATH", stack.profile())
            .envs(queue::environment(stack.sqs_url()));
        command
    }

    fn sink(&self) -> OwnedProcess {
        let program = Artefacts::find().unwrap().program("lake_sink");
        let mut command = self.with_environment(Command::new(program));
        command
            .arg("--config")
            .arg(&self.config)
            .stdout(Stdio::null())
            .stderr(File::create(self.folder.path().join("lake-sink.log")).unwrap());
        OwnedProcess::spawn("lake sink", command, Signal::SIGTERM).unwrap()
    }

    /// The log of the sink that was started last.
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("lake-sink.log")).unwrap()
    }

    /// The tables, without the sink.
    async fn tables(&self) -> Tables {
        let secrets = self.pipeline.stack.folder().join("secrets.txt");
        Tables::open(&self.config, &secrets).await.unwrap()
    }

    /// The number of rows of each fact of each record, by the record's offset.
    async fn rows(&self) -> BTreeMap<(i64, FactId), usize> {
        let mut counts = BTreeMap::new();
        let count = |row: FactRow| {
            *counts.entry((row.offset, row.id)).or_default() += 1;
            Ok(())
        };
        self.tables().await.each_row(count).await.unwrap();
        counts
    }

    /// The offsets of the rejected events.
    async fn rejected(&self) -> Positions {
        let mut found = self.tables().await.rejected().await.unwrap();
        found.remove(&0).unwrap()
    }

    async fn etl(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = self.with_environment(cli::command().unwrap());
        command.args(args);
        if args[0] == "lake" {
            command.arg("--config").arg(&self.config);
        }
        cli::output(&mut command).await.unwrap()
    }

    /// Runs a command that has to end with `code`.
    async fn ensure(&self, args: &[&str], code: i32) -> String {
        let (found, output) = self.etl(args).await;
        assert_eq!(found, Some(code), "{args:?}: {output}");
        output
    }

    async fn status(&self) -> Value {
        let output = self.ensure(&["lake", "status", "--json"], 0).await;
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
    }

    /// Sends bodies, and waits until both sinks have committed their facts.
    async fn send(&mut self, bodies: &[String]) {
        self.pipeline.send(bodies).await.unwrap();
        self.pipeline.arrived().await.unwrap();
        self.until_committed().await;
    }

    /// Waits until the lake sink has committed all records.
    async fn until_committed(&self) {
        until("the lake sink has committed all records", async || {
            let status = self.status().await;
            let partitions = status["partitions"].as_array().unwrap();
            !partitions.is_empty() && partitions.iter().all(|one| one["lag_records"] == 0)
        })
        .await
        .unwrap();
    }

    /// Runs a Python program that a command has printed.
    async fn python(&self, program: &str) {
        let url = self.pipeline.stack.database_url();
        let (_, rest) = url.split_once("://").unwrap();
        let output = Command::new(pypi::program("python3"))
            .args(["-c", program])
            .env("CATALOG_URL", format!("postgresql+psycopg://{rest}"))
            .output()
            .await
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}\n{program}");
    }

    async fn execute(&self, sql: &str) -> u64 {
        self.pipeline.database.execute(sql, &[]).await.unwrap()
    }

    /// The number of facts in PostgreSQL.
    async fn facts(&self) -> i64 {
        let count = "SELECT count(*) FROM fact_events";
        let row = self.pipeline.database.query_one(count, &[]).await;
        row.unwrap().get(0)
    }
}

/// The part of an output from the line that begins with `start` up to an empty line.
fn section<'o>(output: &'o str, start: &str) -> &'o str {
    let from = output
        .find(start)
        .unwrap_or_else(|| panic!("no {start} in {output}"));
    let rest = &output[from..];
    rest.split("\n\n").next().unwrap()
}

/// A copy of a fact of PostgreSQL with another identity and offset.
fn stray(offset: &str) -> String {
    format!(
        "INSERT INTO fact_events (event_time, event_name, item_ordinal, fact_hash, source_topic, \
             source_partition, source_offset) \
         SELECT timestamptz '2026-01-03 12:00Z', event_name, item_ordinal, gen_random_uuid(), \
                source_topic, source_partition, {offset} \
         FROM fact_events ORDER BY event_time, fact_hash LIMIT 1"
    )
}

/// Changes the content and the version of a fact of PostgreSQL, as `on-conflict: update` does. A
/// negative `by` takes that back.
fn newer(by: i64) -> String {
    format!(
        "UPDATE fact_events SET price = price + {by}, event_version = event_version + {by} \
         WHERE (event_time, fact_hash) = (SELECT event_time, fact_hash FROM fact_events \
             WHERE event_id IS NOT NULL AND event_version IS NOT NULL \
             ORDER BY event_time, fact_hash LIMIT 1)"
    )
}

/// Makes every file below a folder this many days old.
fn age(folder: &Path, days: u64) {
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(days * 86_400);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age(&path, days);
        } else {
            let file = std::fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(then).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lake_is_compared_with_the_tables_and_compacted_beside_a_running_sink() {
    let mut lab = Lab::start().await;
    // A command that only looks creates nothing, also the second time.
    for _ in 0..2 {
        let before = lab.ensure(&["lake", "status"], 1).await;
        assert!(
            before.contains("has no catalog; `etl lake init`"),
            "{before}"
        );
    }
    for _ in 0..2 {
        let output = lab.ensure(&["lake", "init"], 0).await;
        assert!(output.contains("shop.facts"), "{output}");
        assert!(!output.contains("postgres:"), "a secret in {output}");
        let program = &output[output.find("import os").unwrap()..];
        lab.python(program).await;
    }
    let _sink = lab.sink();
    let bodies = shop::bodies(91, 900);
    let (first, rest) = bodies.split_at(300);
    let (second, third) = rest.split_at(300);
    lab.send(first).await;
    lab.send(second).await;
    let output = lab.ensure(&["lake", "verify"], 0).await;
    assert!(output.contains("on both sides"), "{output}");
    assert!(
        output.contains("rows of the lake repeat a fact"),
        "{output}"
    );

    // A fact that one side lacks is missing if that side has committed its record.
    lab.execute(&stray("0")).await;
    lab.execute(&stray("1000000")).await;
    let lost = lab
        .execute(
            "DELETE FROM fact_events WHERE (event_time, fact_hash) IN (SELECT event_time, \
             fact_hash FROM fact_events WHERE event_time >= '2026-01-05Z' \
             AND event_time < '2026-01-06Z' AND source_offset < 100 LIMIT 2)",
        )
        .await;
    assert_eq!(lost, 2);
    let output = lab.ensure(&["lake", "verify", "--json"], 1).await;
    let json = &output[output.find('{').unwrap()..=output.rfind('}').unwrap()];
    let found: Value = serde_json::from_str(json).unwrap();
    let days = found["days"].as_array().unwrap();
    let day = |index: usize| {
        let number = |key: &str| days[index][key].as_u64().unwrap();
        let (lake, tables) = (number("missing_in_lake"), number("missing_in_postgres"));
        (days[index]["day"].as_str().unwrap(), lake, tables)
    };
    assert_eq!(days.len(), 2, "{found}");
    assert_eq!(day(0), ("2026-01-03", 1, 0));
    assert_eq!(day(1), ("2026-01-05", 0, 2));
    assert_eq!(found["pending_facts"], 1, "{found}");
    lab.ensure(&["lake", "verify", "--from", "2026-01-06"], 0)
        .await;
    lab.ensure(&["lake", "verify", "--to", "2026-01-03"], 1)
        .await;

    // PostgreSQL gets its facts back, and loses those that are nowhere else.
    lab.execute("DELETE FROM fact_events WHERE event_id IS NULL")
        .await;
    lab.pipeline
        .stack
        .stop_part(local_stack::Part::Sink)
        .await
        .unwrap();
    lab.execute("DELETE FROM sink_offsets").await;
    lab.pipeline
        .start_part(local_stack::Part::Sink)
        .await
        .unwrap();
    lab.pipeline.arrived().await.unwrap();
    lab.ensure(&["lake", "verify"], 0).await;

    // The programs that compact and remove repeats, between two commits of the sink.
    let before = lab.status().await;
    let output = lab
        .ensure(&["lake", "compact", "--min-files", "2"], 0)
        .await;
    assert!(
        output.contains("CALL lake.system.rewrite_data_files("),
        "{output}"
    );
    let merge = section(&output, "MERGE INTO lake.shop.facts");
    let merge = merge.replace("lake.shop.facts", "facts");
    let program = section(&output, "import os");
    let (open, _) = program.split_once("})").unwrap();
    let facts = lab.facts().await;
    lab.python(&format!(
        "import duckdb\n{open}}})\n\
         rows = catalog.load_table('shop.facts').scan().to_arrow()\n\
         duck = duckdb.connect()\n\
         duck.execute('CREATE TABLE facts AS SELECT * FROM rows')\n\
         assert rows.num_rows > {facts}\n\
         duck.execute(\"\"\"{}\"\"\")\n\
         assert duck.execute('SELECT count(*) FROM facts').fetchone() == ({facts},)",
        merge.replace("TIMESTAMP '", "TIMESTAMPTZ '"),
    ))
    .await;
    let (compaction, repeats) = output.split_once("To remove a producer's repeats").unwrap();
    lab.python(section(compaction, "# PyIceberg")).await;
    lab.python(section(repeats, "# PyIceberg")).await;
    let after = lab.status().await;
    let (before, after) = (&before["tables"][0], &after["tables"][0]);
    assert!(
        after["files"].as_u64() < before["files"].as_u64(),
        "{after}"
    );
    assert_eq!(after["rows"].as_i64(), Some(lab.facts().await), "{after}");
    let output = lab.ensure(&["lake", "verify"], 0).await;
    assert!(!output.contains("repeat a fact"), "{output}");

    // The sink goes on, and nothing that a snapshot has is an orphan.
    lab.send(third).await;
    lab.ensure(&["lake", "verify"], 0).await;
    let lake = lab.folder.path().join("lake/shop/facts");
    std::fs::write(lake.join("data/left-by-a-crash.parquet"), "rows").unwrap();
    age(&lake, 5);
    let output = lab.ensure(&["lake", "orphans"], 0).await;
    assert!(output.contains("shop.facts: 1 orphan found"), "{output}");
    let output = lab
        .ensure(&["lake", "orphans", "--older-than", "6d"], 0)
        .await;
    assert!(output.contains("shop.facts: 0 orphans found"), "{output}");
    lab.ensure(&["lake", "orphans", "--older-than", "59m"], 1)
        .await;
    let expire = ["lake", "expire", "--older-than", "0s", "--keep", "1"];
    let snapshots = lab.status().await["tables"][0]["snapshots"].clone();
    let output = lab.ensure(&[&expire[..], &["--dry-run"]].concat(), 0).await;
    assert!(
        output.contains("shop.facts: would remove snapshot"),
        "{output}"
    );
    assert!(output.contains("1 kept; nothing was changed"), "{output}");
    assert_eq!(lab.status().await["tables"][0]["snapshots"], snapshots);
    let output = lab.ensure(&expire, 0).await;
    assert!(output.contains("Their files stay until"), "{output}");
    let output = lab.ensure(&expire, 0).await;
    assert!(!output.contains("Their files stay until"), "{output}");
    let output = lab.ensure(&["lake", "orphans", "--delete"], 0).await;
    assert!(!output.contains("shop.facts: 1 orphans"), "{output}");
    let output = lab.ensure(&["lake", "orphans"], 0).await;
    assert!(output.contains("shop.facts: 0 orphans found"), "{output}");
    let more = shop::bodies(92, 50);
    lab.send(&more).await;
    lab.ensure(&["lake", "verify"], 0).await;
}

/// The stored identity of the last record stands for a topic that was created again.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_created_again_is_read_from_its_start_after_the_printed_remedy() {
    let mut lab = Lab::start().await;
    lab.ensure(&["lake", "init"], 0).await;
    let bodies = shop::bodies(94, 900);
    let (first, second) = bodies.split_at(600);
    let sink = lab.sink();
    lab.send(first).await;
    sink.stop(STOP_TIMEOUT).await.unwrap();
    let end = lab.pipeline.topic_end().await.unwrap();
    let (facts, rejected) = (lab.rows().await, lab.rejected().await);
    assert!(rejected.rows > 0);
    let lake = lab.tables().await.lake;
    let property = offsets::last_record_property(lab.pipeline.stack.topic(), 0);
    let table = lake.rows().await.unwrap();
    let last = &table.metadata().properties()[&property];
    let transaction = Transaction::new(&table);
    let changed = transaction
        .update_table_properties()
        .set(property.clone(), format!("{last}-of-the-old-topic"));
    let transaction = changed.apply(transaction).unwrap();
    transaction.commit(lake.catalog().as_ref()).await.unwrap();

    lab.pipeline.send(second).await.unwrap();
    lab.pipeline.arrived().await.unwrap();
    let sink = lab.sink();
    until("the sink refuses the topic", async || {
        lab.log().contains("the topic was created again")
    })
    .await
    .unwrap();
    let remedy = "stop the sink, set the property etl.offset.TOPIC.PARTITION to 0 and remove \
                  etl.last-record.TOPIC.PARTITION, in both tables of the sink, and start it";
    assert!(lab.log().contains(remedy), "{}", lab.log());
    sink.stop(STOP_TIMEOUT).await.unwrap();
    assert_eq!(lab.rows().await, facts);

    for (id, _) in lake.tables() {
        let transaction = Transaction::new(&lake.load(id).await.unwrap());
        let offset = offsets::offset_property(lab.pipeline.stack.topic(), 0);
        let changed = transaction
            .update_table_properties()
            .set(offset, "0".to_owned())
            .remove(property.clone());
        let transaction = changed.apply(transaction).unwrap();
        transaction.commit(lake.catalog().as_ref()).await.unwrap();
    }
    let _sink = lab.sink();
    lab.until_committed().await;
    let rows = lab.rows().await;
    for (place, count) in &rows {
        let is_old = place.0 < end;
        assert_eq!(*count, if is_old { 2 } else { 1 }, "{place:?}");
        assert_eq!(facts.contains_key(place), is_old, "{place:?}");
    }
    assert!(rows.len() > facts.len());
    let again = lab.rejected().await;
    assert_eq!(again.repeated, rejected.rows);
    lab.ensure(&["lake", "verify"], 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_dropped_once_the_lake_has_every_fact() {
    let mut lab = Lab::start().await;
    lab.ensure(&["lake", "init"], 0).await;
    let sink = lab.sink();
    lab.send(&shop::bodies(93, 300)).await;
    let config = lab.config.display().to_string();
    let drop = [
        "partitions",
        "drop",
        "--older-than",
        "2months",
        "--archived",
        "--lake-config",
        &config,
    ];
    let facts = lab.facts().await;
    lab.execute(&stray("1000000")).await;
    let output = lab.ensure(&drop, 1).await;
    assert!(output.contains("2026-01-03"), "{output}");
    assert!(output.contains("Nothing was dropped"), "{output}");
    assert_eq!(lab.facts().await, facts + 1);
    let no_stray = "DELETE FROM fact_events WHERE event_id IS NULL";
    lab.execute(no_stray).await;

    // A version that the lake does not have.
    assert_eq!(lab.execute(&newer(1_000_000_000)).await, 1);
    let output = lab.ensure(&drop, 1).await;
    assert!(output.contains("Nothing was dropped"), "{output}");
    let output = lab.ensure(&["lake", "verify"], 1).await;
    assert!(output.contains("the lake has an older version"), "{output}");
    assert_eq!(lab.execute(&newer(-1_000_000_000)).await, 1);
    lab.ensure(&["lake", "verify"], 0).await;

    // What is written during the comparison is not dropped: the lock waits for its transaction, and
    // then the partition is compared again.
    let database = lab.pipeline.stack.database_url();
    let writer = end_to_end::found::connect(database).await.unwrap();
    let waits = async || {
        let lock = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareLock' \
                    AND locktype = 'relation'";
        let row = lab.pipeline.database.query_one(lock, &[]).await;
        row.unwrap().get::<_, i64>(0) == 1
    };
    for (write, undo, left) in [
        (stray("1000000"), no_stray.to_owned(), facts + 1),
        (newer(1_000_000_000), newer(-1_000_000_000), facts),
    ] {
        writer.batch_execute("BEGIN").await.unwrap();
        assert_eq!(writer.execute(&write, &[]).await.unwrap(), 1);
        let commits = async {
            until("the partition is locked", waits).await.unwrap();
            writer.batch_execute("COMMIT").await.unwrap();
        };
        let (output, ()) = tokio::join!(lab.ensure(&drop, 1), commits);
        assert!(output.contains("has changed meanwhile"), "{output}");
        assert!(output.contains("0 partitions dropped"), "{output}");
        assert_eq!(lab.facts().await, left);
        lab.execute(&undo).await;
    }

    let output = lab.ensure(&[&drop[..], &["--dry-run"]].concat(), 0).await;
    assert!(
        output.contains("1 partition would be dropped; nothing was changed"),
        "{output}"
    );
    assert_eq!(lab.facts().await, facts);
    let output = lab.ensure(&drop, 0).await;
    assert!(output.contains("1 partition dropped"), "{output}");
    assert_eq!(lab.facts().await, 0);
    let output = lab.ensure(&["lake", "verify"], 0).await;
    assert!(output.contains("days are in the lake only"), "{output}");
    let status = lab.status().await;
    assert!(status["tables"][0]["rows"].as_i64().unwrap() >= facts);
    std::mem::drop(sink);
}

/// A file with rows below a folder.
fn data_file(folder: &Path) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|name| name == "parquet") {
                return path;
            }
        }
    }
    panic!("no file with rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lake_is_in_the_reports_on_the_pipeline_and_its_faults_are_found() {
    let mut lab = Lab::start().await;
    let config = lab.config.display().to_string();
    let topic = lab.pipeline.stack.topic().to_owned();
    let queue_url = lab.pipeline.stack.queue_url().to_owned();
    let status = [
        "status",
        "--json",
        "--topic",
        &topic,
        "--queue-url",
        &queue_url,
        "--lake-config",
        &config,
    ];
    let source = lab.pipeline.stack.folder().join("sqs-source.yaml");
    let secrets = lab.pipeline.stack.folder().join("secrets.txt");
    let [source, secrets] = [source, secrets].map(|path| path.display().to_string());
    let doctor = [
        "doctor",
        "--json",
        "--write",
        "--source-config",
        &source,
        "--secrets",
        &secrets,
        "--lake-config",
        &config,
    ];
    let json = async |lab: &Lab, args: &[&str]| -> Value {
        let (_, output) = lab.etl(args).await;
        let text = &output[output.find('{').unwrap_or_default()..];
        let text = &text[..text.rfind('}').map_or(0, |end| end + 1)];
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {output}"))
    };
    // The worst verdict on a check, and its text.
    let verdict = |report: &Value, area: &str, check: &str| -> (String, String) {
        let all = report["checks"].as_array().unwrap().iter();
        let of = all.filter(|one| one["area"] == area && one["check"] == check);
        let worst = of.max_by_key(|one| one["verdict"] != "ok");
        let worst = worst.unwrap_or_else(|| panic!("no {check} in {report:#}"));
        let verdict = worst["verdict"].as_str().unwrap();
        (verdict.to_owned(), worst.to_string())
    };

    // Neither command creates the catalog.
    let found = json(&lab, &status).await;
    let error = found["lake"]["error"].as_str().unwrap();
    assert!(error.contains("etl lake init"), "{found:#}");
    assert_eq!(found["whole"], false);
    assert!(found["tables"]["facts"].is_number(), "{found:#}");
    let found = json(&lab, &doctor).await;
    assert_eq!(verdict(&found, "lake", "catalog").0, "warn", "{found:#}");

    let sink = lab.sink();
    lab.send(&shop::bodies(94, 300)).await;
    let found = json(&lab, &status).await;
    let lake = &found["lake"];
    assert_eq!(found["whole"], true, "{found:#}");
    assert_eq!(lake["lag_records"], 0, "{found:#}");
    let partitions = lake["partitions"].as_array().unwrap();
    let committed = partitions
        .iter()
        .map(|one| one["next_offset"].as_i64().unwrap());
    let end = lab.pipeline.topic_end().await.unwrap();
    assert_eq!(committed.sum::<i64>(), end, "{found:#}");
    assert_eq!(lake["tables"][0]["name"], "shop.facts");
    let newest = lake["tables"][0]["newest_snapshot_seconds"].as_f64();
    assert!(newest.is_some_and(|seconds| seconds < 60.0), "{found:#}");
    let mut text = vec!["status"];
    text.extend(&status[2..]);
    let text = lab.ensure(&text, 0).await;
    for part in [
        "shop.facts: newest snapshot",
        "lag: 0 records",
        "partition 0",
    ] {
        assert!(text.contains(part), "no «{part}» in {text}");
    }
    let found = json(&lab, &doctor).await;
    for (area, check) in [
        ("files", "lake"),
        ("files", "lake-topic"),
        ("files", "lake-name"),
        ("lake", "storage"),
        ("lake", "catalog"),
        ("lake", "columns"),
        ("lake", "folder"),
        ("lake", "files"),
        ("lake", "small-files"),
        ("lake", "offsets"),
        ("lake", "commits"),
    ] {
        let (verdict, text) = verdict(&found, area, check);
        assert_eq!(verdict, "ok", "{text}");
    }
    let left = std::fs::read_dir(lab.folder.path().join("lake")).unwrap();
    assert_eq!(left.count(), 1, "the file of the test is deleted");

    // A source that waits for this lake has to keep the messages of a commit in flight.
    let deployed = std::fs::read_to_string(&source).unwrap();
    let edited = deployed
        .replace("delete-after: tables", "delete-after: lake")
        .replace("sink: shop-events-sink", "sink: shop-events-lake");
    let edited = edited
        .lines()
        .map(|line| match line.trim_start().split_once(':') {
            Some(("max-in-flight", _)) => "  max-in-flight: 10",
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    let slow = lab.folder.path().join("slow.yaml");
    let text = std::fs::read_to_string(&lab.config).unwrap();
    std::fs::write(
        &slow,
        text.replace("commit-interval: 1s", "commit-interval: 10m")
            .replace("/lake\n", "/elsewhere\n"),
    )
    .unwrap();
    let waiting = lab.folder.path().join("sqs-source.yaml");
    std::fs::write(&waiting, edited).unwrap();
    let (slow, waiting) = (slow.display().to_string(), waiting.display().to_string());
    let mut args = doctor;
    args[4] = &waiting;
    args[8] = &slow;
    let found = json(&lab, &args).await;
    for (area, check, words) in [
        ("lake", "max-in-flight", "10 messages may be in flight"),
        ("lake", "stop-timeout", "second rows"),
        ("lake", "folder", "elsewhere"),
    ] {
        let (verdict, text) = verdict(&found, area, check);
        assert!(verdict != "ok" && text.contains(words), "{text}");
    }

    let (secrets, text) = verdict(&found, "files", "notifications-secret");
    assert!(secrets == "ok" && text.contains("lake sink's"), "{text}");

    // Without the secret that only the sink needs.
    let mut command = cli::command().unwrap();
    command
        .args(["lake", "status", "--config", &config])
        .env("DATABASE_URL", lab.pipeline.stack.database_url())
        .env_remove("NOTIFICATIONS_SECRET");
    cli::ensure_output(&mut command, 0, &["shop.facts"])
        .await
        .unwrap();

    // Files that the table names and the storage has lost.
    std::mem::drop(sink);
    let data = lab.folder.path().join("lake/shop/facts/data");
    let kept = lab.folder.path().join("kept.parquet");
    let lost = data_file(&data);
    std::fs::rename(&lost, &kept).unwrap();
    let name = lost.file_name().unwrap().to_str().unwrap();
    let output = lab.ensure(&["lake", "status"], 1).await;
    for part in ["1 FILES ARE MISSING", name, "RUNBOOK.md"] {
        assert!(output.contains(part), "no «{part}» in {output}");
    }
    let output = lab.ensure(&["lake", "status", "--json"], 1).await;
    assert!(output.contains(r#""missing_files": 1"#), "{output}");
    let (found, text) = verdict(&json(&lab, &doctor).await, "lake", "files");
    assert!(found == "fail" && text.contains(name), "{text}");
    std::fs::rename(&kept, &lost).unwrap();
    lab.ensure(&["lake", "status"], 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_erased_from_the_lake_beside_a_running_sink() {
    let mut lab = Lab::start().await;
    let _sink = lab.sink();
    until("the lake sink has created its tables", async || {
        lab.etl(&["lake", "status"]).await.0 == Some(0)
    })
    .await
    .unwrap();
    let quoted = |id: &str| match id {
        "" => "null".to_owned(),
        _ => format!("\"{id}\""),
    };
    let event = |user: &str, device: &str, number: usize| {
        format!(
            r#"{{"event_id":"{user}{device}{number}","event_name":"view_item","event_timestamp":{},
                "user_id":{},"user_pseudo_id":{},"items":[{{"item_id":"A"}}]}}"#,
            1_767_225_600_000_000_u64 + number as u64 * 3_600_000_000,
            quoted(user),
            quoted(device),
        )
    };
    let mut bodies = Vec::new();
    for number in 0..30 {
        bodies.push(event("o'neil", "phone", number));
        bodies.push(event("", "phone", number));
        bodies.push(event("ben", "tablet", number));
        bodies.push(event("o'neil", "tablet", number));
        bodies.push(event("o'neil", "", number));
    }
    bodies.push(r#"{"user_id":"o'neil","broken":"#.to_owned());
    bodies.push(r#"{"user_id":"ben","broken":"#.to_owned());
    lab.send(&bodies).await;
    let erase = ["lake", "erase", "--user", "o'neil"];
    let output = lab.ensure(&erase, 0).await;
    assert!(output.contains("shop.facts: 90 rows on 2 days"), "{output}");
    assert!(
        output.contains("the device phone (left out without --linked)"),
        "{output}"
    );
    let linked = ["lake", "erase", "--user", "o'neil", "--linked"];
    let output = lab.ensure(&linked, 0).await;
    assert!(
        output.contains("shop.facts: 120 rows on 2 days"),
        "{output}"
    );
    assert!(
        output.contains("1 rejected event contains an id"),
        "{output}"
    );
    assert!(
        output.contains("the device tablet (included; 1 other user"),
        "{output}"
    );
    let device = ["lake", "erase", "--user-pseudo-id", "tablet"];
    let found = lab.ensure(&device, 0).await;
    assert!(found.contains("shop.facts: 60 rows on 2 days"), "{found}");
    let mut rest = output.as_str();
    while let Some(at) = rest.find("# PyIceberg") {
        let program = section(&rest[at..], "# PyIceberg");
        lab.python(program).await;
        rest = &rest[at + program.len()..];
    }
    let output = lab.ensure(&linked, 0).await;
    assert!(output.contains("shop.facts: 0 rows"), "{output}");
    assert!(
        output.contains("0 rejected events contain an id"),
        "{output}"
    );
    let output = lab.ensure(&["lake", "verify"], 1).await;
    assert!(output.contains("missing in the lake"), "{output}");
    lab.ensure(&["erase", "--user", "o'neil", "--linked", "--yes"], 0)
        .await;
    lab.ensure(&["lake", "verify"], 0).await;

    let more: Vec<String> = (30..60)
        .map(|number| event("ben", "tablet", number))
        .collect();
    lab.send(&more).await;
    lab.ensure(&["lake", "verify"], 0).await;
    let output = lab.ensure(&["lake", "erase", "--user", "ben"], 0).await;
    assert!(output.contains("shop.facts: 60 rows"), "{output}");
}
