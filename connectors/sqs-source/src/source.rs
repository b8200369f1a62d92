//! The connector: opens its queues and its topic, and runs a pipeline from each queue to the topic.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use aws_sdk_sqs::Client;
use connector_common::committed::{Signatures, notifications_topic};
use connector_common::{Backoff, Connector, Health, Meta, Monitor, Stop, Traces};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::byte_budget::ByteBudget;
use crate::commits::Unreadable;
use crate::commits::reader::{self, CommitReader, NOTIFICATIONS};
use crate::config::{Config, DeleteAfter, RecordFormat};
use crate::delete::DeadLetters;
use crate::metrics::Metrics;
use crate::pipeline::{self, DeletePolicy, Settings};
use crate::produce::TOPIC;
use crate::queue::{Kind, Queue, QueueError};
use crate::receive;
use crate::s3::Payloads;
use crate::sqs::{self, QueueAttributes, Sqs};
use crate::topic::FluvioTopic;

/// The capacity of a queue's channel for commit notifications.
const COMMITS: usize = 64;

/// The pauses between the attempts to reach a queue or the topic at the start.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The health and the stop of a source that starts.
struct Starting<'s> {
    health: &'s Health,
    stop: &'s Stop,
}

/// Runs the connector until the stop.
///
/// # Errors
/// Fails on permanent errors of the configuration, a queue or the topic; retries transient ones.
pub async fn run(connector: Connector<Config>, stop: Stop) -> anyhow::Result<()> {
    let Connector { meta, config, .. } = connector;
    let metrics = Metrics::new()?;
    let health = Health::of([TOPIC]);
    let _monitor = match config.metrics_address {
        Some(address) => {
            let registry = metrics.registry().clone();
            Some(Monitor::serve(address, registry, health.clone()).await?)
        }
        None => None,
    };
    let starting = Starting {
        health: &health,
        stop: &stop,
    };
    let aws = sqs::aws(&config).await?;
    let client = sqs::client_with(&aws, &config);
    let opened = open_queues(&client, &config, &meta, &starting).await?;
    let Some((queues, dead_letters)) = opened else {
        return Ok(());
    };
    let payloads = Payloads::new(&aws, &config).map(Arc::new);
    let topic = || connector_common::ensure_topic(&meta.topic.name, &meta.topic.spec);
    let Some(partitions) = wait_for(TOPIC, &starting, topic).await? else {
        return Ok(());
    };
    let policies = delete_policies(&config, &meta.topic.name, queues.len(), &starting).await?;
    let Some((policies, reader)) = policies else {
        return Ok(());
    };
    tracing::info!(
        queues = queues.len(),
        topic = meta.topic.name,
        partitions,
        max_in_flight = config.max_in_flight,
        pollers = config.pollers,
        "streaming"
    );
    let snapshots = metrics.clone();
    let _metrics = connector_common::metrics::serve(move || snapshots.snapshot());
    let traces = Traces::start(config.otlp_endpoint.as_deref(), "sqs-source")?;
    let context = pipeline::Context {
        topic: Arc::new(FluvioTopic::new(
            meta,
            config.isolation.into(),
            config.acknowledgement_timeout,
        )),
        dead_letters,
        payloads,
        byte_budget: ByteBudget::new(
            usize::try_from(config.max_in_flight_bytes.as_u64()).unwrap_or(usize::MAX),
        ),
        queues: queues.len(),
        metrics,
        traces: traces.clone(),
        health,
        stop,
    };
    let mut pipelines = JoinSet::new();
    for ((queue, settings), policy) in queues.into_iter().zip(policies) {
        let context = context.clone();
        pipelines.spawn(async move {
            pipeline::run(Arc::new(queue), policy, &settings, &context).await
        });
    }
    drop(context);
    let outcome = all_end(pipelines, reader).await;
    traces.stop().await;
    outcome
}

