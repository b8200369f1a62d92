//! The pipeline of one queue: receive → produce → (commits) → delete, with the visibility
//! extender; or only receive → produce if messages stay in the queue.
//!
//! Each stage is one or more tasks, with a channel to the next. It ends when the stage before it
//! has ended and all that it received is settled.

use std::ops::RangeInclusive;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use connector_common::committed::Commit;
use connector_common::{Health, Stop, Traces, Warnings};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::awaited::{AwaitedSink, SinkSet};
use crate::byte_budget::ByteBudget;
use crate::commits::{Awaited, CommitTracker, CommittedOffsets, Unreadable};
use crate::config::{Config, DeleteAfter, Isolation, LONGEST_VISIBILITY, RecordFormat};
use crate::delete::{DeadLetterForwarder, DeadLetters, Deleter};
use crate::in_flight::visibility::{VisibilityExtender, release_all};
use crate::in_flight::{AckingTracker, InFlight, Tracker};
use crate::metrics::{Metrics, QueueMetrics};
use crate::produce::Writer;
use crate::queue::{BATCH, Depth, Queue, QueueError, Received};
use crate::read_only::{ProducedIds, UnreadCheck};
use crate::receive::{DeadLetterInbox, Pollers, Receiver};
use crate::record::Record;
use crate::s3::Payloads;
use crate::topic::Topic;

/// The time that a stop may take to make messages visible again.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than a commit notification takes to arrive, and short beside a visibility timeout.
const CHECK_COMMITS_AFTER: Duration = Duration::from_secs(10);

/// The dead letters of a queue that may wait to be forwarded: as many as a receive returns. Their
/// bodies take memory that all queues share.
const DEAD_LETTERS: usize = BATCH;

/// SQS updates its counts at most once a minute.
const DEPTH_INTERVAL: Duration = Duration::from_secs(30);

/// The settings of one queue: the [`Config`] together with the queue's own attributes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The time that a received message is hidden. It is extended at half this time unless messages
    /// stay in the queue.
    pub visibility_timeout: Duration,
    /// See [`Config::wait_time`].
    pub wait_time: Duration,
    /// See [`Config::max_in_flight`].
    pub max_in_flight: usize,
    /// See [`Config::min_pollers`] and [`Config::pollers`].
    pub pollers: RangeInclusive<usize>,
    /// See [`Config::record_format`].
    pub record_format: RecordFormat,
    /// See [`Config::acknowledgement_timeout`].
    pub acknowledgement_timeout: Duration,
    /// See [`Config::isolation`].
    pub isolation: Isolation,
    /// See [`Config::max_remembered`].
    pub max_remembered: usize,
    /// The interval at which the queue's depth is polled.
    pub depth_interval: Duration,
    /// See [`Config::stop_timeout`].
    pub stop_timeout: Duration,
    /// The age at which a record that a sink has yet to commit is first checked for being lost.
    pub check_commits_after: Duration,
}

/// The condition for deleting messages.
pub enum DeletePolicy {
    /// The topic has acknowledged the record.
    Topic,
    /// Sinks have committed the record.
    Sinks {
        /// The sinks, of which each has to.
        sinks: Vec<AwaitedSink>,
        /// Commit notifications.
        commits: mpsc::Receiver<Commit>,
        /// The time since when they can't be read.
        unreadable: Unreadable,
    },
    /// Messages are never deleted.
    Never,
}

impl Settings {
    /// The settings of `config` for a queue with this visibility timeout.
    ///
    /// # Errors
    /// The queue's own visibility timeout is 0, and messages have to be hidden until they are
    /// deleted.
    pub fn new(config: &Config, queue: &str, queue_timeout: Duration) -> anyhow::Result<Self> {
        let visibility_timeout = config.visibility_timeout.unwrap_or(queue_timeout);
        let hides_nothing =
            visibility_timeout.is_zero() && config.delete_after != DeleteAfter::Never;
        if hides_nothing || visibility_timeout > LONGEST_VISIBILITY {
            return Err(anyhow!(
                "the queue `{queue}` has a visibility timeout of {visibility_timeout:?}; set \
                 `visibility-timeout`"
            ));
        }
        Ok(Self {
            visibility_timeout,
            wait_time: config.wait_time,
            max_in_flight: config.max_in_flight,
            pollers: config.min_pollers..=config.pollers,
            record_format: config.record_format,
            acknowledgement_timeout: config.acknowledgement_timeout,
            isolation: config.isolation,
            max_remembered: config.max_remembered(),
            depth_interval: DEPTH_INTERVAL,
            stop_timeout: config.stop_timeout,
            check_commits_after: CHECK_COMMITS_AFTER,
        })
    }
}

