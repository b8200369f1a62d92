//! The hourly aggregates: the facts that open an hour, storing hours, and checks. `recomputed`
//! verifies their numbers.

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
        // It is stored already: nothing changes.
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
            "INSERT INTO fact_events (event_time, event_name, item_ordinal, fact_hash, \
             source_topic, source_partition, source_offset) \
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
        "INSERT INTO fact_events (event_time, event_name, item_ordinal, fact_hash, source_topic, \
         source_partition, source_offset) \
         SELECT timestamptz '2026-11-20 10:00+00' + n * interval '1 second', 'view_item', 1, \
         gen_random_uuid(), 'by hand', 0, n FROM generate_series(1, 1000) n",
    )
    .await;
    assert_eq!(
        tables.count("analytics.touched_hours").await,
        2,
        "one note for each hour of a statement"
    );
    run(&tables, "TRUNCATE fact_events").await;
    for table in ["touched_hours", "hourly_events", "hourly_product_views"] {
        assert_eq!(tables.count(&format!("analytics.{table}")).await, 0);
    }
}

#[tokio::test]
async fn a_check_finds_whatever_is_wrong_and_a_rebuild_mends_it() {
    let tables = with_the_day().await;
    store_all(&tables).await;
    assert_eq!(differences(&tables).await, [] as [Value; 0]);
    let kinds = tables
        .rows(
            "SELECT 'hourly_' || kind AS stored FROM unnest(analytics.hour_kinds()) AS kind \
             UNION ALL SELECT 'day_' || kind FROM unnest(analytics.day_kinds() || 'reach'::text) \
             AS kind",
        )
        .await;
    assert_eq!(kinds.len(), 22);
    for kind in kinds {
        let table = kind["stored"].as_str().unwrap();
        let rows = tables.count(&format!("analytics.{table}")).await;
        assert!(rows > 0, "{table} tests nothing");
        run(
            &tables,
            &format!(
                "CREATE TABLE aside AS TABLE analytics.{table}; DELETE FROM analytics.{table}"
            ),
        )
        .await;
        // Days are compared with the hours, so they differ if an hour does.
        let missing =
            json!({"table_name": table, "day": "2026-11-20", "missing": rows, "superfluous": 0});
        let found = differences(&tables).await;
        assert!(found.contains(&missing), "{found:?}");
        run(
            &tables,
            "SELECT analytics.touch('2026-11-18', '2026-11-18')",
        )
        .await;
        store_all(&tables).await;
        assert_eq!(differences(&tables).await, found, "another day");
        run(&tables, "SELECT analytics.touch()").await;
        store_all(&tables).await;
        assert_eq!(differences(&tables).await, [] as [Value; 0]);
        let changed = if table == "day_reach" {
            "UPDATE analytics.day_reach SET before = day - 1".to_owned()
        } else {
            format!("INSERT INTO analytics.{table} TABLE aside")
        };
        run(&tables, &format!("{changed}; DROP TABLE aside")).await;
        let found = differences(&tables).await;
        let superfluous = |row: &Value| row["table_name"] == table && row["superfluous"] == rows;
        assert!(found.iter().any(superfluous), "{found:?}");
        run(&tables, "SELECT analytics.touch()").await;
        store_all(&tables).await;
    }
    // Bypasses the triggers, and deletes a note.
    run(
        &tables,
        "SET session_replication_role = replica; DELETE FROM fact_events WHERE event_name = \
         'view_item'; RESET session_replication_role",
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
        let more = json!({"event_name": "purchase", "transaction_id": "T1", "product_id": "A",
            "price": "2"});
        fact(hash, time, more)
    };
    write(&tables, 0, &[sold(1, "2026-11-02T12:00:00Z")]).await;
    store_all(&tables).await;
    assert_eq!(tables.count("analytics.repeated_transactions").await, 0);
    write(&tables, 1, &[sold(2, "2026-10-31T12:00:00Z")]).await;
    store_all(&tables).await;
    assert_eq!(differences(&tables).await, [] as [Value; 0]);
    run(&tables, "DELETE FROM analytics.repeated_transactions").await;
    // Orders of days are computed with it, so they differ as well.
    let missing = json!({"table_name": "repeated_transactions", "day": "2026-10-31", "missing": 1,
        "superfluous": 0});
    let found = differences(&tables).await;
    assert!(found.contains(&missing), "{found:?}");
}

