//! What the source counts, once, for every way to ask: Prometheus, Fluvio's metric socket and the log.

use connector_common::Meters;
use connector_common::meters::sum;
use connector_common::metrics::{ClientCounters, Volume};
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Registry, exponential_buckets};
use serde::Serialize;

/// The metrics of all queues of a source. Each has the label `queue`, the queue's name.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) received: IntCounterVec,
    pub(crate) duplicates: IntCounterVec,
    pub(crate) repeats: IntCounterVec,
    pub(crate) produced: IntCounterVec,
    pub(crate) produced_bytes: IntCounterVec,
    pub(crate) deleted: IntCounterVec,
    pub(crate) dead_lettered: IntCounterVec,
    pub(crate) left: IntCounterVec,
    pub(crate) failures: IntCounterVec,
    pub(crate) extensions: IntCounterVec,
    pub(crate) delay: HistogramVec,
    pub(crate) in_flight: IntGaugeVec,
    pub(crate) in_flight_bytes: IntGaugeVec,
    pub(crate) oldest_in_flight: IntGaugeVec,
    pub(crate) pollers: IntGaugeVec,
    pub(crate) queue_messages: IntGaugeVec,
    pub(crate) stay: IntGaugeVec,
    pub(crate) remembered: IntGaugeVec,
}

/// What has been done since the start, over all queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Messages received, without duplicates.
    pub received: u64,
    /// Deliveries of messages that were in hand already.
    pub duplicates: u64,
    /// Deliveries of messages that were produced before and stay in the queue.
    pub repeats: u64,
    /// Records that the topic has acknowledged.
    pub produced: u64,
    /// Messages deleted from the queue.
    pub deleted: u64,
    /// Messages moved to the dead-letter queue; they are among those deleted.
    pub dead_lettered: u64,
    /// Messages let go without a delete: too large for the topic, or refused by the queue.
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
    /// Two of them have one name, which a test would show.
    pub fn new() -> prometheus::Result<Self> {
        let new = Meters::new("sqs_source", "queue")?;
        // From 5 ms to 3 hours.
        let seconds = exponential_buckets(0.005, 2.5, 17)?;
        Ok(Self {
            received: new.counter("messages_received_total", "Messages received, without duplicates.", &[])?,
            duplicates: new.counter("messages_duplicate_total", "Deliveries of messages that were in hand already.", &[])?,
            repeats: new.counter("messages_repeated_total", "Deliveries of messages that were produced before and stay in the queue.", &[])?,
            produced: new.counter("records_produced_total", "Records that the topic has acknowledged.", &[])?,
            produced_bytes: new.counter("record_bytes_produced_total", "Bytes of the values of those records.", &[])?,
            deleted: new.counter("messages_deleted_total", "Messages deleted from the queue.", &[])?,
            dead_lettered: new.counter("messages_dead_lettered_total", "Messages moved to the dead-letter queue.", &[])?,
            left: new.counter("messages_left_total", "Messages let go without a delete: too large for the topic, or refused by the queue.", &[])?,
            failures: new.counter("failures_total", "Calls of SQS, or entries of them, that failed, by operation and error code.", &["operation", "code"])?,
            extensions: new.counter("visibility_extensions_total", "Visibility timeouts extended.", &[])?,
            delay: new.histogram("delay_seconds", "From the sending of a message to the acknowledgement of its record.", seconds)?,
            in_flight: new.gauge("messages_in_flight", "Messages in hand: received and not yet deleted.", &[])?,
            in_flight_bytes: new.gauge("message_bytes_in_flight", "Bytes of their bodies that are in memory.", &[])?,
            oldest_in_flight: new.gauge("oldest_in_flight_seconds", "Since the oldest message in hand was sent.", &[])?,
            pollers: new.gauge("pollers", "Receives that run at once.", &[])?,
            queue_messages: new.gauge("queue_messages", "Messages in the queue as SQS counts them, approximately, by state: visible, in_flight, delayed.", &["state"])?,
            stay: new.gauge("messages_stay_in_queue", "1 with `delete-after: never`: messages are never deleted, and each receive counts for the queue's redrive policy.", &[])?,
            remembered: new.gauge("remembered_messages", "Messages that are remembered as produced, with `delete-after: never`.", &[])?,
            registry: new.registry(),
        })
    }

    /// What Prometheus reads.
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
