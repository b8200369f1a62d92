//! Compares the metrics with a program in another language that counts them from the same events in
//! another way, at every stage of the stored hours.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use warehouse::Batch;
use warehouse::OnConflict;

use crate::support::{Tables, batch, envelope, records};

fn made(seed: u32, events: u32, zone: &str) -> Made {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics/metrics.py");
    let output = Command::new("python3")
        .arg(program)
        .args([seed.to_string(), events.to_string(), zone.to_owned()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    Made(serde_json::from_slice(&output.stdout).unwrap())
}

/// The output of `metrics.py`.
struct Made(Value);

impl Made {
    fn list(&self, name: &str) -> &[Value] {
        self.0[name].as_array().unwrap()
    }

    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap()
    }

    /// Compares the results of all questions over all ranges with `expected` or `erased`.
    async fn compare(&self, tables: &Tables, answers: &str, when: &str) {
        for (range, answers) in self.0[answers].as_object().unwrap() {
            let (from, to) = range.split_once(' ').unwrap();
            for (name, sql) in self.0["questions"].as_object().unwrap() {
                let sql = sql.as_str().unwrap();
                let sql = sql.replace("$range", &format!("'{from}', '{to}'"));
                let mut found: Vec<String> = tables.rows(&sql).await.iter().map(sorted).collect();
                let wanted = answers[name].as_array().unwrap();
                assert!(!wanted.is_empty(), "{name} of {range} tests nothing");
                let mut wanted: Vec<String> = wanted.iter().map(sorted).collect();
                found.sort();
                wanted.sort();
                for (found, wanted) in found.iter().zip(&wanted) {
                    assert_eq!(found, wanted, "{name} of {range}, {when}");
                }
                assert_eq!(found.len(), wanted.len(), "{name} of {range}, {when}");
            }
        }
    }
}

/// A row as text: its columns in order of their names, numbers to six decimals.
fn sorted(row: &Value) -> String {
    let text = |value: &Value| match value.as_f64() {
        Some(number) => format!("{number:.6}"),
        None => value.to_string(),
    };
    let columns: std::collections::BTreeMap<_, _> = row
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name, text(value)))
        .collect();
    format!("{columns:?}")
}

#[tokio::test]
async fn another_program_counts_the_same_at_every_moment() {
    compare_all(&Tables::new().await, 1_500, "UTC", Stages::All).await;
}

#[tokio::test]
async fn days_are_those_of_the_reporting_time_zone() {
    // The clocks go back in New York on 1 November; days in Kolkata begin in the middle of an hour.
    for zone in ["America/New_York", "Asia/Kolkata"] {
        compare_all(&Tables::new().await, 900, zone, Stages::Main).await;
    }
}

async fn run(tables: &Tables, statements: &str) {
    tables.client.batch_execute(statements).await.unwrap();
}

async fn store_all(tables: &Tables) {
    run(tables, "SELECT analytics.refresh(100000, '0')").await;
    assert_eq!(tables.count("analytics.open_hours").await, 0);
    let differences = tables.rows("SELECT * FROM analytics.differences()").await;
    assert!(differences.is_empty(), "{differences:?}");
}

/// Writes the facts in their batches, and corrects events after them. In between, it stores hours
/// that change afterwards.
async fn write(tables: &Tables, made: &Made) {
    let (mut one, mut other) = (tables.writer(0), tables.writer(1));
    let batches = made.list("batches");
    for (number, facts) in batches.iter().enumerate() {
        let offset = i64::try_from(number / 2).unwrap();
        let batch = batch(offset, [envelope(facts.as_array().unwrap())]);
        let writer = if number % 2 == 0 {
            &mut one
        } else {
            &mut other
        };
        writer.write(&batch).await.unwrap();
        if number == batches.len() / 2 {
            run(tables, made.text("arrivals")).await;
            run(tables, "SELECT analytics.refresh(100000, '0')").await;
        }
    }
    let after = i64::try_from(batches.len() / 2).unwrap();
    let events = made.list("corrections").iter();
    let events = events.map(|facts| envelope(facts.as_array().unwrap()));
    let mut batch = Batch::after(after).on_conflict(OnConflict::Update);
    records(after, events).for_each(|record| batch.push(record));
    let written = one.write(&batch.finish()).await.unwrap();
    assert!(written.updated > 0, "{written:?}");
    run(tables, made.text("arrivals")).await;
}

