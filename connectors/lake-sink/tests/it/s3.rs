//! Tables on a server of S3, with credentials from the environment.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::TimeDelta;
use lake_sink::batch::Content;
use lake_sink::catalog::SqlCatalog;
use lake_sink::maintenance::Lake;
use lake_sink::maintenance::orphans::Orphans;
use lake_sink::storage::{self, S3Settings};
use owned_process::{OwnedProcess, Signal};

use crate::support::{Lab, batches, begin, expected, program, settings, write};

const ENDPOINT: &str = "LAKE_TEST_S3";

/// Starts ministack, whose S3 has the bucket `lake`, and runs the test below in a process that has
/// credentials: the AWS chain reads the environment.
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_written_to_s3() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut command = tokio::process::Command::new(program("ministack"));
    command
        .env("BIND_HOST", "127.0.0.1")
        .env("GATEWAY_PORT", port.to_string())
        .env("SERVICES", "s3")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _server = OwnedProcess::spawn("ministack", command, Signal::SIGTERM).unwrap();
    let created = (0..150).any(|_| {
        std::thread::sleep(Duration::from_millis(200));
        create_bucket(port).is_some_and(|answer| answer.contains(" 200 "))
    });
    assert!(created, "ministack does not create a bucket");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "s3::with_credentials"])
        .env(ENDPOINT, format!("http://127.0.0.1:{port}"))
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains("1 passed"),
        "{shown}"
    );
}

fn create_bucket(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = "PUT /lake HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\
                   Connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tables_are_written_to_s3"]
async fn with_credentials() {
    let lab = Lab::new().await;
    let s3 = S3Settings {
        endpoint: std::env::var(ENDPOINT).ok(),
        region: None,
        path_style: true,
    };
    let files = storage::open("s3://lake/tables", &s3).await;
    let database = lab.database.clone();
    let catalog = SqlCatalog::open(database, "lake", "s3://lake/tables", files).await;
    let catalog: std::sync::Arc<dyn iceberg::Catalog> = std::sync::Arc::new(catalog.unwrap());
    let (never, _) = connector_common::Stop::manual();
    let open = || crate::support::open(catalog.clone(), settings(Content::Facts), never.clone());
    let mut lake = open().await.unwrap();
    begin(&mut lake, 1).await;
    write(&mut lake, batches(0, 0..120)).await.unwrap();
    let mut late = open().await.unwrap();
    write(&mut lake, batches(0, 120..200)).await.unwrap();
    write(&mut late, batches(0, 120..250)).await.unwrap_err();
    drop(late);
    let id = iceberg::TableIdent::from_strs(["shop", "facts"]).unwrap();
    let table = catalog.load_table(&id).await.unwrap();
    assert!(table.metadata().location().starts_with("s3://lake/tables/"));
    assert_eq!(
        crate::support::places(&table, "fact_hash").await,
        expected(0, 0..200)
    );

    // A file that no snapshot has is found in the bucket, and is too young to be deleted.
    let config = serde_json::json!({
        "warehouse": "s3://lake/tables",
        "catalog-url": lab.server.url(),
    });
    let config: lake_sink::Config = serde_json::from_value(config).unwrap();
    let lake = Lake::new(catalog, &config).unwrap();
    let orphan = format!("{}/data/orphan.parquet", table.metadata().location());
    let orphan = table.file_io().new_output(orphan).unwrap();
    let before = Orphans::find(&lake, &id, &s3, TimeDelta::hours(1))
        .await
        .unwrap();
    orphan.write("rows".into()).await.unwrap();
    let after = Orphans::find(&lake, &id, &s3, TimeDelta::hours(1))
        .await
        .unwrap();
    assert_eq!((after.files.len(), after.young), (0, before.young + 1));
}
