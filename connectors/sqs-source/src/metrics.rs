//! Metrics, for Prometheus, Fluvio's metric socket and the log.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use connector_common::Meters;
use connector_common::metrics::{ClientCounters, Volume, sum};
use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    exponential_buckets,
};
use serde::Serialize;

use crate::queue::{Depth, Queue, QueueError, Refusal};

/// The interval at which progress is logged, if there is any.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The metrics of all queues of a source. Each has the label `queue`, the queue's name.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    received: IntCounterVec,
    duplicates: IntCounterVec,
    repeats: IntCounterVec,
    produced: IntCounterVec,
    produced_bytes: IntCounterVec,
    deleted: IntCounterVec,
    dead_lettered: IntCounterVec,
    left: IntCounterVec,
    failures: IntCounterVec,
    extensions: IntCounterVec,
    delay: HistogramVec,
    in_flight: IntGaugeVec,
    in_flight_bytes: IntGaugeVec,
    oldest_in_flight: IntGaugeVec,
    pollers: IntGaugeVec,
    queue_messages: IntGaugeVec,
    stay: IntGaugeVec,
    remembered: IntGaugeVec,
}

/// The counters since the start, over all queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Messages received, without duplicates and repeats.
    pub received: u64,
    /// Deliveries of messages that were in flight already.
    pub duplicates: u64,
    /// Deliveries of messages that were produced before and stay in the queue.
    pub repeats: u64,
    /// Records that the topic has acknowledged.
    pub produced: u64,
    /// Messages deleted from the queue.
    pub deleted: u64,
    /// Messages forwarded to the dead-letter queue. They count as deleted, too.
    pub dead_lettered: u64,
    /// Messages left in the queue: too large for the topic, without their body in S3, or their
    /// delete failed.
    pub left: u64,
}

/// The document at Fluvio's metric socket.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Snapshot {
    #[serde(flatten)]
    client: ClientCounters,
    sqs: Counts,
}

impl Metrics {
    /// Metrics in a registry of their own, with those of the process.
    ///
    /// # Errors
    /// Two of them have the same name, which a test would show.
    pub fn new() -> prometheus::Result<Self> {
        let new = Meters::new("sqs_source", "queue")?;
        // From 5 ms to 3 hours.
        let seconds = exponential_buckets(0.005, 2.5, 17)?;
        Ok(Self {
            received: new.counter(
                "messages_received_total",
                "Messages received, without duplicates and repeats.",
                &[],
            )?,
            duplicates: new.counter(
                "messages_duplicate_total",
                "Deliveries of messages that were in flight already.",
                &[],
            )?,
            repeats: new.counter(
                "messages_repeated_total",
                "Deliveries of messages that were produced before and stay in the queue.",
                &[],
            )?,
            produced: new.counter(
                "records_produced_total",
                "Records that the topic has acknowledged.",
                &[],
            )?,
            produced_bytes: new.counter(
                "record_bytes_produced_total",
                "Bytes of the values of acknowledged records.",
                &[],
            )?,
            deleted: new.counter(
                "messages_deleted_total",
                "Messages deleted from the queue.",
                &[],
            )?,
            dead_lettered: new.counter(
                "messages_dead_lettered_total",
                "Messages forwarded to the dead-letter queue.",
                &[],
            )?,
            left: new.counter(
                "messages_left_total",
                "Messages left in the queue: too large for the topic, without their body in \
                 S3, or their delete failed.",
                &[],
            )?,
            failures: new.counter(
                "failures_total",
                "SQS calls, or entries of them, that failed, by operation and error code.",
                &["operation", "code"],
            )?,
            extensions: new.counter(
                "visibility_extensions_total",
                "Visibility timeouts extended.",
                &[],
            )?,
            delay: new.histogram(
                "delay_seconds",
                "Time from the sending of a message to the acknowledgement of its record.",
                seconds,
            )?,
            in_flight: new.gauge(
                "messages_in_flight",
                "Messages received and not yet deleted.",
                &[],
            )?,
            in_flight_bytes: new.gauge(
                "message_bytes_in_flight",
                "Bytes of message bodies in memory, of all queues.",
                &[],
            )?,
            oldest_in_flight: new.gauge(
                "oldest_in_flight_seconds",
                "Time since the first receive of the message that has been in flight longest.",
                &[],
            )?,
            pollers: new.gauge("pollers", "Receives that run at once.", &[])?,
            queue_messages: new.gauge(
                "queue_messages",
                "Approximate number of messages in the queue, by SQS, by state: visible, \
                 in_flight, delayed.",
                &["state"],
            )?,
            stay: new.gauge(
                "messages_stay_in_queue",
                "1 with `delete-after: never`: messages are never deleted, and each receive counts \
                 for the queue's redrive policy.",
                &[],
            )?,
            remembered: new.gauge(
                "remembered_messages",
                "Messages remembered as produced, with `delete-after: never`.",
                &[],
            )?,
            registry: new.registry(),
        })
    }

