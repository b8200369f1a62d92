//! The connector: prepares the database and starts the partition workers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use connector_common::committed::Destination;
use connector_common::{Backoff, Connector, Health, Meta, Monitor, Stop, Traces, Transform};
use fact_model::Options;
use sink_common::{
    CommitNotifications, DEFAULT_MAX_BYTES, Limits, NotifyingSink, notifications, wait_for_topic,
};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use warehouse::locks::AdvisoryLocks;
use warehouse::migrate::{check, migrate_if_allowed, missing_migrations};
use warehouse::refresh::Refresher;
use warehouse::{Database, Error, MigrationReport, Remedy, ServerError, schema, source};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::workers::{Context, PartitionWorkers};

/// The number of commit notifications that may wait to be sent.
const NOTIFICATIONS: usize = 256;
/// The time after a stop in which the last commit notifications are sent.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum number of statements in a transaction. Each may take `statement-timeout`.
const STATEMENTS: u32 = 20;
/// The parts of the health report at the start.
const DATABASE: &str = "database";
const TOPIC: &str = "topic";
/// The time that an attempt to prepare the database gets, even shortly before the deadline.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(5);
/// The pauses while waiting for the database.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Runs the sink until `stop`, then writes the remaining batches and returns.
///
/// # Errors
/// The database, cluster, topic or SmartModule is missing. The error says what to do.
pub async fn run(connector: Connector<Config>, stop: Stop) -> anyhow::Result<()> {
    let metrics = Metrics::new()?;
    let health = Health::of([DATABASE, TOPIC]);
    let _monitor = match connector.config.metrics_address {
        Some(address) => {
            let registry = metrics.registry().clone();
            Some(Monitor::serve(address, registry, health.clone()).await?)
        }
        None => None,
    };
    let shown = metrics.clone();
    let _metrics = connector_common::metrics::serve(move || shown.snapshot());
    let (notifications, sender) = notifications(
        NotifyingSink {
            name: connector.meta.sink_name().to_owned(),
            destination: Destination::Tables,
            commit_interval: Duration::ZERO,
            queue_size: NOTIFICATIONS,
        },
        &connector.meta.topic.name,
        connector.config.notifications_secret.as_ref(),
    );
    let traces = Traces::start(connector.config.otlp_endpoint.as_deref(), "postgres-sink")?;
    let (workers, refresher) = tokio::select! {
        started = start(&connector, &metrics, &health, &traces, notifications) => started?,
        () = stop.requested() => return Ok(()),
    };
    let mut sending = AbortOnDropHandle::new(tokio::spawn(sender.run()));
    let _refreshing = AbortOnDropHandle::new(tokio::spawn({
        let metrics = metrics.clone();
        refresher.run(move |age| metrics.set_aggregates_age(age))
    }));
    let outcome = workers.run(&stop).await;
    // SQS redelivers the messages of notifications that are not sent in this time.
    let _ = tokio::time::timeout(NOTIFY_TIMEOUT, &mut sending).await;
    traces.stop().await;
    outcome
}

/// The parameters of flatten-items; `None` if it is not the only transform.
fn flattener(transforms: &[Transform]) -> Option<Options> {
    let [only] = transforms else {
        return None;
    };
    Options::parse(only.parameters()).ok()
}

async fn start(
    connector: &Connector<Config>,
    metrics: &Metrics,
    health: &Health,
    traces: &Traces,
    notifications: CommitNotifications,
) -> anyhow::Result<(PartitionWorkers, Refresher)> {
    let Connector {
        meta,
        transforms,
        config,
    } = connector;
    let database = Database::new(&config.database()).context("postgres")?;
    if let Some(warning) = database.unverified() {
        tracing::warn!(database = database.address(), "{warning}");
    }
    let deadline = Instant::now() + config.start_timeout;
    prepare_database(&database, config.migrate, deadline).await?;
    health.works(DATABASE);
    let wanted = meta.consumer.partition.clone();
    let count = wait_for_topic(&meta.topic.name, &wanted, deadline).await?;
    claim_offsets(&database, meta, deadline).await?;
    health.works(TOPIC);
    let limits = Limits {
        rows: config.max_rows,
        bytes: usize::try_from(config.max_bytes.as_u64()).unwrap_or(usize::MAX),
        response: meta.consumer.response_bytes().unwrap_or(DEFAULT_MAX_BYTES),
        delay: config.max_delay,
        smartmodule_timeout: config.start_timeout,
        workers: Arc::default(),
    };
    let written = Arc::new(Notify::new());
    let refresher = Refresher::new(Arc::clone(&database), Arc::clone(&written));
    let context = Context {
        sink: meta.sink_name().to_owned(),
        topic: meta.topic.name.clone(),
        locks: Arc::new(AdvisoryLocks::new(Arc::clone(&database))),
        database,
        smartmodules: connector_common::smartmodules(transforms),
        options: flattener(transforms),
        start: meta.consumer.offset.start,
        limits,
        on_conflict: config.on_conflict,
        max_refused_events: config.max_refused_events,
        transaction_timeout: config.connect_timeout + config.statement_timeout * STATEMENTS,
        metrics: metrics.clone(),
        measures_lag: config.metrics_address.is_some(),
        health: health.clone(),
        traces: traces.clone(),
        written,
        notifications,
    };
    let workers = PartitionWorkers::new(context, wanted, config.share_partitions, count);
    Ok((workers, refresher))
}

