//! The source, put together: receive → produce → delete, with visibility kept alive beside it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, anyhow};
use connector_common::{Connector, Stop, metrics};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::backoff::{Backoff, Warnings};
use crate::config::{Config, LONGEST_VISIBILITY};
use crate::custody::Custody;
use crate::delete::Deleter;
use crate::fluvio_topic::FluvioTopic;
use crate::produce::Writer;
use crate::progress::{Counts, Progress};
use crate::queue::{Queue, QueueError};
use crate::receive::Receiver;
use crate::sqs::Sqs;
use crate::topic::Topic;
use crate::visibility::{Keeper, give_back};

/// How long a stop may take to make messages visible again.
const GIVE_BACK: Duration = Duration::from_secs(5);

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
    let partitions = connector_common::ensure_topic(&meta).await?;
    tracing::info!(
        queue = queue.name(), topic = meta.topic.name, partitions, visibility_timeout = ?settings.visibility_timeout,
        max_in_flight = settings.max_in_flight, pollers = settings.pollers, "streaming"
    );
    stream(
        Arc::new(queue),
        Arc::new(FluvioTopic::new(meta)),
        &settings,
        &stop,
    )
    .await?;
    Ok(())
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
    settings: &Settings,
    stop: &Stop,
) -> anyhow::Result<Counts> {
    let custody = Arc::new(Custody::new(settings.visibility_timeout));
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
    let mut stages = start_stages(&queue, &topic, &custody, &progress, settings, stop);

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

fn start_stages(
    queue: &Arc<dyn Queue>,
    topic: &Arc<dyn Topic>,
    custody: &Arc<Custody>,
    progress: &Arc<Progress>,
    settings: &Settings,
    stop: &Stop,
) -> JoinSet<Result<(), QueueError>> {
    let (inbox, received) = mpsc::channel(settings.max_in_flight);
    let (safe, to_delete) = mpsc::unbounded_channel();
    let receiver = Arc::new(Receiver {
        queue: Arc::clone(queue),
        custody: Arc::clone(custody),
        progress: Arc::clone(progress),
        in_flight: Arc::new(Semaphore::new(settings.max_in_flight)),
        wait_time: settings.wait_time,
        visibility_timeout: settings.visibility_timeout,
        inbox,
        stop: stop.clone(),
        warnings: Warnings::default(),
        has_answered: AtomicBool::new(false),
    });
    let writer = Writer {
        topic: Arc::clone(topic),
        custody: Arc::clone(custody),
        progress: Arc::clone(progress),
        acknowledgement_timeout: settings.acknowledgement_timeout,
        safe,
    };
    let deleter = Deleter {
        queue: Arc::clone(queue),
        custody: Arc::clone(custody),
        progress: Arc::clone(progress),
        warnings: Warnings::default(),
    };
    // Each stage ends when the one before it has ended and what it sent is settled.
    let mut stages = JoinSet::new();
    for _ in 0..settings.pollers {
        let receiver = Arc::clone(&receiver);
        stages.spawn(async move { receiver.poll().await });
    }
    stages.spawn(async move {
        writer.run(received).await;
        Ok(())
    });
    stages.spawn(async move {
        deleter.run(to_delete).await;
        Ok(())
    });
    stages
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
