//! Lines and orders: what another day holds of the same transaction changes them, whether hours are
//! stored or not.

use serde_json::{Value, json};

use crate::support::{Tables, batch, envelope, fact};

/// A query for a day: the lines of the orders that began on it, and their products.
const SOLD: &str =
    "SELECT asked.day, (SELECT count(*) FROM analytics.order_lines(asked.day, asked.day)) AS lines,
    (SELECT coalesce(sum(o.purchases), 0) FROM analytics.orders(asked.day, asked.day) o) AS ordered
    FROM unnest('{2026-10-31, 2026-11-02, 2026-11-03}'::date[]) AS asked (day)";

async fn run(tables: &Tables, statement: &str) {
    tables.client.batch_execute(statement).await.unwrap();
}

/// Expects so many lines of orders that began on 31 October and on 2 and 3 November.
async fn expect(tables: &Tables, counts: [i32; 3], when: &str) {
    let days = ["2026-10-31", "2026-11-02", "2026-11-03"];
    let expected: Vec<Value> = days
        .iter()
        .zip(counts)
        .map(|(day, count)| json!({"day": day, "lines": count, "ordered": count}))
        .collect();
    assert_eq!(tables.rows(SOLD).await, expected, "{when}");
}

/// Expects the same of hours that are open, of one in between that is stored, and of all stored.
async fn expect_always(tables: &Tables, counts: [i32; 3], when: &str) {
    expect(tables, counts, when).await;
    for hour in ["2026-11-02 12:00", "2026-11-03 12:00"] {
        run(
            tables,
            &format!("SELECT analytics.store_hours(ARRAY['{hour}+00'::timestamptz])"),
        )
        .await;
        expect(tables, counts, &format!("{when}, {hour} stored")).await;
    }
    run(tables, "SELECT analytics.refresh(100, '0')").await;
    expect(tables, counts, &format!("{when}, stored")).await;
    assert_eq!(tables.count("analytics.differences()").await, 0);
}

async fn write(tables: &Tables, number: i64, facts: &[Value]) {
    let batch = batch(number, [envelope(facts)]);
    assert!(tables.writer(0).write(&batch).await.unwrap().inserted > 0);
}

/// A line of the order T1.
fn sold(hash: u128, time: &str, product: &str) -> Value {
    let more = json!({"event_name": "purchase", "event_id": format!("event {hash}"),
        "transaction_id": "T1",
        "user_id": "u1", "product_id": product, "price": "2", "currency": "EUR"});
    fact(hash, time, more)
}

async fn remove(tables: &Tables, hash: u128) {
    let statement = format!("DELETE FROM fact_events WHERE fact_hash = '{hash:032x}'");
    run(tables, &statement).await;
}

#[tokio::test]
async fn a_line_is_of_the_earliest_time_that_it_was_sent() {
    let tables = Tables::new().await;
    write(&tables, 0, &[sold(1, "2026-11-03T12:00:00Z", "A")]).await;
    expect_always(&tables, [0, 0, 1], "sent once").await;
    write(&tables, 1, &[sold(2, "2026-10-31T12:00:00Z", "A")]).await;
    expect_always(&tables, [1, 0, 0], "sent earlier, too").await;
    write(&tables, 2, &[sold(3, "2026-11-02T12:00:00Z", "A")]).await;
    expect_always(&tables, [1, 0, 0], "sent between").await;
    remove(&tables, 2).await;
    expect_always(&tables, [0, 1, 0], "the first deleted").await;
}

#[tokio::test]
async fn an_order_is_of_the_day_it_began_on_with_all_its_lines() {
    let tables = Tables::new().await;
    write(&tables, 0, &[sold(1, "2026-11-02T12:00:00Z", "A")]).await;
    expect_always(&tables, [0, 1, 0], "one line").await;
    write(&tables, 1, &[sold(2, "2026-11-03T12:00:00Z", "B")]).await;
    expect_always(&tables, [0, 2, 0], "another line later").await;
    write(&tables, 2, &[sold(3, "2026-10-31T12:00:00Z", "C")]).await;
    expect_always(&tables, [3, 0, 0], "another line earlier").await;
    remove(&tables, 3).await;
    expect_always(&tables, [0, 2, 0], "the first line deleted").await;
    let other = "UPDATE fact_events SET transaction_id = 'T2' WHERE event_id = 'event 2'";
    run(&tables, other).await;
    expect_always(&tables, [0, 1, 1], "two orders").await;
    run(&tables, "TRUNCATE fact_events").await;
    expect_always(&tables, [0, 0, 0], "all truncated").await;
}

