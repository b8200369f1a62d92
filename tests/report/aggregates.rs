//! `etl aggregates`, which stores anew what a report reads.

use crate::shop::Shop;

#[tokio::test]
async fn aggregates_are_checked_rebuilt_and_configured() {
    let shop = Shop::open().await;
    shop.says(&["migrate"], 0, &[]).await;
    shop.says(&["aggregates", "rebuild"], 0, &["0 hours stored anew"])
        .await;
    shop.fill().await;
    let check = ["aggregates", "check"];
    shop.says(&check, 0, &["the aggregates agree with the facts"])
        .await;
    shop.says(&["aggregates", "rebuild"], 0, &["stored anew"])
        .await;
    let deleted = "DELETE FROM analytics.hourly_visits WHERE day = '2026-11-01'";
    shop.client.batch_execute(deleted).await.unwrap();
    let wrong = ["hourly_visits", "2026-11-01", "1 tables and days differ"];
    shop.says(&check, 1, &wrong).await;
    let other = ["aggregates", "rebuild", "--from", "2026-11-02"];
    shop.says(&other, 0, &["stored anew"]).await;
    shop.says(&check, 1, &wrong).await;
    let that = ["aggregates", "rebuild", "--to", "2026-11-01"];
    shop.says(&that, 0, &["stored anew"]).await;
    shop.says(&check, 0, &["the aggregates agree with the facts"])
        .await;

    let zone = ["aggregates", "configure", "--time-zone", "Asia/Tokyo"];
    shop.says(&zone, 0, &["Asia/Tokyo", "00:30:00", "month"])
        .await;
    shop.says(&check, 0, &["the aggregates agree with the facts"])
        .await;
    let wrong = ["aggregates", "configure", "--time-zone", "Mars/Olympus"];
    shop.says(
        &wrong,
        1,
        &["the settings are as they were", "Mars/Olympus"],
    )
    .await;
    let days = ["aggregates", "configure", "--partition-by", "day"];
    shop.says(&days, 0, &["Asia/Tokyo", "day"]).await;
}
