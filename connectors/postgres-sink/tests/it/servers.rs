//! Other versions of PostgreSQL: the newest that is refused, the oldest that is accepted, and the
//! newest.

use std::path::PathBuf;

use private_postgres::PrivatePostgres;
use warehouse::Database;

use crate::connections::{authority, certificate, encrypt, is_encrypted};
use crate::recomputed::{self, Stages};
use crate::support::{Tables, settings};

async fn server(version: u32) -> PrivatePostgres {
    let servers = std::env::var("ETL_TEST_SERVERS")
        .expect("this test needs servers of other versions: run it by `make test`");
    let programs = PathBuf::from(servers).join(format!("{version}/bin"));
    PrivatePostgres::start_of(&programs).await.unwrap()
}

#[tokio::test]
async fn an_older_server_is_refused_with_what_is_needed() {
    let server = server(13).await;
    let database = Database::new(&settings(server.url())).unwrap();
    let mut client = database.connect().await.unwrap();
    let error = warehouse::migrate(&mut client).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("PostgreSQL 14 or newer is needed; this server is version 13."),
        "{error}"
    );
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    let made: i64 = client.query_one(tables, &[]).await.unwrap().get(0);
    assert_eq!(made, 0);
}

#[tokio::test]
async fn the_oldest_server_that_is_taken_does_everything() {
    let tables = Tables::of(server(14).await).await;
    recomputed::compare_all(&tables, 900, "UTC", Stages::Main).await;
}

#[tokio::test]
async fn the_newest_server_does_everything() {
    let tables = Tables::of(server(18).await).await;
    recomputed::compare_all(&tables, 900, "UTC", Stages::Main).await;
}

#[tokio::test]
async fn tls_begins_at_once_with_a_server_that_can() {
    let server = server(18).await;
    let folder = tempfile::tempdir().unwrap();
    authority(folder.path(), "ca");
    certificate(folder.path(), "server", "localhost");
    encrypt(&server, folder.path()).await;
    let url = format!("{}?sslmode=require&sslnegotiation=direct", server.url());
    assert!(is_encrypted(url).await.unwrap());
}
