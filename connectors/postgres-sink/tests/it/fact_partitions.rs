//! The partitions of the fact table.

use std::time::Duration;

use crate::support::{Tables, batch, deliver, envelope, fact, shopping};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use connector_common::Stop;
use serde_json::{Value, json};
use warehouse::fact_partitions::FactPartitions;

/// Far longer than a write takes that waits for nobody.
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn months_get_partitions_and_broken_clocks_do_not() {
    let tables = Tables::new().await;
    let month = |ahead: i32| -> DateTime<Utc> {
        let now = Utc::now();
        let count = chrono::Months::new(ahead.unsigned_abs());
        if ahead < 0 {
            now.checked_sub_months(count).unwrap()
        } else {
            now.checked_add_months(count).unwrap()
        }
    };
    let at = |time: DateTime<Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let within = [-24, -1, 0, 2].map(month);
    let far = [
        "2000-01-01T00:00:00Z".to_owned(),
        at(month(-25)),
        at(month(3)),
        "2099-12-31T23:59:59.999999Z".to_owned(),
    ];
    let times: Vec<String> = within.into_iter().map(at).chain(far).collect();
    let facts: Vec<Value> = times
        .iter()
        .enumerate()
        .map(|(number, time)| fact(number as u128, time, json!({})))
        .collect();
    tables
        .writer(0)
        .write(&batch(0, [envelope(&facts)]))
        .await
        .unwrap();
    assert_eq!(
        (
            tables.count("fact_events").await,
            tables.count("fact_events_default").await
        ),
        (8, 4)
    );
    for time in within {
        assert_eq!(
            tables
                .count(&format!("fact_events_y{}", time.format("%Ym%m")))
                .await,
            1
        );
    }
    let partitions = "SELECT 1 FROM pg_inherits WHERE inhparent = 'fact_events'::regclass";
    let made = tables.rows(partitions).await.len();
    assert_eq!(
        made, 6,
        "the default one, four months with facts, and the next month ahead"
    );

    // A month later, the month that was too far ahead gets a partition, and its facts move there.
    let mut lease = tables.database.lease().await.unwrap();
    let facts_there = [month(3).timestamp_micros()];
    FactPartitions::default()
        .create(&mut lease, facts_there.into_iter(), month(1))
        .await
        .unwrap();
    assert_eq!(
        (
            tables.count("fact_events").await,
            tables.count("fact_events_default").await
        ),
        (8, 3)
    );
    assert_eq!(
        tables
            .count(&format!("fact_events_y{}", month(3).format("%Ym%m")))
            .await,
        1
    );
}

/// Writes facts of `count` events, for which a locked partition gives no reason to wait.
async fn write_promptly(tables: &Tables, from: i64, values: Vec<Bytes>) {
    let count = values.len() as u64;
    let mut writer = tables.writer(0);
    let (stop, _trigger) = Stop::manual();
    let writing = deliver(&mut writer, batch(from, values), &stop);
    let written = tokio::time::timeout(LIMIT, writing).await;
    let written = written.expect("facts wait for a partition").unwrap();
    assert_eq!(written.inserted, count);
}

#[tokio::test]
async fn facts_of_a_new_month_do_not_wait_for_a_long_query() {
    let tables = Tables::new().await;
    let mut report = tables.database.connect().await.unwrap();
    let long_query = report.transaction().await.unwrap();
    long_query
        .query("SELECT count(*) FROM fact_events", &[])
        .await
        .unwrap();
    write_promptly(&tables, 0, shopping(0, 10)).await;
    assert_eq!(tables.count("fact_events_default").await, 10);
    long_query.commit().await.unwrap();
    // That writer would try again in a minute, a new one tries at once.
    write_promptly(&tables, 10, shopping(10, 10)).await;
    assert_eq!(tables.count("fact_events").await, 20);
    assert_eq!(
        tables.count("fact_events_default").await,
        0,
        "the facts are in their month"
    );
}

