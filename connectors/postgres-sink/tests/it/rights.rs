//! The rights of the roles that the schema creates.

use serde_json::{Value, json};
use tokio_postgres::error::SqlState;
use warehouse::{Batch, Database, OnConflict, Remedy, Source, Writer, migrate, schema};

use crate::support::{NOON, Tables, batch, envelope, fact, records, settings, shopping};

impl Tables {
    /// The same database as a new user, created with these options.
    async fn as_user(&self, name: &str, words: &str) -> std::sync::Arc<Database> {
        let create = format!("CREATE ROLE {name} LOGIN PASSWORD 'p' {words}");
        self.client.batch_execute(&create).await.unwrap();
        let url = format!("postgres://{name}:p@127.0.0.1:{}/etl", self.server.port());
        Database::new(&settings(url)).unwrap()
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
    // Creates the month's partition as well, which belongs to the owner.
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
    assert_eq!(writer.write(&update.finish()).await.unwrap().removed, 1);
    warehouse::refresh::state(&client).await.unwrap();
    for forbidden in [
        "DROP TABLE fact_events",
        "DELETE FROM fact_events",
        "TRUNCATE dim_list",
    ] {
        let error = client.batch_execute(forbidden).await.unwrap_err();
        let refused = SqlState::INSUFFICIENT_PRIVILEGE;
        assert_eq!(error.code(), Some(&refused), "{forbidden}");
    }
}

#[tokio::test]
async fn a_reader_reads_neither_payloads_nor_later_tables() {
    let tables = Tables::new().await;
    let database = tables.as_user("reads", "IN ROLE etl_reader").await;
    let client = database.connect().await.unwrap();
    let later = "CREATE TABLE payroll (salary int); CREATE TABLE analytics.payroll (salary int)";
    tables.client.batch_execute(later).await.unwrap();
    let refused = Some(&SqlState::INSUFFICIENT_PRIVILEGE);
    for secret in [
        "SELECT raw FROM rejected_events",
        "SELECT * FROM rejected_events",
        "SELECT * FROM payroll",
        "SELECT * FROM analytics.payroll",
    ] {
        let error = client.batch_execute(secret).await.unwrap_err();
        assert_eq!(error.code(), refused, "{secret}");
    }
    let operator = tables.as_user("operates", "IN ROLE etl_operator").await;
    let operator = operator.connect().await.unwrap();
    for allowed in [
        "SELECT raw FROM rejected_events",
        "DELETE FROM rejected_events WHERE reason = 'not-json'",
        "UPDATE sink_offsets SET set_aside = 7 WHERE topic = 'shop-events'",
    ] {
        operator.batch_execute(allowed).await.unwrap();
    }
    for forbidden in [
        "SELECT * FROM fact_events",
        "UPDATE sink_offsets SET next_offset = 0",
    ] {
        let error = operator.batch_execute(forbidden).await.unwrap_err();
        assert_eq!(error.code(), refused, "{forbidden}");
    }
    for table in [
        "product_interactions",
        "fact_events",
        "dim_list",
        "(SELECT reason, detail, source_key FROM rejected_events) AS r",
        "analytics.rejections",
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
    // The sink reports the missing right.
    let troubles = schema::problems(&client).await.unwrap();
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
    let others = "DROP OWNED BY etl_writer, etl_reader, etl_operator; \
                  DROP ROLE etl_writer, etl_reader, etl_operator";
    tables.client.batch_execute(others).await.unwrap();
    tables
        .client
        .batch_execute("CREATE DATABASE poor OWNER poor")
        .await
        .unwrap();
    // In PostgreSQL 14 only an administrator may revoke PUBLIC's rights on `public`.
    let administrator = tables.server.url();
    let administrator = format!("{}/poor", administrator.strip_suffix("/etl").unwrap());
    let administrator = Database::new(&settings(administrator)).unwrap();
    let administrator = administrator.connect().await.unwrap();
    let close = "REVOKE CREATE ON SCHEMA public FROM PUBLIC; ALTER SCHEMA public OWNER TO poor";
    administrator.batch_execute(close).await.unwrap();
    let url = format!("postgres://poor:p@127.0.0.1:{}/poor", tables.server.port());
    let database = Database::new(&settings(url)).unwrap();
    let mut client = database.connect().await.unwrap();
    warehouse::migrate(&mut client).await.unwrap();
    let rights = schema::needless_rights(&client).await.unwrap().unwrap();
    assert!(rights.contains("`poor` owns the tables"), "{rights}");
    // After somebody else has created them, the rights can be granted.
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
    let troubles = schema::problems(&tables.client).await.unwrap();
    let told = migrate::check(&tables.client).await.unwrap_err();
    assert!(
        told.remedy() == Remedy::Fatal
            && troubles
                .iter()
                .all(|trouble| told.to_string().contains(trouble)),
        "{told}"
    );
    // Each names the statement that fixes it.
    for trouble in &troubles {
        let (_, statement) = trouble.split_once(": ").unwrap();
        let statement = statement.split(", or give").next().unwrap();
        tables.client.batch_execute(statement).await.unwrap();
    }
    // The dropped column had a constraint, which was dropped with it.
    let again = schema::problems(&tables.client).await.unwrap();
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

/// Functions, aggregates and operators that match calls of the schema's own functions better than
/// those of the server do. Each of them fails.
const PLANT: &str = "\
    DO $$
    DECLARE
        planted text;
    BEGIN
        FOREACH planted IN ARRAY ARRAY[
            'format(text, text) RETURNS text', 'format(text, text, text) RETURNS text',
            'unnest(timestamptz[]) RETURNS SETOF timestamptz',
            'unnest(date[]) RETURNS SETOF date', 'unnest(bigint[]) RETURNS SETOF bigint',
            'cardinality(timestamptz[]) RETURNS integer',
            'cardinality(date[]) RETURNS integer', 'to_char(date, text) RETURNS text',
            'add(bigint, bigint) RETURNS bigint', 'add_time(bigint, timestamptz) RETURNS bigint',
            'same(analytics.activity, analytics.activity) RETURNS boolean'
        ] LOOP
            EXECUTE 'CREATE FUNCTION public.' || planted || ' LANGUAGE plpgsql AS '
                '''BEGIN RAISE ''''planted, and runs as %'''', current_user; END''';
        END LOOP;
    END $$;
    CREATE AGGREGATE public.array_agg(bigint) (SFUNC = public.add, STYPE = bigint);
    CREATE AGGREGATE public.array_agg(timestamptz) (SFUNC = public.add_time, STYPE = bigint);
    CREATE OPERATOR public.= (LEFTARG = analytics.activity, RIGHTARG = analytics.activity,
                              FUNCTION = public.same)";

#[tokio::test]
async fn planted_functions_do_not_run_with_the_rights_of_the_owner() {
    let tables = Tables::new().await;
    let write = "INSERT INTO fact_events (event_time, event_name, event_id, user_id, \
                     item_ordinal, product_key, fact_hash, source_topic, source_partition, \
                     source_offset) \
                 SELECT now() - n * interval '1 minute', 'view_item', 'e-' || n, 'u', 1, n, \
                     md5(n::text)::uuid, 'shop-events', 0, n FROM generate_series(1, 100) n";
    tables.client.batch_execute(write).await.unwrap();
    let allow = "CREATE ROLE planter IN ROLE etl_reader; GRANT CREATE ON SCHEMA public TO planter";
    tables.client.batch_execute(allow).await.unwrap();
    let plant = format!("SET ROLE planter; {PLANT}; RESET ROLE");
    tables.client.batch_execute(&plant).await.unwrap();
    let calls = [
        (
            "etl_make_partition",
            "SELECT etl_make_partition(current_date)",
        ),
        (
            "etl_settle_events",
            "SELECT etl_settle_events('{2026-11-01}', '{e-1}', '{purchase}', '{0}', '{1}', '{NULL}', \
             true, 't', 0)",
        ),
        (
            "refresh",
            "SELECT analytics.refresh(100, '0'); \
             UPDATE analytics.days SET noted_at = '-infinity'; \
             SELECT analytics.refresh(100, '0')",
        ),
        ("refresh_state", "SELECT * FROM analytics.refresh_state()"),
        ("note_touched", "UPDATE fact_events SET price = 7"),
        ("forget_all", "TRUNCATE fact_events"),
    ];
    for (name, call) in calls {
        let called = tables.client.batch_execute(call).await;
        called.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
    let with_rights = "SELECT proname AS name FROM pg_proc WHERE prosecdef \
                       AND pronamespace IN ('public'::regnamespace, 'analytics'::regnamespace)";
    for function in tables.rows(with_rights).await {
        let is_called = calls.iter().any(|(name, _)| function["name"] == *name);
        assert!(is_called, "call {function} here as well");
    }
    // They call no function that looks for names elsewhere.
    let elsewhere = "SELECT proname FROM pg_proc WHERE proconfig::text LIKE '%search_path=%' \
                     AND pronamespace IN ('public'::regnamespace, 'analytics'::regnamespace) \
                     AND NOT 'search_path=pg_catalog, pg_temp' = ANY (proconfig)";
    assert_eq!(tables.rows(elsewhere).await, [] as [Value; 0]);
}

#[tokio::test]
async fn the_right_of_everybody_to_create_beside_the_tables_is_revoked() {
    let tables = Tables::new().await;
    let open = "GRANT CREATE ON SCHEMA public TO PUBLIC";
    tables.client.batch_execute(open).await.unwrap();
    let revoke = "REVOKE CREATE ON SCHEMA public FROM PUBLIC";
    let error = migrate::check(&tables.client).await.unwrap_err();
    assert!(error.to_string().contains(revoke), "{error}");
    // Somebody else owns the schema.
    let database = tables.as_user("writes", "IN ROLE etl_writer").await;
    let mut client = database.connect().await.unwrap();
    let error = migrate::migrate_if_allowed(&mut client).await.unwrap_err();
    assert!(
        error.remedy() == Remedy::Fatal && error.to_string().contains(revoke),
        "{error}"
    );
    let mut owner = tables.database.connect().await.unwrap();
    let report = warehouse::migrate(&mut owner).await.unwrap();
    assert_eq!(report.revoked.as_deref(), Some(revoke));
    let report = migrate::migrate_if_allowed(&mut client).await.unwrap();
    assert_eq!(report.revoked, None);
}

#[tokio::test]
async fn a_writer_can_store_nothing_that_breaks_the_aggregates() {
    let tables = Tables::new().await;
    let database = tables.as_user("writes", "IN ROLE etl_writer").await;
    let client = database.connect().await.unwrap();
    let fact = |columns: &str, values: &str| {
        format!(
            "INSERT INTO fact_events (event_name, item_ordinal, fact_hash, source_topic, \
             source_partition, source_offset, {columns}) \
             VALUES ('purchase', 1, gen_random_uuid(), 't', 0, 0, {values})"
        )
    };
    let mut refused = Vec::new();
    for time in ["infinity", "-infinity", "294276-12-31", "4713-01-01 BC"] {
        refused.push(fact("event_time", &format!("'{time}'")));
        refused.push(fact("event_time, ingested_at", &format!("now(), '{time}'")));
        refused.push(fact("event_time, sent_at", &format!("now(), '{time}'")));
        refused.push(format!(
            "INSERT INTO analytics.touched_hours (hour) VALUES ('{time}')"
        ));
    }
    let half_past = "INSERT INTO analytics.touched_hours (hour) VALUES ('2026-11-01 10:30Z')";
    refused.push(half_past.to_owned());
    let numerics = "SELECT attname AS name FROM pg_attribute \
                    WHERE attrelid = 'fact_events'::regclass AND atttypid = 'numeric'::regtype";
    let numerics = tables.rows(numerics).await;
    assert!(!numerics.is_empty());
    for column in &numerics {
        let columns = format!("event_time, {}", column["name"].as_str().unwrap());
        for value in ["NaN", "Infinity", "-Infinity", "1e50"] {
            refused.push(fact(&columns, &format!("now(), '{value}'")));
        }
    }
    for insert in refused {
        let error = client.batch_execute(&insert).await.unwrap_err();
        let code = error.code();
        assert_eq!(code, Some(&SqlState::CHECK_VIOLATION), "{insert}: {error}");
    }
    let never_quiet =
        "INSERT INTO analytics.touched_hours VALUES ('2026-11-01 10:00Z', 'infinity')";
    let error = client.batch_execute(never_quiet).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));

    // The earliest and latest facts can be stored, and have no partitions.
    for (columns, values) in [
        (
            "event_time, ingested_at",
            "'1970-01-01Z', '2299-12-31 23:59:59Z'",
        ),
        (
            "event_time, price, event_version",
            "'2299-12-31 23:59:59Z', 9e29, 3e38",
        ),
    ] {
        let insert = fact(columns, values);
        client.batch_execute(&insert).await.unwrap();
    }
    for day in ["1970-01-01", "2299-12-31", "infinity", "-infinity"] {
        let make = format!("SELECT etl_make_partition('{day}')");
        let row = client.query_one(&make, &[]).await.unwrap();
        assert_eq!(row.get::<_, Option<String>>(0), None, "{day}");
    }
    let refresh = "SELECT analytics.refresh(100, '0')";
    tables.client.batch_execute(refresh).await.unwrap();
    assert_eq!(tables.count("analytics.touched_hours").await, 0);
}