    /// The registry that Prometheus scrapes.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The counters now, over all queues.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            received: sum(&self.received),
            duplicates: sum(&self.duplicates),
            repeats: sum(&self.repeats),
            produced: sum(&self.produced),
            deleted: sum(&self.deleted),
            dead_lettered: sum(&self.dead_lettered),
            left: sum(&self.left),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let sqs = self.counts();
        let producer_connector = Volume {
            records: sqs.produced,
            bytes: sum(&self.produced_bytes),
        };
        Snapshot {
            client: ClientCounters {
                producer_connector,
                ..ClientCounters::default()
            },
            sqs,
        }
    }
}

/// The messages in flight, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InFlightCounts {
    /// Messages in flight.
    pub(crate) messages: usize,
    /// Bytes of message bodies in memory, of all queues.
    pub(crate) bytes: usize,
    /// The time of the first receive of the one that has been in flight longest.
    pub(crate) oldest_since: Option<Instant>,
    /// Messages remembered as produced, with `delete-after: never`.
    pub(crate) remembered: usize,
}

/// The metrics of one queue.
#[derive(Debug)]
pub(crate) struct QueueMetrics {
    queue: String,
    metrics: Metrics,
    pub(crate) received: IntCounter,
    pub(crate) duplicates: IntCounter,
    pub(crate) repeats: IntCounter,
    pub(crate) produced: IntCounter,
    produced_bytes: IntCounter,
    pub(crate) deleted: IntCounter,
    pub(crate) dead_lettered: IntCounter,
    pub(crate) left: IntCounter,
    pub(crate) extensions: IntCounter,
    delay: Histogram,
    in_flight: IntGauge,
    in_flight_bytes: IntGauge,
    oldest_in_flight: IntGauge,
    pub(crate) pollers: IntGauge,
    stay: IntGauge,
    remembered: IntGauge,
}

impl QueueMetrics {
    /// The metrics of the queue with this URL.
    pub(crate) fn new(metrics: &Metrics, queue_url: &str) -> Self {
        let queue = queue_url.rsplit('/').next().unwrap_or(queue_url).to_owned();
        let label = [queue.as_str()];
        Self {
            received: metrics.received.with_label_values(&label),
            duplicates: metrics.duplicates.with_label_values(&label),
            repeats: metrics.repeats.with_label_values(&label),
            produced: metrics.produced.with_label_values(&label),
            produced_bytes: metrics.produced_bytes.with_label_values(&label),
            deleted: metrics.deleted.with_label_values(&label),
            dead_lettered: metrics.dead_lettered.with_label_values(&label),
            left: metrics.left.with_label_values(&label),
            extensions: metrics.extensions.with_label_values(&label),
            delay: metrics.delay.with_label_values(&label),
            in_flight: metrics.in_flight.with_label_values(&label),
            in_flight_bytes: metrics.in_flight_bytes.with_label_values(&label),
            oldest_in_flight: metrics.oldest_in_flight.with_label_values(&label),
            pollers: metrics.pollers.with_label_values(&label),
            stay: metrics.stay.with_label_values(&label),
            remembered: metrics.remembered.with_label_values(&label),
            metrics: metrics.clone(),
            queue,
        }
    }

