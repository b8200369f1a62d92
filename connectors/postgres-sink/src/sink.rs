//! The connector: brings the schema up to date, then reads and writes each partition in a task of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use connector_common::{Connector, Partitions, Stop};
use fluvio::metadata::topic::TopicSpec;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::database::Database;
use crate::delivery::{DeliveryError, deliver};
use crate::errors::Remedy;
use crate::migrate::{MigrateError, migrate};
use crate::partition::Partition;
use crate::reader::{Limits, Reader};
use crate::writer::{Source, Writer, Written};

const DEFAULT_MAX_BYTES: i32 = 16 << 20;
const SAY_PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// A sink that is overtaken more often than this within the time below has a twin.
const OVERTAKEN_LIMIT: usize = 3;
const OVERTAKEN_WITHIN: Duration = Duration::from_secs(120);

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
    let started = tokio::select! {
        started = start(&connector) => started?,
        () = stop.requested() => return Ok(()),
    };
    let (halt, halt_all) = Stop::manual();
    let mut tasks = JoinSet::new();
    for lane in started {
        tasks.spawn(lane.run(halt.clone()));
    }
    let mut outcome = Ok(());
    loop {
        tokio::select! {
            () = stop.requested(), if !halt.is_requested() => halt_all(),
            ended = tasks.join_next() => match ended {
                None => return outcome,
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
}

async fn start(connector: &Connector<Config>) -> anyhow::Result<Vec<Lane>> {
    let Connector {
        meta,
        transforms,
        config,
    } = connector;
    let database = Database::new(config).map_err(|reason| anyhow!("postgres: {reason}"))?;
    let until = Instant::now() + config.start_timeout;
    prepare_database(&database, until).await?;
    let partitions = partitions(&meta.topic.name, &meta.consumer.partition, until).await?;
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
        max_bytes,
    };
    let lane = |number: u32| {
        let source = Source {
            sink: meta.name.clone(),
            topic: meta.topic.name.clone(),
            partition: i32::try_from(number).unwrap_or(i32::MAX),
        };
        Lane {
            partition: Partition {
                topic: meta.topic.name.clone(),
                number,
                smartmodules: connector_common::smartmodules(transforms),
            },
            writer: Writer::new(Arc::clone(&database), source),
            limits,
            overtaken: Vec::new(),
            progress: Progress::default(),
        }
    };
    Ok(partitions.into_iter().map(lane).collect())
}

/// Connects and migrates; waits for a server that does not answer yet.
async fn prepare_database(database: &Arc<Database>, until: Instant) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    loop {
        let attempt = async {
            let mut client = database.connect().await?;
            migrate(&mut client).await
        };
        let error: MigrateError = match attempt.await {
            Ok(report) if report.applied.is_empty() => {
                tracing::info!(
                    database = database.address(),
                    version = report.version,
                    "the schema is up to date"
                );
                return Ok(());
            }
            Ok(report) => {
                let applied = report.applied.join(", ");
                tracing::info!(
                    database = database.address(),
                    version = report.version,
                    "migrated the schema: {applied}"
                );
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

/// One partition's way from the topic into the tables.
struct Lane {
    partition: Partition,
    writer: Writer,
    limits: Limits,
    overtaken: Vec<Instant>,
    progress: Progress,
}

impl Lane {
    async fn run(mut self, stop: Stop) -> anyhow::Result<()> {
        let Partition { topic, number, .. } = self.partition.clone();
        while !stop.is_requested() {
            self.run_from_stored_offset(&stop)
                .await
                .with_context(|| format!("topic {topic}, partition {number}"))?;
        }
        Ok(())
    }

    /// Reads and writes until the stop, or until another sink has moved the offset.
    async fn run_from_stored_offset(&mut self, stop: &Stop) -> anyhow::Result<()> {
        let Some(from) = self.position(stop).await else {
            return Ok(());
        };
        tracing::info!(
            topic = self.partition.topic,
            partition = self.partition.number,
            offset = from,
            "reading"
        );
        // One batch waits while one is written and the next is read and decoded.
        let (sender, mut batches) = mpsc::channel(1);
        let reader = Reader::new(self.partition.clone(), from, self.limits, sender);
        let mut reading = JoinSet::new();
        reading.spawn(reader.read(stop.clone()));
        while let Some(batch) = batches.recv().await {
            let began = Instant::now();
            let (next, records) = (batch.next_offset(), batch.record_count());
            match deliver(&mut self.writer, batch, stop).await {
                Ok(written) => {
                    self.progress.since.get_or_insert(began);
                    self.progress.next_offset = next;
                    self.progress.records += records;
                    self.progress.written += written;
                    if self.progress.is_due() {
                        self.progress.say(&self.partition);
                    }
                }
                Err(DeliveryError::Overtaken { stored, expected }) => {
                    return self.overtaken(stored, expected);
                }
                Err(DeliveryError::Stopped(error)) => {
                    tracing::warn!(
                        topic = self.partition.topic,
                        partition = self.partition.number,
                        "stopping with a batch that the database does not take; the next start reads it again: {error}"
                    );
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.progress.say(&self.partition);
        match reading.join_next().await {
            Some(ended) => Ok(ended??),
            None => Ok(()),
        }
    }

    /// The stored offset; `None` if the stop comes first.
    async fn position(&self, stop: &Stop) -> Option<i64> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        loop {
            let error = match self.writer.position().await {
                Ok(offset) => return Some(offset),
                Err(error) => error,
            };
            if backoff.is_news() {
                tracing::warn!(
                    topic = self.partition.topic,
                    partition = self.partition.number,
                    "{error}"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = stop.requested() => return None,
            }
        }
    }

    /// Once is what a restart looks like whose predecessor was still writing: go on from where it
    /// got to. Again and again is a twin.
    fn overtaken(&mut self, stored: i64, expected: i64) -> anyhow::Result<()> {
        self.overtaken.retain(|at| at.elapsed() < OVERTAKEN_WITHIN);
        self.overtaken.push(Instant::now());
        let sink = &self.writer.source().sink;
        if self.overtaken.len() > OVERTAKEN_LIMIT {
            bail!(
                "another sink named `{sink}` writes this partition (the stored offset is {stored}, this one was at {expected}); \
                 stop one of them, or give it a `meta.name` of its own"
            );
        }
        tracing::warn!(
            topic = self.partition.topic,
            partition = self.partition.number,
            "another sink named `{sink}` has moved the stored offset to {stored} (this one was at {expected}); going on from there"
        );
        Ok(())
    }
}

/// What was written since the last log line.
#[derive(Default)]
struct Progress {
    since: Option<Instant>,
    next_offset: i64,
    records: usize,
    written: Written,
}

impl Progress {
    fn is_due(&self) -> bool {
        self.since
            .is_some_and(|since| since.elapsed() >= SAY_PROGRESS_EVERY)
    }

    fn say(&mut self, partition: &Partition) {
        let Self {
            since: Some(since),
            next_offset,
            records,
            written,
        } = std::mem::take(self)
        else {
            return;
        };
        let facts = written.inserted + written.duplicates;
        tracing::info!(
            topic = partition.topic,
            partition = partition.number,
            next_offset,
            records,
            inserted = written.inserted,
            duplicates = written.duplicates,
            rejected = written.rejected,
            facts_per_second = (facts as f64 / since.elapsed().as_secs_f64().max(0.001)).round(),
            "written"
        );
    }
}
