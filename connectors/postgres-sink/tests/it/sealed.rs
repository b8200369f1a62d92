//! Sealed days: what of a day depends on its neighbours, and which facts open it again.

use serde_json::{Value, json};

use crate::support::{Tables, batch, envelope, fact};

const ENGAGEMENT: &str = "SELECT impressions, engaged, viewers, engaged_viewers FROM analytics.list_engagement('2026-11-20', '2026-11-20')";
const LATENESS: &str = "SELECT * FROM analytics.lateness('2026-11-20', '2026-11-20')";
const OPEN: &str = "SELECT day FROM analytics.days('-infinity', 'infinity') WHERE NOT is_sealed";

async fn run(tables: &Tables, statement: &str) {
    tables.client.batch_execute(statement).await.unwrap();
}

/// Also days that are not over yet.
async fn seal(tables: &Tables) {
    run(tables, "SELECT analytics.fold()").await;
    run(
        tables,
        "SELECT analytics.seal_day(day) FROM analytics.days('-infinity', 'infinity') WHERE NOT is_sealed",
    )
    .await;
    assert!(tables.rows(OPEN).await.is_empty());
}

async fn write(tables: &Tables, number: i64, facts: &[Value]) {
    let batch = batch(number, [envelope(facts)]);
    assert!(tables.writer(0).write(&batch).await.unwrap().inserted > 0);
}

fn said(hash: u128, time: &str, name: &str, user: &str) -> Value {
    let mut more = json!({"event_name": name, "user_id": user, "product_id": "A"});
    if name == "view_item_list" {
        more["list_id"] = json!("home");
    }
    fact(hash, time, more)
}

#[tokio::test]
async fn an_impression_is_engaged_within_half_an_hour_also_past_midnight() {
    let tables = Tables::new().await;
    let facts = [
        // Both ends of the half hour count.
        said(1, "2026-11-20T23:50:00Z", "view_item_list", "u1"),
        said(2, "2026-11-21T00:20:00Z", "view_item", "u1"),
        said(3, "2026-11-20T12:00:00Z", "view_item_list", "u2"),
        said(4, "2026-11-20T12:00:00Z", "select_item", "u2"),
        // Too late, and too early.
        said(5, "2026-11-20T23:50:00Z", "view_item_list", "u3"),
        said(6, "2026-11-21T00:20:00.000001Z", "purchase", "u3"),
        said(7, "2026-11-20T11:59:59Z", "begin_checkout", "u4"),
        said(8, "2026-11-20T12:00:00Z", "view_item_list", "u4"),
        // Shown twice, and gone on with after the second time only.
        said(9, "2026-11-20T10:00:00Z", "view_item_list", "u2"),
    ];
    write(&tables, 0, &facts).await;
    let expected = [json!({"impressions": 5, "engaged": 2, "viewers": 4, "engaged_viewers": 2})];
    assert_eq!(tables.rows(ENGAGEMENT).await, expected);
    seal(&tables).await;
    assert_eq!(tables.rows(ENGAGEMENT).await, expected);
    assert_eq!(
        tables
            .count("analytics.list_engagement('2026-11-21')")
            .await,
        0
    );

    // What comes for the next day changes the impressions of this one: before it is folded, after, and when it is gone.
    let late = said(10, "2026-11-21T00:10:00Z", "add_to_cart", "u3");
    write(&tables, 1, &[late]).await;
    let with_it = [json!({"impressions": 5, "engaged": 3, "viewers": 4, "engaged_viewers": 3})];
    assert_eq!(tables.rows(ENGAGEMENT).await, with_it);
    run(&tables, "SELECT analytics.fold()").await;
    assert_eq!(tables.rows(ENGAGEMENT).await, with_it);
    seal(&tables).await;
    assert_eq!(tables.rows(ENGAGEMENT).await, with_it);
    run(
        &tables,
        "DELETE FROM fact_events WHERE event_name = 'add_to_cart'",
    )
    .await;
    assert_eq!(tables.rows(ENGAGEMENT).await, expected);
    run(&tables, "SELECT analytics.fold()").await;
    assert_eq!(tables.rows(ENGAGEMENT).await, expected);
}

/// Whom the list had and engaged from 18, 19, 21 November and 1 October on, before sealing and after.
async fn counts_people_once(tables: &Tables, expected: [[i64; 2]; 4]) {
    let steps = [
        "written",
        "folded",
        "a day in between sealed",
        "all but the last sealed",
        "sealed",
    ];
    for step in steps {
        match step {
            "folded" => run(tables, "SELECT analytics.fold()").await,
            "a day in between sealed" => {
                run(tables, "SELECT analytics.seal_day('2026-11-19')").await
            }
            "all but the last sealed" => {
                let before = "SELECT analytics.seal_day(day) FROM analytics.days('-infinity', '2026-11-21') WHERE NOT is_sealed";
                run(tables, before).await;
            }
            "sealed" => seal(tables).await,
            _ => {}
        }
        let starts = ["2026-11-18", "2026-11-19", "2026-11-21", "2026-10-01"];
        for (from, [viewers, engaged]) in starts.iter().zip(expected) {
            let people = format!(
                "SELECT viewers, engaged_viewers FROM analytics.list_engagement('{from}', '2026-11-22')"
            );
            assert_eq!(
                tables.rows(&people).await,
                [json!({"viewers": viewers, "engaged_viewers": engaged})],
                "from {from}, {step}"
            );
        }
    }
}

