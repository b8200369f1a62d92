//! The schema, brought up to date.
//!
//! Every sink does this at its start, and so does the command line, perhaps all at once: a session
//! advisory lock on the connection that migrates lets one go first.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::errors::{DatabaseError, Doing, Remedy};
use crate::schema;

mod embedded {
    refinery::embed_migrations!("../../sql/migrations");
}

/// The advisory lock's key, for whoever finds it in `pg_locks`: "etl mig" in ASCII.
pub const LOCK_KEY: i64 = 0x65_746c_206d_6967;

const LOCK_LIMIT: Duration = Duration::from_secs(120);
const LOCK_POLL: Duration = Duration::from_millis(100);
const OLDEST_SERVER: i32 = 140_000;

/// What [`migrate`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationReport {
    /// The migrations applied just now, by name, in order. Empty when the schema was up to date.
    pub applied: Vec<String>,
    /// The schema's version now.
    pub version: i32,
}

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// PostgreSQL's own.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A server that lacks what the schema needs.
    #[error("PostgreSQL 14 or newer is needed; this server is version {0}")]
    OldServer(String),
    /// A standby can't be written to.
    #[error("this server is a standby, which can't be written to; name the primary")]
    Standby,
    /// A database that refuses every write, by a setting of its own.
    #[error(
        "transactions are read-only here; undo it: ALTER DATABASE … or ALTER ROLE … RESET default_transaction_read_only"
    )]
    ReadOnly,
    /// A pooler that has no sessions.
    #[error(
        "there is a pooler in between that gives each transaction another session (PgBouncer with pool_mode = transaction); \
         name the server itself, or a pool with pool_mode = session"
    )]
    Pooled,
    /// Somebody else migrates, or hangs in it.
    #[error(
        "another process has been migrating this database for {0:?}; see who: SELECT a.* FROM pg_stat_activity a \
         JOIN pg_locks l USING (pid) WHERE l.locktype = 'advisory' AND l.granted"
    )]
    Locked(Duration),
    /// The schema is not up to date, and this process may not change it.
    #[error(
        "the schema lacks {}, and `migrate: false` forbids to add it; run `etl migrate` as the tables' owner",
        .0.join(", ")
    )]
    Missing(Vec<String>),
    /// The tables are not those that the migrations made, or may not be written.
    #[error("the tables can't be written:\n- {}", .0.join("\n- "))]
    Schema(Vec<String>),
    /// A migration failed, or what was applied before differs from what this program knows.
    #[error("cannot migrate: {0}")]
    Migration(#[from] refinery::Error),
}

impl MigrateError {
    /// What to do about it; `None` where only a person can help.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Database(error) => Some(error.remedy()),
            Self::OldServer(_)
            | Self::Standby
            | Self::ReadOnly
            | Self::Pooled
            | Self::Schema(_)
            | Self::Locked(_)
            | Self::Missing(_)
            | Self::Migration(_) => None,
        }
    }
}

/// Brings the schema up to date where `client`'s user may, else only checks it.
///
/// # Errors
/// See [`MigrateError`].
pub async fn migrate_if_allowed(client: &mut Client) -> Result<MigrationReport, MigrateError> {
    let row = client
        .query_one(
            "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), true)",
            &[],
        )
        .await
        .doing("cannot ask for the user's rights")?;
    if row.get(0) {
        migrate(client).await
    } else {
        check(client).await
    }
}

/// Brings the schema up to date, each migration in a transaction of its own.
///
/// Safe to call from many processes at once: they wait for each other, two minutes at most.
///
/// # Errors
/// See [`MigrateError`]. What was applied before the error stays.
pub async fn migrate(client: &mut Client) -> Result<MigrationReport, MigrateError> {
    check_server(client).await?;
    lock(client).await?;
    let outcome = embedded::migrations::runner().run_async(client).await;
    let version = embedded::migrations::runner()
        .get_last_applied_migration_async(client)
        .await;
    client
        .execute("SELECT pg_advisory_unlock($1)", &[&LOCK_KEY])
        .await
        .doing("cannot release the migrations' lock")?;
    let applied = outcome?
        .applied_migrations()
        .iter()
        .map(ToString::to_string)
        .collect();
    let version = version?.map_or(0, |migration| migration.version());
    check_tables(client).await?;
    Ok(MigrationReport { applied, version })
}

/// Changes nothing: only looks whether the schema is up to date. A newer one is.
///
/// # Errors
/// [`MigrateError::Missing`] with the migrations that were not applied, or what is wrong with the server.
pub async fn check(client: &Client) -> Result<MigrationReport, MigrateError> {
    check_server(client).await?;
    let doing = "cannot look for the schema's version";
    let history = client
        .query_one(
            "SELECT to_regclass('refinery_schema_history') IS NOT NULL",
            &[],
        )
        .await
        .doing(doing)?;
    let mut applied: Vec<i32> = Vec::new();
    if history.get(0) {
        let rows = client
            .query("SELECT version FROM refinery_schema_history", &[])
            .await
            .doing(doing)?;
        applied.extend(rows.iter().map(|row| row.get::<_, i32>(0)));
    }
    let missing: Vec<String> = embedded::migrations::runner()
        .get_migrations()
        .iter()
        .filter(|migration| !applied.contains(&migration.version()))
        .map(ToString::to_string)
        .collect();
    if !missing.is_empty() {
        return Err(MigrateError::Missing(missing));
    }
    check_tables(client).await?;
    Ok(MigrationReport {
        applied: Vec::new(),
        version: applied.into_iter().max().unwrap_or(0),
    })
}

async fn check_tables(client: &Client) -> Result<(), MigrateError> {
    let troubles = schema::troubles(client).await?;
    if troubles.is_empty() {
        Ok(())
    } else {
        Err(MigrateError::Schema(troubles))
    }
}

async fn check_server(client: &Client) -> Result<(), MigrateError> {
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(), \
                    current_setting('transaction_read_only')::boolean",
            &[],
        )
        .await
        .doing("cannot ask the server for its version")?;
    if row.get::<_, i32>(0) < OLDEST_SERVER {
        return Err(MigrateError::OldServer(row.get(1)));
    }
    if row.get(2) {
        return Err(MigrateError::Standby);
    }
    if row.get(3) {
        return Err(MigrateError::ReadOnly);
    }
    Ok(())
}

/// Polls instead of waiting in the server, where `lock_timeout` would end the wait with an error
/// and nobody could be told why the start takes long.
async fn lock(client: &Client) -> Result<(), MigrateError> {
    let started = Instant::now();
    let mut said = false;
    loop {
        let row = client
            .query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK_KEY])
            .await
            .doing("cannot take the migrations' lock")?;
        if row.get(0) {
            return Ok(());
        }
        if started.elapsed() > LOCK_LIMIT {
            return Err(MigrateError::Locked(LOCK_LIMIT));
        }
        if !said && started.elapsed() > Duration::from_secs(2) {
            tracing::info!("another process is migrating the database; waiting for it");
            said = true;
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}
