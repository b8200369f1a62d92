//! The metrics of the schema `analytics`, over a day whose every number can be counted by hand.

use serde_json::{Value, json};

use crate::support::{Tables, batch, envelope, fact};

/// A fact of 2026-11-20. Its hash is its time in the day.
fn said(day: &mut Vec<Value>, time: &str, name: &str, user: &str, more: Value) {
    let mut all = json!({
        "event_name": name, "user_id": user, "session_id": format!("session of {user}"),
    });
    all.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let time = format!("2026-11-20T{time}:00Z");
    day.push(fact(day.len() as u128 + 1, &time, all));
}

fn shown(list: &str, product: &str, position: i32, ordinal: i32) -> Value {
    json!({"list_id": list, "product_id": product, "list_position": position,
        "item_ordinal": ordinal})
}

fn bought(product: &str, ordinal: i32, price: &str, quantity: &str) -> Value {
    json!({"transaction_id": "T1", "product_id": product, "item_ordinal": ordinal, "price": price,
           "quantity": quantity, "currency": "EUR", "value": "29.9", "tax": "4", "shipping": "4.9"})
}

fn the_day() -> Vec<Value> {
    let mut day = Vec::new();
    let all = &mut day;
    for user in ["u1", "u2"] {
        said(
            all,
            "10:00",
            "view_item_list",
            user,
            shown("home", "A", 0, 1),
        );
        said(
            all,
            "10:00",
            "view_item_list",
            user,
            shown("home", "B", 1, 2),
        );
    }
    said(all, "10:05", "view_item", "u1", json!({"product_id": "A"}));
    // Too late to be a click or an engagement.
    said(all, "11:00", "view_item", "u2", json!({"product_id": "A"}));
    said(all, "10:10", "purchase", "u1", bought("A", 1, "10", "2"));
    said(all, "10:10", "purchase", "u1", bought("B", 2, "5", "1"));
    // A part of the same order again, with another event id.
    said(all, "10:11", "purchase", "u1", bought("A", 1, "10", "2"));
    // Two lists show the product; the last one is clicked.
    said(
        all,
        "10:00",
        "view_item_list",
        "u3",
        shown("promo", "B", 0, 1),
    );
    said(
        all,
        "10:01",
        "view_item_list",
        "u3",
        shown("home", "B", 4, 1),
    );
    said(all, "10:02", "view_item", "u3", json!({"product_id": "B"}));
    // A list with clicks of its own needs no substitute.
    said(
        all,
        "10:00",
        "view_item_list",
        "u4",
        shown("grid", "C", 2, 1),
    );
    said(all, "10:01", "select_item", "u4", shown("grid", "C", 2, 1));
    said(all, "10:02", "view_item", "u4", json!({"product_id": "C"}));
    said(
        all,
        "10:00",
        "session_start",
        "u5",
        json!({"item_ordinal": 0, "user_pseudo_id": "d5"}),
    );
    for (user, name) in [
        ("u1", "view_promotion"),
        ("u1", "view_promotion"),
        ("u2", "view_promotion"),
        ("u1", "select_promotion"),
    ] {
        said(
            all,
            "10:03",
            name,
            user,
            json!({"promotion_id": "P1", "promotion_name": "Sale"}),
        );
    }
    day
}

pub async fn with_the_day() -> Tables {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    writer
        .write(&batch(0, [envelope(&the_day())]))
        .await
        .unwrap();
    // The topic is read again: no fact is new.
    let again = writer
        .write(&batch(1, [envelope(&the_day())]))
        .await
        .unwrap();
    assert_eq!(again.inserted, 0);
    tables
}

