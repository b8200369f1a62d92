//! The connector: opens the tables, reads the partitions and commits.
//!
//! It does so in rounds. A round ends without harm when the topic has new partitions, or when other
//! sinks that share them start or end. It ends with
//! an error when a commit is fenced, the storage fails, or another program changes a table; what
//! was not committed is read again in the next round.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use connector_common::committed::Destination;
use connector_common::{Backoff, Connector, Health, Meta, Monitor, Partitions, Start, Stop};
use fluvio::SmartModuleInvocation;
use sink_common::{
    CommitNotifications, DEFAULT_MAX_BYTES, Limits, NotificationSender, NotifyingSink, Partition,
    lag, notifications, partition_count, reader, wait_for_topic,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use warehouse::Database;

use crate::catalog;
use crate::config::Config;
use crate::error::{Error, Offsets};
use crate::lake::{Context, Lake};
use crate::metrics::Metrics;
use crate::shares::Shares;
use crate::worker::{self, PartitionWorker};

/// The parts of the health report at the start.
const LAKE: &str = "lake";
const TOPIC: &str = "topic";
/// The limits of a batch that a reader hands over.
const BATCH_ROWS: usize = 20_000;
const BATCH_BYTES: usize = 8 << 20;
/// The time that the first record of a batch waits for others.
const BATCH_DELAY: Duration = Duration::from_millis(100);
/// The time between two requests for new partitions of the topic.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(10);
/// The number of commit notifications that may wait to be sent: those of two commits.
const NOTIFICATIONS: usize = 1024;
/// The time after a stop in which the last commit notifications are sent.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(3);
/// The pauses between rounds that fail.
const FAILED: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];
/// A round that went on for this long ends earlier failures.
const HEALTHY: Duration = Duration::from_secs(60);
/// A sink that is fenced more often than this within [`FENCED_PERIOD`] has a twin.
const MAX_FENCED: usize = 10;
const FENCED_PERIOD: Duration = Duration::from_secs(600);

/// Runs the sink until `stop`, then commits what was read and returns.
///
/// # Errors
/// The catalog, the storage, the cluster, the topic or the SmartModule is missing, or a table can't
/// be used. The error says what to do.
pub async fn run(connector: Connector<Config>, stop: Stop) -> anyhow::Result<()> {
    let metrics = Metrics::new()?;
    let health = Health::of([LAKE, TOPIC]);
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
            destination: Destination::Lake,
            commit_interval: connector.config.commit_interval,
            queue_size: NOTIFICATIONS,
        },
        &connector.meta.topic.name,
        connector.config.notifications_secret.as_ref(),
    );
    let sink = Sink {
        smartmodules: connector_common::smartmodules(&connector.transforms),
        meta: connector.meta,
        config: connector.config,
        metrics,
        health,
        notifications,
        stop,
    };
    sink.run(sender).await
}

struct Sink {
    meta: Meta,
    config: Config,
    smartmodules: Vec<SmartModuleInvocation>,
    metrics: Metrics,
    health: Health,
    notifications: CommitNotifications,
    stop: Stop,
}

/// The tables, and the partitions to read.
struct Opened {
    lake: Lake,
    /// The partitions of the sink's file.
    candidates: Vec<u32>,
    /// Those of them that this sink reads.
    partitions: Vec<u32>,
    /// The number of the topic's partitions.
    count: u32,
}

impl Sink {
    /// Runs rounds until the stop, and sends their commit notifications.
    async fn run(self, sender: NotificationSender) -> anyhow::Result<()> {
        let (mut sender, mut sending) = (Some(sender), None);
        let begin = || {
            if let Some(sender) = sender.take() {
                sending = Some(AbortOnDropHandle::new(tokio::spawn(sender.run())));
            }
        };
        let mut shares = self.shares()?;
        let outcome = self.rounds(&mut shares, begin).await;
        if sending.is_some() {
            // SQS redelivers the messages of notifications that are not sent in this time. Until
            // then no other sink takes the partitions over.
            self.notifications.flush(NOTIFY_TIMEOUT).await;
        }
        outcome
    }

