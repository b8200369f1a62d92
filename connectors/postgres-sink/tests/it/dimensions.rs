//! The rows of the dimensions after events in any order.

use crate::support::{NOON, Tables, batch, envelope, fact};
use bytes::Bytes;
use serde_json::{Value, json};

#[tokio::test]
async fn a_dimension_depends_on_the_events_and_not_on_their_order() {
    let tables = Tables::new().await;
    let told = |hash, time, more: Value| {
        let mut all = json!({"product_id": "SKU-1", "list_id": "L1"});
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        envelope(&[fact(hash, time, all)])
    };
    let events = [
        told(
            1,
            "2026-11-01T00:00:00Z",
            json!({"product_name": "oldest", "product_category": "A", "product_category2": "B"}),
        ),
        told(2, "2026-11-03T00:00:00Z", json!({"product_brand": "brand"})),
        told(
            3,
            "2026-11-02T00:00:00Z",
            json!({"product_name": "middle", "product_category": "C"}),
        ),
        told(
            4,
            "2026-11-02T00:00:00Z",
            json!({"product_name": "the greater in the same moment"}),
        ),
        // A broken clock: it fills values that are missing, and replaces none.
        told(
            5,
            "2090-01-01T00:00:00Z",
            json!({"product_name": "zz from the future", "product_variant": "green"}),
        ),
    ];
    let mut seen = Vec::new();
    for order in permutations(events.len()) {
        let mut writer = tables.writer(0);
        let ordered: Vec<Bytes> = order.iter().map(|place| events[*place].clone()).collect();
        let mut offset = 0;
        for some in ordered.chunks(1 + seen.len() % events.len()) {
            writer.write(&batch(offset, some.to_vec())).await.unwrap();
            offset += some.len() as i64;
        }
        let mut rows = tables
            .rows("SELECT *, NULL AS product_key FROM dim_product")
            .await;
        rows.extend(
            tables
                .rows("SELECT *, NULL AS list_key FROM dim_list")
                .await,
        );
        seen.push(rows);
        tables
            .client
            .batch_execute(
                "DELETE FROM fact_events; DELETE FROM dim_product; DELETE FROM \
                                     dim_list; DELETE FROM sink_offsets",
            )
            .await
            .unwrap();
    }
    assert_eq!(seen.len(), 120);
    let (product, list) = (&seen[0][0], &seen[0][1]);
    assert_eq!(product["product_name"], "the greater in the same moment");
    assert_eq!(
        (&product["product_category"], &product["product_category2"]),
        (&json!("C"), &Value::Null),
        "a path is replaced whole"
    );
    assert_eq!(
        (&product["product_brand"], &product["product_variant"]),
        (&json!("brand"), &json!("green"))
    );
    assert_eq!(
        (&product["first_seen"], &product["last_seen"]),
        (
            &json!("2026-11-01T00:00:00+00:00"),
            &json!("2026-11-03T00:00:00+00:00")
        )
    );
    assert_eq!(list["natural_key"], "id:L1");
    assert!(seen.iter().all(|rows| *rows == seen[0]));
}

