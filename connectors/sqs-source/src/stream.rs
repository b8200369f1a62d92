//! One queue's messages on their way: receive → produce → (tables) → delete, with visibility kept alive beside it.

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
use crate::depth;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::queue::{Queue, QueueError};
use crate::stages::Stages;
use crate::topic::Topic;
use crate::visibility::{Keeper, give_back};

/// How long a stop may take to make messages visible again.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// Longer than an announcement is on its way, and short beside a visibility timeout.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a queue is read: what is left of the [`Config`] once it is open.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a received message is hidden; kept alive at half this time.
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
}

impl Settings {
    /// The settings of `config` for a queue with this visibility timeout.
    ///
    /// # Errors
    /// The queue's own visibility timeout hides nothing.
    pub fn new(config: &Config, queue: &str, of_queue: Duration) -> anyhow::Result<Self> {
        let visibility_timeout = config.visibility_timeout.unwrap_or(of_queue);
        if visibility_timeout.is_zero() || visibility_timeout > LONGEST_VISIBILITY {
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
    let delete_after = match until {
        Until::Topic => DeleteAfter::Topic,
        Until::Tables { .. } => DeleteAfter::Tables,
    };
    let custody = Custody::new(
        settings.visibility_timeout,
        delete_after,
        shared.bodies.clone(),
    );
    let custody = Arc::new(custody);
    let progress = Arc::new(Progress::new(&shared.metrics, queue.name()));
    let keeper = Keeper {
        queue: Arc::clone(&queue),
        custody: Arc::clone(&custody),
        visibility_timeout: settings.visibility_timeout,
        progress: Arc::clone(&progress),
        warnings: Warnings::default(),
    };
    let keeper = AbortOnDropHandle::new(tokio::spawn(keeper.run()));
    let teller = AbortOnDropHandle::new(tokio::spawn(
        Arc::clone(&progress).tell(Arc::clone(&custody)),
    ));
    let depth = depth::watch(Arc::clone(&queue), Arc::clone(&progress));
    let depth = AbortOnDropHandle::new(tokio::spawn(depth));
    let stages = Stages {
        queue: Arc::clone(&queue),
        custody: Arc::clone(&custody),
        progress: Arc::clone(&progress),
        shared: shared.clone(),
        settings: settings.clone(),
    };
    let mut stages = stages.start(until);

    let ended = tokio::select! {
        ended = all_end(&mut stages) => ended,
        ended = keeper => Err(anyhow!("the task that extends visibility ended: {ended:?}")),
        () = deadline(&shared.stop, settings.stop_timeout) => {
            tracing::warn!(queue = queue.name(), in_hand = custody.len(), "the stop takes longer than {:?}", settings.stop_timeout);
            Ok(())
        }
    };
    stages.shutdown().await;
    drop((teller, depth));
    let in_hand = custody.len();
    if in_hand > 0 {
        let given_back = tokio::time::timeout(GIVE_BACK, give_back(queue.as_ref(), &custody)).await;
        tracing::info!(queue = queue.name(), in_hand, visible_again = ?given_back.ok(), "made visible again what was not deleted");
    }
    progress.log("stopped", custody.len());
    ended
}

async fn all_end(stages: &mut JoinSet<Result<(), QueueError>>) -> anyhow::Result<()> {
    while let Some(ended) = stages.join_next().await {
        ended.context("a task of the source failed")??;
    }
    Ok(())
}

async fn deadline(stop: &Stop, timeout: Duration) {
    stop.requested().await;
    tokio::time::sleep(timeout).await;
}
