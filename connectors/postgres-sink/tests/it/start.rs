//! The start: migrations side by side, and databases that refuse access.

use private_postgres::PrivatePostgres;
use warehouse::{Database, Remedy};

use crate::support::{Tables, settings};

#[tokio::test]
async fn migrations_run_once_however_many_start_at_once() {
    let server = PrivatePostgres::start().await.unwrap();
    let database = Database::new(&settings(server.url())).unwrap();
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let database = database.clone();
        starts.spawn(async move {
            let mut client = database.connect().await.unwrap();
            warehouse::migrate(&mut client).await.unwrap()
        });
    }
    let reports = starts.join_all().await;
    let busy: Vec<_> = reports
        .iter()
        .filter(|report| !report.applied.is_empty())
        .collect();
    assert_eq!(busy.len(), 1, "{reports:?}");
    let migrations = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sql/migrations");
    let known = std::fs::read_dir(migrations).unwrap().count();
    assert_eq!(busy[0].applied.len(), known);
    assert!(
        reports
            .iter()
            .all(|report| report.version == busy[0].version)
    );
    let mut client = database.connect().await.unwrap();
    assert!(
        warehouse::migrate(&mut client)
            .await
            .unwrap()
            .applied
            .is_empty()
    );
    let held = client
        .query_one(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(held.get::<_, i64>(0), 0, "the lock is released");
}

#[tokio::test]
async fn a_standby_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let primary = PrivatePostgres::start_in(folder.path()).await.unwrap();
    primary.stop().await.unwrap();
    std::fs::write(folder.path().join("data/standby.signal"), "").unwrap();
    let standby = PrivatePostgres::start_in(folder.path()).await.unwrap();
    let database = Database::new(&settings(standby.url())).unwrap();
    let mut client = database.connect().await.unwrap();
    let error = warehouse::migrate(&mut client).await.unwrap_err();
    assert!(
        error.to_string().contains("a standby") && error.to_string().contains("name the primary"),
        "{error}"
    );
}

#[tokio::test]
async fn a_database_that_cannot_store_every_character_is_refused() {
    let server = PrivatePostgres::start().await.unwrap();
    let owner = Database::new(&settings(server.url())).unwrap();
    let owner = owner.connect().await.unwrap();
    owner
        .batch_execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        .await
        .unwrap();
    let url = format!("{}/latin", server.url().strip_suffix("/etl").unwrap());
    let database = Database::new(&settings(url)).unwrap();
    let mut client = database.connect().await.unwrap();
    for error in [
        warehouse::migrate::check(&client).await.unwrap_err(),
        warehouse::migrate(&mut client).await.unwrap_err(),
    ] {
        assert_eq!(error.remedy(), Remedy::Fatal);
        let text = error.to_string();
        assert!(
            text.contains("LATIN1") && text.contains("ENCODING 'UTF8'"),
            "{text}"
        );
    }
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    let made: i64 = client.query_one(tables, &[]).await.unwrap().get(0);
    assert_eq!(made, 0);
}

#[tokio::test]
async fn every_table_and_column_is_explained() {
    let tables = Tables::new().await;
    let unexplained = tables
        .rows(
            "SELECT c.relname, a.attname FROM pg_class c JOIN pg_namespace n ON n.oid = \
             c.relnamespace \
             LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND c.relkind <> 'v' \
             AND NOT c.relispartition \
             WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v') AND c.relname <> \
             'refinery_schema_history' \
             AND (col_description(c.oid, a.attnum) IS NULL AND a.attnum IS NOT NULL OR \
             obj_description(c.oid, 'pg_class') IS NULL)",
        )
        .await;
    assert!(unexplained.is_empty(), "{unexplained:?}");
}

#[tokio::test]
async fn a_database_that_cannot_be_entered_is_named_and_the_password_is_not() {
    let server = PrivatePostgres::start().await.unwrap();
    let port = server.port();
    let attempt = |url: String| async move {
        let database = Database::new(&settings(url)).unwrap();
        let error = database.connect().await.unwrap_err();
        (
            error.remedy(),
            format!("{} {} {error:?}", database.address(), error.chain()),
        )
    };
    let (remedy, text) = attempt(format!("postgres://etl:hunter2@127.0.0.1:{port}/etl")).await;
    assert_eq!(remedy, Remedy::Refused, "{text}");
    assert!(
        text.contains(&format!("127.0.0.1:{port}/etl"))
            && text.contains("password")
            && !text.contains("hunter2"),
        "{text}"
    );
    let missing = format!("{}/nowhere", server.url().strip_suffix("/etl").unwrap());
    let (remedy, text) = attempt(missing).await;
    assert_eq!(remedy, Remedy::Refused, "{text}");
    assert!(text.contains("\"nowhere\" does not exist"), "{text}");
    server.stop().await.unwrap();
    let (remedy, text) = attempt(format!("postgres://etl:hunter2@127.0.0.1:{port}/etl")).await;
    assert_eq!(remedy, Remedy::Retry, "{text}");
    assert!(
        text.contains(&port.to_string()) && !text.contains("hunter2"),
        "{text}"
    );
}

#[tokio::test]
async fn a_schema_that_may_not_be_changed_is_checked() {
    let server = PrivatePostgres::start().await.unwrap();
    let database = Database::new(&settings(server.url())).unwrap();
    let mut client = database.connect().await.unwrap();
    let error = warehouse::migrate::check(&client).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::Fatal);
    let text = error.to_string();
    assert!(
        text.contains("V1__tables, V2__roles_and_partitions") && text.contains("etl migrate"),
        "{text}"
    );
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    let there: i64 = client.query_one(tables, &[]).await.unwrap().get(0);
    assert_eq!(there, 0, "a check changed the database");

    let migrated = warehouse::migrate(&mut client).await.unwrap();
    let found = warehouse::migrate::check(&client).await.unwrap();
    assert_eq!((found.applied.len(), found.version), (0, migrated.version));
    client
        .execute("DELETE FROM refinery_schema_history WHERE version = 2", &[])
        .await
        .unwrap();
    let error = warehouse::migrate::check(&client).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("V2__roles_and_partitions") && !text.contains("V1__"),
        "{text}"
    );
}