/// Connects, and migrates or checks the schema. Waits for a server that does not answer.
async fn prepare_database(
    database: &Arc<Database>,
    may_migrate: bool,
    deadline: Instant,
) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let attempt = async {
            let connected = async {
                let client = database.connect().await?;
                if database.is_pooled(&client).await? {
                    return Err(Error::Pooled);
                }
                let missing = missing_migrations(&client).await?;
                Ok((client, missing))
            };
            let (mut client, missing) = before(deadline, connected).await?;
            let migrated = async {
                if may_migrate {
                    migrate_if_allowed(&mut client).await
                } else {
                    check(&client).await
                }
            };
            // Migrations of large tables may take longer than a start.
            let report = if may_migrate && !missing.is_empty() {
                migrated.await?
            } else {
                before(deadline, migrated).await?
            };
            let rights = schema::needless_rights(&client);
            Ok::<_, Error>((report, before(deadline, rights).await?))
        };
        let error = match attempt.await {
            Ok((report, needless_rights)) => {
                log(&report, database);
                if let Some(rights) = needless_rights {
                    tracing::warn!(database = database.address(), "{rights}");
                }
                return Ok(());
            }
            Err(error) => error,
        };
        if error.remedy() != Remedy::Retry || Instant::now() >= deadline {
            return Err(error).with_context(|| format!("PostgreSQL at {}", database.address()));
        }
        if backoff.warning_due().is_some() {
            tracing::warn!(
                database = database.address(),
                "waiting for PostgreSQL: {}",
                error.chain()
            );
        }
        tokio::time::sleep(backoff.next_pause()).await;
    }
}

/// Ensures that the offsets in the database are those of this cluster. Waits for a cluster or a
/// database that does not answer.
async fn claim_offsets(
    database: &Arc<Database>,
    meta: &Meta,
    deadline: Instant,
) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let attempt = async {
            let cluster = connector_common::cluster_id(&meta.topic.name).await?;
            let claimed = async {
                let mut lease = database.lease().await?;
                source::claim(lease.client(), meta.sink_name(), &meta.topic.name, &cluster).await?;
                lease.keep();
                Ok(())
            };
            anyhow::Ok(before(deadline, claimed).await?)
        };
        let Err(error) = attempt.await else {
            return Ok(());
        };
        let is_transient = match error.downcast_ref::<Error>() {
            Some(error) => error.remedy() == Remedy::Retry,
            None => connector_common::is_transient(&error),
        };
        if !is_transient || Instant::now() >= deadline {
            return Err(error);
        }
        if backoff.warning_due().is_some() {
            tracing::warn!("waiting for the cluster or the database: {error:#}");
        }
        tokio::time::sleep(backoff.next_pause()).await;
    }
}

/// The answer of the database, if it comes before the deadline. Each attempt may take some seconds.
async fn before<T>(
    deadline: Instant,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let timeout = deadline.saturating_duration_since(Instant::now());
    let timeout = timeout.max(SHORTEST_ATTEMPT);
    match tokio::time::timeout(timeout, request).await {
        Ok(answered) => answered,
        Err(_) => Err(Error::Server {
            context: "cannot prepare the database",
            source: ServerError::NoAnswer(timeout),
        }),
    }
}

fn log(report: &MigrationReport, database: &Database) {
    let MigrationReport {
        applied,
        version,
        revoked,
    } = report;
    let database = database.address();
    if let Some(revoked) = revoked {
        tracing::warn!(
            database,
            "everybody could create functions beside the tables; ran `{revoked}`"
        );
    }
    if applied.is_empty() {
        tracing::info!(database, version, "the schema is up to date");
    } else {
        let applied = applied.join(", ");
        tracing::info!(database, version, "migrated the schema: {applied}");
    }
}