/// Waits for the pipelines and the reader of commit notifications.
async fn all_end(
    pipelines: JoinSet<anyhow::Result<()>>,
    reader: Option<CommitReader>,
) -> anyhow::Result<()> {
    let mut running = std::pin::pin!(pipelines_end(pipelines));
    let Some(reader) = reader else {
        return running.await;
    };
    let reader = AbortOnDropHandle::new(tokio::spawn(reader.run()));
    tokio::select! {
        ended = &mut running => ended,
        // The reader ends after the pipelines have closed their channels, or it has failed.
        ended = reader => match ended {
            Ok(()) => running.await,
            Err(error) => Err(anyhow!("the reader of commit notifications ended: {error}")),
        },
    }
}

/// The first pipeline that fails ends all.
async fn pipelines_end(mut pipelines: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = pipelines.join_next().await {
        ended.context("a pipeline failed")??;
    }
    Ok(())
}

type Opened = (Vec<(Sqs, Settings)>, Option<DeadLetters>);

/// Opens all queues. `None` if the stop comes first.
async fn open_queues(
    client: &Client,
    config: &Config,
    meta: &Meta,
    starting: &Starting<'_>,
) -> anyhow::Result<Option<Opened>> {
    let endpoint = || format!("SQS at {}", sqs::endpoint(config));
    let dead_letters = config.dead_letters();
    let wants_attributes = config.record_format == RecordFormat::Envelope || dead_letters.is_some();
    let mut queues = Vec::new();
    for queue in config.queues() {
        let opening = || async {
            let opened = async {
                let queue = Sqs::open(client, &queue, wants_attributes).await?;
                let attributes = attributes(&queue, config).await?;
                Ok::<_, QueueError>((queue, attributes))
            };
            opened.await.with_context(endpoint)
        };
        let part = receive::health_part(queue.as_str());
        let Some((opened, attributes)) = wait_for(&part, starting, opening).await? else {
            return Ok(None);
        };
        let timeout = attributes.map_or(Duration::ZERO, |found| found.visibility_timeout);
        let settings = Settings::new(config, opened.name(), timeout)?;
        if config.delete_after == DeleteAfter::Never {
            log_messages_stay(opened.name(), attributes);
        } else {
            check_linger(meta, &settings)?;
        }
        let visibility_timeout = settings.visibility_timeout;
        tracing::info!(queue = opened.name(), ?visibility_timeout, "reading");
        queues.push((opened, settings));
    }
    let Some((queue, max_receives)) = dead_letters else {
        return Ok(Some((queues, None)));
    };
    let opening = || async {
        let opened = async {
            let queue = Sqs::open(client, &queue, false).await?;
            check_dead_letter_queue(&queue).await?;
            Ok::<_, QueueError>(queue)
        };
        opened.await.with_context(endpoint)
    };
    let part = format!("dead-letter queue {}", queue.as_str());
    let Some(opened) = wait_for(&part, starting, opening).await? else {
        return Ok(None);
    };
    let dead_letters = DeadLetters {
        queue: Arc::new(opened),
        max_receives,
    };
    Ok(Some((queues, Some(dead_letters))))
}

/// Checks that the dead-letter queue exists. It may deny this: only sending is needed.
async fn check_dead_letter_queue(queue: &Sqs) -> Result<(), QueueError> {
    match queue.attributes().await {
        Err(error) if error.kind == Kind::AccessDenied => {
            tracing::warn!("cannot check the dead-letter queue: {error}");
            Ok(())
        }
        found => found.map(drop),
    }
}

/// Reads the queue's attributes. A queue that may only be read may deny this; then the
/// configuration has to contain the visibility timeout.
async fn attributes(queue: &Sqs, config: &Config) -> Result<Option<QueueAttributes>, QueueError> {
    let is_needed =
        config.delete_after != DeleteAfter::Never || config.visibility_timeout.is_none();
    match queue.attributes().await {
        Err(error) if error.kind == Kind::AccessDenied && !is_needed => Ok(None),
        found => found.map(Some),
    }
}

