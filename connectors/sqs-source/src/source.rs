//! The source, put together: receive → produce → (tables) → delete, with visibility kept alive beside it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, anyhow};
use connector_common::committed::Commit;
use connector_common::{Connector, Stop, metrics};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::backoff::{Backoff, Warnings};
use crate::config::{Config, DeleteAfter, LONGEST_VISIBILITY};
use crate::custody::Custody;
use crate::delete::Deleter;
use crate::fluvio_commits::Follower;
use crate::fluvio_topic::FluvioTopic;
use crate::produce::Writer;
use crate::progress::{Counts, Progress};
use crate::queue::{Queue, QueueError};
use crate::receive::Receiver;
use crate::sqs::Sqs;
use crate::tables::{Stands, Tables};
use crate::topic::Topic;
use crate::visibility::{Keeper, give_back};

/// How long a stop may take to make messages visible again.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// Longer than an announcement is on its way, and short beside a visibility timeout.
const PATIENCE: Duration = Duration::from_secs(10);

/// Announcements that wait to be looked at.
const ANNOUNCEMENTS: usize = 64;

/// How a source runs: what is left of its [`Config`] once the queue is open.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a received message is hidden; kept alive at half this time.
    pub visibility_timeout: Duration,
    /// See [`Config::wait_time`].
    pub wait_time: Duration,
    /// See [`Config::max_in_flight`].
    pub max_in_flight: usize,
    /// See [`Config::pollers`].
    pub pollers: usize,
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
    pub fn new(config: &Config, of_queue: Duration) -> anyhow::Result<Self> {
        let visibility_timeout = config.visibility_timeout.unwrap_or(of_queue);
        if visibility_timeout.is_zero() || visibility_timeout > LONGEST_VISIBILITY {
            return Err(anyhow!(
                "the queue `{}` has a visibility timeout of {visibility_timeout:?}; set `visibility-timeout`",
                config.queue()
            ));
        }
        Ok(Self {
            visibility_timeout,
            wait_time: config.wait_time,
            max_in_flight: config.max_in_flight,
            pollers: config.pollers,
            acknowledgement_timeout: config.acknowledgement_timeout,
            stop_timeout: config.stop_timeout,
            patience: PATIENCE,
        })
    }
}

/// Runs the connector until the stop.
///
/// # Errors
/// The configuration, the queue or the topic can't work; what may pass by itself is waited for.
pub async fn run(connector: Connector<Config>, stop: Stop) -> anyhow::Result<()> {
    let Connector {
        meta,
        transforms,
        config,
    } = connector;
    if !transforms.is_empty() {
        return Err(anyhow!(
            "`transforms` is refused here: Fluvio would compile the SmartModule for every batch produced; \
             put it on the consumer"
        ));
    }
    let Some((queue, of_queue)) = open(&config, &stop).await? else {
        return Ok(());
    };
    let settings = Settings::new(&config, of_queue)?;
    if let Some(linger) = meta
        .producer
        .linger
        .filter(|linger| *linger >= settings.visibility_timeout / 2)
    {
        return Err(anyhow!(
            "`meta.producer.linger` of {linger:?} is too long for a visibility timeout of {:?}: \
             messages would be extended before they are even sent",
            settings.visibility_timeout
        ));
    }
    let partitions = connector_common::ensure_topic(&meta.topic.name, &meta.topic.spec).await?;
    tracing::info!(
        queue = queue.name(), topic = meta.topic.name, partitions, visibility_timeout = ?settings.visibility_timeout,
        max_in_flight = settings.max_in_flight, pollers = settings.pollers, "streaming"
    );
    let (until, follower) = match config.delete_after {
        DeleteAfter::Topic => (Until::Topic, None),
        DeleteAfter::Tables => {
            let (sender, commits) = mpsc::channel(ANNOUNCEMENTS);
            let follower = Follower::new(&meta.topic.name, sender).await?;
            let sink = config.sink.clone();
            (Until::Tables { sink, commits }, Some(follower))
        }
    };
    let topic = Arc::new(FluvioTopic::new(meta));
    let streaming = stream(Arc::new(queue), topic, until, &settings, &stop);
    let Some(follower) = follower else {
        return streaming.await.map(drop);
    };
    let follower = AbortOnDropHandle::new(tokio::spawn(follower.run()));
    let mut streaming = std::pin::pin!(streaming);
    tokio::select! {
        counts = &mut streaming => counts.map(drop),
        // Nobody listens any more: the source is about to end. Or it has failed.
        ended = follower => match ended {
            Ok(()) => streaming.await.map(drop),
            Err(error) => Err(anyhow!("the task that follows the commits ended: {error}")),
        },
    }
}