#[tokio::test]
async fn people_of_several_days_are_counted_once() {
    let tables = Tables::new().await;
    let facts = [
        // More days before than are looked back.
        said(1, "2026-10-01T12:00:00Z", "view_item_list", "u1"),
        said(2, "2026-11-18T12:00:00Z", "view_item_list", "u1"),
        said(3, "2026-11-18T12:01:00Z", "view_item", "u1"),
        said(4, "2026-11-20T12:00:00Z", "view_item_list", "u1"),
        said(5, "2026-11-20T12:01:00Z", "select_item", "u1"),
        said(6, "2026-11-20T12:00:00Z", "view_item_list", "u2"),
        said(7, "2026-11-22T12:00:00Z", "view_item_list", "u2"),
        said(8, "2026-11-22T12:01:00Z", "view_item", "u2"),
    ];
    write(&tables, 0, &facts).await;
    counts_people_once(&tables, [[2, 2], [2, 2], [1, 1], [2, 2]]).await;

    let late = [
        said(9, "2026-11-18T12:00:00Z", "view_item_list", "u2"),
        said(10, "2026-11-19T12:00:00Z", "view_item_list", "u3"),
    ];
    write(&tables, 1, &late).await;
    counts_people_once(&tables, [[3, 2], [3, 2], [1, 1], [3, 2]]).await;

    run(
        &tables,
        "DELETE FROM fact_events WHERE event_time >= '2026-11-20' AND event_time < '2026-11-21'",
    )
    .await;
    counts_people_once(&tables, [[3, 2], [2, 1], [1, 1], [3, 2]]).await;
    // Shown as often, but u1 goes on with nothing any more.
    run(
        &tables,
        "DELETE FROM fact_events WHERE event_name = 'view_item' AND event_time < '2026-11-19'",
    )
    .await;
    counts_people_once(&tables, [[3, 1], [2, 1], [1, 1], [3, 1]]).await;
}

#[tokio::test]
async fn facts_open_their_day_and_those_near_midnight_its_neighbour() {
    let tables = Tables::new().await;
    let days =
        [19, 20, 21].map(|day| said(day, &format!("2026-11-{day}T12:00:00Z"), "view_item", "u1"));
    write(&tables, 0, &days).await;
    seal(&tables).await;
    for (number, time, opened) in [
        (1, "00:29:59.999999", &["2026-11-19", "2026-11-20"][..]),
        (2, "00:30:00", &["2026-11-20"]),
        (3, "23:29:59.999999", &["2026-11-20"]),
        (4, "23:30:00", &["2026-11-20", "2026-11-21"]),
    ] {
        let opened: Vec<Value> = opened.iter().map(|day| json!({ "day": day })).collect();
        let time = format!("2026-11-20T{time}Z");
        write(
            &tables,
            number,
            &[said(
                1_000 + u128::from(number.unsigned_abs()),
                &time,
                "view_item",
                "u1",
            )],
        )
        .await;
        assert_eq!(tables.rows(OPEN).await, opened, "{time} written");
        run(&tables, "SELECT analytics.fold()").await;
        assert_eq!(tables.rows(OPEN).await, opened, "{time} folded");
        seal(&tables).await;
        run(
            &tables,
            &format!("DELETE FROM fact_events WHERE event_time = '{time}'"),
        )
        .await;
        assert_eq!(tables.rows(OPEN).await, opened, "{time} deleted");
        run(&tables, "SELECT analytics.fold()").await;
        assert_eq!(tables.rows(OPEN).await, opened, "{time} deleted and folded");
        seal(&tables).await;
    }
}

#[tokio::test]
async fn a_rebuild_opens_days_that_lost_their_facts_past_the_triggers() {
    let tables = Tables::new().await;
    let days =
        [19, 20].map(|day| said(day, &format!("2026-11-{day}T12:00:00Z"), "view_item", "u1"));
    write(&tables, 0, &days).await;
    seal(&tables).await;
    let past_the_triggers = "SET session_replication_role = replica; \
                             DELETE FROM fact_events WHERE event_time > '2026-11-20'; \
                             RESET session_replication_role";
    run(&tables, past_the_triggers).await;
    assert!(tables.rows(OPEN).await.is_empty());
    run(&tables, "SELECT analytics.rebuild_rollups('2026-11-20')").await;
    assert!(
        tables
            .rows(OPEN)
            .await
            .contains(&json!({"day": "2026-11-20"}))
    );
    seal(&tables).await;
    assert_eq!(tables.count("analytics.people('2026-11-20')").await, 0);
    assert_eq!(tables.count("analytics.people('2026-11-19')").await, 1);
}

#[tokio::test]
async fn lateness_is_told_by_the_day_of_the_events() {
    let tables = Tables::new().await;
    let facts: Vec<Value> = (1..=4)
        .map(|hash| said(hash, "2026-11-20T12:00:00Z", "view_item", "u1"))
        .collect();
    write(&tables, 0, &facts).await;
    let arrived = |minutes: &str| {
        format!(
            "UPDATE fact_events SET ingested_at = event_time + interval '1 minute' * (ARRAY{minutes})[('x' || right(fact_hash::text, 1))::bit(4)::int]"
        )
    };
    // Six minutes before its event, at once, after one and a half days, and a minute more than a day.
    run(&tables, &arrived("[-6, 1, 2160, 1441]")).await;
    let expected = [
        json!({"day": "2026-11-20", "facts": 4, "late_facts": 2, "early_facts": 1, "median_delay": "12:01:00"}),
    ];
    assert_eq!(tables.rows(LATENESS).await, expected);
    seal(&tables).await;
    assert_eq!(tables.rows(LATENESS).await, expected);
    assert_eq!(tables.count("analytics.lateness()").await, 1);

    run(&tables, &arrived("[-5, 1, 3, 1440]")).await;
    let expected = [
        json!({"day": "2026-11-20", "facts": 4, "late_facts": 0, "early_facts": 0, "median_delay": "00:02:00"}),
    ];
    assert_eq!(tables.rows(LATENESS).await, expected);
}