/// The context that all queues of a source share.
#[derive(Clone)]
pub struct Context {
    /// The topic to produce to.
    pub topic: Arc<dyn Topic>,
    /// The dead-letter queue, if one is configured.
    pub dead_letters: Option<DeadLetters>,
    /// The reader of bodies in S3, if it is enabled.
    pub payloads: Option<Arc<Payloads>>,
    /// The memory budget for message bodies.
    pub byte_budget: ByteBudget,
    /// The number of queues, which share the byte budget.
    pub queues: usize,
    /// The metrics.
    pub metrics: Metrics,
    /// The exported traces.
    pub traces: Traces,
    /// The connector's health.
    pub health: Health,
    /// The stop signal.
    pub stop: Stop,
}

/// Runs the pipeline of `queue` until the stop. Then it settles the messages in flight, and makes
/// the rest visible again.
///
/// # Errors
/// The queue's first receives fail, or a task failed.
pub async fn run(
    queue: Arc<dyn Queue>,
    policy: DeletePolicy,
    settings: &Settings,
    context: &Context,
) -> anyhow::Result<()> {
    let pipeline = Pipeline {
        metrics: Arc::new(QueueMetrics::new(&context.metrics, queue.name())),
        queue,
        context: context.clone(),
        settings: settings.clone(),
    };
    match policy {
        DeletePolicy::Never => pipeline.run_read_only().await,
        DeletePolicy::Topic => pipeline.run_deleting(None).await,
        DeletePolicy::Sinks {
            sinks,
            commits,
            unreadable,
        } => {
            let commits = Some((sinks, commits, unreadable));
            pipeline.run_deleting(commits).await
        }
    }
}

/// The awaited sinks and the commit notifications.
type Commits = (Vec<AwaitedSink>, mpsc::Receiver<Commit>, Unreadable);

type Tasks = JoinSet<Result<(), QueueError>>;

struct Pipeline {
    queue: Arc<dyn Queue>,
    metrics: Arc<QueueMetrics>,
    context: Context,
    settings: Settings,
}

impl Pipeline {
    /// Runs receive → produce; messages stay in the queue.
    async fn run_read_only(&self) -> anyhow::Result<()> {
        let (queue, context, settings) = (self.queue.name(), &self.context, &self.settings);
        self.metrics.messages_stay();
        let produced = ProducedIds::new(settings.max_remembered, context.byte_budget.clone());
        let produced = Arc::new(produced);
        let counted = Arc::clone(&produced);
        let report = Arc::clone(&self.metrics).report(move || counted.counts());
        let _report = AbortOnDropHandle::new(tokio::spawn(report));
        let mut unread = UnreadCheck::new(
            queue,
            settings.visibility_timeout,
            Arc::clone(&produced),
            Arc::clone(&self.metrics),
            context.health.clone(),
        );
        let _depth = self.poll_depth(move |depth| unread.check(depth));
        let mut tasks = JoinSet::new();
        let tracker = Arc::clone(&produced);
        self.receive_and_produce(&mut tasks, tracker, None);
        let ended = tokio::select! {
            ended = all_end(&mut tasks) => ended,
            () = self.stop_deadline() => {
                let in_flight = produced.counts().messages;
                tracing::warn!(
                    queue, in_flight,
                    "the stop takes longer than {:?}", settings.stop_timeout
                );
                Ok(())
            }
        };
        tasks.shutdown().await;
        self.metrics.log("stopped", produced.counts().messages);
        ended
    }

