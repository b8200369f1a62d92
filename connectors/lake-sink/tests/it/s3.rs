//! Tables on a server of S3, in each kind of catalog, with credentials from the environment.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_glue::types::{StorageDescriptor, TableInput};
use chrono::TimeDelta;
use connector_common::Validate as _;
use iceberg::{Catalog, TableIdent};
use lake_sink::Config;
use lake_sink::batch::Content;
use lake_sink::catalog;
use lake_sink::maintenance::Lake;
use lake_sink::maintenance::orphans::Orphans;
use owned_process::{OwnedProcess, Signal};
use serde_json::{Value, json};

use crate::support::{Lab, batches, begin, expected, places, program, settings, write};

const ENDPOINT: &str = "LAKE_TEST_S3";
/// The bucket of tables behind the REST catalog.
const TABLES: &str = "arn:aws:s3tables:us-east-1:000000000000:bucket/tables";

/// Starts ministack, whose S3 has the bucket `lake`, and runs the tests below in a process that has
/// credentials: the AWS chain reads the environment.
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_written_to_s3_in_each_kind_of_catalog() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut command = tokio::process::Command::new(program("ministack"));
    command
        .env("BIND_HOST", "127.0.0.1")
        .env("GATEWAY_PORT", port.to_string())
        .env("SERVICES", "s3,glue,s3tables")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _server = OwnedProcess::spawn("ministack", command, Signal::SIGTERM).unwrap();
    let created = (0..150).any(|_| {
        std::thread::sleep(Duration::from_millis(200));
        put(port, "/lake", "s3", "").is_some_and(|answer| answer.contains(" 200 "))
    });
    assert!(created, "ministack does not create a bucket");
    let made = put(port, "/buckets", "s3tables", r#"{"name": "tables"}"#);
    assert!(
        made.as_ref().is_some_and(|answer| answer.contains(TABLES)),
        "{made:?}"
    );
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "s3::with_credentials"])
        .env(ENDPOINT, format!("http://127.0.0.1:{port}"))
        .env("AWS_ENDPOINT_URL_GLUE", format!("http://127.0.0.1:{port}"))
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains("3 passed"),
        "{shown}"
    );
}

/// The answer to a request that is signed for this service, which the server does not check.
fn put(port: u16, path: &str, service: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = format!(
        "PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=test/20261201/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=none\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn config(warehouse: &str, more: Value) -> Config {
    let mut config = json!({
        "warehouse": warehouse,
        "s3-endpoint": std::env::var(ENDPOINT).unwrap(),
        "s3-path-style": true,
    });
    let keys = config.as_object_mut().unwrap();
    keys.extend(more.as_object().unwrap().clone());
    let config: Config = serde_json::from_value(config).unwrap();
    config.validate().unwrap();
    config
}

/// Sinks of other partitions commit at the same time, and a late one of the same is refused.
async fn commits_are_fenced(config: &Config) -> Arc<dyn Catalog> {
    let catalog = catalog::open(config).await.unwrap();
    let (never, _) = connector_common::Stop::manual();
    let open = || crate::support::open(catalog.clone(), settings(Content::Facts), never.clone());
    let mut lake = open().await.unwrap();
    begin(&mut lake, 2).await;
    let mut other = open().await.unwrap();
    for from in [0, 20, 40] {
        let (one, two) = tokio::join!(
            write(&mut lake, batches(0, from..from + 20)),
            write(&mut other, batches(1, from..from + 20)),
        );
        one.unwrap();
        two.unwrap();
    }
    let mut late = open().await.unwrap();
    write(&mut lake, batches(0, 60..80)).await.unwrap();
    let refused = write(&mut late, batches(0, 60..100)).await.unwrap_err();
    assert!(
        matches!(refused, lake_sink::Error::Fenced { .. }),
        "{refused}"
    );
    let id = TableIdent::from_strs(["shop", "facts"]).unwrap();
    let table = catalog.load_table(&id).await.unwrap();
    let folder = format!("{}/shop/facts", config.warehouse);
    assert_eq!(table.metadata().location(), folder);
    let all = [expected(0, 0..80), expected(1, 0..60)].concat();
    assert_eq!(places(&table, "fact_hash").await, all);
    catalog
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tables_are_written_to_s3_in_each_kind_of_catalog"]
async fn with_credentials_in_a_database() {
    let lab = Lab::new().await;
    let config = config("s3://lake/tables", json!({"catalog-url": lab.server.url()}));
    let catalog = commits_are_fenced(&config).await;

    // A file that no snapshot has is found in the bucket, and is too young to be deleted.
    let id = TableIdent::from_strs(["shop", "facts"]).unwrap();
    let table = catalog.load_table(&id).await.unwrap();
    let lake = Lake::new(catalog, &config).unwrap();
    let orphan = format!("{}/data/orphan.parquet", table.metadata().location());
    let orphan = table.file_io().new_output(orphan).unwrap();
    let find = || Orphans::find(&lake, &id, &config, TimeDelta::hours(1));
    let before = find().await.unwrap();
    orphan.write("rows".into()).await.unwrap();
    let after = find().await.unwrap();
    assert_eq!((after.files.len(), after.young), (0, before.young + 1));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tables_are_written_to_s3_in_each_kind_of_catalog"]
async fn with_credentials_in_glue() {
    let config = config("s3://lake/glue", json!({"catalog-url": "glue"}));
    let catalog = commits_are_fenced(&config).await;

    // Other teams have tables in Glue, whose buckets the credentials can't read.
    let aws = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let glue = aws_sdk_glue::Client::new(&aws);
    let lake = Lake::new(catalog, &config).unwrap();
    let id = TableIdent::from_strs(["shop", "facts"]).unwrap();
    let find = || Orphans::find(&lake, &id, &config, TimeDelta::hours(1));
    other_table(&glue, "ledger", "s3://finance/ledger").await;
    find().await.unwrap();
    other_table(&glue, "copy", "s3://lake/glue/shop/facts/copy").await;
    let error = find().await.unwrap_err();
    assert!(matches!(error, lake_sink::Error::Shared { .. }), "{error}");
}

/// Adds an Iceberg table without metadata to the database `shop`.
async fn other_table(glue: &aws_sdk_glue::Client, name: &str, folder: &str) {
    let metadata = format!("{folder}/metadata/00000-1.metadata.json");
    let storage = StorageDescriptor::builder().location(folder).build();
    let table = TableInput::builder()
        .name(name)
        .parameters("table_type", "ICEBERG")
        .parameters("metadata_location", metadata)
        .storage_descriptor(storage);
    let request = glue.create_table().database_name("shop");
    let request = request.table_input(table.build().unwrap());
    request.send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tables_are_written_to_s3_in_each_kind_of_catalog"]
async fn with_credentials_at_a_rest_server() {
    let url = format!("{}/iceberg", std::env::var(ENDPOINT).unwrap());
    let config = config(
        "s3://tables/rest",
        json!({"catalog-url": url, "catalog-name": TABLES, "catalog-token": "none"}),
    );
    commits_are_fenced(&config).await;
}