#[tokio::test]
async fn what_was_told_once_is_not_written_again() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    let told = |hash, time, more: Value| {
        let mut all = json!({"product_id": "SKU-1"});
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        [envelope(&[fact(hash, time, all)])]
    };
    // The row, and the transaction that wrote it.
    let row = || tables.rows("SELECT product_name, product_brand, xmin::text FROM dim_product");
    let name = || json!({"product_name": "Shirt"});
    let both = json!({"product_name": "Shirt", "product_brand": "B"});
    let first = told(1, "2026-11-01T12:00:01Z", both);
    writer.write(&batch(0, first)).await.unwrap();
    let written = row().await;

    let same_minute = told(2, "2026-11-01T12:00:59Z", name());
    writer.write(&batch(1, same_minute)).await.unwrap();
    let older = told(3, "2026-11-01T12:00:00Z", json!({"product_name": "Old"}));
    writer.write(&batch(2, older)).await.unwrap();
    assert_eq!(row().await, written);

    let next_minute = told(4, "2026-11-01T12:01:00Z", name());
    writer.write(&batch(3, next_minute)).await.unwrap();
    assert_ne!(row().await[0]["xmin"], written[0]["xmin"]);

    // A deleted row is inserted and updated again.
    let delete = "DELETE FROM fact_events; DELETE FROM dim_product";
    tables.client.batch_execute(delete).await.unwrap();
    let again = told(5, "2026-11-01T12:00:00Z", name());
    writer.write(&batch(4, again)).await.unwrap();
    let brand = told(6, "2026-11-01T11:00:00Z", json!({"product_brand": "B"}));
    writer.write(&batch(5, brand)).await.unwrap();
    let found = row().await;
    assert_eq!(
        (&found[0]["product_name"], &found[0]["product_brand"]),
        (&json!("Shirt"), &json!("B"))
    );
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(count - 1);
    let insert = |order: &Vec<usize>, place| {
        let mut order = order.clone();
        order.insert(place, count - 1);
        order
    };
    shorter
        .iter()
        .flat_map(|order| (0..count).map(move |place| insert(order, place)))
        .collect()
}

#[tokio::test]
async fn a_list_is_told_by_id_and_name() {
    let tables = Tables::new().await;
    let lists = [
        json!({"list_id": "search", "list_name": "red shoes"}),
        json!({"list_id": "search", "list_name": "blue shoes"}),
        json!({"list_id": "search", "list_name": "red shoes"}),
        json!({"list_id": "search"}),
        json!({"list_name": "red shoes"}),
    ];
    let facts: Vec<Value> = (1..)
        .zip(lists)
        .map(|(hash, list)| fact(hash, NOON, list))
        .collect();
    let mut writer = tables.writer(0);
    writer.write(&batch(0, [envelope(&facts)])).await.unwrap();
    let named = tables
        .rows(
            "SELECT list_id AS id, list_name AS name, count(*) AS facts FROM fact_events JOIN \
               dim_list USING (list_key) GROUP BY 1, 2 ORDER BY 1, 2",
        )
        .await;
    assert_eq!(
        named,
        [
            json!({"id": "search", "name": "blue shoes", "facts": 1}),
            json!({"id": "search", "name": "red shoes", "facts": 2}),
            json!({"id": "search", "name": null, "facts": 1}),
            json!({"id": null, "name": "red shoes", "facts": 1}),
        ]
    );
}

#[tokio::test]
async fn products_and_lists_without_an_id_go_by_their_name() {
    let tables = Tables::new().await;
    let facts = [
        fact(
            1,
            NOON,
            json!({"product_id": "X", "product_name": "Shirt", "list_id": "X",
                "list_name": "Sale"}),
        ),
        fact(2, NOON, json!({"product_name": "X", "list_name": "X"})),
        fact(
            3,
            NOON,
            json!({"product_brand": "B", "product_category2": "C"}),
        ),
        fact(4, NOON, json!({"product_name": "X"})),
    ];
    tables
        .writer(0)
        .write(&batch(0, [envelope(&facts)]))
        .await
        .unwrap();
    let keys = tables
        .rows(
            "SELECT right(f.fact_hash::text, 1) AS fact, p.natural_key AS product, l.natural_key \
               AS list FROM fact_events f LEFT JOIN dim_product p USING (product_key) LEFT JOIN \
               dim_list l USING (list_key)",
        )
        .await;
    assert_eq!(
        keys,
        [
            json!({"fact": "1", "product": "id:X", "list": "id:X\u{1f}name:Sale"}),
            json!({"fact": "2", "product": "name:X", "list": "name:X"}),
            json!({"fact": "3", "product": "is:B\u{1f}\u{1f}C\u{1f}\u{1f}\u{1f}\u{1f}\u{1f}",
                "list": null}),
            json!({"fact": "4", "product": "name:X", "list": null}),
        ]
    );
}
