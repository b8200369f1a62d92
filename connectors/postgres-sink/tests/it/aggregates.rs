//! The hourly aggregates: which facts open an hour, who stores it, and what a check finds. That their numbers are right is
//! `recomputed`'s to say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::analytics::with_the_day;
use crate::support::{Tables, batch, envelope, fact, shopping};

const OPEN: &str =
    "SELECT to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24') AS hour FROM analytics.open_hours";

async fn run(tables: &Tables, statements: &str) {
    tables.client.batch_execute(statements).await.unwrap();
}

async fn store_all(tables: &Tables) {
    run(tables, "SELECT analytics.refresh(100000, '0')").await;
    assert_eq!(tables.count("analytics.open_hours").await, 0);
}

async fn differences(tables: &Tables) -> Vec<Value> {
    tables.rows("SELECT * FROM analytics.differences()").await
}

async fn write(tables: &Tables, number: i64, facts: &[Value]) {
    let batch = batch(number, [envelope(facts)]);
    assert!(tables.writer(0).write(&batch).await.unwrap().inserted > 0);
}

fn viewed(hash: u128, time: &str) -> Value {
    fact(hash, time, json!({"user_id": "u1", "product_id": "A"}))
}

#[tokio::test]
async fn facts_open_the_hours_of_all_moments_within_half_an_hour() {
    let tables = Tables::new().await;
    for (number, time, opened) in [
        (0_i64, "10:29:59.999999", &["09", "10"][..]),
        (1, "10:30:00", &["10", "11"]),
        (2, "00:00:00", &["23", "00"]),
        (3, "23:59:59.999999", &["23", "24"]),
    ] {
        let hours: Vec<Value> = opened
            .iter()
            .map(|hour| {
                let hour = match (*hour, time) {
                    ("23", "00:00:00") => "2026-11-19 23".to_owned(),
                    ("24", _) => "2026-11-21 00".to_owned(),
                    (hour, _) => format!("2026-11-20 {hour}"),
                };
                json!({ "hour": hour })
            })
            .collect();
        let time = format!("2026-11-20T{time}Z");
        let hash = u128::from(number.unsigned_abs());
        write(&tables, number, &[viewed(hash, &time)]).await;
        assert_eq!(tables.rows(OPEN).await, hours, "{time} written");
        store_all(&tables).await;
        // It is there already: nothing has changed.
        let again = batch(number, [envelope(&[viewed(hash, &time)])]);
        let written = tables.writer(1).write(&again).await.unwrap();
        assert_eq!(written.duplicates, 1);
        assert_eq!(
            tables.count("analytics.open_hours").await,
            0,
            "{time} again"
        );
        for statement in [
            "UPDATE fact_events SET price = 7 WHERE event_time = '$time'",
            "DELETE FROM fact_events WHERE event_time = '$time'",
            "INSERT INTO fact_events (event_time, event_name, item_ordinal, fact_hash, source_topic, source_partition, source_offset) \
             VALUES ('$time', 'view_item', 1, gen_random_uuid(), 'by hand', 0, 0)",
            "DELETE FROM fact_events_y2026m11 WHERE event_time = '$time'",
        ] {
            run(&tables, &statement.replace("$time", &time)).await;
            assert_eq!(tables.rows(OPEN).await, hours, "{time}: {statement}");
            store_all(&tables).await;
        }
    }
    run(
        &tables,
        "INSERT INTO fact_events (event_time, event_name, item_ordinal, fact_hash, source_topic, source_partition, source_offset) \
         SELECT timestamptz '2026-11-20 10:00+00' + n * interval '1 second', 'view_item', 1, gen_random_uuid(), 'by hand', 0, n FROM generate_series(1, 1000) n",
    )
    .await;
    assert_eq!(
        tables.count("analytics.touched_hours").await,
        2,
        "one note for each hour of a statement"
    );
    run(&tables, "TRUNCATE fact_events").await;
    for table in ["touched_hours", "hourly_events", "hourly_delays"] {
        assert_eq!(tables.count(&format!("analytics.{table}")).await, 0);
    }
}

