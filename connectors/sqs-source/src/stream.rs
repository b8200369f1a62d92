//! One queue's messages on their way: receive → produce → (tables) → delete, with visibility kept
//! alive beside it; or receive → produce where messages stay in the queue.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use connector_common::committed::Commit;
use connector_common::{Health, Stop, Warnings};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::bodies::Bodies;
use crate::config::{Config, DeleteAfter, LONGEST_VISIBILITY, RecordFormat};
use crate::custody::Custody;
use crate::dead_letters::DeadLetters;
use crate::metrics::Metrics;
use crate::produced_ids::ProducedIds;
use crate::progress::Progress;
use crate::queue::{Queue, QueueError};
use crate::stages::Stages;
use crate::topic::Topic;
use crate::unread::Unread;
use crate::visibility::{Keeper, give_back};

/// How long a stop may take to make messages visible again.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// Longer than an announcement is on its way, and short beside a visibility timeout.
const PATIENCE: Duration = Duration::from_secs(10);

/// See [`Settings::depth_interval`].
const DEPTH_INTERVAL: Duration = Duration::from_secs(30);

/// How a queue is read: what is left of the [`Config`] once it is open.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a received message is hidden; kept alive at half this time, unless messages stay in
    /// the queue.
    pub visibility_timeout: Duration,
    /// See [`Config::wait_time`].
    pub wait_time: Duration,
    /// See [`Config::max_in_flight`].
    pub max_in_flight: usize,
    /// The fewest and the most; see [`Config::min_pollers`] and [`Config::pollers`].
    pub pollers: RangeInclusive<usize>,
    /// See [`Config::record_format`].
    pub record_format: RecordFormat,
    /// See [`Config::acknowledgement_timeout`].
    pub acknowledgement_timeout: Duration,
    /// See [`Config::max_remembered`].
    pub max_remembered: usize,
    /// The pause between two looks at the queue's depth. SQS counts no fresher than once a minute.
    pub depth_interval: Duration,
    /// See [`Config::stop_timeout`].
    pub stop_timeout: Duration,
    /// How long a produced message is left alone before it is looked for, with `delete-after: tables`.
    pub patience: Duration,
}

/// When a message is safe.
pub enum Until {
    /// When the topic has acknowledged it.
    Topic,
    /// When `sink`, or any, announces here that it is committed.
    Tables {
        /// The sink's name.
        sink: Option<String>,
        /// What sinks announce.
        commits: mpsc::Receiver<Commit>,
    },
    /// Never: it stays in the queue.
    Never,
}

impl Settings {
    /// The settings of `config` for a queue with this visibility timeout.
    ///
    /// # Errors
    /// The queue's own visibility timeout hides nothing, and messages have to be hidden until they
    /// are deleted.
    pub fn new(config: &Config, queue: &str, of_queue: Duration) -> anyhow::Result<Self> {
        let visibility_timeout = config.visibility_timeout.unwrap_or(of_queue);
        let hides_nothing =
            visibility_timeout.is_zero() && config.delete_after != DeleteAfter::Never;
        if hides_nothing || visibility_timeout > LONGEST_VISIBILITY {
            return Err(anyhow!(
                "the queue `{queue}` has a visibility timeout of {visibility_timeout:?}; set `visibility-timeout`"
            ));
        }
        Ok(Self {
            visibility_timeout,
            wait_time: config.wait_time,
            max_in_flight: config.max_in_flight,
            pollers: config.min_pollers..=config.pollers,
            record_format: config.record_format,
            acknowledgement_timeout: config.acknowledgement_timeout,
            max_remembered: config.max_remembered(),
            depth_interval: DEPTH_INTERVAL,
            stop_timeout: config.stop_timeout,
            patience: PATIENCE,
        })
    }
}

/// What all queues of a source share.
#[derive(Clone)]
pub struct Shared {
    /// Where messages are produced to.
    pub topic: Arc<dyn Topic>,
    /// Where messages go that nothing can be done with.
    pub dead_letters: Option<DeadLetters>,
    /// The memory of all bodies.
    pub bodies: Bodies,
    /// What is counted.
    pub metrics: Metrics,
    /// What works.
    pub health: Health,
    /// Asks for the end.
    pub stop: Stop,
}

