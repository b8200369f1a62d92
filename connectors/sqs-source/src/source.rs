//! The connector: its queues opened, its topic made sure of, and a stream from each of the former to the latter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use connector_common::{Connector, Health, Meta, Monitor, Stop, Warnings};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::backoff::Backoff;
use crate::bodies::Bodies;
use crate::config::{Config, DeleteAfter, QueueRef, RecordFormat};
use crate::dead_letters::DeadLetters;
use crate::fluvio_commits::Follower;
use crate::fluvio_topic::FluvioTopic;
use crate::metrics::Metrics;
use crate::produce::TOPIC;
use crate::queue::{Kind, Queue, QueueError};
use crate::receive;
use crate::sqs::{self, Described, Sqs};
use crate::stream::{Settings, Shared, Until, stream};

/// Announcements that wait to be looked at.
const ANNOUNCEMENTS: usize = 64;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

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
    let metrics = Metrics::new()?;
    let health = Health::of([TOPIC]);
    let _monitor = match config.metrics_address {
        Some(address) => {
            let registry = metrics.registry().clone();
            Some(Monitor::serve(address, registry, health.clone()).await?)
        }
        None => None,
    };
    let Some((queues, dead_letters)) = open_all(&config, &meta, &health, &stop).await? else {
        return Ok(());
    };
    let Some(partitions) = ensure_topic(&meta, config.start_timeout, &stop).await? else {
        return Ok(());
    };
    health.works(TOPIC);
    tracing::info!(
        queues = queues.len(),
        topic = meta.topic.name,
        partitions,
        max_in_flight = config.max_in_flight,
        pollers = config.pollers,
        "streaming"
    );
    let (untils, follower) = untils(&config, &meta, queues.len()).await?;
    let told = metrics.clone();
    let _metrics = connector_common::metrics::serve(move || told.snapshot());
    let shared = Shared {
        topic: Arc::new(FluvioTopic::new(meta)),
        dead_letters,
        bodies: Bodies::up_to(
            usize::try_from(config.max_in_flight_bytes.as_u64()).unwrap_or(usize::MAX),
        ),
        metrics,
        health,
        stop,
    };
    let mut streams = JoinSet::new();
    for ((queue, settings), until) in queues.into_iter().zip(untils) {
        let shared = shared.clone();
        streams.spawn(async move { stream(Arc::new(queue), until, &settings, &shared).await });
    }
    let Some(follower) = follower else {
        return all_end(streams).await;
    };
    let follower = AbortOnDropHandle::new(tokio::spawn(follower.run()));
    let mut streaming = std::pin::pin!(all_end(streams));
    tokio::select! {
        ended = &mut streaming => ended,
        // Nobody listens any more: the source is about to end. Or it has failed.
        ended = follower => match ended {
            Ok(()) => streaming.await,
            Err(error) => Err(anyhow!("the task that follows the commits ended: {error}")),
        },
    }
}

/// The first stream that fails ends all.
async fn all_end(mut streams: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = streams.join_next().await {
        ended.context("a stream failed")??;
    }
    Ok(())
}

type Opened = (Vec<(Sqs, Settings)>, Option<DeadLetters>);

/// Opens every queue. None when the stop comes first.
async fn open_all(
    config: &Config,
    meta: &Meta,
    health: &Health,
    stop: &Stop,
) -> anyhow::Result<Option<Opened>> {
    let client = sqs::client(config).await?;
    let dead_letters = config.dead_letters();
    let wants_attributes = config.record_format == RecordFormat::Envelope || dead_letters.is_some();
    let mut queues = Vec::new();
    for queue in config.queues() {
        let part = receive::part(queue.shown());
        health.troubled(&part, "not reached yet");
        let opening = || async {
            let queue = Sqs::open(&client, &queue, wants_attributes).await?;
            let described = described(&queue, config).await?;
            Ok((queue, described))
        };
        let Some((opened, described)) = patiently(&queue, config, opening, stop).await? else {
            return Ok(None);
        };
        let of_queue = described.map_or(Duration::ZERO, |described| described.visibility_timeout);
        let settings = Settings::new(config, opened.name(), of_queue)?;
        if config.delete_after == DeleteAfter::Never {
            report_messages_stay(opened.name(), described);
        } else {
            check_linger(meta, &settings)?;
        }
        health.works(&part);
        tracing::info!(queue = opened.name(), visibility_timeout = ?settings.visibility_timeout, "reading");
        queues.push((opened, settings));
    }
    let Some((queue, max_receives)) = dead_letters else {
        return Ok(Some((queues, None)));
    };
    let opening = || Sqs::open(&client, &queue, false);
    let opened = patiently(&queue, config, opening, stop).await?;
    Ok(opened.map(|opened| {
        let queue = Arc::new(opened);
        (
            queues,
            Some(DeadLetters {
                queue,
                max_receives,
            }),
        )
    }))
}

