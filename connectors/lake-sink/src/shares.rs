//! The partitions of a sink that shares them with others.
//!
//! Sinks that write the same table divide the partitions of the topic: each holds an advisory lock
//! on those that it reads, in the catalog's database ([`warehouse::locks`]). When a sink dies its
//! session ends, and the others take its partitions. The locks divide the work; the committed
//! offsets in the table ensure correctness.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use connector_common::{Health, Partitions, Warnings};
use sink_common::CommitNotifications;
use warehouse::locks::{AdvisoryLocks, Lock, assigned, group};
use warehouse::{Database, Error, Remedy, Source};

use crate::config::Config;
use crate::metrics::Metrics;

/// The time between two checks of the locks and of the other sinks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The time in which commit notifications are sent before a partition is released.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(5);
/// The name of the locks in the health report.
const LOCKS: &str = "locks on the partitions";
/// Begins the names of locks, so that they are not those of a PostgreSQL sink.
const LAKE: &str = "lake";

/// The locks of this sink.
pub struct Shares {
    locks: AdvisoryLocks,
    /// The table, which takes the place of a sink's name in the names of locks.
    table: String,
    topic: String,
    group: String,
    held: BTreeSet<u32>,
    health: Health,
    metrics: Metrics,
    notifications: CommitNotifications,
    warnings: Warnings,
}

impl Shares {
    /// Holds no partition yet.
    pub(crate) fn new(
        database: Arc<Database>,
        config: &Config,
        topic: &str,
        wanted: &Partitions,
        health: Health,
        metrics: Metrics,
        notifications: CommitNotifications,
    ) -> Self {
        let names = [
            LAKE,
            config.catalog_name(),
            &config.namespace,
            config.table(),
        ];
        let table = names.join("\u{1f}");
        Self {
            locks: AdvisoryLocks::new(database),
            group: group(&table, topic, wanted),
            table,
            topic: topic.to_owned(),
            held: BTreeSet::new(),
            health,
            metrics,
            notifications,
            warnings: Warnings::default(),
        }
    }

    /// Takes this sink's share of the partitions, and releases those beyond it. Returns the ones
    /// that it holds then, which can be none.
    ///
    /// # Errors
    /// A request to the database failed.
    pub(crate) async fn take(&mut self, partitions: &[u32]) -> Result<Vec<u32>, Error> {
        for number in self.held.clone() {
            if self.locks.take(&self.source(number)).await? != Lock::Held {
                self.forget(number);
            }
        }
        let most = self.most(partitions).await?;
        if self.held.len() > most {
            self.notifications.flush(NOTIFY_TIMEOUT).await;
        }
        while self.held.len() > most
            && let Some(number) = self.held.last().copied()
        {
            tracing::info!(
                topic = self.topic,
                partition = number,
                "releasing the partition to another sink"
            );
            self.locks.release(&self.source(number)).await?;
            self.forget(number);
        }
        while self.take_one(partitions, most).await? {}
        self.health.works(LOCKS);
        Ok(self.held.iter().copied().collect())
    }

    /// Returns when this sink's share of the partitions has changed: others have started or ended,
    /// or a lock is lost. An error of the database is reported and waited for: the other sinks
    /// can't take the locks either, and the offsets in the table fence one that does.
    ///
    /// # Errors
    /// Waiting does not help: a pooler took the session away.
    pub(crate) async fn changed(&mut self, partitions: &[u32]) -> Result<(), Error> {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            match self.has_changed(partitions).await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    self.health.works(LOCKS);
                    self.warnings.reset();
                }
                Err(error) if error.remedy() == Remedy::Fatal => return Err(error),
                Err(error) => {
                    self.health.troubled(LOCKS, error.outline());
                    if self.warnings.due().is_some() {
                        let error = error.chain();
                        tracing::warn!("cannot check the locks on the partitions: {error}");
                    }
                }
            }
        }
    }

    async fn has_changed(&mut self, partitions: &[u32]) -> Result<bool, Error> {
        for number in self.held.clone() {
            if let Lock::HeldBy(owner) = self.locks.take(&self.source(number)).await? {
                tracing::warn!(
                    topic = self.topic,
                    partition = number,
                    "another sink has taken the partition ({owner})"
                );
                return Ok(true);
            }
        }
        let most = self.most(partitions).await?;
        Ok(self.held.len() > most || self.take_one(partitions, most).await?)
    }

    /// Takes another partition if this sink has fewer than its share and one is free.
    async fn take_one(&mut self, partitions: &[u32], most: usize) -> Result<bool, Error> {
        if self.held.len() >= most {
            return Ok(false);
        }
        for number in partitions {
            if !self.held.contains(number)
                && self.locks.take(&self.source(*number)).await? == Lock::Held
            {
                self.held.insert(*number);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The number of partitions that this sink may hold.
    async fn most(&self, partitions: &[u32]) -> Result<usize, Error> {
        let sources = partitions.iter().map(|number| self.source(*number));
        let sources: Vec<Source> = sources.collect();
        let members = self.locks.members(&self.group, &sources).await?;
        Ok(assigned(&members, partitions.len()))
    }

    /// Ends all reports about a partition that this sink no longer holds.
    fn forget(&mut self, number: u32) {
        self.held.remove(&number);
        self.notifications.end(number);
        self.metrics.remove(number);
    }

    fn source(&self, number: u32) -> Source {
        Source {
            sink: self.table.clone(),
            topic: self.topic.clone(),
            partition: i32::try_from(number).unwrap_or(i32::MAX),
        }
    }
}
