//! The analysts' questions, over events whose results can be counted by hand.

use serde_json::{Value, json};

use crate::support::{Tables, batch, envelope, fact};

const TOP_LISTS: &str = include_str!("../../../../sql/queries/top_lists_by_engagement_rate.sql");
const BEST_PRODUCTS: &str =
    include_str!("../../../../sql/queries/best_products_by_view_to_purchase_rate.sql");

/// Events by number. Each has a minute of its own, in order.
struct Story(Vec<Value>);

impl Story {
    fn tell(&mut self, name: &str, user: usize, product: &str, more: Value) {
        let number = self.0.len();
        let time = format!(
            "2026-11-{:02}T{:02}:{:02}:00Z",
            1 + number / 1440,
            number / 60 % 24,
            number % 60
        );
        let mut all =
            json!({"event_name": name, "user_id": format!("u{user}"), "product_id": product});
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        self.0.push(fact(number as u128, &time, all));
    }
}

#[tokio::test]
async fn the_two_questions_are_answered_as_their_headers_define() {
    let tables = Tables::new().await;
    let mut story = Story(Vec::new());
    for user in 0..20 {
        // Before the list: no engagement with it.
        story.tell("view_item", user, "B", json!({}));
        story.tell("view_item_list", user, "A", json!({"list_name": "Home"}));
        story.tell("view_item_list", user, "A", json!({"list_name": "Home"}));
        story.tell("view_item_list", user, "B", json!({"list_name": "Home"}));
        if user < 10 {
            story.tell("view_item_list", user, "A", json!({"list_id": "small"}));
        }
        if user < 8 {
            story.tell("view_item", user, "A", json!({"product_name": "Product A"}));
        }
        if user < 5 {
            let order = json!({"price": "10.5", "quantity": "2", "currency": "EUR",
                "transaction_id": format!("T{user}")});
            story.tell("purchase", user, "B", order.clone());
            // The same order, reported twice under two event ids.
            story.tell("purchase", user, "B", order);
        }
    }
    tables
        .writer(0)
        .write(&batch(0, [envelope(&story.0)]))
        .await
        .unwrap();

    // 20 people saw A twice and B once; engaged: 8 viewed A afterwards, 5 bought B.
    assert_eq!(
        tables
            .rows(TOP_LISTS.trim_end().trim_end_matches(';'))
            .await,
        [json!({
            "list": "Home", "list_id": null, "impressions": 60, "engaged": 21,
            "engagement_rate": 0.35, "engaged_user_rate": 0.4,
        })],
        "the list with 10 impressions is below the threshold"
    );
    // B: 20 viewers, 5 buyers; A has 8 viewers only.
    assert_eq!(
        tables
            .rows(BEST_PRODUCTS.trim_end().trim_end_matches(';'))
            .await,
        [json!({
            "product": "B", "product_id": "B", "viewers": 20, "buyers": 5,
            "view_to_purchase_rate": 0.25, "units": 10, "revenue": 105.0, "currency": "EUR",
        })]
    );
}

#[tokio::test]
async fn every_question_is_plain_sql_and_takes_a_range_and_a_threshold() {
    let tables = Tables::new().await;
    let seen = fact(
        1,
        "2026-11-20T10:00:00Z",
        json!({"event_name": "view_item_list", "user_id": "u", "product_id": "A", "list_id": "home",
            "list_position": 0}),
    );
    let looked = fact(
        2,
        "2026-11-20T10:01:00Z",
        json!({"user_id": "u", "product_id": "A"}),
    );
    tables
        .writer(0)
        .write(&batch(0, [envelope(&[seen, looked])]))
        .await
        .unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sql/queries");
    let mut questions = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let sql = std::fs::read_to_string(&path).unwrap();
        assert!(
            sql.starts_with("-- ") && sql.contains("-- Example:"),
            "{} says what it answers, and shows an answer",
            path.display()
        );
        for settings in [
            "RESET ALL",
            "SET etl.first_day = '2026-11-20'; SET etl.last_day = '2026-11-21'; SET etl.at_least = \
             '1'",
        ] {
            tables.client.batch_execute(settings).await.unwrap();
            let outcome = tables.client.simple_query(&sql).await;
            assert!(outcome.is_ok(), "{}: {outcome:?}", path.display());
        }
        questions += 1;
    }
    assert!(questions >= 14, "{questions}");
    let best = BEST_PRODUCTS.trim_end().trim_end_matches(';');
    assert_eq!(tables.rows(best).await.len(), 1, "one viewer is enough now");
    tables
        .client
        .batch_execute("SET etl.first_day = '2026-11-21'")
        .await
        .unwrap();
    assert_eq!(tables.rows(best).await.len(), 0);
}

#[tokio::test]
async fn an_unknown_dimension_is_refused() {
    let tables = Tables::new().await;
    for question in [
        "sessions_by('planet')",
        "orders_by('planet')",
        "abandonment('planet')",
        "time_to_purchase('planet')",
        "cohorts('planet')",
        "cohorts('week', 'planet')",
        "sessions_by(NULL)",
    ] {
        let sql = format!("SELECT * FROM analytics.{question}");
        let error = tables.client.query(&sql, &[]).await.unwrap_err();
        let message = error.as_db_error().unwrap().message();
        assert!(message.contains("is not one of"), "{question}: {message}");
    }
}
