//! Migrations of the schema.
//!
//! Sinks and the command line may migrate at the same time: a session's advisory lock lets one go
//! first.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::error::{Context, Error};
use crate::schema;

mod embedded {
    refinery::embed_migrations!("../../sql/migrations");
}

/// The key of the advisory lock: "etl mig" in ASCII.
pub const LOCK_KEY: i64 = 0x65_746c_206d_6967;

const LOCK_TIMEOUT: Duration = Duration::from_secs(120);
const LOCK_POLL: Duration = Duration::from_millis(100);
/// The wait for the lock after which it is logged.
const LOG_AFTER: Duration = Duration::from_secs(2);
/// As in `server_version_num`.
const OLDEST_SERVER: i32 = 140_000;

/// The result of [`migrate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationReport {
    /// The names of the applied migrations, in order. Empty if the schema was up to date.
    pub applied: Vec<String>,
    /// The version of the schema.
    pub version: i32,
    /// The statement that took PUBLIC's right to create in the schema, if that was necessary.
    pub revoked: Option<String>,
}

/// Migrates if the user of `client` may create tables, else checks the schema.
///
/// # Errors
/// As [`migrate`] and [`check`].
pub async fn migrate_if_allowed(client: &mut Client) -> Result<MigrationReport, Error> {
    let row = client
        .query_one(
            "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), true)",
            &[],
        )
        .await
        .context("cannot ask for the user's rights")?;
    if row.get(0) {
        migrate(client).await
    } else {
        check(client).await
    }
}

/// Brings the schema up to date, in one transaction, so that others see either no tables or all.
///
/// Many processes may call it at once: they wait for each other, two minutes at most.
///
/// # Errors
/// The server is not suitable, another process holds the lock, or a migration failed. None is
/// applied then.
pub async fn migrate(client: &mut Client) -> Result<MigrationReport, Error> {
    check_server(client).await?;
    let revoked = schema::close(client).await?;
    lock(client).await?;
    let runner = embedded::migrations::runner().set_grouped(true);
    let outcome = runner.run_async(client).await;
    let version = embedded::migrations::runner()
        .get_last_applied_migration_async(client)
        .await;
    client
        .execute("SELECT pg_advisory_unlock($1)", &[&LOCK_KEY])
        .await
        .context("cannot release the migrations' lock")?;
    let applied = outcome
        .map_err(Error::Migration)?
        .applied_migrations()
        .iter()
        .map(ToString::to_string)
        .collect();
    let version = version.map_err(Error::Migration)?;
    let version = version.map_or(0, |migration| migration.version());
    check_tables(client).await?;
    Ok(MigrationReport {
        applied,
        version,
        revoked,
    })
}

/// Checks that the schema is up to date, or newer, and changes nothing.
///
/// # Errors
/// [`Error::MissingMigrations`], [`Error::Schema`], or the server is not suitable.
pub async fn check(client: &Client) -> Result<MigrationReport, Error> {
    check_server(client).await?;
    let applied = applied_migrations(client).await?;
    let missing = missing_of(&applied);
    if !missing.is_empty() {
        return Err(Error::MissingMigrations(missing));
    }
    check_tables(client).await?;
    Ok(MigrationReport {
        applied: Vec::new(),
        version: applied.into_iter().max().unwrap_or(0),
        revoked: None,
    })
}

/// The names of the migrations that [`migrate`] would apply.
///
/// # Errors
/// A request to the server failed.
pub async fn missing_migrations(client: &Client) -> Result<Vec<String>, Error> {
    Ok(missing_of(&applied_migrations(client).await?))
}

async fn applied_migrations(client: &Client) -> Result<Vec<i32>, Error> {
    let context = "cannot read the schema's version, which members of etl_writer may";
    let history = client
        .query_one(
            "SELECT to_regclass('refinery_schema_history') IS NOT NULL",
            &[],
        )
        .await
        .context(context)?;
    if !history.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows = client
        .query("SELECT version FROM refinery_schema_history", &[])
        .await
        .context(context)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn missing_of(applied: &[i32]) -> Vec<String> {
    let runner = embedded::migrations::runner();
    let known = runner.get_migrations().iter();
    known
        .filter(|migration| !applied.contains(&migration.version()))
        .map(ToString::to_string)
        .collect()
}

async fn check_tables(client: &Client) -> Result<(), Error> {
    let problems = schema::problems(client).await?;
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::Schema(problems))
    }
}

async fn check_server(client: &Client) -> Result<(), Error> {
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, \
                    current_setting('server_version'), pg_is_in_recovery(), \
                    current_setting('transaction_read_only')::boolean, \
                    current_setting('server_encoding')",
            &[],
        )
        .await
        .context("cannot ask the server for its version")?;
    if row.get::<_, i32>(0) < OLDEST_SERVER {
        return Err(Error::OldServer(row.get(1)));
    }
    let encoding: String = row.get(4);
    if encoding != "UTF8" {
        return Err(Error::Encoding(encoding));
    }
    if row.get(2) {
        return Err(Error::Standby);
    }
    if row.get(3) {
        return Err(Error::ReadOnly);
    }
    Ok(())
}

/// Polls instead of waiting in the server, where `lock_timeout` would end the wait and no log line
/// would say why the start takes long.
async fn lock(client: &Client) -> Result<(), Error> {
    let started = Instant::now();
    let mut is_logged = false;
    loop {
        let row = client
            .query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK_KEY])
            .await
            .context("cannot take the migrations' lock")?;
        if row.get(0) {
            return Ok(());
        }
        if started.elapsed() > LOCK_TIMEOUT {
            return Err(Error::MigrationLocked(LOCK_TIMEOUT));
        }
        if !is_logged && started.elapsed() > LOG_AFTER {
            tracing::info!("another process is migrating the database; waiting for it");
            is_logged = true;
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}
