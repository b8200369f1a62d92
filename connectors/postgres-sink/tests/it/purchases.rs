//! Lines and orders: what another day holds of the same transaction changes them, whether hours are
//! stored or not.

use bytes::Bytes;
use chrono::DateTime;
use serde_json::{Value, json};
use warehouse::{Batch, OnConflict, Record, Written};

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

/// The key of the record of a message that SQS received at this time.
fn sent(number: i64, time: &str, is_fifo: bool) -> String {
    let millis = DateTime::parse_from_rfc3339(time)
        .unwrap()
        .timestamp_millis();
    if is_fifo {
        let sequence = 18_849_496_460_467_696_128 + i128::from(number);
        format!("u1 id=m-{number} sent={millis} sequence={sequence}")
    } else {
        format!("m-{number} sent={millis}")
    }
}

async fn write_sent(
    tables: &Tables,
    offset: i64,
    key: String,
    facts: &[Value],
    on_conflict: OnConflict,
) -> Written {
    let mut batch = Batch::after(offset).on_conflict(on_conflict);
    batch.push(Record {
        offset,
        key: Some(Bytes::from(key)),
        value: envelope(facts),
    });
    tables.writer(0).write(&batch.finish()).await.unwrap()
}

/// Lines of the order T1 dated in 2001.
fn forged() -> [Value; 3] {
    let line = |hash: u128, more: Value| {
        let mut all = json!({"event_name": "purchase", "event_id": format!("event {hash}"),
            "transaction_id": "T1", "user_id": "thief", "currency": "EUR"});
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        fact(hash, "2001-01-01T12:00:00Z", all)
    };
    [
        line(2, json!({"product_id": "A", "price": "0"})),
        line(3, json!({"product_id": "B", "price": "0"})),
        line(4, json!({"item_ordinal": 0, "value": "0"})),
    ]
}

const ORDERS: &str = "SELECT day, person, revenue, purchases FROM analytics.orders()";

#[tokio::test]
async fn an_event_dated_far_from_its_sending_takes_no_order_whenever_the_tables_are_written() {
    for is_fifo in [false, true] {
        let tables = Tables::new().await;
        let mut number = 0;
        let mut write = async |time: &str, facts: &[Value]| {
            let key = sent(number, time, is_fifo);
            let written = write_sent(&tables, number, key, facts, OnConflict::Ignore).await;
            assert!(written.inserted > 0);
            number += 1;
        };
        write(
            "2026-11-02T12:00:05Z",
            &[sold(1, "2026-11-02T12:00:00Z", "A")],
        )
        .await;
        expect_always(&tables, [0, 1, 0], "sent once").await;
        write("2026-11-02T12:30:00Z", &forged()).await;
        let expected = json!({"day": "2026-11-02", "person": "u1", "revenue": 2, "purchases": 1});
        let one = std::slice::from_ref(&expected);
        assert_eq!(tables.rows(ORDERS).await, one, "open");
        for written_at in ["2026-11-02 12:30:01+00", "2026-11-22 12:00:00+00"] {
            let rebuilt = format!("UPDATE fact_events SET ingested_at = '{written_at}'");
            run(&tables, &rebuilt).await;
            expect_always(&tables, [0, 1, 0], written_at).await;
        }
        assert_eq!(tables.rows(ORDERS).await, one, "stored");

        // Of an order that nothing else tells of, it is all that is known.
        remove(&tables, 1).await;
        expect_always(&tables, [0, 0, 0], "the first deleted").await;
        let expected = json!({"day": "2001-01-01", "person": "thief", "revenue": 0,
            "purchases": 2});
        assert_eq!(tables.rows(ORDERS).await, [expected], "forged alone");
        write(
            "2026-11-03T12:00:05Z",
            &[sold(5, "2026-11-03T12:00:00Z", "A")],
        )
        .await;
        expect_always(&tables, [0, 0, 1], "sent again").await;
    }
}

#[tokio::test]
async fn history_without_a_sent_time_is_not_distant() {
    let tables = Tables::new().await;
    write(&tables, 0, &[sold(1, "2026-10-31T12:00:00Z", "A")]).await;
    let key = sent(1, "2026-11-03T12:00:05Z", false);
    let later = [sold(5, "2026-11-03T12:00:00Z", "B")];
    write_sent(&tables, 1, key, &later, OnConflict::Ignore).await;
    expect_always(&tables, [2, 0, 0], "its number is used again").await;
}

#[tokio::test]
async fn a_correction_that_is_sent_weeks_later_stays_in_its_order() {
    let line = |hash: u128, ordinal: i32, price: &str| {
        let more = json!({"event_name": "purchase", "event_id": "e1", "transaction_id": "T1",
            "user_id": "u1", "item_ordinal": ordinal, "product_id": format!("{ordinal}"),
            "price": price, "currency": "EUR"});
        fact(hash, "2026-11-02T12:00:00Z", more)
    };
    let copy = json!({"event_name": "purchase", "event_id": "e2", "transaction_id": "T1",
        "user_id": "u1", "product_id": "1", "price": "2", "currency": "EUR"});
    let messages = [
        ("2026-11-02T12:00:05Z", vec![line(1, 1, "2")]),
        // The app sends it again under another id. It is older than the correction.
        (
            "2026-11-03T12:00:05Z",
            vec![fact(9, "2026-11-03T12:00:00Z", copy)],
        ),
        (
            "2026-11-22T12:00:00Z",
            vec![line(1, 1, "3"), line(2, 2, "3")],
        ),
    ];
    for (order, is_fifo) in [([0, 1, 2], false), ([2, 1, 0], false), ([2, 0, 1], true)] {
        let tables = Tables::new().await;
        for (offset, number) in (0..).zip(order) {
            let (time, facts) = &messages[number];
            let key = sent(i64::try_from(number).unwrap(), time, is_fifo);
            write_sent(&tables, offset, key, facts, OnConflict::Update).await;
        }
        expect_always(&tables, [0, 2, 0], &format!("{order:?}")).await;
        let expected = json!({"day": "2026-11-02", "person": "u1", "revenue": 6, "purchases": 2});
        assert_eq!(tables.rows(ORDERS).await, [expected], "{order:?}");
        let first = "SELECT DISTINCT sent_at FROM fact_events WHERE event_id = 'e1'";
        let expected = json!({"sent_at": "2026-11-02T12:00:05+00:00"});
        assert_eq!(tables.rows(first).await, [expected], "{order:?}");
    }
}

#[tokio::test]
async fn an_item_that_is_first_read_weeks_later_is_in_the_order_of_its_event() {
    let tables = Tables::new().await;
    let line = |hash: u128, ordinal: i32| {
        let more = json!({"event_name": "purchase", "event_id": "e1", "transaction_id": "T1",
            "user_id": "u1", "item_ordinal": ordinal, "product_id": format!("{ordinal}"),
            "price": "2", "currency": "EUR"});
        fact(hash, "2026-11-02T12:00:00Z", more)
    };
    let messages = [
        ("2026-11-02T12:00:05Z", line(1, 1)),
        ("2026-11-22T12:00:00Z", line(2, 2)),
    ];
    for (number, (time, fact)) in (0..).zip(messages) {
        let key = sent(number, time, false);
        write_sent(&tables, number, key, &[fact], OnConflict::Ignore).await;
    }
    expect_always(&tables, [0, 2, 0], "sent again with an item more").await;
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