#[tokio::test]
async fn a_check_finds_whatever_is_wrong_and_a_rebuild_mends_it() {
    let tables = with_the_day().await;
    store_all(&tables).await;
    assert_eq!(differences(&tables).await, [] as [Value; 0]);
    let kinds = tables
        .rows("SELECT unnest(analytics.kinds()) AS kind")
        .await;
    assert_eq!(kinds.len(), 8);
    for kind in kinds {
        let table = format!("hourly_{}", kind["kind"].as_str().unwrap());
        let rows = tables.count(&format!("analytics.{table}")).await;
        assert!(rows > 0, "{table} tests nothing");
        run(&tables, &format!("DELETE FROM analytics.{table}")).await;
        let found = differences(&tables).await;
        assert_eq!(
            found,
            [json!({"table_name": table, "day": "2026-11-20", "missing": rows, "superfluous": 0})]
        );
        run(
            &tables,
            "SELECT analytics.touch('2026-11-19', '2026-11-19')",
        )
        .await;
        store_all(&tables).await;
        assert_eq!(differences(&tables).await, found, "another day");
        run(&tables, "SELECT analytics.touch()").await;
        store_all(&tables).await;
        assert_eq!(differences(&tables).await, [] as [Value; 0]);
        run(
            &tables,
            &format!("INSERT INTO analytics.{table} SELECT * FROM analytics.{table}"),
        )
        .await;
        assert_eq!(differences(&tables).await[0]["superfluous"], rows);
        run(&tables, "SELECT analytics.touch()").await;
        store_all(&tables).await;
    }
    // Past the triggers, and a note that somebody deleted.
    run(
        &tables,
        "SET session_replication_role = replica; DELETE FROM fact_events WHERE event_name = 'view_item'; RESET session_replication_role",
    )
    .await;
    assert!(differences(&tables).await.len() >= 4);
    run(
        &tables,
        "SELECT analytics.touch(); SELECT analytics.refresh(100, '0')",
    )
    .await;
    write(&tables, 2, &[viewed(99, "2026-11-25T10:00:00Z")]).await;
    run(&tables, "DELETE FROM analytics.touched_hours").await;
    assert_eq!(differences(&tables).await[0]["day"], "2026-11-25");
}

#[tokio::test]
async fn a_transaction_that_is_in_two_hours_is_known_to_be() {
    let tables = Tables::new().await;
    let sold = |hash, time| {
        let more = json!({"event_name": "purchase", "transaction_id": "T1", "product_id": "A", "price": "2"});
        fact(hash, time, more)
    };
    write(&tables, 0, &[sold(1, "2026-11-02T12:00:00Z")]).await;
    store_all(&tables).await;
    assert_eq!(tables.count("analytics.repeated_transactions").await, 0);
    write(&tables, 1, &[sold(2, "2026-10-31T12:00:00Z")]).await;
    store_all(&tables).await;
    assert_eq!(differences(&tables).await, [] as [Value; 0]);
    run(&tables, "DELETE FROM analytics.repeated_transactions").await;
    assert_eq!(
        differences(&tables).await,
        [
            json!({"table_name": "repeated_transactions", "day": "2026-10-31", "missing": 1, "superfluous": 0})
        ]
    );
}

#[tokio::test]
async fn what_is_dropped_leaves_its_numbers_until_they_are_forgotten() {
    let tables = with_the_day().await;
    let funnel = "SELECT * FROM analytics.daily_funnel()";
    let before = tables.rows(funnel).await;
    run(
        &tables,
        "SELECT analytics.keep_history('2026-11-01', '2026-12-01'); DROP TABLE fact_events_y2026m11",
    )
    .await;
    assert_eq!(tables.rows(funnel).await, before);
    assert_eq!(differences(&tables).await, [] as [Value; 0]);
    // What comes too late for history doesn't overwrite it.
    write(&tables, 2, &[viewed(99, "2026-11-20T10:00:00Z")]).await;
    assert_eq!(tables.rows(funnel).await, before);
    store_all(&tables).await;
    assert_eq!(tables.rows(funnel).await, before);
    run(&tables, "SELECT analytics.touch(forget => true)").await;
    store_all(&tables).await;
    assert_eq!(tables.rows(funnel).await[0]["events"], 1);
    assert_eq!(differences(&tables).await, [] as [Value; 0]);
}

