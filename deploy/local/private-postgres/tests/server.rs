//! A private server is usable, can keep its data, and is gone afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

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

    // For root, the server runs as another user, who must be able to access the folder.
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
    // The server's user may not replace the files that root writes.
    let own = |path: &Path| path.metadata().unwrap().uid();
    assert_eq!(own(&kept), own(folder.path()));
    let log = kept.join("postgres.log");
    for file in [&log, &kept.join("password")] {
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    }
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    std::fs::remove_file(&log).unwrap();
    symlink(&victim, &log).unwrap();
    let error = PrivatePostgres::start_in(&kept).await.unwrap_err();
    assert!(format!("{error:#}").contains("is a link"), "{error:#}");
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    std::fs::remove_file(&log).unwrap();

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
