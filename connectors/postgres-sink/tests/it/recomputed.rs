//! The metrics against another program that counts them from the same events, in another language and another way, at every
//! moment in the life of the stored hours.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

use crate::support::{Tables, batch, envelope};

/// Each metric of `metrics.py` as SQL; `$range` stands for two dates.
const METRICS: [(&str, &str); 16] = [
    ("funnel", "SELECT * FROM analytics.daily_funnel($range)"),
    (
        "people",
        "SELECT day, people, list_viewers, viewers, cart_adders, checkout_starters, buyers FROM analytics.daily_people($range)",
    ),
    (
        "sessions_by_day",
        "SELECT value, sessions, engaged_sessions, converted_sessions, bounces FROM analytics.sessions_by('day', $range)",
    ),
    (
        "sessions_by_platform",
        "SELECT value, sessions, engaged_sessions, converted_sessions, bounces FROM analytics.sessions_by('platform', $range)",
    ),
    (
        "sessions_by_entry_list",
        "SELECT value, sum(sessions) AS sessions, sum(engaged_sessions) AS engaged_sessions, \
         sum(converted_sessions) AS converted_sessions, sum(bounces) AS bounces \
         FROM analytics.sessions_by('entry_list', $range) GROUP BY value",
    ),
    (
        "session_funnel",
        "SELECT step, sessions FROM analytics.session_funnel($range)",
    ),
    (
        "order_rows",
        "SELECT day, purchases, units, revenue, currency, is_by_value FROM analytics.orders($range)",
    ),
    (
        "refund_rows",
        "SELECT day, refunds, currency, is_by_value FROM analytics.refunds($range)",
    ),
    (
        "revenue",
        "SELECT day, currency, orders, purchases, units, revenue, refunds FROM analytics.daily_revenue($range)",
    ),
    (
        "products",
        "SELECT product, impressions, views, add_to_carts, checkouts, viewers, cart_adders, checkout_starters, buyers, currency, \
         purchases, orders, units, revenue FROM analytics.product_performance($range)",
    ),
    (
        "lists",
        "SELECT list_id, list_views, impressions, viewers, clicks, clickers, engaged, engaged_viewers, substitutes, currency, \
         purchases, orders, units, revenue FROM analytics.list_performance($range)",
    ),
    (
        "positions",
        "SELECT list, list_position AS at, sum(impressions) AS impressions, sum(clicks) AS clicks \
         FROM analytics.list_positions($range) GROUP BY list_key, list, list_position",
    ),
    (
        "search_terms",
        "SELECT search_term, list_views, impressions, viewers, clicks, clickers, purchases, orders FROM analytics.search_terms($range)",
    ),
    (
        "new_and_returning",
        "SELECT day, people, new_people, buyers, new_buyers FROM analytics.new_and_returning($range)",
    ),
    (
        "cohorts",
        "SELECT cohort, period, cohort_people, people FROM analytics.cohorts('day', 'visit', $range)",
    ),
    (
        "lists",
        "SELECT l.list_id, l.list_views, l.impressions, l.viewers, l.clicks, l.clickers, l.engaged, l.engaged_viewers, l.substitutes, \
         s.currency, coalesce(count(s.list_key), 0) AS purchases, count(DISTINCT s.order_id) AS orders, coalesce(sum(s.units), 0) AS units, \
         coalesce(sum(s.revenue), 0) AS revenue \
         FROM (SELECT DISTINCT ON (list_key) * FROM analytics.list_performance($range)) l \
         LEFT JOIN analytics.list_sales($range) s USING (list_key) GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
    ),
];