#[tokio::test]
async fn what_is_dropped_leaves_its_numbers_until_they_are_forgotten() {
    let tables = with_the_day().await;
    let funnel = "SELECT * FROM analytics.daily_funnel()";
    let before = tables.rows(funnel).await;
    run(
        &tables,
        "SELECT analytics.keep_history('2026-11-01', '2026-12-01'); DROP TABLE \
         fact_events_y2026m11",
    )
    .await;
    assert_eq!(tables.rows(funnel).await, before);
    assert_eq!(differences(&tables).await, [] as [Value; 0]);
    // A fact that is too late for history doesn't overwrite it.
    write(&tables, 2, &[viewed(99, "2026-11-20T10:00:00Z")]).await;
    assert_eq!(tables.rows(funnel).await, before);
    store_all(&tables).await;
    assert_eq!(tables.rows(funnel).await, before);
    run(&tables, "SELECT analytics.touch(forget => true)").await;
    store_all(&tables).await;
    assert_eq!(tables.rows(funnel).await[0]["events"], 1);
    assert_eq!(differences(&tables).await, [] as [Value; 0]);
}

/// The numbers of facts in the table and in the aggregates, which must be equal at every moment.
async fn counted(client: &tokio_postgres::Client) -> (i64, i64) {
    let both = "SELECT (SELECT count(*) FROM fact_events), \
                (SELECT coalesce(sum(items), 0)::bigint FROM analytics.events('-infinity', \
                'infinity'))";
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
            let some = "DELETE FROM fact_events WHERE fact_hash IN (SELECT fact_hash FROM \
                        fact_events ORDER BY random() LIMIT 9)";
            client.execute(some, &[]).await.unwrap();
            let others = "UPDATE fact_events SET event_time = event_time + interval '40 days' + \
                          random() * interval '1 second' \
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
            "INSERT INTO fact_events (event_time, event_name, item_ordinal, fact_hash, \
             source_topic, source_partition, source_offset) \
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
    let long = fact_model::cut_text(&long, fact_model::MAX_TEXT).unwrap();
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
                facts.push(fact(
                    hash,
                    &time,
                    json!({"event_name": name, "price": price,
                    "quantity": quantity, "currency": format!("CU{}", hash % 20),
                    "product_id": "A", "list_id": "L", "list_position": -7,
                        "item_ordinal": hash % 4, "user_id": long, "platform": long,
                            "transaction_id": long}),
                ));
            }
        }
    }
    write(&tables, 0, &facts).await;
    let sold = "SELECT sum(units)::text AS units, sum(revenue)::text AS revenue FROM \
                analytics.order_lines()";
    let open = tables.rows(sold).await;
    store_all(&tables).await;
    assert_eq!(tables.rows(sold).await, open);
    assert_eq!(differences(&tables).await, [] as [Value; 0]);
}