#[tokio::test]
async fn the_month_ahead_is_not_in_the_way_of_a_write_during_a_dump() {
    let tables = Tables::new().await;
    let now = Utc::now();
    let make = "SELECT etl_make_partition(now()::date)";
    tables.client.batch_execute(make).await.unwrap();
    let facts = |from: u128| -> Vec<Bytes> {
        let fact = |hash| envelope(&[fact(hash, &now.to_rfc3339(), json!({}))]);
        (from..from + 10).map(fact).collect()
    };
    let mut dump = tables.database.connect().await.unwrap();
    let dumping = dump.transaction().await.unwrap();
    dumping
        .batch_execute("LOCK TABLE fact_events_default IN ACCESS SHARE MODE")
        .await
        .unwrap();
    write_promptly(&tables, 0, facts(0)).await;
    let ahead = now.checked_add_months(chrono::Months::new(1)).unwrap();
    let ahead = ahead.format("%Ym%m");
    let is_there = format!("SELECT to_regclass('fact_events_y{ahead}') IS NOT NULL AS is_there");
    assert_eq!(tables.rows(&is_there).await, [json!({"is_there": false})]);
    dumping.commit().await.unwrap();
    write_promptly(&tables, 10, facts(10)).await;
    assert_eq!(tables.rows(&is_there).await, [json!({"is_there": true})]);
    assert_eq!(tables.count("fact_events_default").await, 0);
}