    /// The locks, if the partitions are shared.
    fn shares(&self) -> anyhow::Result<Option<Shares>> {
        if !self.config.share_partitions {
            return Ok(None);
        }
        let database = Database::new(&self.config.database()).context("catalog-url")?;
        Ok(Some(Shares::new(
            database,
            &self.config,
            &self.meta.topic.name,
            &self.meta.consumer.partition,
            self.health.clone(),
            self.metrics.clone(),
            self.notifications.clone(),
        )))
    }

    /// Runs rounds until the stop. Calls `started` when the tables are open.
    async fn rounds(
        &self,
        shares: &mut Option<Shares>,
        mut started: impl FnMut(),
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.config.start_timeout;
        let mut has_started = false;
        let mut backoff = Backoff::new(FAILED[0], FAILED[1]);
        let mut fenced: Vec<Instant> = Vec::new();
        // Partitions that were added to the topic are new and read from their beginning.
        let mut initial = None;
        while !self.stop.is_requested() {
            let began = Instant::now();
            let opened = tokio::select! {
                opened = self.open(deadline, shares, &mut initial) => opened,
                () = self.stop.requested() => return Ok(()),
            };
            let outcome = match opened {
                Ok(opened) => {
                    has_started = true;
                    started();
                    self.health.works(LAKE);
                    self.health.works(TOPIC);
                    self.round(opened, shares)
                        .await
                        .map_err(anyhow::Error::from)
                }
                Err(error) if !has_started && Instant::now() >= deadline => return Err(error),
                Err(error) => Err(error),
            };
            let Err(error) = outcome else {
                continue;
            };
            match error.downcast_ref::<Error>() {
                Some(error) if error.is_fatal() => {}
                Some(Error::Stopped { .. }) => {
                    tracing::warn!("{error:#}");
                    return Ok(());
                }
                Some(Error::Fenced { .. }) => {
                    fenced.retain(|at| at.elapsed() < FENCED_PERIOD);
                    fenced.push(Instant::now());
                }
                Some(_) => {}
                None if connector_common::is_transient(&error) => {}
                None => return Err(error),
            }
            if error.downcast_ref().is_some_and(Error::is_fatal) || fenced.len() > MAX_FENCED {
                return Err(error);
            }
            if began.elapsed() > HEALTHY {
                backoff.reset();
            }
            self.health.troubled(LAKE, &error);
            if backoff.warning_due().is_some() {
                tracing::warn!("{error:#}; reading again from the committed offsets");
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_pause()) => {}
                () = self.stop.requested() => {}
            }
        }
        Ok(())
    }

    async fn open(
        &self,
        deadline: Instant,
        shares: &mut Option<Shares>,
        initial: &mut Option<u32>,
    ) -> anyhow::Result<Opened> {
        let topic = &self.meta.topic.name;
        let wanted = &self.meta.consumer.partition;
        let count = wait_for_topic(topic, wanted, deadline).await?;
        let cluster = connector_common::cluster_id(topic).await?;
        let candidates: Vec<u32> = match wanted {
            Partitions::All => (0..count).collect(),
            Partitions::Some(named) => named.clone(),
        };
        // Before the tables are opened: their offsets are the last ones of the sink that had the
        // locks before.
        let partitions = match shares {
            Some(shares) => shares.take(&candidates).await.map_err(Error::from)?,
            None => candidates.clone(),
        };
        let catalog = catalog::open(&self.config).await?;
        let mut lake = Lake::open(
            catalog,
            self.config.lake()?,
            topic,
            &cluster,
            Context {
                metrics: self.metrics.clone(),
                health: self.health.clone(),
                notifications: self.notifications.clone(),
                stop: self.stop.clone(),
            },
        )
        .await?;
        let initial = *initial.get_or_insert(count);
        let committed = lake.offsets();
        let mut new = Offsets::new();
        for number in &partitions {
            if !committed.contains_key(number) {
                let start = if *number < initial {
                    self.meta.consumer.offset.start
                } else {
                    Start::Beginning
                };
                new.insert(*number, self.partition(*number).find(start).await?);
            }
        }
        lake.begin(new).await?;
        let location = lake.location();
        if !location.starts_with(self.config.warehouse.trim_end_matches('/')) {
            tracing::warn!(
                location,
                warehouse = self.config.warehouse,
                "the table is in another folder than `warehouse`, and stays there"
            );
        }
        Ok(Opened {
            lake,
            candidates,
            partitions,
            count,
        })
    }

    fn partition(&self, number: u32) -> Partition {
        Partition {
            topic: self.meta.topic.name.clone(),
            number,
            smartmodules: self.smartmodules.clone(),
        }
    }

    /// Reads and commits until the stop, or until the topic has new partitions or this sink's share
    /// of them changes.
    ///
    /// # Errors
    /// Records since the last commit are not committed.
    async fn round(&self, opened: Opened, shares: &mut Option<Shares>) -> Result<(), Error> {
        let Opened {
            mut lake,
            candidates,
            partitions,
            count,
        } = opened;
        let mut changed = std::pin::pin!(async {
            match shares {
                Some(shares) => shares.changed(&candidates).await,
                None => std::future::pending().await,
            }
        });
        if partitions.is_empty() {
            tracing::info!("other sinks read all partitions; waiting for a share of them");
            return tokio::select! {
                changed = &mut changed => Ok(changed?),
                () = self.discover(count) => Ok(()),
                () = self.stop.requested() => Ok(()),
            };
        }
        let (round, end) = Stop::manual();
        let (sender, mut batches) = mpsc::channel(1);
        let mut workers = JoinSet::new();
        let mut measuring = Vec::new();
        let limits = self.limits(partitions.len());
        let offsets = lake.offsets();
        for number in &partitions {
            let next = offsets.get(number).copied().unwrap_or_default();
            self.metrics.add(*number, next, Default::default());
            self.notifications.begin(*number, next);
            if self.config.metrics_address.is_some() {
                let measured = lag::measure(self.partition(*number), self.metrics.lag());
                measuring.push(AbortOnDropHandle::new(tokio::spawn(measured)));
            }
            let worker = PartitionWorker {
                partition: self.partition(*number),
                content: self.config.content,
                limits: limits.clone(),
                health: self.health.clone(),
                next,
                last: lake.last_record(&self.meta.topic.name, *number),
                batches: sender.clone(),
            };
            workers.spawn(worker.run(round.clone()));
        }
        drop(sender);
        let mut failed = None;
        let outcome = {
            let mut run = std::pin::pin!(lake.run(&mut batches));
            let mut discovered = std::pin::pin!(self.discover(count));
            let mut is_ending = false;
            loop {
                tokio::select! {
                    outcome = &mut run => break outcome,
                    () = self.stop.requested(), if !is_ending => {
                        is_ending = true;
                        end();
                    }
                    () = &mut discovered, if !is_ending => {
                        is_ending = true;
                        end();
                    }
                    changed = &mut changed, if !is_ending => {
                        failed = changed.map_err(Error::from).err();
                        is_ending = true;
                        end();
                    }
                    Some(ended) = workers.join_next() => {
                        if let Err(error) = ended.map_err(Error::from).flatten() {
                            failed = Some(error);
                            is_ending = true;
                            end();
                        }
                    }
                }
            }
        };
        drop(batches);
        end();
        while workers.join_next().await.is_some() {}
        for number in &partitions {
            for part in [reader::part(*number), worker::part(*number)] {
                self.health.works(&part);
            }
        }
        outcome.and(failed.map_or(Ok(()), Err))
    }

    fn limits(&self, partitions: usize) -> Limits {
        let response = self.meta.consumer.response_bytes();
        let limits = Limits {
            rows: BATCH_ROWS,
            bytes: BATCH_BYTES,
            response: response.unwrap_or(DEFAULT_MAX_BYTES),
            delay: BATCH_DELAY.min(self.config.commit_interval),
            smartmodule_timeout: self.config.start_timeout,
            workers: Arc::default(),
        };
        limits.divide_among(partitions);
        limits
    }

    /// Returns when the topic has more than `count` partitions, if the sink reads all of them.
    async fn discover(&self, count: u32) {
        let topic = &self.meta.topic.name;
        loop {
            tokio::time::sleep(DISCOVERY_INTERVAL).await;
            if self.meta.consumer.partition != Partitions::All {
                continue;
            }
            match partition_count(topic).await {
                Ok(Some(found)) if found > count => {
                    tracing::info!(topic, partitions = found, "the topic has new partitions");
                    return;
                }
                // The workers report a deleted topic.
                Ok(_) => {}
                Err(error) => tracing::debug!("cannot discover partitions of the topic: {error:#}"),
            }
        }
    }
}
