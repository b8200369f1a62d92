//! A private server is usable, keeps its data when asked to, and is gone afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use private_postgres::PrivatePostgres;
use tokio_postgres::{Client, NoTls};

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connect");
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn kept_data_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("database");

    // Who runs as root hands the folder to another user, who must be able to reach it.
    std::fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let first = PrivatePostgres::start_in(&kept).await.unwrap();
    connect(&first.url())
        .await
        .batch_execute("CREATE TABLE kept AS SELECT 42 AS answer")
        .await
        .unwrap();
    first.stop().await.unwrap();

    let second = PrivatePostgres::start_in(&kept).await.unwrap();
    let row = connect(&second.url())
        .await
        .query_one("SELECT answer FROM kept", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i32>(0), 42);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_stopped_server_no_longer_answers() {
    let server = PrivatePostgres::start().await.unwrap();
    let url = server.url();
    connect(&url).await;
    server.stop().await.unwrap();
    assert!(tokio_postgres::connect(&url, NoTls).await.is_err());
}

#[tokio::test]
async fn a_stranger_without_the_password_is_refused() {
    let server = PrivatePostgres::start().await.unwrap();
    let stranger = format!("postgres://etl@127.0.0.1:{}/etl", server.port());
    assert!(tokio_postgres::connect(&stranger, NoTls).await.is_err());
    server.stop().await.unwrap();
}