fn made(seed: u32, events: u32, zone: &str) -> Value {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics.py");
    let output = Command::new("python3")
        .arg(program)
        .args([seed.to_string(), events.to_string(), zone.to_owned()])
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
            let wanted = metrics[name].as_array().unwrap();
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

/// A row as text, its columns in order of their names.
fn sorted(row: &Value) -> String {
    let columns: std::collections::BTreeMap<_, _> = row.as_object().unwrap().iter().collect();
    format!("{columns:?}")
}

#[tokio::test]
async fn another_program_counts_the_same_at_every_moment() {
    compare_all(&Tables::new().await, 1_500, "UTC").await;
}

#[tokio::test]
async fn days_are_those_of_the_reporting_time_zone() {
    // The clocks go back in New York on 1 November; days in Kolkata begin in the middle of an hour.
    for zone in ["America/New_York", "Asia/Kolkata"] {
        compare_all(&Tables::new().await, 900, zone).await;
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

/// Writes so many events into empty tables, and compares all metrics at every stage of their life.
pub async fn compare_all(tables: &Tables, events: u32, zone: &str) {
    let made = made(20_261_125, events, zone);
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
        // Midway, hours are stored that change afterwards.
        if number == batches.len() / 2 {
            run(tables, "SELECT analytics.refresh(100000, '0')").await;
        }
    }
    run(
        tables,
        &format!("SELECT analytics.configure(time_zone => '{zone}')"),
    )
    .await;
    compare(tables, expected, "with all hours open").await;
    run(
        tables,
        "DELETE FROM analytics.touched_hours WHERE noted_at = '-infinity'",
    )
    .await;
    if zone == "UTC" {
        compare(
            tables,
            expected,
            "with hours that have changed since they were stored",
        )
        .await;
    }
    run(
        tables,
        "SELECT analytics.touch(); SELECT analytics.refresh(50, '0')",
    )
    .await;
    compare(tables, expected, "with some hours stored").await;
    store_all(tables).await;
    compare(tables, expected, "with all hours stored").await;
    run(
        tables,
        "INSERT INTO analytics.touched_hours SELECT DISTINCT hour FROM analytics.hourly_events WHERE extract(hour FROM hour)::int % 3 = 0",
    )
    .await;
    compare(tables, expected, "with every third hour open").await;

    // Changed and changed back: everything about these days is counted from other rows than before.
    run(
        tables,
        "UPDATE fact_events SET quantity = coalesce(quantity, 1) + 1 WHERE quantity IS NOT NULL AND event_time < '2026-11-01';
         CREATE TABLE aside AS SELECT * FROM fact_events WHERE item_ordinal = 2;
         DELETE FROM fact_events WHERE item_ordinal = 2;
         SELECT analytics.refresh(100000, '0');
         INSERT INTO fact_events SELECT * FROM aside WHERE event_time >= '2026-11-01';
         INSERT INTO fact_events SELECT (f).* FROM (SELECT jsonb_populate_record(NULL::fact_events,
             to_jsonb(a) || jsonb_build_object('quantity', a.quantity - (a.quantity IS NOT NULL)::int)) AS f FROM aside a WHERE a.event_time < '2026-11-01') x;
         UPDATE fact_events SET quantity = quantity - 1 WHERE quantity IS NOT NULL AND event_time < '2026-11-01' AND item_ordinal <> 2",
    )
    .await;
    compare(tables, expected, "with facts removed and brought back").await;
    store_all(tables).await;
    compare(
        tables,
        expected,
        "with what was brought back stored as well",
    )
    .await;

    let erased = made["erased"].as_object().unwrap();
    run(
        tables,
        "DELETE FROM fact_events WHERE user_pseudo_id = 'device-4'",
    )
    .await;
    compare(tables, erased, "with a person erased").await;
    store_all(tables).await;
    compare(tables, erased, "with a person erased and stored").await;
    assert_eq!(
        tables
            .count("analytics.hourly_lists WHERE person = analytics.person_of(NULL, 'device-4')")
            .await,
        0
    );

    run(
        tables,
        "SELECT analytics.keep_history('2026-10-01', '2026-11-01'); DROP TABLE fact_events_y2026m10",
    )
    .await;
    compare(tables, erased, "with October's facts dropped").await;
    store_all(tables).await;
}
