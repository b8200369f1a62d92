//! The rollups: equal to the facts at every moment, whoever writes, changes, removes, folds or restores.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::analytics::with_the_day;
use crate::support::{Tables, batch, envelope, fact, shopping};

async fn differences(tables: &Tables) -> usize {
    tables
        .rows("SELECT * FROM analytics.rollup_differences()")
        .await
        .len()
}

async fn fold(tables: &Tables) {
    tables
        .client
        .execute("SELECT analytics.fold()", &[])
        .await
        .unwrap();
}

/// Facts of the table and of the rollups, which must be equal at every moment.
const BOTH: &str = "SELECT (SELECT count(*) FROM fact_events), (SELECT coalesce(sum(interactions), 0)::bigint FROM analytics.event_counts), \
     (SELECT coalesce(sum(interactions), 0)::bigint FROM analytics.list_counts WHERE event_name = 'view_item')";

async fn counted(client: &tokio_postgres::Client) -> (i64, i64, i64) {
    let row = client.query_one(BOTH, &[]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

#[tokio::test]
async fn rollups_equal_the_facts_whatever_is_written_changed_or_deleted() {
    let tables = with_the_day().await;
    // Two partitions that share a shard, with the same facts, at once.
    let (mut one, mut other) = (tables.writer(1), tables.writer(17));
    let (first, second) = (
        batch(0, shopping(1 << 64, 3_000)),
        batch(0, shopping(1 << 64, 3_000)),
    );
    let (first, second) = tokio::join!(one.write(&first), other.write(&second));
    assert_eq!(first.unwrap().inserted + second.unwrap().inserted, 3_000);
    // An event that comes a year late.
    let late = fact(
        9,
        "2025-11-20T10:00:00Z",
        json!({"product_id": "A", "price": "3"}),
    );
    one.write(&batch(3_000, [envelope(&[late])])).await.unwrap();
    assert_eq!(differences(&tables).await, 0);

    for statement in [
        "UPDATE fact_events SET price = 7, quantity = 3 WHERE event_name = 'purchase'",
        "UPDATE fact_events SET event_time = event_time - interval '2 months' WHERE event_name = 'select_item'",
        "DELETE FROM fact_events WHERE source_partition = 0 AND event_name = 'view_item'",
    ] {
        let changed = tables.client.execute(statement, &[]).await.unwrap();
        assert!(changed > 0, "{statement}");
        assert_eq!(differences(&tables).await, 0, "{statement}");
    }
    tables
        .client
        .execute("TRUNCATE fact_events", &[])
        .await
        .unwrap();
    assert_eq!(tables.count("analytics.event_counts").await, 0);
}

#[tokio::test]
async fn rollups_are_checked_and_repaired_and_outlive_their_facts() {
    let tables = with_the_day().await;
    fold(&tables).await;
    tables
        .client
        .batch_execute(
            "UPDATE analytics.rollup_event SET revenue = revenue + 1 WHERE event_name = 'purchase';
             DELETE FROM analytics.rollup_list WHERE event_name = 'select_item'",
        )
        .await
        .unwrap();
    assert_eq!(differences(&tables).await, 2);
    let repair = "SELECT analytics.rebuild_rollups()";
    tables.client.execute(repair, &[]).await.unwrap();
    assert_eq!(differences(&tables).await, 0);

    let before = tables.rows("SELECT * FROM analytics.daily_funnel").await;
    tables
        .client
        .batch_execute("DROP TABLE fact_events_y2026m11")
        .await
        .unwrap();
    tables.client.execute(repair, &[]).await.unwrap();
    assert_eq!(
        tables.rows("SELECT * FROM analytics.daily_funnel").await,
        before
    );
    assert_eq!(differences(&tables).await, 0);
    tables
        .client
        .execute("SELECT analytics.rebuild_rollups(forget => true)", &[])
        .await
        .unwrap();
    assert_eq!(tables.count("analytics.rollup_event").await, 0);
}

#[tokio::test]
async fn whoever_folds_meanwhile_the_counts_are_those_of_the_moment() {
    let tables = Tables::new().await;
    let seen = AtomicBool::new(false);
    let writing = async {
        for round in 0..6 {
            let (mut one, mut other) = (tables.writer(2 * round), tables.writer(2 * round + 1));
            let seed = u128::from(round.unsigned_abs()) << 32;
            let (first, second) = (
                batch(0, shopping(seed, 700)),
                batch(0, shopping(seed + 350, 700)),
            );
            let (first, second) = tokio::join!(one.write(&first), other.write(&second));
            assert!(first.unwrap().inserted + second.unwrap().inserted >= 1_050);
        }
        seen.store(true, Ordering::Relaxed);
    };
    let folding = async {
        let client = tables.database.connect().await.unwrap();
        while !seen.load(Ordering::Relaxed) {
            client
                .execute("SELECT analytics.fold()", &[])
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let removing = async {
        let client = tables.database.connect().await.unwrap();
        while !seen.load(Ordering::Relaxed) {
            let some = "DELETE FROM fact_events WHERE fact_hash IN (SELECT fact_hash FROM fact_events ORDER BY random() LIMIT 9)";
            client.execute(some, &[]).await.unwrap();
            let others = "UPDATE fact_events SET event_time = event_time + interval '40 days' + random() * interval '1 second' \
                 WHERE fact_hash IN (SELECT fact_hash FROM fact_events ORDER BY random() LIMIT 9)";
            client.execute(others, &[]).await.unwrap();
        }
    };
    let asking = async {
        let client = tables.database.connect().await.unwrap();
        while !seen.load(Ordering::Relaxed) {
            let (facts, events, lists) = counted(&client).await;
            assert_eq!((facts, facts), (events, lists));
        }
    };
    tokio::join!(writing, folding, removing, asking);
    assert_eq!(differences(&tables).await, 0);
    fold(&tables).await;
    assert_eq!(differences(&tables).await, 0);
    assert_eq!(tables.count("analytics.pending").await, 0);
}

#[tokio::test]
async fn facts_inserted_by_hand_are_counted_by_a_rebuild_while_the_sink_writes() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    writer.write(&batch(0, shopping(0, 500))).await.unwrap();
    let by_hand = "INSERT INTO fact_events (event_time, event_name, item_ordinal, fact_hash, source_topic, source_partition, source_offset) \
         SELECT '2026-11-23', 'view_item', 1, gen_random_uuid(), 'by hand', 0, n FROM generate_series(1, 7) AS n";
    tables.client.execute(by_hand, &[]).await.unwrap();
    assert_eq!(differences(&tables).await, 1);
    let written = AtomicBool::new(false);
    let writing = async {
        for round in 1_i64..20 {
            let events = shopping(u128::from(round.unsigned_abs()) << 32, 500);
            writer.write(&batch(round * 500, events)).await.unwrap();
        }
        written.store(true, Ordering::Relaxed);
    };
    let rebuilding = async {
        let client = tables.database.connect().await.unwrap();
        while !written.load(Ordering::Relaxed) {
            let all = "SELECT analytics.rebuild_rollups()";
            client.execute(all, &[]).await.unwrap();
            let row = client.query_one(BOTH, &[]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1));
        }
    };
    tokio::join!(writing, rebuilding);
    assert_eq!(differences(&tables).await, 0);
    assert_eq!(counted(&tables.client).await, (10_007, 10_007, 10_000));
}

#[tokio::test]
async fn amounts_of_every_size_add_up_as_the_server_adds_them() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    let amounts = [
        "0.0000000000000000000000000001",
        "9999999999999999999999999999",
        "-2.5",
        "0",
        "1",
        "1.10",
        "1234.5678",
    ];
    let mut facts = Vec::new();
    for (name, position) in [
        ("purchase", Some(0)),
        ("view_item_list", Some(-7)),
        ("begin_checkout", Some(5_000)),
        ("view_item", None),
    ] {
        for price in amounts.iter().map(Some).chain([None]) {
            for quantity in amounts.iter().map(Some).chain([None]) {
                let hash = facts.len() as u128;
                let day = format!(
                    "2026-11-{:02}T{}",
                    20 + hash % 3,
                    ["00:00:00Z", "23:59:59.999999Z"][hash as usize % 2]
                );
                let currency = (!hash.is_multiple_of(5)).then(|| format!("CU{}", hash % 20));
                let product = (!hash.is_multiple_of(7)).then(|| format!("SKU-{}", hash % 11));
                let list = (!hash.is_multiple_of(3)).then(|| format!("L{}", hash % 2));
                facts.push(fact(hash, &day, json!({"event_name": name, "price": price, "quantity": quantity, "currency": currency,
                    "product_id": product, "list_id": list, "list_position": position, "item_ordinal": hash % 4})));
            }
        }
    }
    assert_eq!(
        writer
            .write(&batch(0, [envelope(&facts)]))
            .await
            .unwrap()
            .inserted,
        256
    );
    assert_eq!(differences(&tables).await, 0);
    let totals = "SELECT sum(units)::text AS units, sum(revenue)::text AS revenue FROM analytics.event_counts";
    let pending = tables.rows(totals).await;
    fold(&tables).await;
    assert_eq!(differences(&tables).await, 0);
    assert_eq!(tables.rows(totals).await, pending);
    let days = tables
        .rows("SELECT day::text FROM analytics.day_state ORDER BY day")
        .await;
    let days: Vec<&str> = days.iter().filter_map(|row| row["day"].as_str()).collect();
    assert_eq!(
        days,
        [
            "2026-11-19",
            "2026-11-20",
            "2026-11-21",
            "2026-11-22",
            "2026-11-23"
        ]
    );
}

#[tokio::test]
async fn the_sink_folds_what_it_writes() {
    let tables = Tables::new().await;
    let wrote = std::sync::Arc::new(tokio::sync::Notify::new());
    let mut writer = tables.writer(0).telling(std::sync::Arc::clone(&wrote));
    let folding =
        tokio::spawn(postgres_sink::folding::Folding::new(tables.database.clone(), wrote).run());
    writer.write(&batch(0, shopping(0, 50))).await.unwrap();
    assert_eq!(tables.count("analytics.pending").await, 1);
    let folded = async {
        while tables.count("analytics.pending").await > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), folded)
        .await
        .unwrap();
    assert_eq!(counted(&tables.client).await, (50, 50, 50));
    folding.abort();
}

#[tokio::test]
async fn what_runs_with_the_owners_rights_looks_at_temporary_tables_last() {
    let tables = Tables::new().await;
    let open = tables
        .rows(
            "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace IN ('public'::regnamespace, 'analytics'::regnamespace) \
             AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting LIKE 'search%path=%, pg%temp')",
        )
        .await;
    assert!(open.is_empty(), "{open:?}");
}