    /// Records that the queue's messages are never deleted.
    pub(crate) fn messages_stay(&self) {
        self.stay.set(1);
    }

    /// Counts an acknowledged record of `bytes`, whose message was sent at `sent_at`.
    pub(crate) fn produced(&self, bytes: usize, sent_at: Option<SystemTime>) {
        self.produced.inc();
        self.produced_bytes.inc_by(bytes as u64);
        // The queue's clock may be ahead of this one.
        if let Some(delay) = sent_at.and_then(|sent_at| sent_at.elapsed().ok()) {
            self.delay.observe(delay.as_secs_f64());
        }
    }

    /// Counts a call that failed as a whole.
    pub(crate) fn failed(&self, error: &QueueError) {
        self.count_failure(error.operation, &error.code);
    }

    /// Counts an entry of a batch that failed.
    pub(crate) fn refused(&self, operation: &str, refusal: &Refusal) {
        self.count_failure(operation, &refusal.code);
    }

    fn count_failure(&self, operation: &str, code: &str) {
        let labels = [self.queue.as_str(), operation, code];
        self.metrics.failures.with_label_values(&labels).inc();
    }

    fn set_depth(&self, depth: Depth) {
        for (state, messages) in [
            ("visible", depth.visible),
            ("in_flight", depth.in_flight),
            ("delayed", depth.delayed),
        ] {
            let gauge = self
                .metrics
                .queue_messages
                .with_label_values(&[self.queue.as_str(), state]);
            gauge.set(i64::try_from(messages.unwrap_or(0)).unwrap_or(i64::MAX));
        }
    }

    /// Polls the queue's depth every `interval` until it is dropped, and passes each to `on_depth`.
    /// After an error the gauges keep their values until the next poll.
    pub(crate) async fn poll_depth(
        self: Arc<Self>,
        queue: Arc<dyn Queue>,
        interval: Duration,
        mut on_depth: impl FnMut(Depth) + Send,
    ) {
        loop {
            match queue.depth().await {
                Ok(depth) => {
                    self.set_depth(depth);
                    on_depth(depth);
                }
                Err(error) => {
                    self.failed(&error);
                    tracing::debug!("cannot read the queue's depth: {error}");
                }
            }
            tokio::time::sleep(interval).await;
        }
    }

    /// Updates the gauges every second and logs the progress at every interval with any, until it
    /// is dropped.
    pub(crate) async fn report(self: Arc<Self>, counts: impl Fn() -> InFlightCounts) {
        let mut logged = 0;
        for second in 1_u64.. {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let counts = counts();
            self.in_flight.set(signed(counts.messages));
            self.in_flight_bytes.set(signed(counts.bytes));
            self.remembered.set(signed(counts.remembered));
            let oldest = counts.oldest_since.map(|since| since.elapsed().as_secs());
            let oldest = i64::try_from(oldest.unwrap_or(0)).unwrap_or(i64::MAX);
            self.oldest_in_flight.set(oldest);
            let counters = [
                &self.received,
                &self.duplicates,
                &self.repeats,
                &self.deleted,
                &self.left,
            ];
            let done: u64 = counters.iter().map(|counter| counter.get()).sum();
            if second % LOG_INTERVAL.as_secs() == 0 && done != logged {
                self.log("progress", counts.messages);
                logged = done;
            }
        }
    }

    pub(crate) fn log(&self, event: &str, in_flight: usize) {
        tracing::info!(
            queue = self.queue,
            received = self.received.get(),
            duplicates = self.duplicates.get(),
            repeats = self.repeats.get(),
            produced = self.produced.get(),
            deleted = self.deleted.get(),
            dead_lettered = self.dead_lettered.get(),
            left = self.left.get(),
            in_flight,
            "{event}"
        );
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
