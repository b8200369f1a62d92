//! Produces the records: assigns each to a partition, whose writer reports its acknowledgement to
//! the tracker.
//!
//! Each partition has a [`PartitionWriter`] with its own connections, window and backoff. A
//! partition that does not answer delays only the records that must go to it: those of the message
//! groups that are assigned to it. The others go to the partition with the fewest unacknowledged
//! bytes, and if that fails, to another.
//!
//! While other partitions work, records of stuck ones may hold a quarter of `max-in-flight`, and
//! those of all queues together a quarter of `max-in-flight-bytes`. The newest beyond that are
//! given back to the queue, so that receiving goes on. Each time costs a receive, so the delay
//! grows with each.

mod partition;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use connector_common::keys::partition_of;
use connector_common::{Backoff, Health, Traces, Warnings};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, interval};

use self::partition::{Partition, PartitionWriter};
use crate::byte_budget::ByteBudget;
use crate::in_flight::Tracker;
use crate::in_flight::visibility::{delay_after, hide};
use crate::metrics::QueueMetrics;
use crate::queue::{Queue, Receipt};
use crate::record::Record;
use crate::topic::Topic;

/// The name of the topic's part of the connector's health.
pub(crate) const TOPIC: &str = "topic";

/// The interval at which the number of the topic's partitions is polled.
const PARTITIONS_INTERVAL: Duration = Duration::from_secs(5);

/// The interval at which stuck partitions are looked for.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The time for which a partition takes no more records after some were given back. Messages of a
/// group that were received together have all been assigned by then, so none overtakes another.
const CLOSED_FOR: Duration = Duration::from_secs(5);

/// The share of a limit, one of this number, that stuck partitions may hold.
const STUCK_SHARE: usize = 4;

/// The delay after which a message that was received once and given back is delivered again.
const FIRST_DELAY: Duration = Duration::from_secs(10);

/// The most messages that are given back at once.
const GIVEN_BACK: usize = 1000;

/// Writes the records of one queue to the topic.
pub(crate) struct Writer {
    pub(crate) topic: Arc<dyn Topic>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) tracker: Arc<dyn Tracker>,
    pub(crate) metrics: Arc<QueueMetrics>,
    pub(crate) byte_budget: ByteBudget,
    /// The number of queues that share the byte budget.
    pub(crate) queues: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) acknowledgement_timeout: Duration,
    pub(crate) traces: Traces,
    pub(crate) health: Health,
}

/// The state that the writers of all partitions share.
struct Shared {
    writer: Writer,
    /// The number of partitions.
    partitions: AtomicUsize,
    /// The number of records that were received and are not settled.
    unsettled: AtomicUsize,
    /// Notified when a partition may take another record, or a record is settled.
    changed: Notify,
    /// Takes records of a failed partition that may go to another.
    returns: mpsc::UnboundedSender<Record>,
}

impl Writer {
    /// Produces the records that arrive until the channel is closed and all are settled.
    pub(crate) async fn run(self, mut records: mpsc::Receiver<Record>) {
        // A source without messages opens no connection, so it can stop while the topic is
        // unreachable.
        let Some(first) = records.recv().await else {
            return;
        };
        let (returns, returned) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            writer: self,
            partitions: AtomicUsize::new(0),
            unsettled: AtomicUsize::new(1),
            changed: Notify::new(),
            returns,
        });
        let (count, counted) = watch::channel(0);
        let (given_back, to_give_back) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&shared).poll_partitions(count));
        tasks.spawn(give_back(Arc::clone(&shared.writer.queue), to_give_back));
        let distributor = Distributor {
            shared,
            partitions: Vec::new(),
            tasks,
            given_back,
            next: 0,
            warnings: Warnings::default(),
        };
        distributor.run(first, records, returned, counted).await;
    }
}

