//! `etl aggregates`.

use super::shop::Shop;

#[tokio::test]
async fn aggregates_are_checked_rebuilt_and_configured() {
    let shop = Shop::open().await;
    shop.run(&["migrate"], 0, &[]).await;
    shop.run(&["aggregates", "rebuild"], 0, &["0 hours rebuilt"])
        .await;
    shop.fill().await;
    let check = ["aggregates", "check"];
    shop.run(&check, 0, &["the aggregates agree with the facts"])
        .await;
    shop.run(&["aggregates", "rebuild"], 0, &["hours rebuilt"])
        .await;
    let deleted = "DELETE FROM analytics.hourly_visits WHERE day = '2025-11-01'";
    shop.client.batch_execute(deleted).await.unwrap();
    let wrong = ["hourly_visits", "2025-11-01", "tables and days differ"];
    shop.run(&check, 1, &wrong).await;
    let other = ["aggregates", "rebuild", "--from", "2025-11-02"];
    shop.run(&other, 0, &["hours rebuilt"]).await;
    shop.run(&check, 1, &wrong).await;
    let that = ["aggregates", "rebuild", "--to", "2025-11-01"];
    shop.run(&that, 0, &["hours rebuilt"]).await;
    shop.run(&check, 0, &["the aggregates agree with the facts"])
        .await;

    let zone = ["aggregates", "configure", "--time-zone", "Asia/Tokyo"];
    shop.run(&zone, 0, &["Asia/Tokyo", "00:30:00", "month"])
        .await;
    shop.run(&check, 0, &["the aggregates agree with the facts"])
        .await;
    let wrong = ["aggregates", "configure", "--time-zone", "Mars/Olympus"];
    shop.run(&wrong, 1, &["the settings are unchanged", "Mars/Olympus"])
        .await;
    let days = ["aggregates", "configure", "--partition-by", "day"];
    shop.run(&days, 0, &["Asia/Tokyo", "day"]).await;
}