#[tokio::test]
async fn an_event_dated_far_from_its_arrival_takes_no_order() {
    for arrival in [
        "ingested_at = '2026-11-02 12:00:05+00'",
        // Milliseconds: SQS received it at 12:00:05. It was written weeks later, as in a replay.
        "event_version = 1793620805000",
    ] {
        let tables = Tables::new().await;
        write(&tables, 0, &[sold(1, "2026-11-02T12:00:00Z", "A")]).await;
        let arrived = format!("UPDATE fact_events SET {arrival} WHERE event_id = 'event 1'");
        run(&tables, &arrived).await;
        expect_always(&tables, [0, 1, 0], "sent once").await;
        let forged = |hash: u128, more: Value| {
            let mut all = json!({"event_name": "purchase", "event_id": format!("event {hash}"),
                "transaction_id": "T1", "user_id": "thief", "currency": "EUR"});
            all.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            fact(hash, "2001-01-01T12:00:00Z", all)
        };
        let facts = [
            forged(2, json!({"product_id": "A", "price": "0"})),
            forged(3, json!({"product_id": "B", "price": "0"})),
            forged(4, json!({"item_ordinal": 0, "value": "0"})),
        ];
        write(&tables, 1, &facts).await;
        let orders = "SELECT day, person, revenue, purchases FROM analytics.orders()";
        let expected = json!({"day": "2026-11-02", "person": "u1", "revenue": 2, "purchases": 1});
        assert_eq!(
            tables.rows(orders).await,
            std::slice::from_ref(&expected),
            "open"
        );
        expect_always(&tables, [0, 1, 0], "forged").await;
        assert_eq!(tables.rows(orders).await, [expected], "stored");

        // Of an order that nothing else tells of, it is all that is known.
        remove(&tables, 1).await;
        expect_always(&tables, [0, 0, 0], "the first deleted").await;
        let expected = json!({"day": "2001-01-01", "person": "thief", "revenue": 0,
            "purchases": 2});
        assert_eq!(tables.rows(orders).await, [expected], "forged alone");
        write(&tables, 2, &[sold(5, "2026-11-03T12:00:00Z", "A")]).await;
        let arrived = arrived
            .replace("event 1", "event 5")
            .replace("11-02", "11-03");
        run(&tables, &arrived).await;
        expect_always(&tables, [0, 0, 1], "sent again").await;
    }
}

#[tokio::test]
async fn a_line_that_is_written_again_weeks_later_stays_in_its_order() {
    let tables = Tables::new().await;
    let line = |hash: u128, ordinal: i32| {
        let more = json!({"event_name": "purchase", "event_id": "e1", "transaction_id": "T1",
            "user_id": "u1", "item_ordinal": ordinal, "product_id": format!("{ordinal}"),
            "price": "2", "currency": "EUR"});
        fact(hash, "2026-11-02T12:00:00Z", more)
    };
    write(&tables, 0, &[line(1, 1), line(2, 2)]).await;
    let arrived = "UPDATE fact_events SET ingested_at = '2026-11-02 12:00:05+00'";
    run(&tables, arrived).await;
    expect_always(&tables, [0, 2, 0], "sent once").await;
    // As a sink with `on-conflict: update` does for a content that has changed.
    let replaced = "UPDATE fact_events SET price = 3, ingested_at = '2026-11-22 12:00:00+00' \
                    WHERE item_ordinal = 2";
    run(&tables, replaced).await;
    expect_always(&tables, [0, 2, 0], "a line replaced").await;
    // An item that was rejected, and is read by a retry.
    write(&tables, 1, &[line(3, 3)]).await;
    run(
        &tables,
        "UPDATE fact_events SET ingested_at = '2027-01-01 00:00:00+00' WHERE item_ordinal = 3",
    )
    .await;
    expect_always(&tables, [0, 3, 0], "a line retried").await;
}

#[tokio::test]
async fn an_event_without_a_transaction_is_an_order() {
    let tables = Tables::new().await;
    let item = |hash: u128, ordinal: i32, more: Value| {
        let mut all = json!({"event_name": "purchase", "user_id": "u1", "item_ordinal": ordinal,
            "product_id": format!("P{ordinal}")});
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        fact(hash, "2026-11-02T12:00:00Z", all)
    };
    let by_value = json!({"event_name": "purchase", "user_id": "u2", "item_ordinal": 0,
        "value": "9.5", "currency": "EUR"});
    let facts = [
        item(1, 1, json!({"price": "3"})),
        item(2, 2, json!({"price": "5", "quantity": "2"})),
        fact(3, "2026-11-02T13:00:00Z", by_value),
    ];
    write(&tables, 0, &facts).await;
    let orders = "SELECT purchases, units, revenue, currency, is_by_value FROM analytics.orders()";
    let expected = [
        json!({"purchases": 0, "units": 0, "revenue": 9.5, "currency": "EUR", "is_by_value": true}),
        json!({"purchases": 2, "units": 3, "revenue": 13, "currency": "no currency",
            "is_by_value": false}),
    ];
    assert_eq!(tables.rows(orders).await, expected);
    run(&tables, "SELECT analytics.refresh(100, '0')").await;
    assert_eq!(tables.rows(orders).await, expected);
    assert_eq!(
        tables
            .count("fact_events WHERE quantity IS NULL AND item_ordinal = 1")
            .await,
        1,
        "the fact keeps that no quantity was sent"
    );
}

#[tokio::test]
async fn a_late_click_leads_to_a_line_of_an_order_that_began_days_before() {
    let tables = Tables::new().await;
    write(&tables, 0, &[sold(1, "2026-10-31T12:00:00Z", "A")]).await;
    write(&tables, 1, &[sold(2, "2026-11-03T12:00:00Z", "B")]).await;
    run(&tables, "SELECT analytics.refresh(100, '0')").await;
    let sales = "SELECT count(*) AS sales FROM analytics.list_sales('2026-10-31', '2026-10-31')";
    assert_eq!(tables.rows(sales).await, [json!({"sales": 0})]);
    // On the day of the line, in another hour than the line, and no day of the order.
    let click = json!({"event_name": "select_item", "event_id": "click", "user_id": "u1",
        "product_id": "B", "list_id": "home"});
    write(&tables, 2, &[fact(3, "2026-11-03T03:00:00Z", click)]).await;
    assert_eq!(tables.rows(sales).await, [json!({"sales": 1})], "open");
    run(&tables, "SELECT analytics.refresh(100, '0')").await;
    assert_eq!(tables.rows(sales).await, [json!({"sales": 1})], "stored");
    assert_eq!(tables.count("analytics.differences()").await, 0);
}