/// Returns once a session waits for the fact table or one of its partitions.
async fn a_wait_for_the_facts(tables: &Tables) {
    let waiting = "SELECT 1 FROM pg_locks WHERE NOT granted \
                   AND relation::regclass::text LIKE 'fact_events%'";
    while tables.rows(waiting).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// PostgreSQL has chosen the default partition for the fact by then, and refuses the row with the
/// SQLSTATE of a CHECK.
#[tokio::test]
async fn a_fact_that_waits_while_its_partition_is_attached_is_not_rejected() {
    let tables = Tables::new().await;
    let mut other = tables.database.connect().await.unwrap();
    let attaching = other.transaction().await.unwrap();
    let attach = "SELECT etl_make_partition(now()::date)";
    attaching.batch_execute(attach).await.unwrap();
    let now = Utc::now().to_rfc3339();
    let writing = write_promptly(&tables, 0, vec![envelope(&[fact(1, &now, json!({}))])]);
    let committing = async {
        a_wait_for_the_facts(&tables).await;
        attaching.commit().await.unwrap();
    };
    tokio::join!(writing, committing);
    for (table, rows) in [
        ("fact_events", 1),
        ("fact_events_default", 0),
        ("rejected_events", 0),
    ] {
        assert_eq!(tables.count(table).await, rows, "{table}");
    }
}

/// PostgreSQL has chosen the partitions to read by then, and the new one is not among them.
#[tokio::test]
async fn who_waits_to_read_while_facts_are_moved_finds_them() {
    let tables = Tables::new().await;
    let now = Utc::now().to_rfc3339();
    tables
        .client
        .execute(
            "INSERT INTO fact_events (event_time, event_name, item_ordinal, fact_hash, \
             source_topic, source_partition, source_offset) \
             VALUES ($1::text::timestamptz, 'view_item', 1, gen_random_uuid(), 'by hand', 0, 0)",
            &[&now],
        )
        .await
        .unwrap();
    assert_eq!(tables.count("fact_events_default").await, 1);
    let mut other = tables.database.connect().await.unwrap();
    let moving = other.transaction().await.unwrap();
    let make = "SELECT etl_make_partition(now()::date)";
    moving.batch_execute(make).await.unwrap();
    let reader = tables.database.connect().await.unwrap();
    let reading = async {
        let count = "SELECT count(*) FROM fact_events";
        reader.query_one(count, &[]).await.unwrap().get::<_, i64>(0)
    };
    let committing = async {
        a_wait_for_the_facts(&tables).await;
        moving.commit().await.unwrap();
    };
    let (found, ()) = tokio::join!(reading, committing);
    assert_eq!(found, 1);
    assert_eq!(tables.count("fact_events_default").await, 0);
}

#[tokio::test]
async fn months_are_dropped_detached_and_moved_out_of_the_default_one() {
    let tables = Tables::new().await;
    let at = |ago: u32| -> DateTime<Utc> {
        let now = Utc::now();
        now.checked_sub_months(chrono::Months::new(ago)).unwrap()
    };
    let name = |ago: u32| format!("fact_events_y{}", at(ago).format("%Ym%m"));
    let facts: Vec<Value> = [0, 1, 15, 20, 40, 40]
        .into_iter()
        .zip(0..)
        .map(|(ago, hash)| {
            let time = at(ago).to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
            fact(hash, &time, json!({}))
        })
        .chain([fact(99, "2001-09-09T01:46:40Z", json!({}))])
        .collect();
    let mut writer = tables.writer(0);
    writer.write(&batch(0, [envelope(&facts)])).await.unwrap();
    assert_eq!(tables.count("fact_events_default").await, 3);

    let moved = "SELECT * FROM etl_empty_default((now() - interval '10 years')::date, now()::date)";
    assert_eq!(
        tables.rows(moved).await,
        [json!({"name": name(40), "moved": 2})]
    );
    assert_eq!(tables.rows(moved).await, [] as [Value; 0]);
    assert_eq!(tables.count("fact_events_default").await, 1);
    assert_eq!(tables.count("fact_events").await, 7);

    let retired = async |age: &str, drops: bool| {
        let query = format!("SELECT etl_retire_partitions('{age}', {drops}) AS name");
        let rows = tables.rows(&query).await;
        let names = rows
            .iter()
            .map(|row| row["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(retired("30 months", true).await, [name(40)]);
    assert_eq!(retired("13 months", false).await, [name(20), name(15)]);
    assert_eq!(tables.count("fact_events").await, 3);
    assert_eq!(
        tables.count(&name(15)).await,
        1,
        "what is detached is still there"
    );
    let too_young = tables
        .client
        .batch_execute("SELECT etl_retire_partitions('3 days', true)")
        .await;
    assert!(too_young.is_err());
    // A fact of a month that was detached goes to the default partition, one of a dropped month to
    // a new one.
    let late = fact(200, &at(15).to_rfc3339(), json!({}));
    writer.write(&batch(1, [envelope(&[late])])).await.unwrap();
    assert_eq!(tables.count("fact_events_default").await, 2);
    let listed = tables.rows("SELECT name FROM etl_partitions()").await;
    assert!(
        listed.contains(&json!({"name": "fact_events_default"})),
        "{listed:?}"
    );
}

#[tokio::test]
async fn partitions_can_hold_a_day_each() {
    let tables = Tables::new().await;
    let now = Utc::now();
    let (today, month) = (now.format("%Ym%md%d"), now.format("%Ym%m"));
    tables
        .client
        .batch_execute("SELECT etl_partition_by('day')")
        .await
        .unwrap();
    let at = now.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let mut writer = tables.writer(0);
    writer
        .write(&batch(0, [envelope(&[fact(1, &at, json!({}))])]))
        .await
        .unwrap();
    assert_eq!(tables.count(&format!("fact_events_y{today}")).await, 1);
    // A month with partitions for days gets more of them.
    tables
        .client
        .batch_execute("SELECT etl_partition_by('month')")
        .await
        .unwrap();
    let first = now.format("%Y-%m-01T00:00:00Z").to_string();
    let far = now.checked_sub_months(chrono::Months::new(3)).unwrap();
    let far_at = far.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let facts = [fact(2, &first, json!({})), fact(3, &far_at, json!({}))];
    tables
        .writer(0)
        .write(&batch(1, [envelope(&facts)]))
        .await
        .unwrap();
    assert_eq!(tables.count("fact_events_default").await, 0);
    assert_eq!(
        tables
            .count(&format!("fact_events_y{}", far.format("%Ym%m")))
            .await,
        1
    );
    let whole = format!("SELECT to_regclass('fact_events_y{month}') IS NULL AS is_split");
    assert_eq!(tables.rows(&whole).await, [json!({"is_split": true})]);
    assert!(
        tables
            .client
            .batch_execute("SELECT etl_partition_by('week')")
            .await
            .is_err()
    );
}
