//! The partition workers of a sink: started and stopped as the topic, the other sinks and the
//! database require.

mod set_aside;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use connector_common::{Backoff, Health, Partitions, Start, Stop, Traces, Warnings};
use fact_model::Options;
use fluvio::SmartModuleInvocation;
use sink_common::{CommitNotifications, Limits, Partition, lag, partition_count, reader};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;
use warehouse::locks::{AdvisoryLocks, Lock, assigned, group};
use warehouse::{Database, Error, OnConflict, Remedy, Source, Writer};

use self::worker::PartitionWorker;
use crate::delivery::Refusals;
use crate::metrics::{self, Metrics, Progress, TransactionMetrics};

/// The time between two checks of the locks, of partitions to take, and of partitions to release.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two requests for new partitions of the topic.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(10);
/// Timeout for leaving the group of sinks that share partitions, and for releasing a lock.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
/// A lock is lost if another session holds it in so many checks in a row. In one check, that
/// session may be an earlier one of this sink, whose end the server has not noticed yet.
const LOST: u32 = 2;
/// The name of the locks in the health report.
const LOCKS: &str = "locks on the partitions";

/// Dependencies shared by all partition workers.
pub(crate) struct Context {
    pub(crate) sink: String,
    pub(crate) topic: String,
    pub(crate) database: Arc<Database>,
    pub(crate) locks: Arc<AdvisoryLocks>,
    pub(crate) smartmodules: Vec<SmartModuleInvocation>,
    /// The parameters of flatten-items; `None` if it is not the only transform.
    pub(crate) options: Option<Options>,
    pub(crate) start: Start,
    pub(crate) limits: Limits,
    /// The policy for facts that are stored already.
    pub(crate) on_conflict: OnConflict,
    /// The number of events in a row that PostgreSQL may refuse alike; 0 for any.
    pub(crate) max_refused_events: usize,
    /// The time after which a transaction counts as hanging.
    pub(crate) transaction_timeout: Duration,
    pub(crate) metrics: Metrics,
    /// Measures the lag, since somebody may read it.
    pub(crate) measures_lag: bool,
    pub(crate) health: Health,
    pub(crate) traces: Traces,
    /// Notified of new facts.
    pub(crate) written: Arc<Notify>,
    pub(crate) notifications: CommitNotifications,
}

impl Context {
    fn source(&self, number: u32) -> Source {
        Source {
            sink: self.sink.clone(),
            topic: self.topic.clone(),
            partition: id(number),
        }
    }

    fn partition(&self, number: u32) -> Partition {
        Partition {
            topic: self.topic.clone(),
            number,
            smartmodules: self.smartmodules.clone(),
        }
    }

    /// A worker for a partition. If the partition was never read, the worker begins at `start`.
    fn worker(&self, number: u32, start: Start) -> PartitionWorker {
        let writer = Writer::new(Arc::clone(&self.database), self.source(number));
        PartitionWorker {
            partition: self.partition(number),
            writer: writer.notifying(Arc::clone(&self.written)),
            transactions: TransactionMetrics::new(
                self.metrics.clone(),
                self.health.clone(),
                id(number),
                self.transaction_timeout,
            ),
            locks: Arc::clone(&self.locks),
            start,
            limits: self.limits.clone(),
            on_conflict: self.on_conflict,
            options: self.options.clone(),
            refusals: Refusals::new(self.max_refused_events),
            wrong_smartmodule: Backoff::default(),
            rejections: Warnings::default(),
            failed: PartitionWorker::failures(),
            failing_batch: None,
            fenced: Vec::new(),
            progress: Progress::new(self.metrics.clone(), number),
            health: self.health.clone(),
            traces: self.traces.clone(),
            notifications: self.notifications.clone(),
        }
    }

    /// Measures the lag of a partition until the handle is dropped.
    fn measure_lag(&self, number: u32) -> Option<AbortOnDropHandle<()>> {
        self.measures_lag.then(|| {
            let measuring = lag::measure(self.partition(number), self.metrics.lag());
            AbortOnDropHandle::new(tokio::spawn(measuring))
        })
    }

    /// Ends all reports about a partition that this sink no longer writes.
    fn remove(&self, number: u32) {
        self.notifications.end(number);
        self.metrics.remove(number);
        let database = metrics::part(id(number));
        self.health.ended(&database);
        for part in [database, reader::part(number), worker::part(number)] {
            self.health.works(&part);
        }
    }
}