/// Streams `queue` into `topic` until the stop; then produces and deletes what is in hand, and gives
/// the rest back.
///
/// # Errors
/// The queue refuses to be read from the start, or a task failed.
pub async fn stream(
    queue: Arc<dyn Queue>,
    until: Until,
    settings: &Settings,
    shared: &Shared,
) -> anyhow::Result<()> {
    let progress = Arc::new(Progress::new(&shared.metrics, queue.name()));
    let stages = Stages {
        queue,
        progress,
        shared: shared.clone(),
        settings: settings.clone(),
    };
    match until {
        Until::Never => read(&stages).await,
        Until::Topic => drain(&stages, DeleteAfter::Topic, until).await,
        Until::Tables { .. } => drain(&stages, DeleteAfter::Tables, until).await,
    }
}

/// Produces a queue's messages and leaves them where they are: there is nothing to extend, delete
/// or give back.
async fn read(stages: &Stages) -> anyhow::Result<()> {
    let Stages {
        queue,
        progress,
        shared,
        settings,
    } = stages;
    progress.messages_stay();
    let produced = ProducedIds::new(settings.max_remembered, shared.bodies.clone());
    let produced = Arc::new(produced);
    let counted = Arc::clone(&produced);
    let in_hand = move || counted.in_hand();
    let _teller = AbortOnDropHandle::new(tokio::spawn(Arc::clone(progress).tell(in_hand)));
    let mut unread = Unread {
        queue: queue.name().to_owned(),
        visibility_timeout: settings.visibility_timeout,
        produced: Arc::clone(&produced),
        progress: Arc::clone(progress),
        health: shared.health.clone(),
        counted: (0, 0),
        is_reported: false,
    };
    let _depth = stages.watch_depth(move |depth| unread.look(depth));
    let mut tasks = stages.start_without_delete(Arc::clone(&produced));
    let ended = tokio::select! {
        ended = all_end(&mut tasks) => ended,
        () = deadline(&shared.stop, settings.stop_timeout) => {
            let in_hand = produced.in_hand().messages;
            tracing::warn!(queue = queue.name(), in_hand, "the stop takes longer than {:?}", settings.stop_timeout);
            Ok(())
        }
    };
    tasks.shutdown().await;
    progress.log("stopped", produced.in_hand().messages);
    ended
}

/// Produces and deletes a queue's messages, and keeps them hidden until then.
async fn drain(stages: &Stages, delete_after: DeleteAfter, until: Until) -> anyhow::Result<()> {
    let Stages {
        queue,
        progress,
        shared,
        settings,
    } = stages;
    let bodies = shared.bodies.clone();
    let custody = Custody::new(settings.visibility_timeout, delete_after, bodies);
    let custody = Arc::new(custody);
    let keeper = Keeper {
        queue: Arc::clone(queue),
        custody: Arc::clone(&custody),
        visibility_timeout: settings.visibility_timeout,
        progress: Arc::clone(progress),
        warnings: Warnings::default(),
    };
    let keeper = AbortOnDropHandle::new(tokio::spawn(keeper.run()));
    let counted = Arc::clone(&custody);
    let in_hand = move || counted.in_hand();
    let teller = AbortOnDropHandle::new(tokio::spawn(Arc::clone(progress).tell(in_hand)));
    let _depth = stages.watch_depth(|_| {});
    let mut tasks = stages.start(&custody, until);

    let ended = tokio::select! {
        ended = all_end(&mut tasks) => ended,
        ended = keeper => Err(anyhow!("the task that extends visibility ended: {ended:?}")),
        () = deadline(&shared.stop, settings.stop_timeout) => {
            tracing::warn!(queue = queue.name(), in_hand = custody.len(), "the stop takes longer than {:?}", settings.stop_timeout);
            Ok(())
        }
    };
    tasks.shutdown().await;
    drop(teller);
    let in_hand = custody.len();
    if in_hand > 0 {
        let given_back = tokio::time::timeout(GIVE_BACK, give_back(queue.as_ref(), &custody)).await;
        tracing::info!(queue = queue.name(), in_hand, visible_again = ?given_back.ok(), "made visible again what was not deleted");
    }
    progress.log("stopped", custody.len());
    ended
}

async fn all_end(tasks: &mut JoinSet<Result<(), QueueError>>) -> anyhow::Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended.context("a task of the source failed")??;
    }
    Ok(())
}

async fn deadline(stop: &Stop, timeout: Duration) {
    stop.requested().await;
    tokio::time::sleep(timeout).await;
}
