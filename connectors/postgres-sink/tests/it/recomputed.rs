//! The metrics against another program that counts them from the same events, in another language and another way.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

use crate::support::{Tables, batch, envelope};

/// Each metric of `metrics.py` as SQL; `$range` stands for two dates.
const METRICS: [(&str, &str); 9] = [
    (
        "products",
        "SELECT product, viewers, cart_adders AS adders, checkout_starters AS starters, buyers, views, purchases, units_sold AS units, revenue \
         FROM analytics.product_performance($range)",
    ),
    (
        "lists",
        "SELECT list, impressions, viewers, clicks, clickers, purchases, units_sold AS units, revenue FROM analytics.list_performance($range)",
    ),
    (
        "positions",
        "SELECT list, list_position AS at, impressions, clicks FROM analytics.list_positions($range)",
    ),
    (
        "engagement",
        "SELECT list_id AS list, impressions, engaged, viewers, engaged_viewers FROM analytics.list_engagement($range) JOIN dim_list USING (list_key)",
    ),
    (
        "funnel",
        "SELECT * FROM analytics.daily_funnel WHERE day = ANY (ARRAY(SELECT day FROM analytics.days($range)))",
    ),
    (
        "people",
        "SELECT day, list_viewers, viewers, cart_adders AS adders, checkout_starters AS starters, buyers FROM analytics.funnel_people($range)",
    ),
    (
        "sessions",
        "SELECT day, sessions, engaged_sessions AS engaged, converted_sessions AS converted FROM analytics.daily_sessions($range)",
    ),
    (
        "orders",
        "SELECT order_id AS \"order\", lines, units, item_revenue AS revenue FROM analytics.purchases \
         WHERE day = ANY (ARRAY(SELECT day FROM analytics.days($range)))",
    ),
    (
        "orders",
        "SELECT order_id AS \"order\", lines, units, item_revenue AS revenue FROM analytics.orders($range)",
    ),
];

fn made(seed: u32, events: u32) -> Value {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics.py");
    let output = Command::new("python3")
        .arg(program)
        .args([seed.to_string(), events.to_string()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn compare(tables: &Tables, expected: &Map<String, Value>, when: &str) {
    for (range, metrics) in expected {
        let (from, to) = range.split_once(' ').unwrap();
        for (name, sql) in METRICS {
            let sql = sql.replace("$range", &format!("'{from}', '{to}'"));
            let mut found: Vec<String> = tables.rows(&sql).await.iter().map(sorted).collect();
            let mut wanted: Vec<String> = metrics[name]
                .as_array()
                .unwrap()
                .iter()
                .map(sorted)
                .collect();
            found.sort();
            wanted.sort();
            assert_eq!(found, wanted, "{name} of {range}, {when}");
        }
    }
}

/// A row as text, its columns in order of their names.
fn sorted(row: &Value) -> String {
    let columns: std::collections::BTreeMap<_, _> = row.as_object().unwrap().iter().collect();
    format!("{columns:?}")
}

#[tokio::test]
async fn another_program_counts_the_same_whether_days_are_sealed_or_not() {
    compare_all(&Tables::new().await, 1_500).await;
}

/// Writes so many events into empty tables, and compares all metrics at every stage of their life.
pub async fn compare_all(tables: &Tables, events: u32) {
    let made = made(20_261_125, events);
    let expected = made["expected"].as_object().unwrap();
    let batches = made["batches"].as_array().unwrap();
    let (mut one, mut other) = (tables.writer(0), tables.writer(1));
    for (number, facts) in batches.iter().enumerate() {
        let offset = i64::try_from(number / 2).unwrap();
        let batch = batch(offset, [envelope(facts.as_array().unwrap())]);
        let writer = if number % 2 == 0 {
            &mut one
        } else {
            &mut other
        };
        writer.write(&batch).await.unwrap();
        // Midway, days are sealed that change afterwards.
        if number == batches.len() / 2 {
            tables
                .client
                .batch_execute("CALL analytics.seal_days()")
                .await
                .unwrap();
        }
    }
    compare(
        tables,
        expected,
        "with days that have changed since they were sealed",
    )
    .await;

    tables
        .client
        .batch_execute("SELECT analytics.fold()")
        .await
        .unwrap();
    compare(tables, expected, "with all facts folded").await;
    tables
        .client
        .batch_execute("CALL analytics.seal_days()")
        .await
        .unwrap();
    compare(tables, expected, "with all days sealed").await;

    // Changed and changed back: everything about these days is counted from other rows than before.
    tables
        .client
        .batch_execute(
            "UPDATE fact_events SET quantity = coalesce(quantity, 1) + 1 WHERE event_time < '2026-11-04';
             UPDATE fact_events SET quantity = quantity - 1 WHERE event_time < '2026-11-04';
             CREATE TABLE aside AS SELECT * FROM fact_events WHERE item_ordinal = 2;
             DELETE FROM fact_events WHERE item_ordinal = 2;
             INSERT INTO fact_events SELECT * FROM aside;
             SELECT analytics.rebuild_rollups()",
        )
        .await
        .unwrap();
    compare(tables, expected, "with facts removed and brought back").await;
    let differences = tables
        .rows("SELECT * FROM analytics.rollup_differences()")
        .await;
    assert!(differences.is_empty(), "{differences:?}");
}