fn id(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The partition workers of a sink.
pub(crate) struct PartitionWorkers {
    context: Context,
    wanted: Partitions,
    /// Shares the partitions with other sinks of the same name.
    shares: bool,
    /// The number of partitions at the start. Partitions after them are new and read from their
    /// beginning.
    initial: u32,
    /// The partitions that this sink may write: all, or those in its file.
    candidates: Vec<u32>,
    running: BTreeMap<u32, Running>,
    tasks: JoinSet<(u32, anyhow::Result<()>)>,
    warnings: Warnings,
    held_by_others: BTreeMap<u32, Warnings>,
}

struct Running {
    stop: Box<dyn Fn() + Send + Sync>,
    is_stopping: bool,
    /// Checks in a row in which another session held the lock.
    lost: u32,
    _measuring: Option<AbortOnDropHandle<()>>,
}

impl PartitionWorkers {
    /// Workers for the `wanted` partitions of a topic with `count` partitions.
    pub(crate) fn new(context: Context, wanted: Partitions, shares: bool, count: u32) -> Self {
        let candidates = match &wanted {
            Partitions::All => (0..count).collect(),
            Partitions::Some(named) => named.clone(),
        };
        if !shares {
            for number in &candidates {
                context
                    .health
                    .troubled(&lock_part(*number), "not taken yet");
            }
        }
        Self {
            context,
            wanted,
            shares,
            initial: count,
            candidates,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            warnings: Warnings::default(),
            held_by_others: BTreeMap::new(),
        }
    }

    /// Starts and stops workers until the stop, then waits until they have written their batches.
    ///
    /// # Errors
    /// No partition can be read, or a pooler is in the way. All workers finish their batch first.
    pub(crate) async fn run(mut self, stop: &Stop) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        let mut is_stopping = false;
        let mut check = tokio::time::interval(CHECK_INTERVAL);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // In a task of its own: a cluster that does not answer must not delay the checks.
        let (sender, mut count) = watch::channel(self.initial);
        let _discovering = (self.wanted == Partitions::All).then(|| {
            let discovery = discover(self.context.topic.clone(), sender);
            AbortOnDropHandle::new(tokio::spawn(discovery))
        });
        while !(is_stopping && self.tasks.is_empty()) {
            tokio::select! {
                () = stop.requested(), if !is_stopping => {
                    is_stopping = true;
                    self.stop_all().await;
                }
                Some(ended) = self.tasks.join_next() => {
                    let result = match ended {
                        Ok((number, Ok(()))) => {
                            self.ended(number).await;
                            Ok(())
                        }
                        Ok((_, Err(error))) => Err(error),
                        Err(panic) => Err(panic.into()),
                    };
                    if let Err(error) = result {
                        outcome = outcome.and(Err(error));
                        if !is_stopping {
                            is_stopping = true;
                            self.stop_all().await;
                        }
                    }
                }
                _ = check.tick(), if !is_stopping => {
                    let checked = tokio::select! {
                        checked = self.check() => checked,
                        () = stop.requested() => Ok(()),
                    };
                    if let Err(error) = self.report(checked) {
                        outcome = outcome.and(Err(error.into()));
                        is_stopping = true;
                        self.stop_all().await;
                    }
                }
                Ok(()) = count.changed(), if !is_stopping => {
                    let count = *count.borrow_and_update();
                    self.add_partitions(count);
                }
            }
        }
        outcome
    }

    /// Checks the locks, stops workers that exceed this sink's assignment, and starts missing ones.
    async fn check(&mut self) -> Result<(), Error> {
        let active: Vec<u32> = self.active().collect();
        for number in active {
            let lock = self.take_lock(number).await?;
            self.check_lock(number, lock);
        }
        let most = if self.shares {
            let candidates = self.candidates.iter();
            let sources: Vec<Source> = candidates
                .map(|number| self.context.source(*number))
                .collect();
            let members = self.context.locks.members(&self.group(), &sources).await?;
            assigned(&members, self.candidates.len())
        } else {
            self.candidates.len()
        };
        let active: Vec<u32> = self.active().collect();
        // The newest partitions have the fewest records.
        for number in active.into_iter().skip(most).rev() {
            tracing::info!(
                topic = self.context.topic,
                partition = number,
                "releasing the partition to another sink"
            );
            self.stop(number);
        }
        for number in self.candidates.clone() {
            // A worker that is stopping counts, too: its partition is released first.
            if self.running.len() >= most {
                break;
            }
            if !self.running.contains_key(&number) {
                let lock = self.take_lock(number).await?;
                self.start(number, &lock);
            }
        }
        Ok(())
    }

    async fn take_lock(&self, number: u32) -> Result<Lock, Error> {
        let source = self.context.source(number);
        self.context.locks.take(&source).await
    }

    /// Reports the outcome of a check to the health report and the log. Returns an error that
    /// neither a retry nor waiting helps against: a pooler took the sessions away.
    fn report(&self, checked: Result<(), Error>) -> Result<(), Error> {
        match checked {
            Ok(()) => {
                self.context.health.works(LOCKS);
                self.warnings.reset();
            }
            Err(error) if error.remedy() == Remedy::Fatal => return Err(error),
            // The workers continue: other sinks can't take the locks either, and the committed
            // offset fences any sink that does.
            Err(error) => {
                self.context.health.troubled(LOCKS, error.outline());
                if self.warnings.due().is_some() {
                    let error = error.chain();
                    tracing::warn!("cannot check the locks on the partitions: {error}");
                }
            }
        }
        Ok(())
    }

    fn check_lock(&mut self, number: u32, lock: Lock) {
        let Some(running) = self.running.get_mut(&number) else {
            return;
        };
        match lock {
            Lock::Held => running.lost = 0,
            Lock::HeldBy(owner) => {
                running.lost += 1;
                if running.lost >= LOST {
                    tracing::warn!(
                        topic = self.context.topic,
                        partition = number,
                        "another sink has taken the partition ({owner})"
                    );
                    self.stop(number);
                }
            }
        }
    }

    fn start(&mut self, number: u32, lock: &Lock) {
        match lock {
            Lock::Held => {
                let (stopped, stop) = Stop::manual();
                let start = if number < self.initial {
                    self.context.start
                } else {
                    Start::Beginning
                };
                let worker = self.context.worker(number, start);
                self.tasks
                    .spawn(async move { (number, worker.run(stopped).await) });
                let running = Running {
                    stop: Box::new(stop),
                    is_stopping: false,
                    lost: 0,
                    _measuring: self.context.measure_lag(number),
                };
                self.running.insert(number, running);
                self.context.limits.divide_among(self.running.len());
                self.context.health.works(&lock_part(number));
                if self.held_by_others.remove(&number).is_some() {
                    tracing::info!(
                        topic = self.context.topic,
                        partition = number,
                        "this sink writes the partition now"
                    );
                }
            }
            Lock::HeldBy(owner) if !self.shares => {
                let reason = format!(
                    "another sink named `{}` writes this partition ({owner}); waiting until it \
                     ends. To run both, give one a `meta.name` of its own, or both \
                     `share-partitions: true`",
                    self.context.sink
                );
                let health = &self.context.health;
                health.troubled(&lock_part(number), &reason);
                let warnings = self.held_by_others.entry(number).or_default();
                if warnings.due().is_some() {
                    let topic = &self.context.topic;
                    tracing::warn!(topic, partition = number, "{reason}");
                }
            }
            Lock::HeldBy(_) => {}
        }
    }

    /// Called after a worker ended without an error: another sink may take its partition.
    async fn ended(&mut self, number: u32) {
        self.running.remove(&number);
        self.context.limits.divide_among(self.running.len());
        self.context.remove(number);
        let source = self.context.source(number);
        self.release(self.context.locks.release(&source)).await;
    }

    /// Waits until a lock is released. A server that does not answer must not delay a stop, so the
    /// session is closed then. After an error it is closed, too, and the locks with it.
    async fn release(&self, released: impl Future<Output = Result<(), Error>>) {
        match tokio::time::timeout(RELEASE_TIMEOUT, released).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("{}", error.chain()),
            Err(_) => self.context.locks.close().await,
        }
    }

    /// Takes up partitions that were added to the topic, which has `count` of them.
    fn add_partitions(&mut self, count: u32) {
        let known = u32::try_from(self.candidates.len()).unwrap_or(u32::MAX);
        if count > known {
            tracing::info!(
                topic = self.context.topic,
                partitions = count,
                "the topic has new partitions"
            );
            self.candidates.extend(known..count);
        }
    }

    /// Has every worker write its batches and end.
    async fn stop_all(&mut self) {
        for running in self.running.values_mut() {
            running.is_stopping = true;
            (running.stop)();
        }
        if self.shares {
            // After an error the others notice the end of this process.
            self.release(self.context.locks.leave(&self.group())).await;
        }
    }

    fn stop(&mut self, number: u32) {
        if let Some(running) = self.running.get_mut(&number) {
            running.is_stopping = true;
            (running.stop)();
        }
    }

    /// The partitions of workers that are not stopping, in order.
    fn active(&self) -> impl Iterator<Item = u32> {
        let running = self.running.iter();
        running
            .filter(|(_, running)| !running.is_stopping)
            .map(|(number, _)| *number)
    }

    /// The name of the group of sinks that share the same partitions.
    fn group(&self) -> String {
        let Context { sink, topic, .. } = &self.context;
        group(sink, topic, &self.wanted)
    }
}

/// Discovers the number of partitions of the topic until it is dropped.
async fn discover(topic: String, count: watch::Sender<u32>) {
    loop {
        tokio::time::sleep(DISCOVERY_INTERVAL).await;
        match partition_count(&topic).await {
            Ok(Some(found)) => drop(count.send_replace(found)),
            // The workers report a deleted topic.
            Ok(None) => {}
            Err(error) => tracing::debug!("cannot discover partitions of the topic: {error:#}"),
        }
    }
}

/// The name of the lock on a partition in the health report.
fn lock_part(number: u32) -> String {
    format!("lock on partition {number}")
}
