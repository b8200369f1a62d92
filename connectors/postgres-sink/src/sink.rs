//! The connector: brings the schema up to date, then has each partition read and written in a lane of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use connector_common::{Connector, Health, Meta, Monitor, Stop};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::announce::{Announcements, announcements};
use crate::backoff::Backoff;
use crate::claims::Claims;
use crate::config::Config;
use crate::database::Database;
use crate::errors::Remedy;
use crate::kit::Kit;
use crate::lanes::Lanes;
use crate::metrics::Metrics;
use crate::migrate::{self, MigrateError, MigrationReport};
use crate::partitions;
use crate::reader::Limits;
use crate::refreshing::Refreshing;
use crate::room::Room;
use crate::schema;

/// Bytes in a response to ask the cluster for, where `meta.consumer.max-bytes` doesn't say.
pub const DEFAULT_MAX_BYTES: i32 = 16 << 20;
/// How long a stop waits for the last commits to be announced.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// A transaction has so many statements at most that may each take as long as one may.
const STATEMENTS: u32 = 20;
/// Parts of the sink's health at the start.
const DATABASE: &str = "database";
const TOPIC: &str = "topic";

/// Runs the sink until `stop`, then writes what is in hand and returns.
///
/// # Errors
/// At the start: a database, cluster, topic or SmartModule that is not there. Later: records that
/// are missing in the topic, or a second sink of the same name. The error says what to do.
pub async fn run(connector: Connector<Config>, stop: Stop) -> anyhow::Result<()> {
    if connector.transforms.is_empty() {
        bail!(
            "`transforms` is empty: the sink reads what the SmartModule flatten-items makes of the events; \
             add `transforms: [{{ uses: flatten-items }}]`"
        );
    }
    let metrics = Metrics::new()?;
    let health = Health::of([DATABASE, TOPIC]);
    let _monitor = match connector.config.metrics_address {
        Some(address) => {
            let registry = metrics.registry().clone();
            Some(Monitor::serve(address, registry, health.clone()).await?)
        }
        None => None,
    };
    let told = metrics.clone();
    let _metrics = connector_common::metrics::serve(move || told.snapshot());
    let (announcements, announcer) =
        announcements(name(&connector.meta), &connector.meta.topic.name);
    let (started, refreshing) = tokio::select! {
        started = start(&connector, &metrics, &health, announcements) => started?,
        () = stop.requested() => return Ok(()),
    };
    let mut announcing = AbortOnDropHandle::new(tokio::spawn(announcer.run()));
    let _refreshing = AbortOnDropHandle::new(tokio::spawn(refreshing.run()));
    let outcome = started.run(&stop).await;
    // What is not said in this time, a source finds out by itself.
    let _ = tokio::time::timeout(LAST_WORDS, &mut announcing).await;
    outcome
}

/// The name that the sink is known by, in the database and to sources.
fn name(meta: &Meta) -> &str {
    meta.consumer.id.as_ref().unwrap_or(&meta.name)
}

async fn start(
    connector: &Connector<Config>,
    metrics: &Metrics,
    health: &Health,
    announcements: Announcements,
) -> anyhow::Result<(Lanes, Refreshing)> {
    let Connector {
        meta,
        transforms,
        config,
    } = connector;
    let database = Database::new(config).map_err(|reason| anyhow!("postgres: {reason}"))?;
    let until = Instant::now() + config.start_timeout;
    prepare_database(&database, config.migrate, until).await?;
    health.works(DATABASE);
    let claims = Arc::new(Claims::new(Arc::clone(&database)));
    let wanted = meta.consumer.partition.clone();
    let count = partitions::find(&meta.topic.name, &wanted, until).await?;
    health.works(TOPIC);
    let patience = config.connect_timeout + config.statement_timeout * STATEMENTS;
    let max_bytes = meta
        .consumer
        .max_bytes
        .map(|size| i32::try_from(size.as_u64()));
    let max_bytes = max_bytes
        .transpose()
        .context("meta.consumer.max-bytes must be below 2GiB")?
        .unwrap_or(DEFAULT_MAX_BYTES);
    let limits = Limits {
        room: Room::new(
            config.max_rows,
            usize::try_from(config.max_bytes.as_u64()).unwrap_or(usize::MAX),
        ),
        delay: config.max_delay,
        on_conflict: config.on_conflict,
        max_bytes,
        patience: config.start_timeout,
    };
    let wrote = Arc::new(Notify::new());
    let refreshing = Refreshing::new(Arc::clone(&database), Arc::clone(&wrote));
    let kit = Kit {
        sink: name(meta).to_owned(),
        topic: meta.topic.name.clone(),
        database,
        claims: Arc::clone(&claims),
        smartmodules: connector_common::smartmodules(transforms),
        start: meta.consumer.offset.start,
        limits,
        patience,
        metrics: metrics.clone(),
        measures: config.metrics_address.is_some(),
        health: health.clone(),
        wrote,
        announcements,
    };
    let shares = config.share_partitions;
    Ok((Lanes::new(claims, kit, wanted, shares, count), refreshing))
}

/// Connects and migrates, or only checks; waits for a server that does not answer yet.
async fn prepare_database(
    database: &Arc<Database>,
    may_migrate: bool,
    until: Instant,
) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    loop {
        let attempt = async {
            let mut client = database.connect().await?;
            if database.is_pooled(&client).await? {
                return Err(MigrateError::Pooled);
            }
            let report = if may_migrate {
                migrate::migrate_if_allowed(&mut client).await?
            } else {
                migrate::check(&client).await?
            };
            Ok((report, schema::needless_rights(&client).await?))
        };
        let error: MigrateError = match attempt.await {
            Ok((report, needless_rights)) => {
                say(&report, database);
                if let Some(rights) = needless_rights {
                    tracing::warn!(database = database.address(), "{rights}");
                }
                return Ok(());
            }
            Err(error) => error,
        };
        if error.remedy() != Some(Remedy::Retry) || Instant::now() >= until {
            return Err(error).with_context(|| format!("PostgreSQL at {}", database.address()));
        }
        if backoff.is_news() {
            tracing::warn!(
                database = database.address(),
                "waiting for PostgreSQL: {error}"
            );
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

fn say(report: &MigrationReport, database: &Database) {
    let MigrationReport { applied, version } = report;
    let database = database.address();
    if applied.is_empty() {
        tracing::info!(database, version, "the schema is up to date");
    } else {
        let applied = applied.join(", ");
        tracing::info!(database, version, "migrated the schema: {applied}");
    }
}
