//! Who may do what: the groups that the schema makes.

use connector_common::Secret;
use postgres_sink::batch::Batch;
use postgres_sink::database::Database;
use postgres_sink::writer::{Source, Writer};
use postgres_sink::{Config, OnConflict, migrate, schema};
use serde_json::json;

use crate::support::{NOON, Tables, batch, envelope, fact, records, shopping};

impl Tables {
    /// The same database as another user, who is made with these words.
    async fn as_user(&self, name: &str, words: &str) -> std::sync::Arc<Database> {
        let create = format!("CREATE ROLE {name} LOGIN PASSWORD 'p' {words}");
        self.client.batch_execute(&create).await.unwrap();
        let url = format!("postgres://{name}:p@127.0.0.1:{}/etl", self.server.port());
        Database::new(&Config::new(Secret::from(url))).unwrap()
    }
}

#[tokio::test]
async fn a_member_of_the_writers_needs_nothing_else() {
    let tables = Tables::new().await;
    let owner = schema::needless_rights(&tables.client)
        .await
        .unwrap()
        .unwrap();
    assert!(
        owner.contains("superuser") && owner.contains("etl_writer"),
        "{owner}"
    );

    let database = tables.as_user("writes", "IN ROLE etl_writer").await;
    let mut client = database.connect().await.unwrap();
    assert!(
        migrate::migrate_if_allowed(&mut client)
            .await
            .unwrap()
            .applied
            .is_empty()
    );
    assert_eq!(schema::needless_rights(&client).await.unwrap(), None);
    let source = Source {
        sink: "test".to_owned(),
        topic: "shop-events".to_owned(),
        partition: 0,
    };
    let mut writer = Writer::new(database, source);
    // Makes the month as well, whose table belongs to the owner.
    assert_eq!(
        writer
            .write(&batch(0, shopping(0, 300)))
            .await
            .unwrap()
            .inserted,
        300
    );
    assert_eq!(tables.count("fact_events_default").await, 0);
    let item = |ordinal: i32| {
        fact(
            (1 << 64) + u128::from(ordinal.unsigned_abs()),
            NOON,
            json!({"event_id": "e-1", "item_ordinal": ordinal}),
        )
    };
    let corrected = [envelope(&[item(2)]), envelope(&[item(1)])];
    let mut update = Batch::after(300).on_conflict(OnConflict::Update);
    records(300, corrected).for_each(|record| update.push(record));
    assert_eq!(writer.write(&update.finish()).await.unwrap().vanished, 1);
    for forbidden in [
        "DROP TABLE fact_events",
        "DELETE FROM fact_events",
        "TRUNCATE dim_list",
    ] {
        let error = client.batch_execute(forbidden).await.unwrap_err();
        let refused = tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE;
        assert_eq!(error.code(), Some(&refused), "{forbidden}");
    }
}

#[tokio::test]
async fn a_reader_reads_also_what_comes_later() {
    let tables = Tables::new().await;
    let database = tables.as_user("reads", "IN ROLE etl_reader").await;
    let client = database.connect().await.unwrap();
    tables
        .client
        .batch_execute("CREATE VIEW later AS SELECT count(*) FROM fact_events")
        .await
        .unwrap();
    for table in [
        "product_interactions",
        "fact_events",
        "dim_list",
        "rejected_events",
        "later",
        "analytics.daily_funnel",
        "analytics.sessions_by('day')",
        "analytics.customers()",
        "analytics.list_performance('2026-01-01', '2026-12-31', 1)",
    ] {
        client
            .batch_execute(&format!("SELECT * FROM {table}"))
            .await
            .unwrap();
    }
    client
        .batch_execute("INSERT INTO dim_list (natural_key) VALUES ('x')")
        .await
        .unwrap_err();
    // The sink says what such a user lacks.
    let troubles = schema::troubles(&client).await.unwrap();
    assert!(
        troubles
            .iter()
            .any(|trouble| trouble
                == "`reads` may not INSERT on fact_events: GRANT etl_writer TO reads"),
        "{troubles:?}"
    );
}

#[tokio::test]
async fn a_user_who_may_make_no_groups_still_gets_the_tables() {
    let tables = Tables::new().await;
    tables
        .client
        .batch_execute("CREATE ROLE poor LOGIN PASSWORD 'p'")
        .await
        .unwrap();
    let others = "DROP OWNED BY etl_writer, etl_reader; DROP ROLE etl_writer, etl_reader";
    tables.client.batch_execute(others).await.unwrap();
    tables
        .client
        .batch_execute("CREATE DATABASE poor OWNER poor")
        .await
        .unwrap();
    let url = format!("postgres://poor:p@127.0.0.1:{}/poor", tables.server.port());
    let database = Database::new(&Config::new(Secret::from(url))).unwrap();
    let mut client = database.connect().await.unwrap();
    postgres_sink::migrate(&mut client).await.unwrap();
    let rights = schema::needless_rights(&client).await.unwrap().unwrap();
    assert!(rights.contains("`poor` owns the tables"), "{rights}");
    // Once somebody else has made them, the rights can be given.
    tables
        .client
        .batch_execute("CREATE ROLE etl_writer; CREATE ROLE etl_reader")
        .await
        .unwrap();
    client
        .batch_execute("SELECT etl_grant_roles()")
        .await
        .unwrap();
    let granted = client
        .query_one(
            "SELECT has_table_privilege('etl_writer', 'fact_events', 'INSERT')",
            &[],
        )
        .await
        .unwrap();
    assert!(granted.get::<_, bool>(0));
}

#[tokio::test]
async fn a_schema_that_was_changed_is_refused_with_what_mends_it() {
    let tables = Tables::new().await;
    let damage = "ALTER TABLE dim_list ALTER COLUMN first_seen TYPE timestamp; \
                  ALTER TABLE fact_events ADD COLUMN ours text DEFAULT 'x'; \
                  ALTER TABLE dim_list DROP CONSTRAINT dim_list_natural_key_key; \
                  ALTER TABLE sink_offsets ADD COLUMN theirs text NOT NULL; \
                  ALTER TABLE rejected_events DROP COLUMN source_key; \
                  ALTER TABLE fact_events DETACH PARTITION fact_events_default";
    tables.client.batch_execute(damage).await.unwrap();
    let troubles = schema::troubles(&tables.client).await.unwrap();
    let told = migrate::check(&tables.client).await.unwrap_err();
    assert!(
        told.remedy().is_none()
            && troubles
                .iter()
                .all(|trouble| told.to_string().contains(trouble)),
        "{told}"
    );
    // Each names the statement that mends it.
    for trouble in &troubles {
        let (_, statement) = trouble.split_once(": ").unwrap();
        let statement = statement.split(", or give").next().unwrap();
        tables.client.batch_execute(statement).await.unwrap();
    }
    // The column that was dropped has taken its constraint along.
    let again = schema::troubles(&tables.client).await.unwrap();
    assert!(again.is_empty(), "{again:?}");
}

#[tokio::test]
async fn a_database_that_takes_no_writes_says_so() {
    let tables = Tables::new().await;
    tables
        .client
        .batch_execute("ALTER DATABASE etl SET default_transaction_read_only = on")
        .await
        .unwrap();
    let client = tables.database.connect().await.unwrap();
    let error = migrate::check(&client).await.unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
}
