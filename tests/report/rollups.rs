//! `etl rollups`, which counts anew what a report reads.

use crate::shop::Shop;

#[tokio::test]
async fn rollups_are_counted_anew_whatever_the_range_holds() {
    let shop = Shop::open().await;
    shop.says(&["migrate"], 0, &[]).await;
    shop.says(&["rollups", "rebuild"], 0, &["0 rows counted anew"])
        .await;
    shop.fill().await;
    // A clock that is wrong dates a fact in another month; by hand, it is not counted.
    let moved = "UPDATE fact_events SET event_time = event_time - interval '70 days' WHERE event_name = 'begin_checkout'; \
                 SELECT analytics.fold(); UPDATE analytics.rollup_event SET interactions = interactions + 1";
    shop.client.batch_execute(moved).await.unwrap();
    let wrong = ["rollups", "check"];
    shop.says(&wrong, 1, &["view_item_list"]).await;
    let before = ["rollups", "rebuild", "--to", "2026-08-31"];
    shop.says(&before, 0, &["counted anew"]).await;
    shop.says(&wrong, 1, &["view_item_list"]).await;
    shop.says(&["rollups", "rebuild"], 0, &["counted anew"])
        .await;
    shop.says(&wrong, 0, &["the rollups agree with the facts"])
        .await;
}