/// Opens the queue; waits while it can't be reached. None when the stop comes first.
async fn open(config: &Config, stop: &Stop) -> anyhow::Result<Option<(Sqs, Duration)>> {
    let mut backoff = Backoff::default();
    let warnings = Warnings::default();
    loop {
        let opened = async {
            let queue = Sqs::open(config).await?;
            let timeout = queue.visibility_timeout().await?;
            Ok::<_, QueueError>((queue, timeout))
        };
        let error = tokio::select! {
            opened = opened => match opened {
                Ok(opened) => return Ok(Some(opened)),
                Err(error) => error,
            },
            () = stop.requested() => return Ok(None),
        };
        if !error.kind.may_pass() {
            return Err(error.into());
        }
        let pause = backoff.after(error.kind);
        if let Some(held_back) = warnings.due() {
            let endpoint = config.endpoint_url.as_deref().unwrap_or("AWS");
            tracing::warn!(endpoint, again_in = ?pause, held_back, "cannot open the queue, trying again: {error}");
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.requested() => return Ok(None),
        }
    }
}

/// Streams `queue` into `topic` until the stop; then produces and deletes what is in hand, and gives
/// the rest back.
///
/// # Errors
/// The queue refuses to be read from the start, or a task failed.
pub async fn stream(
    queue: Arc<dyn Queue>,
    topic: Arc<dyn Topic>,
    until: Until,
    settings: &Settings,
    stop: &Stop,
) -> anyhow::Result<Counts> {
    let delete_after = match until {
        Until::Topic => DeleteAfter::Topic,
        Until::Tables { .. } => DeleteAfter::Tables,
    };
    let custody = Arc::new(Custody::new(settings.visibility_timeout, delete_after));
    let progress = Arc::new(Progress::default());
    let keeper = Keeper {
        queue: Arc::clone(&queue),
        custody: Arc::clone(&custody),
        visibility_timeout: settings.visibility_timeout,
        warnings: Warnings::default(),
    };
    let keeper = AbortOnDropHandle::new(tokio::spawn(keeper.run()));
    let teller = AbortOnDropHandle::new(tokio::spawn(
        Arc::clone(&progress).tell(Arc::clone(&custody)),
    ));
    let told = Arc::clone(&progress);
    let _metrics = metrics::serve(move || told.snapshot());
    let parts = Parts {
        queue: Arc::clone(&queue),
        topic,
        custody: Arc::clone(&custody),
        progress: Arc::clone(&progress),
    };
    let mut stages = parts.start(until, settings, stop);

    let ended = tokio::select! {
        ended = all_end(&mut stages) => ended,
        ended = keeper => Err(anyhow!("the task that extends visibility ended: {ended:?}")),
        () = deadline(stop, settings.stop_timeout) => {
            tracing::warn!(in_hand = custody.len(), "the stop takes longer than {:?}", settings.stop_timeout);
            Ok(())
        }
    };
    stages.shutdown().await;
    drop(teller);
    let in_hand = custody.len();
    if in_hand > 0 {
        let given_back = tokio::time::timeout(GIVE_BACK, give_back(queue.as_ref(), &custody)).await;
        tracing::info!(in_hand, visible_again = ?given_back.ok(), "made visible again what was not deleted");
    }
    progress.counts().log("stopped", custody.len());
    ended.map(|()| progress.counts())
}

/// What the stages share.
struct Parts {
    queue: Arc<dyn Queue>,
    topic: Arc<dyn Topic>,
    custody: Arc<Custody>,
    progress: Arc<Progress>,
}

impl Parts {
    /// Starts the stages. Each ends when the one before it has ended and what it sent is settled.
    fn start(
        self,
        until: Until,
        settings: &Settings,
        stop: &Stop,
    ) -> JoinSet<Result<(), QueueError>> {
        let (inbox, received) = mpsc::channel(settings.max_in_flight);
        let (safe, to_delete) = mpsc::unbounded_channel();
        let mut stages = JoinSet::new();
        let receiver = Arc::new(Receiver {
            queue: Arc::clone(&self.queue),
            custody: Arc::clone(&self.custody),
            progress: Arc::clone(&self.progress),
            in_flight: Arc::new(Semaphore::new(settings.max_in_flight)),
            wait_time: settings.wait_time,
            visibility_timeout: settings.visibility_timeout,
            inbox,
            stop: stop.clone(),
            warnings: Warnings::default(),
            has_answered: AtomicBool::new(false),
        });
        for _ in 0..settings.pollers {
            let receiver = Arc::clone(&receiver);
            stages.spawn(async move { receiver.poll().await });
        }
        let writer = Writer {
            topic: Arc::clone(&self.topic),
            custody: Arc::clone(&self.custody),
            progress: Arc::clone(&self.progress),
            acknowledgement_timeout: settings.acknowledgement_timeout,
            safe: safe.clone(),
        };
        let written = CancellationToken::new();
        let when_written = written.clone().drop_guard();
        stages.spawn(async move {
            writer.run(received).await;
            drop(when_written);
            Ok(())
        });
        if let Until::Tables { sink, commits } = until {
            let tables = Tables {
                queue: Arc::clone(&self.queue),
                topic: self.topic,
                custody: Arc::clone(&self.custody),
                sink,
                patience: settings.patience,
                safe,
                stands: Stands::default(),
                warnings: Warnings::default(),
            };
            stages.spawn(async move {
                tables.run(commits, written).await;
                Ok(())
            });
        }
        let deleter = Deleter {
            queue: self.queue,
            custody: self.custody,
            progress: self.progress,
            warnings: Warnings::default(),
        };
        stages.spawn(async move {
            deleter.run(to_delete).await;
            Ok(())
        });
        stages
    }
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