/// Facts of the table, and events by the aggregates, which must be equal at every moment.
async fn counted(client: &tokio_postgres::Client) -> (i64, i64) {
    let both = "SELECT (SELECT count(*) FROM fact_events), \
                (SELECT coalesce(sum(items), 0)::bigint FROM analytics.events('-infinity', 'infinity'))";
    let row = client.query_one(both, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn whoever_stores_meanwhile_the_numbers_are_those_of_the_moment() {
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
    let storing = async || {
        let client = tables.database.connect().await.unwrap();
        while !seen.load(Ordering::Relaxed) {
            let refresh = "SELECT analytics.refresh(100, '0')";
            client.execute(refresh, &[]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let changing = async {
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
            let (facts, items) = counted(&client).await;
            assert_eq!(facts, items);
        }
    };
    tokio::join!(writing, storing(), storing(), changing, asking);
    assert_eq!(differences(&tables).await, [] as [Value; 0]);
    store_all(&tables).await;
    assert_eq!(differences(&tables).await, [] as [Value; 0]);
}

#[tokio::test]
async fn facts_that_are_committed_while_their_hour_is_stored_leave_it_open() {
    let tables = Tables::new().await;
    write(&tables, 0, &[viewed(1, "2026-11-20T10:00:00Z")]).await;
    let mut late = tables.database.connect().await.unwrap();
    let uncommitted = late.transaction().await.unwrap();
    uncommitted
        .batch_execute(
            "INSERT INTO fact_events (event_time, event_name, item_ordinal, fact_hash, source_topic, source_partition, source_offset) \
             VALUES ('2026-11-20 10:00', 'view_item', 1, gen_random_uuid(), 'by hand', 0, 0)",
        )
        .await
        .unwrap();
    store_all(&tables).await;
    uncommitted.commit().await.unwrap();
    assert_eq!(tables.count("analytics.open_hours").await, 2);
    assert_eq!(counted(&tables.client).await, (2, 2));
}

#[tokio::test]
async fn names_and_amounts_of_every_size_are_stored() {
    let tables = Tables::new().await;
    let long: String = (0..9_000).map(|n| format!("{n:x}")).collect();
    let amounts = [
        "0.0000000000000000000000000001",
        "9999999999999999999999999999",
        "-2.5",
        "0",
        "1.10",
    ];
    let mut facts = Vec::new();
    for name in ["purchase", "refund", "view_item_list", long.as_str()] {
        for price in amounts.iter().map(Some).chain([None]) {
            for quantity in amounts.iter().map(Some).chain([None]) {
                let hash = facts.len() as u128;
                let time = format!("2026-11-{:02}T23:59:59.999999Z", 20 + hash % 3);
                facts.push(fact(hash, &time, json!({"event_name": name, "price": price, "quantity": quantity, "currency": format!("CU{}", hash % 20),
                    "product_id": "A", "list_id": "L", "list_position": -7, "item_ordinal": hash % 4, "user_id": long, "platform": long, "transaction_id": long})));
            }
        }
    }
    write(&tables, 0, &facts).await;
    let sold = "SELECT sum(units)::text AS units, sum(revenue)::text AS revenue FROM analytics.order_lines()";
    let open = tables.rows(sold).await;
    store_all(&tables).await;
    assert_eq!(tables.rows(sold).await, open);
    assert_eq!(differences(&tables).await, [] as [Value; 0]);
}

#[tokio::test]
async fn thousands_of_views_by_one_person_of_one_product_are_stored_at_once() {
    let tables = Tables::new().await;
    // What compares each view with each impression would take minutes.
    run(
        &tables,
        "INSERT INTO dim_product (natural_key) VALUES ('id:A'); INSERT INTO dim_list (natural_key, list_id) VALUES ('id:L', 'L');
         INSERT INTO fact_events (event_time, event_name, item_ordinal, fact_hash, user_id, product_key, list_key, source_topic, source_partition, source_offset)
         SELECT timestamptz '2026-11-20 10:00+00' + n * interval '50 ms', CASE n % 2 WHEN 0 THEN 'view_item_list' ELSE 'view_item' END, 1, md5(n::text)::uuid, 'u1',
                (SELECT product_key FROM dim_product), CASE n % 2 WHEN 0 THEN (SELECT list_key FROM dim_list) END, 'by hand', 0, n
         FROM generate_series(0, 59999) n; SET statement_timeout = '60s'",
    )
    .await;
    store_all(&tables).await;
    assert_eq!(
        tables
            .rows("SELECT impressions, engaged, clicks FROM analytics.list_performance()")
            .await,
        [json!({"impressions": 30_000, "engaged": 30_000, "clicks": 30_000})]
    );
}

#[tokio::test]
async fn the_sink_stores_hours_that_have_been_quiet() {
    let tables = Tables::new().await;
    let wrote = std::sync::Arc::new(tokio::sync::Notify::new());
    // Two sinks share the work.
    let refreshing = [(), ()].map(|()| {
        let refreshing = postgres_sink::refreshing::Refreshing::new(
            tables.database.clone(),
            std::sync::Arc::clone(&wrote),
        );
        tokio::spawn(refreshing.run())
    });
    let mut writer = tables.writer(0).telling(std::sync::Arc::clone(&wrote));
    writer.write(&batch(0, shopping(0, 50))).await.unwrap();
    assert!(tables.count("analytics.open_hours").await > 0);
    let stored = async {
        while tables.count("analytics.open_hours").await > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), stored)
        .await
        .unwrap();
    assert_eq!(counted(&tables.client).await, (50, 50));
    for task in refreshing {
        task.abort();
    }
}

#[tokio::test]
async fn settings_are_checked_and_open_what_they_change() {
    let tables = with_the_day().await;
    store_all(&tables).await;
    for wrong in [
        "time_zone => 'Mars/Olympus'",
        "time_zone => 'UTC+3'",
        "session_gap => '0'",
        "session_gap => '9 hours'",
    ] {
        let refused = format!("SELECT analytics.configure({wrong})");
        assert!(
            tables.client.batch_execute(&refused).await.is_err(),
            "{wrong}"
        );
    }
    assert_eq!(tables.count("analytics.open_hours").await, 0);
    run(
        &tables,
        "SELECT analytics.configure(time_zone => 'Pacific/Fiji')",
    )
    .await;
    assert!(tables.count("analytics.open_hours").await > 0);
    let day = "SELECT DISTINCT day FROM analytics.daily_funnel()";
    assert_eq!(tables.rows(day).await, [json!({"day": "2026-11-20"})]);
    store_all(&tables).await;
    run(
        &tables,
        "UPDATE fact_events SET event_time = event_time + interval '1 hour'",
    )
    .await;
    assert_eq!(
        tables.rows(day).await.len(),
        2,
        "eleven in the morning is near midnight there"
    );
    store_all(&tables).await;
    assert_eq!(tables.rows(day).await.len(), 2);

    let sum = "SELECT currency, revenue, reporting_revenue FROM analytics.daily_revenue()";
    assert_eq!(
        tables.rows(sum).await,
        [json!({"currency": "EUR", "revenue": 25, "reporting_revenue": null})]
    );
    run(
        &tables,
        "SELECT analytics.configure(reporting_currency => 'USD');
         INSERT INTO analytics.exchange_rates VALUES ('2026-11-19', 'EUR', 2), ('2026-11-01', 'EUR', 3), ('2026-12-01', 'EUR', 4)",
    )
    .await;
    assert_eq!(
        tables.rows(sum).await,
        [json!({"currency": "EUR", "revenue": 25, "reporting_revenue": 50})]
    );
    // A server that doesn't know the zone is told at the start of the sink.
    run(
        &tables,
        "CREATE OR REPLACE FUNCTION analytics.time_zone() RETURNS text STABLE PARALLEL SAFE RETURN 'Mars/Olympus'",
    )
    .await;
    let troubles = postgres_sink::schema::troubles(&tables.client)
        .await
        .unwrap();
    assert!(
        troubles.iter().any(|t| t.contains("`Mars/Olympus`")),
        "{troubles:?}"
    );
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
