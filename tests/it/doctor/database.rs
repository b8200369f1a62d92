//! A database alone: missing, empty, and with tables that the sink can't use.

use end_to_end::{cli, found};
use private_postgres::PrivatePostgres;

use super::findings::Findings;

/// Runs the command without files on the database at `url`.
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
async fn each_error_of_a_database_is_found() {
    let server = PrivatePostgres::start().await.unwrap();
    let url = server.url();
    let found = at("postgres://etl:hunter2@127.0.0.1:1/etl").await;
    found.has("database", "connection", "fail", &["127.0.0.1:1"]);
    assert!(!found.report.to_string().contains("hunter2"));
    at("postgres://etl:hunter2@db.invalid/etl")
        .await
        .has("database", "tls", "warn", &["db.invalid", "verify-full"])
        .has("database", "connection", "fail", &["db.invalid"]);
    at(&url.replace("/etl", "/nowhere"))
        .await
        .has("database", "connection", "fail", &["nowhere"]);
    at(&url)
        .await
        .has("database", "schema", "warn", &["V1__tables", "etl migrate"]);
    let mut migrate = cli::command().unwrap();
    let migrated = migrate
        .arg("migrate")
        .env("DATABASE_URL", &url)
        .status()
        .await
        .unwrap();
    assert!(migrated.success());
    at(&url).await.has("database", "schema", "ok", &[]).has(
        "database",
        "writers",
        "warn",
        &["no sink"],
    );

    let owner = found::connect(&url).await.unwrap();
    owner
        .batch_execute(
            "CREATE ROLE writer LOGIN PASSWORD 'w' IN ROLE etl_writer; CREATE ROLE stranger LOGIN \
             PASSWORD 's'",
        )
        .await
        .unwrap();
    let (_, address) = url.split_once('@').unwrap();
    at(&format!("postgres://writer:w@{address}"))
        .await
        .has("database", "schema", "ok", &[])
        .has("database", "rights", "ok", &[]);
    at(&format!("postgres://stranger:s@{address}")).await.has(
        "database",
        "rights",
        "fail",
        &["permission denied", "GRANT etl_writer TO"],
    );
    owner
        .batch_execute("GRANT SELECT ON refinery_schema_history TO stranger")
        .await
        .unwrap();
    at(&format!("postgres://stranger:s@{address}")).await.has(
        "database",
        "schema",
        "fail",
        &[
            "may not INSERT on fact_events",
            "GRANT etl_writer TO stranger",
        ],
    );

    let open = "GRANT CREATE ON SCHEMA public TO PUBLIC";
    owner.batch_execute(open).await.unwrap();
    let revoke = "REVOKE CREATE ON SCHEMA public FROM PUBLIC";
    let found = at(&url).await;
    found.has("database", "schema", "fail", &["everybody", revoke]);
    owner.batch_execute(revoke).await.unwrap();

    owner
        .batch_execute("ALTER TABLE dim_product RENAME COLUMN last_seen TO seen")
        .await
        .unwrap();
    at(&url).await.has(
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
        .has("database", "server", "fail", &["read-only"]);
    let latin = "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0";
    owner.batch_execute(latin).await.unwrap();
    at(&format!("{}/latin", url.strip_suffix("/etl").unwrap()))
        .await
        .has("database", "server", "fail", &["LATIN1", "UTF8"]);
}