#[tokio::test]
async fn lists_are_measured_as_defined() {
    let tables = with_the_day().await;
    let performance = "SELECT list, impressions, viewers, clicks, clickers, \
                       round(click_through_user_rate, 4) AS user_rate,
        round(click_through_rate, 4) AS rate, round(click_through_event_rate, 4) AS event_rate, \
        round(engagement_rate, 4) AS engagement_rate,
        round(engaged_user_rate, 4) AS engaged_user_rate, purchases, units, revenue, substitutes
        FROM analytics.list_performance('2026-11-20', '2026-11-20', $min)";
    let all = tables.rows(&performance.replace("$min", "1")).await;
    let of = |list: &str| all.iter().find(|row| row["list"] == list).unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(
        *of("home"),
        json!({"list": "home", "impressions": 5, "viewers": 3, "clicks": 2, "clickers": 2,
            "user_rate": 0.6667, "rate": 0.4, "event_rate": 0.6667,
               "engagement_rate": 0.6, "engaged_user_rate": 0.6667, "purchases": 1, "units": 2,
                   "revenue": 20, "substitutes": 2}),
        "B was bought without a click on it, and the order counts once"
    );
    assert_eq!(
        *of("promo"),
        json!({"list": "promo", "impressions": 1, "viewers": 1, "clicks": 0, "clickers": 0,
            "user_rate": 0.0, "rate": 0.0, "event_rate": 0.0,
               "engagement_rate": 1.0, "engaged_user_rate": 1.0, "purchases": 0, "units": 0,
                   "revenue": 0, "substitutes": 0})
    );
    assert_eq!(
        *of("grid"),
        json!({"list": "grid", "impressions": 1, "viewers": 1, "clicks": 1, "clickers": 1,
            "user_rate": 1.0, "rate": 1.0, "event_rate": 1.0,
               "engagement_rate": 1.0, "engaged_user_rate": 1.0, "purchases": 0, "units": 0,
                   "revenue": 0, "substitutes": 0})
    );
    assert_eq!(
        tables.rows(&performance.replace("$min", "5")).await.len(),
        1
    );

    assert_eq!(
        tables
            .rows(
                "SELECT list_position AS at, impressions, clicks, round(click_through_rate, 4) \
                   AS rate \
                   FROM analytics.list_positions() WHERE list = 'home'"
            )
            .await,
        [
            json!({"at": 0, "impressions": 2, "clicks": 1, "rate": 0.5}),
            json!({"at": 1, "impressions": 2, "clicks": 0, "rate": 0.0}),
            json!({"at": 4, "impressions": 1, "clicks": 1, "rate": 1.0}),
        ]
    );
}

#[tokio::test]
async fn products_and_orders_are_measured_as_defined() {
    let tables = with_the_day().await;
    assert_eq!(
        tables
            .rows(
                "SELECT product AS a, viewers, buyers, views, purchases, units, revenue, \
                   round(view_to_purchase_user_rate, 4) AS user_rate, \
                   round(view_to_purchase_event_rate, 4) AS event_rate \
                   FROM analytics.product_performance()"
            )
            .await,
        [
            json!({"a": "A", "viewers": 2, "buyers": 1, "views": 2, "purchases": 1, "units": 2,
                "revenue": 20, "user_rate": 0.5, "event_rate": 0.5}),
            json!({"a": "B", "viewers": 1, "buyers": 1, "views": 1, "purchases": 1, "units": 1,
                "revenue": 5, "user_rate": 1.0, "event_rate": 1.0}),
            json!({"a": "C", "viewers": 1, "buyers": 0, "views": 1, "purchases": 0, "units": 0,
                "revenue": 0, "user_rate": 0.0, "event_rate": 0.0}),
        ]
    );
    assert_eq!(
        tables
            .rows(
                "SELECT order_id, purchases, units, revenue, currency, value, tax, shipping \
                     FROM analytics.orders"
            )
            .await,
        [
            json!({"order_id": "T1", "purchases": 2, "units": 3, "revenue": 25, "currency": "EUR",
            "value": 29.9, "tax": 4, "shipping": 4.9})
        ]
    );
    assert_eq!(
        tables
            .rows(
                "SELECT order_id, to_char(order_began AT TIME ZONE 'UTC', 'HH24:MI') AS began, \
                     person, item_ordinal AS place, units, revenue FROM \
                     analytics.order_lines('2026-11-20')"
            )
            .await,
        [
            json!({"order_id": "T1", "began": "10:10", "person": "u1", "place": 1, "units": 2,
                "revenue": 20}),
            json!({"order_id": "T1", "began": "10:10", "person": "u1", "place": 2, "units": 1,
                "revenue": 5}),
        ]
    );
    assert_eq!(
        tables
            .rows(
                "SELECT product_a, product_b, orders, round(confidence_a_to_b, 4) AS \
                     confidence, round(lift, 4) AS lift FROM analytics.product_pairs(min_orders => \
                     1)"
            )
            .await,
        [json!({"product_a": "A", "product_b": "B", "orders": 1, "confidence": 1.0, "lift": 1.0})]
    );
}