fn log_messages_stay(queue: &str, attributes: Option<QueueAttributes>) {
    match attributes.map(|found| found.max_receives) {
        Some(None) => tracing::info!(
            queue,
            "messages stay in the queue until its retention ends (`delete-after: never`); it has \
             no redrive policy"
        ),
        Some(Some(max_receives)) => tracing::warn!(
            queue,
            max_receives,
            "messages stay in the queue (`delete-after: never`), and its redrive policy moves each \
             to the dead-letter queue after {max_receives} receives by any reader: remove the \
             policy, or set a longer `visibility-timeout`"
        ),
        None => tracing::warn!(
            queue,
            "messages stay in the queue (`delete-after: never`); a redrive policy, if there is \
             one, moves each to the dead-letter queue after `maxReceiveCount` receives by any \
             reader: allow sqs:GetQueueAttributes to have it checked"
        ),
    }
}

/// Attempts until one succeeds or fails with a permanent error. Meanwhile the `part` is unready.
/// `None` if the stop comes first.
async fn wait_for<T, F>(
    part: &str,
    starting: &Starting<'_>,
    attempt: impl Fn() -> F,
) -> anyhow::Result<Option<T>>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let error = tokio::select! {
            biased;
            () = starting.stop.requested() => return Ok(None),
            outcome = attempt() => match outcome {
                Ok(value) => {
                    starting.health.works(part);
                    return Ok(Some(value));
                }
                Err(error) => error,
            },
        };
        if !is_transient(&error) {
            return Err(error);
        }
        starting.health.troubled(part, format_args!("{error:#}"));
        let pause = backoff.next_pause();
        if let Some(suppressed) = backoff.warning_due() {
            tracing::warn!(
                ?pause,
                suppressed,
                "waiting for the {part}, retrying: {error:#}"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = starting.stop.requested() => return Ok(None),
        }
    }
}

fn is_transient(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<QueueError>() {
        Some(error) => error.kind.is_transient(),
        None => connector_common::is_transient(error),
    }
}

/// Refuses a linger so long that each message would have to be extended before its record is sent.
fn check_linger(meta: &Meta, settings: &Settings) -> anyhow::Result<()> {
    match meta.producer.linger {
        Some(linger) if linger >= settings.visibility_timeout / 2 => Err(anyhow!(
            "`meta.producer.linger` of {linger:?} is too long for a visibility timeout of {:?}: \
             messages would be extended before their records are sent",
            settings.visibility_timeout
        )),
        _ => Ok(()),
    }
}

/// The delete policy of each queue, and the reader of the commit notifications if messages wait for
/// sinks. `None` if the stop comes first.
async fn delete_policies(
    config: &Config,
    topic: &str,
    queues: usize,
    starting: &Starting<'_>,
) -> anyhow::Result<Option<(Vec<DeletePolicy>, Option<CommitReader>)>> {
    let same_for_all = |policy: fn() -> DeletePolicy| (0..queues).map(|_| policy()).collect();
    match &config.delete_after {
        DeleteAfter::Topic => Ok(Some((same_for_all(|| DeletePolicy::Topic), None))),
        DeleteAfter::Never => Ok(Some((same_for_all(|| DeletePolicy::Never), None))),
        DeleteAfter::Tables | DeleteAfter::Lake | DeleteAfter::Sinks(_) => {
            let unreadable = Unreadable::default();
            let (senders, policies) = (0..queues)
                .map(|_| {
                    let (sender, commits) = mpsc::channel(COMMITS);
                    let sinks = DeletePolicy::Sinks {
                        sinks: config.awaited_sinks(),
                        commits,
                        unreadable: unreadable.clone(),
                    };
                    (sender, sinks)
                })
                .unzip();
            let next = wait_for(NOTIFICATIONS, starting, || reader::next_offset(topic));
            let Some(next) = next.await? else {
                return Ok(None);
            };
            if config.notifications_secret.is_none() {
                tracing::warn!(
                    "no `notifications-secret`: whoever can write to the topic `{}` can have \
                     messages deleted that no sink has committed",
                    notifications_topic(topic)
                );
            }
            let signatures = Signatures::new(topic, config.notifications_secret.as_ref());
            let health = starting.health.clone();
            let reader = CommitReader::new(topic, signatures, next, senders, health, unreadable);
            Ok(Some((policies, Some(reader))))
        }
    }
}