/// Reads the queue's settings. A queue that may only be read may refuse to tell them; then the file has
/// to give the visibility timeout.
async fn described(queue: &Sqs, config: &Config) -> Result<Option<Described>, QueueError> {
    let is_needed =
        config.delete_after != DeleteAfter::Never || config.visibility_timeout.is_none();
    match queue.described().await {
        Err(error) if error.kind == Kind::AccessDenied && !is_needed => Ok(None),
        described => described.map(Some),
    }
}

fn report_messages_stay(queue: &str, described: Option<Described>) {
    match described.map(|described| described.max_receives) {
        Some(None) => tracing::info!(
            queue,
            "messages stay in the queue until its retention ends (`delete-after: never`); it has no \
             redrive policy"
        ),
        Some(Some(max_receives)) => tracing::warn!(
            queue,
            max_receives,
            "messages stay in the queue (`delete-after: never`), and its redrive policy moves each to the \
             dead-letter queue after {max_receives} receives by any reader: remove the policy, or set a \
             longer `visibility-timeout`"
        ),
        None => tracing::warn!(
            queue,
            "messages stay in the queue (`delete-after: never`); a redrive policy, if there is one, moves each to \
             the dead-letter queue after `maxReceiveCount` receives by any reader: allow \
             sqs:GetQueueAttributes to have it read"
        ),
    }
}

/// Opens a queue; waits while it can't be reached. None when the stop comes first.
async fn patiently<T, F>(
    queue: &QueueRef,
    config: &Config,
    open: impl Fn() -> F,
    stop: &Stop,
) -> anyhow::Result<Option<T>>
where
    F: Future<Output = Result<T, QueueError>>,
{
    let mut backoff = Backoff::default();
    let warnings = Warnings::default();
    loop {
        let error = tokio::select! {
            opened = open() => match opened {
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
            tracing::warn!(queue = queue.shown(), endpoint, again_in = ?pause, held_back, "cannot open the queue, trying again: {error}");
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.requested() => return Ok(None),
        }
    }
}

/// A linger that keeps records for as long as their messages are hidden would have each extended for nothing.
fn check_linger(meta: &Meta, settings: &Settings) -> anyhow::Result<()> {
    match meta.producer.linger {
        Some(linger) if linger >= settings.visibility_timeout / 2 => Err(anyhow!(
            "`meta.producer.linger` of {linger:?} is too long for a visibility timeout of {:?}: \
             messages would be extended before they are even sent",
            settings.visibility_timeout
        )),
        _ => Ok(()),
    }
}

/// Makes sure of the topic; waits so long for a cluster that does not answer. None when the stop comes first.
async fn ensure_topic(meta: &Meta, timeout: Duration, stop: &Stop) -> anyhow::Result<Option<u32>> {
    let mut backoff = Backoff::default();
    let warnings = Warnings::default();
    let until = Instant::now() + timeout;
    loop {
        let error = match connector_common::ensure_topic(&meta.topic.name, &meta.topic.spec).await {
            Ok(partitions) => return Ok(Some(partitions)),
            Err(error) => error,
        };
        let pause = backoff.pause(FIRST_PAUSE, LONGEST_PAUSE);
        if Instant::now() + pause > until {
            return Err(error);
        }
        if let Some(held_back) = warnings.due() {
            tracing::warn!(again_in = ?pause, held_back, "cannot reach the topic, trying again: {error:#}");
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.requested() => return Ok(None),
        }
    }
}

/// When the messages of each queue are safe, and what learns of it.
async fn untils(
    config: &Config,
    meta: &Meta,
    queues: usize,
) -> anyhow::Result<(Vec<Until>, Option<Follower>)> {
    match config.delete_after {
        DeleteAfter::Topic => Ok(((0..queues).map(|_| Until::Topic).collect(), None)),
        DeleteAfter::Never => Ok(((0..queues).map(|_| Until::Never).collect(), None)),
        DeleteAfter::Tables => {
            let (senders, untils) = (0..queues)
                .map(|_| {
                    let (sender, commits) = mpsc::channel(ANNOUNCEMENTS);
                    let sink = config.sink.clone();
                    (sender, Until::Tables { sink, commits })
                })
                .unzip();
            let follower = Follower::new(&meta.topic.name, senders).await?;
            Ok((untils, Some(follower)))
        }
    }
}