    /// Runs receive → produce → (commits) → delete, and extends visibility timeouts.
    async fn run_deleting(&self, commits: Option<Commits>) -> anyhow::Result<()> {
        let (queue, context, settings) = (self.queue.name(), &self.context, &self.settings);
        let sinks = commits.iter().flat_map(|(sinks, ..)| sinks);
        let awaited: SinkSet = sinks.map(|_| true).collect();
        let budget = context.byte_budget.clone();
        let in_flight = InFlight::new(settings.visibility_timeout, awaited, budget);
        let in_flight = Arc::new(in_flight);
        let extender = VisibilityExtender {
            queue: Arc::clone(&self.queue),
            in_flight: Arc::clone(&in_flight),
            visibility_timeout: settings.visibility_timeout,
            metrics: Arc::clone(&self.metrics),
            health: context.health.clone(),
            denied_at: Mutex::default(),
            warnings: Warnings::default(),
        };
        let extender = AbortOnDropHandle::new(tokio::spawn(extender.run()));
        let counted = Arc::clone(&in_flight);
        let report = Arc::clone(&self.metrics).report(move || counted.counts());
        let report = AbortOnDropHandle::new(tokio::spawn(report));
        let _depth = self.poll_depth(|_| {});
        let mut tasks = self.start_deleting(&in_flight, commits);
        let ended = tokio::select! {
            ended = all_end(&mut tasks) => ended,
            ended = extender => Err(anyhow!("the visibility extender ended: {ended:?}")),
            () = self.stop_deadline() => {
                tracing::warn!(
                    queue, in_flight = in_flight.len(),
                    "the stop takes longer than {:?}", settings.stop_timeout
                );
                Ok(())
            }
        };
        tasks.shutdown().await;
        drop(report);
        let messages = in_flight.len();
        if messages > 0 {
            let release = release_all(self.queue.as_ref(), &in_flight);
            let visible = tokio::time::timeout(RELEASE_TIMEOUT, release).await.ok();
            tracing::info!(
                queue,
                messages,
                ?visible,
                "made undeleted messages visible again"
            );
        }
        self.metrics.log("stopped", in_flight.len());
        ended
    }

    fn start_deleting(&self, in_flight: &Arc<InFlight>, commits: Option<Commits>) -> Tasks {
        let (acks, to_delete) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let tracker = Arc::new(AckingTracker {
            in_flight: Arc::clone(in_flight),
            acks: acks.clone(),
        });
        let dead_letters = self.forward_dead_letters(&mut tasks, &tracker);
        let written = self.receive_and_produce(&mut tasks, tracker, dead_letters);
        if let Some((sinks, commits, unreadable)) = commits {
            let tracker = CommitTracker {
                queue: Arc::clone(&self.queue),
                topic: Arc::clone(&self.context.topic),
                in_flight: Arc::clone(in_flight),
                awaited: sinks.into_iter().map(Awaited::from).collect(),
                check_after: self.settings.check_commits_after,
                max_in_flight: self.settings.max_in_flight,
                unreadable,
                isolation: self.settings.isolation,
                acks,
                committed_offsets: CommittedOffsets::default(),
                health: self.context.health.clone(),
                full: Warnings::default(),
            };
            tasks.spawn(async move {
                tracker.run(commits, written).await;
                Ok(())
            });
        }
        let deleter = Deleter {
            queue: Arc::clone(&self.queue),
            in_flight: Arc::clone(in_flight),
            metrics: Arc::clone(&self.metrics),
            health: self.context.health.clone(),
            is_reported: AtomicBool::new(false),
            warnings: Warnings::default(),
        };
        tasks.spawn(async move {
            deleter.run(to_delete).await;
            Ok(())
        });
        tasks
    }

    /// Starts the dead-letter forwarder if there is a dead-letter queue, and returns its inbox.
    fn forward_dead_letters(
        &self,
        tasks: &mut Tasks,
        tracker: &AckingTracker,
    ) -> Option<DeadLetterInbox> {
        let dead_letters = self.context.dead_letters.clone()?;
        let (sender, dead) = mpsc::channel::<Received>(DEAD_LETTERS);
        let max_receives = dead_letters.max_receives;
        let forwarder = DeadLetterForwarder {
            dead_letters,
            source: Arc::clone(&self.queue),
            in_flight: Arc::clone(&tracker.in_flight),
            metrics: Arc::clone(&self.metrics),
            acks: tracker.acks.clone(),
            health: self.context.health.clone(),
            stop: self.context.stop.clone(),
        };
        tasks.spawn(async move {
            forwarder.run(dead).await;
            Ok(())
        });
        Some(DeadLetterInbox {
            max_receives,
            sender,
        })
    }