#[tokio::test]
async fn funnel_sessions_and_promotions_are_measured_as_defined() {
    let tables = with_the_day().await;
    assert_eq!(
        tables.rows("SELECT * FROM analytics.daily_funnel").await,
        [
            json!({"day": "2026-11-20", "impressions": 7, "list_views": 5, "selects": 1, "views": 4,
                "add_to_carts": 0, "checkouts": 0, "purchases": 2,
                   "orders": 1, "events": 17})
        ]
    );
    assert_eq!(
        tables
            .rows(
                "SELECT list_viewers, viewers, checkout_starters, buyers, \
                     checkout_to_purchase_user_rate AS rate FROM analytics.daily_people()"
            )
            .await,
        [
            json!({"list_viewers": 4, "viewers": 4, "checkout_starters": 0, "buyers": 1,
            "rate": null})
        ],
        "nothing is divided by zero"
    );
    assert_eq!(
        tables
            .rows(
                "SELECT value, sessions, engaged_sessions, converted_sessions, bounces, \
                     round(engagement_rate, 4) AS engagement, round(bounce_rate, 4) AS bounce, \
                     round(ga4_bounce_rate, 4) AS ga4, round(conversion_rate, 4) AS conversion \
                     FROM analytics.sessions_by('day', '2026-11-20', '2026-11-20')"
            )
            .await,
        [
            json!({"value": "2026-11-20", "sessions": 5, "engaged_sessions": 4,
            "converted_sessions": 1, "bounces": 1, "engagement": 0.8, "bounce": 0.2, "ga4": 0.2,
                "conversion": 0.2})
        ]
    );
    assert_eq!(
        tables
            .rows(
                "SELECT promotion_id AS id, promotion_views AS views, promotion_clicks AS \
                     clicks, viewers, clickers, round(click_through_user_rate, 4) AS user_rate, \
                     round(click_through_rate, 4) AS event_rate FROM analytics.promotions()"
            )
            .await,
        [
            json!({"id": "P1", "views": 3, "clicks": 1, "viewers": 2, "clickers": 1, "user_rate": 0.5,
            "event_rate": 0.3333})
        ]
    );
}

