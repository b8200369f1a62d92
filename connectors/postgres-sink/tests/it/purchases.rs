//! Lines and orders: what another day holds of the same transaction changes them, whether the days are sealed or not.

use serde_json::{Value, json};

use crate::support::{Tables, batch, envelope, fact};

/// What a day has when it is asked for alone: its lines, and the lines of the orders that began on it.
const SOLD: &str =
    "SELECT asked.day, (SELECT count(*) FROM analytics.lines(asked.day, asked.day)) AS lines,
    (SELECT coalesce(sum(o.lines), 0) FROM analytics.orders(asked.day, asked.day) o) AS ordered
    FROM unnest('{2026-10-31, 2026-11-02, 2026-11-03}'::date[]) AS asked (day)";

/// The definition of the same, which reads the facts alone.
const DEFINED: &str = "SELECT asked.day, (SELECT count(*) FROM analytics.purchase_lines l WHERE l.day = asked.day) AS lines,
    (SELECT coalesce(sum(p.lines), 0) FROM analytics.purchases p WHERE p.day = asked.day) AS ordered
    FROM unnest('{2026-10-31, 2026-11-02, 2026-11-03}'::date[]) AS asked (day)";

async fn run(tables: &Tables, statement: &str) {
    tables.client.batch_execute(statement).await.unwrap();
}

/// Expects these lines, and lines of orders that began, on 31 October and on 2 and 3 November.
async fn expect(tables: &Tables, [first, second, third]: [[i32; 2]; 3], when: &str) {
    let day = |day: &str, [lines, ordered]: [i32; 2]| json!({"day": day, "lines": lines, "ordered": ordered});
    let expected = [
        day("2026-10-31", first),
        day("2026-11-02", second),
        day("2026-11-03", third),
    ];
    assert_eq!(tables.rows(DEFINED).await, expected, "{when}: defined");
    assert_eq!(tables.rows(SOLD).await, expected, "{when}");
}

/// Expects the same of what is not folded yet, of what is, and of what is sealed.
async fn expect_always(tables: &Tables, expected: [[i32; 2]; 3], when: &str) {
    expect(tables, expected, when).await;
    run(tables, "SELECT analytics.fold()").await;
    expect(tables, expected, &format!("{when}, folded")).await;
    seal(tables).await;
    expect(tables, expected, &format!("{when}, sealed")).await;
}

/// Also days that are not over yet, and those whose facts are gone.
async fn seal(tables: &Tables) {
    run(
        tables,
        "SELECT analytics.seal_day(day) FROM analytics.day_state WHERE sealed_after < changed_in OR NOT analytics.has_facts_of_month(day)",
    )
    .await;
    let open = "SELECT day FROM analytics.days('-infinity', 'infinity') WHERE NOT is_sealed";
    assert!(tables.rows(open).await.is_empty());
}

async fn write(tables: &Tables, number: i64, facts: &[Value]) {
    let batch = batch(number, [envelope(facts)]);
    assert!(tables.writer(0).write(&batch).await.unwrap().inserted > 0);
}

/// A line of the order T1.
fn sold(hash: u128, time: &str, product: &str) -> Value {
    let more = json!({"event_name": "purchase", "event_id": format!("event {hash}"), "transaction_id": "T1",
        "user_id": "u1", "product_id": product, "price": "2", "currency": "EUR"});
    fact(hash, time, more)
}

async fn remove(tables: &Tables, hash: u128) {
    let statement = format!("DELETE FROM fact_events WHERE fact_hash = '{hash:032x}'");
    run(tables, &statement).await;
}

#[tokio::test]
async fn a_line_is_of_the_earliest_day_that_it_was_sent_on() {
    let tables = Tables::new().await;
    write(&tables, 0, &[sold(1, "2026-11-03T12:00:00Z", "A")]).await;
    expect_always(&tables, [[0, 0], [0, 0], [1, 1]], "sent once").await;
    write(&tables, 1, &[sold(2, "2026-10-31T12:00:00Z", "A")]).await;
    expect_always(&tables, [[1, 1], [0, 0], [0, 0]], "sent earlier, too").await;
    write(&tables, 2, &[sold(3, "2026-11-02T12:00:00Z", "A")]).await;
    expect_always(&tables, [[1, 1], [0, 0], [0, 0]], "sent between").await;
    remove(&tables, 2).await;
    expect_always(&tables, [[0, 0], [1, 1], [0, 0]], "the first deleted").await;

    // What an open day says of a sealed one is forgotten with it.
    write(&tables, 3, &[sold(4, "2026-10-31T12:00:00Z", "A")]).await;
    run(
        &tables,
        "SELECT analytics.fold(); SELECT analytics.seal_day('2026-11-03'), analytics.seal_day('2026-11-02')",
    )
    .await;
    expect(&tables, [[1, 1], [0, 0], [0, 0]], "the later days sealed").await;
    remove(&tables, 4).await;
    expect_always(
        &tables,
        [[0, 0], [1, 1], [0, 0]],
        "deleted before it was sealed",
    )
    .await;
}

#[tokio::test]
async fn an_order_is_of_the_day_it_began_on_with_all_its_lines() {
    let tables = Tables::new().await;
    write(&tables, 0, &[sold(1, "2026-11-02T12:00:00Z", "A")]).await;
    expect_always(&tables, [[0, 0], [1, 1], [0, 0]], "one line").await;
    write(&tables, 1, &[sold(2, "2026-11-03T12:00:00Z", "B")]).await;
    expect_always(&tables, [[0, 0], [1, 2], [1, 0]], "another line later").await;
    write(&tables, 2, &[sold(3, "2026-10-31T12:00:00Z", "C")]).await;
    expect_always(&tables, [[1, 3], [1, 0], [1, 0]], "another line earlier").await;
    remove(&tables, 3).await;
    expect_always(&tables, [[0, 0], [1, 2], [1, 0]], "the first line deleted").await;
    let other = "UPDATE fact_events SET transaction_id = 'T2' WHERE event_id = 'event 2'";
    run(&tables, other).await;
    expect_always(&tables, [[0, 0], [1, 1], [1, 1]], "two orders").await;
}

#[tokio::test]
async fn a_month_that_is_dropped_takes_its_lines_along() {
    let tables = Tables::new().await;
    let facts = [
        sold(1, "2026-10-31T12:00:00Z", "A"),
        sold(2, "2026-11-02T12:00:00Z", "A"),
        sold(3, "2026-11-03T12:00:00Z", "B"),
    ];
    write(&tables, 0, &facts).await;
    expect_always(&tables, [[1, 2], [0, 0], [1, 0]], "all months").await;
    run(&tables, "DROP TABLE fact_events_y2026m10").await;
    expect_always(&tables, [[0, 0], [1, 2], [1, 0]], "October dropped").await;
    assert_eq!(tables.count("analytics.sealed_purchases").await, 2);
    run(&tables, "TRUNCATE fact_events").await;
    expect_always(&tables, [[0, 0], [0, 0], [0, 0]], "all truncated").await;
    assert_eq!(tables.count("analytics.sealed_purchases").await, 0);
}
