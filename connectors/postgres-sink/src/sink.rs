//! The connector: brings the schema up to date, then reads and writes each partition in a task of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use connector_common::{Connector, Health, Meta, Monitor, Partitions, Stop};
use fluvio::metadata::topic::TopicSpec;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::announce::{Announcements, announcements};
use crate::backoff::Backoff;
use crate::claims::Claims;
use crate::config::Config;
use crate::database::Database;
use crate::errors::Remedy;
use crate::lag;
use crate::lane::Lane;
use crate::metrics::{Metrics, Watch};
use crate::migrate::{self, MigrateError, MigrationReport};
use crate::partition::Partition;
use crate::progress::Progress;
use crate::reader::Limits;
use crate::schema;
use crate::writer::{Source, Writer};

const DEFAULT_MAX_BYTES: i32 = 16 << 20;
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
    let started = tokio::select! {
        started = start(&connector, &metrics, &health, announcements) => started?,
        () = stop.requested() => return Ok(()),
    };
    let mut announcing = AbortOnDropHandle::new(tokio::spawn(announcer.run()));
    let (halt, halt_all) = Stop::manual();
    let mut tasks = JoinSet::new();
    let mut measuring = JoinSet::new();
    for lane in started {
        if connector.config.metrics_address.is_some() {
            measuring.spawn(lag::measure(lane.partition.clone(), metrics.clone()));
        }
        tasks.spawn(lane.run(halt.clone()));
    }
    let mut outcome = Ok(());
    loop {
        tokio::select! {
            () = stop.requested(), if !halt.is_requested() => halt_all(),
            ended = tasks.join_next() => match ended {
                None => break,
                Some(ended) => {
                    // One partition that can't go on ends the sink; the others finish their batch first.
                    let result = ended.map_err(anyhow::Error::from).and_then(|result| result);
                    if let Err(error) = result {
                        halt_all();
                        outcome = outcome.and(Err(error));
                    }
                }
            },
        }
    }
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
) -> anyhow::Result<Vec<Lane>> {
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
    let partitions = partitions(&meta.topic.name, &meta.consumer.partition, until).await?;
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
        rows: config.max_rows,
        bytes: usize::try_from(config.max_bytes.as_u64()).unwrap_or(usize::MAX),
        delay: config.max_delay,
        on_conflict: config.on_conflict,
        max_bytes,
        patience: config.start_timeout,
    };
    let lane = |number: u32| {
        let id = i32::try_from(number).unwrap_or(i32::MAX);
        let watch = Watch::new(metrics.clone(), health.clone(), id, patience);
        let source = Source {
            sink: name(meta).to_owned(),
            topic: meta.topic.name.clone(),
            partition: id,
        };
        Lane {
            partition: Partition {
                topic: meta.topic.name.clone(),
                number,
                smartmodules: connector_common::smartmodules(transforms),
            },
            writer: Writer::new(Arc::clone(&database), source).watched(watch),
            claims: Arc::clone(&claims),
            start: meta.consumer.offset.start,
            limits,
            overtaken: Vec::new(),
            progress: Progress::new(metrics.clone(), number),
            health: health.clone(),
            announcements: announcements.clone(),
        }
    };
    Ok(partitions.into_iter().map(lane).collect())
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

/// The partitions to read; waits for a cluster that does not answer yet, and for a topic that
/// somebody is about to make.
async fn partitions(topic: &str, wanted: &Partitions, until: Instant) -> anyhow::Result<Vec<u32>> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    let count = loop {
        let error = match partition_count(topic).await {
            Ok(Some(count)) => break count,
            Ok(None) => anyhow!(
                "there is no topic `{topic}`; make it with `fluvio topic create {topic}`, or correct `meta.topic`"
            ),
            Err(error) => error,
        };
        if Instant::now() >= until {
            return Err(error);
        }
        if backoff.is_news() {
            tracing::warn!("waiting for the topic: {error:#}");
        }
        tokio::time::sleep(backoff.next()).await;
    };
    match wanted {
        Partitions::All => Ok((0..count).collect()),
        Partitions::Some(wanted) => match wanted.iter().find(|number| **number >= count) {
            Some(number) => bail!(
                "`meta.consumer.partition` names {number}, and the topic `{topic}` has partitions 0 to {}",
                count.saturating_sub(1)
            ),
            None => Ok(wanted.clone()),
        },
    }
}

async fn partition_count(topic: &str) -> anyhow::Result<Option<u32>> {
    let client = connector_common::connect().await?;
    let topics = client
        .admin()
        .await
        .list::<TopicSpec, _>(vec![topic.to_owned()])
        .await?;
    Ok(topics
        .into_iter()
        .find(|found| found.name == topic)
        .map(|found| found.spec.partitions()))
}