#[tokio::test]
async fn an_event_without_items_shows_no_product() {
    let tables = Tables::new().await;
    let mut day = Vec::new();
    let list = json!({"list_id": "L", "item_ordinal": 0});
    said(&mut day, "10:00", "view_item_list", "u", list);
    said(
        &mut day,
        "10:01",
        "purchase",
        "u",
        json!({"item_ordinal": 0}),
    );
    let mut writer = tables.writer(0);
    writer.write(&batch(0, [envelope(&day)])).await.unwrap();
    for _ in 0..2 {
        // The events count. A purchase is a line of an order, and the order has none.
        let funnel = "SELECT list_views, impressions, purchases FROM analytics.daily_funnel";
        assert_eq!(
            tables.rows(funnel).await,
            [json!({"list_views": 1, "impressions": 0, "purchases": 0})]
        );
        let lists = "SELECT FROM analytics.list_performance(min_impressions => 1)";
        assert_eq!(tables.rows(lists).await.len(), 0);
        let orders = "SELECT purchases, units FROM analytics.orders";
        assert_eq!(
            tables.rows(orders).await,
            [json!({"purchases": 0, "units": 0})]
        );
        // The same from stored hours.
        tables
            .client
            .batch_execute("SELECT analytics.refresh(100, '0')")
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn lists_are_counted_by_id_and_by_name_as_well() {
    let tables = Tables::new().await;
    let mut day = Vec::new();
    for (user, id, name) in [
        ("u1", "search", "red shoes"),
        ("u1", "search", "blue shoes"),
        ("u2", "search", "red shoes"),
        ("u1", "other", "red shoes"),
    ] {
        let list = json!({"list_id": id, "list_name": name, "product_id": "A"});
        said(&mut day, "10:00", "view_item_list", user, list);
    }
    let mut writer = tables.writer(0);
    writer.write(&batch(0, [envelope(&day)])).await.unwrap();
    for (grouped_by, expected) in [
        (
            "list",
            json!([
                ["other", "red shoes", 1, 1],
                ["search", "blue shoes", 1, 1],
                ["search", "red shoes", 2, 2]
            ]),
        ),
        (
            "id",
            json!([["other", "other", 1, 1], ["search", "search", 3, 2]]),
        ),
        (
            "name",
            json!([[null, "blue shoes", 1, 1], [null, "red shoes", 3, 2]]),
        ),
    ] {
        let rows = tables
            .rows(&format!(
                "SELECT list_id AS id, list, impressions, viewers \
                 FROM analytics.list_performance(grouped_by => '{grouped_by}') ORDER BY 1, 2"
            ))
            .await;
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| json!([row["id"], row["list"], row["impressions"], row["viewers"]]))
            .collect();
        assert_eq!(json!(rows), expected, "{grouped_by}");
    }
}

#[tokio::test]
async fn a_session_with_more_than_a_hundred_products_makes_no_pairs() {
    let tables = Tables::new().await;
    let mut day = Vec::new();
    for (user, products) in [("shopper", 2), ("collector", 100), ("crawler", 101)] {
        for number in 0..products {
            let product = json!({"product_id": format!("{user} {number}")});
            said(&mut day, "10:00", "view_item", user, product);
        }
    }
    let mut writer = tables.writer(0);
    writer.write(&batch(0, [envelope(&day)])).await.unwrap();
    let pairs = "SELECT split_part(product_a, ' ', 1) AS user, count(*) AS pairs, min(lift) AS \
                 lift \
                 FROM analytics.viewed_together(min_sessions => 1) GROUP BY 1";
    assert_eq!(
        tables.rows(pairs).await,
        [
            json!({"user": "collector", "pairs": 4950, "lift": 3.0}),
            json!({"user": "shopper", "pairs": 1, "lift": 3.0}),
        ]
    );
}

#[tokio::test]
async fn a_step_that_is_sent_by_mistake_is_in_no_funnel() {
    let tables = Tables::new().await;
    let mut day = Vec::new();
    let users: Vec<String> = (0..11).map(|number| format!("u{number}")).collect();
    for user in &users {
        said(
            &mut day,
            "10:00",
            "view_item_list",
            user,
            shown("home", "A", 0, 1),
        );
        said(
            &mut day,
            "10:05",
            "view_item",
            user,
            json!({"product_id": "A"}),
        );
        said(
            &mut day,
            "10:10",
            "purchase",
            user,
            json!({"product_id": "A", "item_ordinal": 1}),
        );
    }
    said(
        &mut day,
        "11:00",
        "add_to_cart",
        "u0",
        json!({"product_id": "A"}),
    );
    let mut writer = tables.writer(0);
    writer.write(&batch(0, [envelope(&day)])).await.unwrap();
    for (funnel, counted) in [
        ("session_funnel()", "sessions"),
        ("journey_funnel(7)", "people"),
    ] {
        let steps = format!("SELECT event_name, {counted} AS reached FROM analytics.{funnel}");
        let all = |name: &str| json!({"event_name": name, "reached": 11});
        let expected = ["purchase", "view_item", "view_item_list"].map(all);
        assert_eq!(tables.rows(&steps).await, expected, "{funnel}");
    }
    // A tenth of those who buy: the shop sends it.
    let mut more = Vec::new();
    said(
        &mut more,
        "12:00",
        "add_to_cart",
        "u1",
        json!({"product_id": "A"}),
    );
    more[0]["fact_hash"] = json!("ffffffffffffffffffffffffffffffff");
    writer.write(&batch(1, [envelope(&more)])).await.unwrap();
    let steps = "SELECT event_name, sessions AS reached FROM analytics.session_funnel()";
    let found = tables.rows(steps).await;
    assert_eq!(found.len(), 4, "{found:?}");
    for (name, reached) in [("add_to_cart", 2), ("purchase", 0)] {
        let step = json!({"event_name": name, "reached": reached});
        assert!(found.contains(&step), "{found:?}");
    }
}