    /// Starts the pollers and the writer. The returned token is cancelled when all records are
    /// written.
    fn receive_and_produce(
        &self,
        tasks: &mut Tasks,
        tracker: Arc<dyn Tracker>,
        dead_letters: Option<DeadLetterInbox>,
    ) -> CancellationToken {
        let (records, received) = mpsc::channel(self.settings.max_in_flight);
        self.start_pollers(tasks, Arc::clone(&tracker), records, dead_letters);
        let writer = Writer {
            topic: Arc::clone(&self.context.topic),
            queue: Arc::clone(&self.queue),
            tracker,
            metrics: Arc::clone(&self.metrics),
            byte_budget: self.context.byte_budget.clone(),
            queues: self.context.queues,
            max_in_flight: self.settings.max_in_flight,
            acknowledgement_timeout: self.settings.acknowledgement_timeout,
            traces: self.context.traces.clone(),
            health: self.context.health.clone(),
        };
        let written = CancellationToken::new();
        let guard = written.clone().drop_guard();
        tasks.spawn(async move {
            writer.run(received).await;
            drop(guard);
            Ok(())
        });
        written
    }

    fn start_pollers(
        &self,
        tasks: &mut Tasks,
        tracker: Arc<dyn Tracker>,
        records: mpsc::Sender<Record>,
        dead_letters: Option<DeadLetterInbox>,
    ) {
        let receiver = Arc::new(Receiver {
            queue: Arc::clone(&self.queue),
            tracker,
            metrics: Arc::clone(&self.metrics),
            in_flight: Arc::new(Semaphore::new(self.settings.max_in_flight)),
            byte_budget: self.context.byte_budget.clone(),
            pollers: Pollers::new(self.settings.pollers.clone()),
            format: self.settings.record_format,
            payloads: self.context.payloads.clone(),
            dead_letters,
            health: self.context.health.clone(),
            wait_time: self.settings.wait_time,
            visibility_timeout: self.settings.visibility_timeout,
            records,
            stop: self.context.stop.clone(),
            warnings: Warnings::default(),
            has_answered: AtomicBool::new(false),
        });
        for number in 0..*self.settings.pollers.end() {
            let receiver = Arc::clone(&receiver);
            tasks.spawn(async move { receiver.poll(number).await });
        }
    }

    /// Polls the queue's depth for the metrics and for `on_depth` until the handle is dropped.
    fn poll_depth(&self, on_depth: impl FnMut(Depth) + Send + 'static) -> AbortOnDropHandle<()> {
        let (metrics, queue) = (Arc::clone(&self.metrics), Arc::clone(&self.queue));
        let poll = metrics.poll_depth(queue, self.settings.depth_interval, on_depth);
        AbortOnDropHandle::new(tokio::spawn(poll))
    }

    async fn stop_deadline(&self) {
        self.context.stop.requested().await;
        tokio::time::sleep(self.settings.stop_timeout).await;
    }
}

async fn all_end(tasks: &mut Tasks) -> anyhow::Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended.context("a task of the source failed")??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use connector_common::Validate;

    use super::*;

    fn parse(yaml: &str) -> Config {
        let config: Config = serde_saphyr::from_str(yaml).unwrap();
        config.validate().unwrap();
        config
    }

    #[test]
    fn only_with_delete_after_never_the_visibility_timeout_may_be_0() {
        let config = parse("{queue-name: a, delete-after: never, visibility-timeout: 0s}");
        let own = Duration::from_secs(30);
        let settings = Settings::new(&config, "a", own).unwrap();
        assert_eq!(settings.visibility_timeout, Duration::ZERO);
        assert_eq!(settings.max_remembered, 1_000_000);
        let config = parse("{queue-name: a, delete-after: never}");
        assert!(Settings::new(&config, "a", Duration::ZERO).is_ok());
        let config = parse("queue-name: a");
        let error = Settings::new(&config, "a", Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("visibility-timeout"), "{error}");
    }
}