/// The stages at which all results are compared.
#[derive(PartialEq)]
pub enum Stages {
    All,
    /// All hours open, all stored, some changed afterwards, and a person erased.
    Main,
}

/// Writes so many events into empty tables, and compares all results at these stages.
pub async fn compare_all(tables: &Tables, events: u32, zone: &str, stages: Stages) {
    let made = made(20_261_125, events, zone);
    let every_stage = stages == Stages::All;
    write(tables, &made).await;
    run(tables, made.text("settings")).await;
    run(
        tables,
        &format!("SELECT analytics.configure(time_zone => '{zone}')"),
    )
    .await;
    made.compare(tables, "expected", "with all hours open")
        .await;
    run(
        tables,
        "DELETE FROM analytics.touched_hours WHERE noted_at = '-infinity'",
    )
    .await;
    if every_stage {
        let when = "with hours that have changed since they were stored";
        made.compare(tables, "expected", when).await;
    }
    run(
        tables,
        "SELECT analytics.touch(); SELECT analytics.refresh(50, '0')",
    )
    .await;
    if every_stage {
        made.compare(tables, "expected", "with some hours stored")
            .await;
    }
    store_all(tables).await;
    made.compare(tables, "expected", "with all hours stored")
        .await;
    run(
        tables,
        "INSERT INTO analytics.touched_hours SELECT DISTINCT hour FROM analytics.hourly_events \
         WHERE extract(hour FROM hour)::int % 3 = 0",
    )
    .await;
    if every_stage {
        made.compare(tables, "expected", "with every third hour open")
            .await;
    }

    // Changed and changed back: these days are counted from other rows than before.
    run(
        tables,
        "UPDATE fact_events SET quantity = coalesce(quantity, 1) + 1 WHERE quantity IS NOT NULL \
         AND event_time < '2026-11-01';
         CREATE TABLE aside AS SELECT * FROM fact_events WHERE item_ordinal = 2;
         DELETE FROM fact_events WHERE item_ordinal = 2;
         SELECT analytics.refresh(100000, '0');
         INSERT INTO fact_events SELECT * FROM aside WHERE event_time >= '2026-11-01';
         INSERT INTO fact_events SELECT (f).* FROM (SELECT jsonb_populate_record(NULL::fact_events,
             to_jsonb(a) || jsonb_build_object('quantity', a.quantity - (a.quantity IS NOT \
             NULL)::int)) AS f FROM aside a WHERE a.event_time < '2026-11-01') x;
         UPDATE fact_events SET quantity = quantity - 1 WHERE quantity IS NOT NULL AND event_time \
         < '2026-11-01' AND item_ordinal <> 2",
    )
    .await;
    made.compare(tables, "expected", "with facts removed and brought back")
        .await;
    store_all(tables).await;
    if every_stage {
        let when = "with what was brought back stored as well";
        made.compare(tables, "expected", when).await;
    }

    let device = made.text("erased_device");
    let erasing = format!("DELETE FROM fact_events WHERE user_pseudo_id = '{device}'");
    run(tables, &erasing).await;
    if every_stage {
        made.compare(tables, "erased", "with a person erased").await;
    }
    store_all(tables).await;
    made.compare(tables, "erased", "with a person erased and stored")
        .await;
    for stored in [
        format!("analytics.hourly_lists WHERE person = analytics.person_of(NULL, '{device}')"),
        format!("analytics.hourly_sign_ins WHERE user_pseudo_id = '{device}'"),
    ] {
        assert_eq!(tables.count(&stored).await, 0, "{stored}");
    }

    run(
        tables,
        "SELECT analytics.keep_history('2026-10-01', '2026-11-01'); DROP TABLE \
         fact_events_y2026m10",
    )
    .await;
    if every_stage {
        made.compare(tables, "erased", "with October's facts dropped")
            .await;
    }
    store_all(tables).await;
}