impl Shared {
    /// Counts the partitions again and again: some may be added.
    async fn poll_partitions(self: Arc<Self>, count: watch::Sender<usize>) {
        let Writer { topic, health, .. } = &self.writer;
        let mut backoff = Backoff::default();
        loop {
            match topic.partitions().await {
                Ok(partitions) => {
                    if backoff.reset() {
                        health.works(TOPIC);
                    }
                    count.send_replace(partitions as usize);
                    tokio::time::sleep(PARTITIONS_INTERVAL).await;
                }
                // The partitions that are known report their own failures.
                Err(_) if *count.borrow() > 0 => tokio::time::sleep(PARTITIONS_INTERVAL).await,
                Err(error) => {
                    health.troubled(TOPIC, format_args!("{error:#}"));
                    let pause = backoff.next_pause();
                    if let Some(suppressed) = backoff.warning_due() {
                        tracing::warn!(
                            topic = topic.name(),
                            ?pause,
                            suppressed,
                            "cannot read the topic's partitions, retrying; no message is deleted \
                             meanwhile: {error:#}"
                        );
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    fn settled(&self) {
        self.unsettled.fetch_sub(1, Ordering::Relaxed);
        self.changed.notify_one();
    }
}

/// Assigns records to partitions.
struct Distributor {
    shared: Arc<Shared>,
    partitions: Vec<Arc<Partition>>,
    tasks: JoinSet<()>,
    given_back: mpsc::UnboundedSender<(Receipt, Duration)>,
    /// The partition that is tried first for the next record.
    next: usize,
    warnings: Warnings,
}

impl Distributor {
    async fn run(
        mut self,
        first: Record,
        mut records: mpsc::Receiver<Record>,
        mut returned: mpsc::UnboundedReceiver<Record>,
        mut counted: watch::Receiver<usize>,
    ) {
        let mut waiting = Some(first);
        let mut more_may_come = true;
        let mut check = interval(CHECK_INTERVAL);
        while more_may_come || self.shared.unsettled.load(Ordering::Relaxed) > 0 {
            if let Some(record) = waiting.take() {
                waiting = self.assign(record);
            }
            let is_free = waiting.is_none();
            tokio::select! {
                Some(record) = returned.recv(), if is_free => waiting = Some(record),
                record = records.recv(), if is_free && more_may_come => {
                    if record.is_some() {
                        self.shared.unsettled.fetch_add(1, Ordering::Relaxed);
                    } else {
                        more_may_come = false;
                    }
                    waiting = record;
                }
                // Without a record to assign, only the end can depend on it.
                () = self.shared.changed.notified(), if !is_free || !more_may_come => {}
                Ok(()) = counted.changed() => {
                    let partitions = *counted.borrow_and_update();
                    self.start_writers(partitions);
                }
                _ = check.tick() => self.relieve_stuck(),
                Some(ended) = self.tasks.join_next() => pass_on_panic(ended),
            }
        }
    }

    fn start_writers(&mut self, partitions: usize) {
        let count = partitions.max(self.partitions.len());
        self.shared.partitions.store(count, Ordering::Relaxed);
        if count > self.partitions.len() {
            let topic = self.shared.writer.topic.name();
            tracing::info!(topic, partitions = count, "producing to all partitions");
        }
        for number in (0_u32..).take(count).skip(self.partitions.len()) {
            let partition = Arc::new(Partition::new(number));
            let writer = PartitionWriter::new(Arc::clone(&self.shared), Arc::clone(&partition));
            self.tasks.spawn(writer.run());
            self.partitions.push(partition);
        }
    }

    /// Assigns a record to a partition. Returns the record if none can take it now.
    fn assign(&mut self, record: Record) -> Option<Record> {
        let number = if record.is_grouped {
            self.partition_of_group(&record)
        } else {
            self.available()
        };
        let Some(partition) = number.and_then(|number| self.partitions.get(number)) else {
            return Some(record);
        };
        if record.is_grouped && partition.is_closed() {
            self.give_back(&record);
        } else {
            partition.push(record);
        }
        None
    }

    fn partition_of_group(&self, record: &Record) -> Option<usize> {
        let partitions = u32::try_from(self.partitions.len()).ok()?;
        usize::try_from(partition_of(&record.key, partitions)).ok()
    }

    /// The partition with the fewest bytes among those that work and may get another record.
    fn available(&mut self) -> Option<usize> {
        let count = self.partitions.len();
        let from_next = (0..count).map(|index| (self.next + index) % count);
        let available = from_next.filter_map(|number| {
            let bytes = self.partitions.get(number)?.bytes_if_available()?;
            Some((bytes, number))
        });
        let (_, number) = available.min_by_key(|(bytes, _)| *bytes)?;
        self.next = number + 1;
        Some(number)
    }

    /// Gives records of stuck partitions back while they hold too much and other partitions work.
    fn relieve_stuck(&self) {
        let (stuck, others): (Vec<_>, Vec<_>) =
            self.partitions.iter().partition(|one| one.is_stuck());
        if !others.iter().any(|one| one.is_open()) {
            return;
        }
        let Writer {
            topic,
            byte_budget,
            queues,
            max_in_flight,
            ..
        } = &self.shared.writer;
        let most_records = max_in_flight / STUCK_SHARE;
        let most_bytes = byte_budget.limit() / (STUCK_SHARE * (*queues).max(1));
        let holds_too_much = || {
            let held = stuck.iter().map(|one| one.held());
            let (records, bytes) = held.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            records > most_records || bytes > most_bytes
        };
        for partition in &stuck {
            let mut given_back = 0_usize;
            while holds_too_much()
                && let Some(record) = partition.take_newest()
            {
                if record.is_grouped {
                    given_back += 1;
                    self.give_back(&record);
                } else {
                    let _ = self.shared.returns.send(record);
                }
            }
            if given_back == 0 {
                continue;
            }
            partition.close_until(Instant::now() + CLOSED_FOR);
            if let Some(suppressed) = self.warnings.due() {
                tracing::warn!(
                    topic = topic.name(),
                    partition = partition.number,
                    messages = given_back,
                    suppressed,
                    "messages for a partition that does not answer are given back to the queue, so \
                     that those for other partitions can be received"
                );
            }
        }
    }

    fn give_back(&self, record: &Record) {
        if let Some((receipt, receives)) = self.shared.writer.tracker.give_back(&record.id) {
            let delay = delay_after(FIRST_DELAY, receives);
            // The send fails only if the task has failed, which ends the whole source.
            let _ = self.given_back.send((receipt, delay));
        }
        self.shared.settled();
    }
}

/// Hides each message for its delay; then the queue delivers it again.
async fn give_back(
    queue: Arc<dyn Queue>,
    mut given_back: mpsc::UnboundedReceiver<(Receipt, Duration)>,
) {
    let mut changes = Vec::new();
    while given_back.recv_many(&mut changes, GIVEN_BACK).await > 0 {
        hide(queue.as_ref(), &changes).await;
        changes.clear();
    }
}

/// Passes a panic on: without this task, records would wait forever.
fn pass_on_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}
