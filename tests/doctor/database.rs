//! A database and nothing else, from one that isn't there to one whose tables are not the sink's any more.

use end_to_end::{cli, found};
use private_postgres::PrivatePostgres;

use crate::findings::Findings;

/// Without files: what the environment names.
async fn at(url: &str) -> Findings {
    let mut command = cli::command().unwrap();
    command
        .args(["doctor", "--json"])
        .env_remove("QUEUE_URL")
        .env("DATABASE_URL", url)
        .env("FLV_PROFILE_PATH", "/nowhere");
    Findings::of(&mut command).await
}

#[tokio::test]
async fn a_database_is_looked_at_from_all_sides() {
    let server = PrivatePostgres::start().await.unwrap();
    let url = server.url();
    let found = at("postgres://etl:hunter2@127.0.0.1:1/etl").await;
    found.says("database", "connection", "fail", &["127.0.0.1:1"]);
    assert!(!found.report.to_string().contains("hunter2"));
    at(&url.replace("/etl", "/nowhere"))
        .await
        .says("database", "connection", "fail", &["nowhere"]);
    at(&url)
        .await
        .says("database", "schema", "warn", &["V1__tables", "etl migrate"]);
    let mut migrate = cli::command().unwrap();
    let migrated = migrate
        .arg("migrate")
        .env("DATABASE_URL", &url)
        .status()
        .await
        .unwrap();
    assert!(migrated.success());
    at(&url).await.says("database", "schema", "ok", &[]).says(
        "database",
        "writers",
        "warn",
        &["no sink"],
    );

    let owner = found::connect(&url).await.unwrap();
    owner
        .batch_execute(
            "CREATE ROLE writer LOGIN PASSWORD 'w' IN ROLE etl_writer; CREATE ROLE stranger LOGIN PASSWORD 's'",
        )
        .await
        .unwrap();
    let (_, address) = url.split_once('@').unwrap();
    at(&format!("postgres://writer:w@{address}"))
        .await
        .says("database", "schema", "ok", &[])
        .says("database", "rights", "ok", &[]);
    at(&format!("postgres://stranger:s@{address}")).await.says(
        "database",
        "rights",
        "fail",
        &["permission denied", "GRANT etl_writer TO"],
    );
    owner
        .batch_execute("GRANT SELECT ON refinery_schema_history TO stranger")
        .await
        .unwrap();
    at(&format!("postgres://stranger:s@{address}")).await.says(
        "database",
        "schema",
        "fail",
        &[
            "may not INSERT on fact_events",
            "GRANT etl_writer TO stranger",
        ],
    );

    owner
        .batch_execute("ALTER TABLE dim_product RENAME COLUMN last_seen TO seen")
        .await
        .unwrap();
    at(&url).await.says(
        "database",
        "schema",
        "fail",
        &["dim_product.last_seen is missing", "ADD COLUMN"],
    );
    owner
        .batch_execute("ALTER DATABASE etl SET default_transaction_read_only = on")
        .await
        .unwrap();
    at(&url)
        .await
        .says("database", "server", "fail", &["read-only"]);
}