#[tokio::test]
async fn thousands_of_views_by_one_person_of_one_product_are_stored_at_once() {
    let tables = Tables::new().await;
    // A query that compares each view with each impression would take minutes.
    run(
        &tables,
        "INSERT INTO dim_product (natural_key) VALUES ('id:A'); INSERT INTO dim_list (natural_key, \
         list_id) VALUES ('id:L', 'L');
         INSERT INTO fact_events (event_time, event_name, item_ordinal, fact_hash, user_id, \
         product_key, list_key, source_topic, source_partition, source_offset)
         SELECT timestamptz '2026-11-20 10:00+00' + n * interval '50 ms', CASE n % 2 WHEN 0 THEN \
         'view_item_list' ELSE 'view_item' END, 1, md5(n::text)::uuid, 'u1',
                (SELECT product_key FROM dim_product), CASE n % 2 WHEN 0 THEN (SELECT list_key \
                FROM dim_list) END, 'by hand', 0, n
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
async fn the_age_of_the_aggregates_is_that_of_the_first_change_that_is_due() {
    let tables = Tables::new().await;
    let age = async || {
        let state = warehouse::refresh::state(&tables.client).await.unwrap();
        state.age.as_secs()
    };
    assert_eq!(age().await, 0);
    write(&tables, 0, &[viewed(1, "2026-11-20T12:00:00Z")]).await;
    write(&tables, 1, &[viewed(2, "2026-11-20T18:00:00Z")]).await;
    // Nothing is due yet.
    assert_eq!(age().await, 0);
    let hour = "hour = '2026-11-20 12:00+00'";
    let long_ago = "noted_at = now() - interval '2 hours'";
    run(
        &tables,
        &format!("UPDATE analytics.touched_hours SET {long_ago} WHERE {hour}"),
    )
    .await;
    assert!((7_190..7_300).contains(&age().await), "{}", age().await);
    // A later change of the hour lets it wait again.
    write(&tables, 2, &[viewed(3, "2026-11-20T12:01:00Z")]).await;
    assert_eq!(age().await, 0);

    run(
        &tables,
        &format!("UPDATE analytics.touched_hours SET {long_ago}"),
    )
    .await;
    run(&tables, "SELECT * FROM analytics.refresh(1000, '1 hour')").await;
    assert_eq!(tables.count("analytics.open_hours").await, 0);
    // The hours are stored, and their day is due in five minutes.
    assert_eq!(age().await, 0);
    run(&tables, &format!("UPDATE analytics.days SET {long_ago}")).await;
    assert!((6_900..7_000).contains(&age().await), "{}", age().await);
    store_all(&tables).await;
    assert_eq!(age().await, 0);
}

#[tokio::test]
async fn an_order_of_a_warehouse_and_a_person_of_thousands_of_orders_are_compared_at_once() {
    let tables = Tables::new().await;
    // Each product with each other, or each order with each click and session, would take minutes.
    run(
        &tables,
        "INSERT INTO dim_product (natural_key) SELECT 'id:' || n FROM generate_series(1, 20000) n;
         INSERT INTO fact_events (event_time, event_name, item_ordinal, fact_hash, user_id, \
         session_id, product_key, promotion_id, transaction_id, price, source_topic, \
         source_partition, source_offset)
         SELECT timestamptz '2026-11-20 10:00+00' + n * interval '100 ms', name, 1, \
         md5(n || name)::uuid, 'u1', n::text, (SELECT min(product_key) FROM dim_product), \
         CASE name WHEN 'select_promotion' THEN 'sale' END, \
         CASE name WHEN 'purchase' THEN 'T' || n END, 1, 'by hand', 0, n
         FROM generate_series(1, 15000) n, unnest(ARRAY['select_promotion', 'purchase']) name;
         INSERT INTO fact_events (event_time, event_name, item_ordinal, fact_hash, user_id, \
         product_key, transaction_id, price, source_topic, source_partition, source_offset)
         SELECT '2026-11-21 10:00+00', 'purchase', n, md5('order' || n)::uuid, 'u2', product_key, \
         'large', 1, 'by hand', 0, n
         FROM (SELECT product_key, row_number() OVER () AS n FROM dim_product) p;
         SET statement_timeout = '60s'",
    )
    .await;
    for when in ["open", "stored"] {
        let promotions = "SELECT purchases FROM analytics.promotions()";
        let purchases = json!({"purchases": 15_000});
        assert_eq!(tables.rows(promotions).await, [purchases], "{when}");
        let pairs = "SELECT * FROM analytics.product_pairs(min_orders => 1)";
        assert_eq!(tables.rows(pairs).await, [] as [Value; 0], "{when}");
        let times = "SELECT measured FROM analytics.time_to_purchase('all') \
                     WHERE counted_from = 'session_start'";
        let measured = json!({"measured": 15_001});
        assert_eq!(tables.rows(times).await, [measured], "{when}");
        store_all(&tables).await;
    }
}

#[tokio::test]
async fn an_hour_that_cannot_be_stored_is_set_aside() {
    let tables = Tables::new().await;
    write(&tables, 0, &[viewed(1, "2026-11-20T10:00:00Z")]).await;
    write(&tables, 1, &[viewed(2, "2026-11-20T15:00:00Z")]).await;
    let state = "SELECT open_hours, failed, age > '0' AS is_late, error LIKE '%full%' AS says_why \
                 FROM analytics.refresh_state()";
    run(
        &tables,
        "ALTER TABLE analytics.hourly_product_views ADD CONSTRAINT full_disk \
         CHECK (hour <> '2026-11-20 10:00+00') NOT VALID;
         SELECT analytics.refresh(100, '0')",
    )
    .await;
    run(&tables, "SELECT analytics.refresh(100, '0')").await;
    let failing = json!({"open_hours": 1, "failed": 1, "is_late": true, "says_why": true});
    assert_eq!(tables.rows(state).await, [failing]);
    let stored = tables.count("analytics.hourly_product_views").await;
    assert_eq!(stored, 1, "the other hours are stored");
    assert_eq!(counted(&tables.client).await, (2, 2));
    // It is tried again later, or when somebody asks for it.
    run(
        &tables,
        "ALTER TABLE analytics.hourly_product_views DROP CONSTRAINT full_disk;
         SELECT analytics.refresh(100, '0')",
    )
    .await;
    assert_eq!(tables.count("analytics.open_hours").await, 1);
    run(&tables, "SELECT analytics.touch()").await;
    store_all(&tables).await;
    let fine = json!({"open_hours": 0, "failed": 0, "is_late": false, "says_why": null});
    assert_eq!(tables.rows(state).await, [fine]);
    assert_eq!(differences(&tables).await, [] as [Value; 0]);
}

#[tokio::test]
async fn the_sink_stores_hours_that_have_been_quiet() {
    let tables = Tables::new().await;
    let wrote = std::sync::Arc::new(tokio::sync::Notify::new());
    // Two sinks share the work.
    let refreshing = [(), ()].map(|()| {
        let refreshing = warehouse::refresh::Refresher::new(
            tables.database.clone(),
            std::sync::Arc::clone(&wrote),
        );
        tokio::spawn(refreshing.run(|_| {}))
    });
    let mut writer = tables.writer(0).notifying(std::sync::Arc::clone(&wrote));
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
         INSERT INTO analytics.exchange_rates VALUES ('2026-11-19', 'EUR', 2), ('2026-11-01', \
         'EUR', 3), ('2026-12-01', 'EUR', 4)",
    )
    .await;
    assert_eq!(
        tables.rows(sum).await,
        [json!({"currency": "EUR", "revenue": 25, "reporting_revenue": 50})]
    );
    // The sink reports at its start that the server doesn't know the zone.
    run(
        &tables,
        "CREATE OR REPLACE FUNCTION analytics.time_zone() RETURNS text STABLE PARALLEL SAFE RETURN \
         'Mars/Olympus'",
    )
    .await;
    let troubles = warehouse::schema::problems(&tables.client).await.unwrap();
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
            "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace IN \
             ('public'::regnamespace, 'analytics'::regnamespace) \
             AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting LIKE \
             'search%path=%, pg%temp')",
        )
        .await;
    assert!(open.is_empty(), "{open:?}");
}
