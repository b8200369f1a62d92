//! What the source counts, once, for every way to ask: Prometheus, Fluvio's metric socket and the log.

use connector_common::metrics::{ClientCounters, Volume};
use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, exponential_buckets,
};
use serde::Serialize;

/// The metrics of all queues of a source. Each has the label `queue`, the queue's name.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) received: IntCounterVec,
    pub(crate) duplicates: IntCounterVec,
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
}

/// What has been done since the start, over all queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Messages received, without duplicates.
    pub received: u64,
    /// Deliveries of messages that were in hand already.
    pub duplicates: u64,
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
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        let new = Registered(&registry);
        Ok(Self {
            received: new.counter("messages_received_total", "Messages received, without duplicates.", &[])?,
            duplicates: new.counter("messages_duplicate_total", "Deliveries of messages that were in hand already.", &[])?,
            produced: new.counter("records_produced_total", "Records that the topic has acknowledged.", &[])?,
            produced_bytes: new.counter("record_bytes_produced_total", "Bytes of the values of those records.", &[])?,
            deleted: new.counter("messages_deleted_total", "Messages deleted from the queue.", &[])?,
            dead_lettered: new.counter("messages_dead_lettered_total", "Messages moved to the dead-letter queue.", &[])?,
            left: new.counter("messages_left_total", "Messages let go without a delete: too large for the topic, or refused by the queue.", &[])?,
            failures: new.counter("failures_total", "Calls of SQS, or entries of them, that failed, by operation and error code.", &["operation", "code"])?,
            extensions: new.counter("visibility_extensions_total", "Visibility timeouts extended.", &[])?,
            delay: new.histogram("delay_seconds", "From the sending of a message to the acknowledgement of its record.")?,
            in_flight: new.gauge("messages_in_flight", "Messages in hand: received and not yet deleted.", &[])?,
            in_flight_bytes: new.gauge("message_bytes_in_flight", "Bytes of their bodies that are in memory.", &[])?,
            oldest_in_flight: new.gauge("oldest_in_flight_seconds", "Since the oldest message in hand was sent.", &[])?,
            pollers: new.gauge("pollers", "Receives that run at once.", &[])?,
            queue_messages: new.gauge("queue_messages", "Messages in the queue as SQS counts them, approximately, by state: visible, in_flight, delayed.", &["state"])?,
            registry,
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

fn sum(counter: &IntCounterVec) -> u64 {
    let families = counter.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    metrics
        .map(|metric| metric.get_counter().get_value() as u64)
        .sum()
}

/// Makes metrics and registers them.
struct Registered<'r>(&'r Registry);

impl Registered<'_> {
    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(
            options(name, help),
            &with_queue(labels),
        )?)
    }

    fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(options(name, help), &with_queue(labels))?)
    }

    fn histogram(&self, name: &str, help: &str) -> prometheus::Result<HistogramVec> {
        // From 5 ms to 3 hours.
        let options =
            HistogramOpts::from(options(name, help)).buckets(exponential_buckets(0.005, 2.5, 17)?);
        self.register(HistogramVec::new(options, &with_queue(&[]))?)
    }

    fn register<M: Collector + Clone + 'static>(&self, metric: M) -> prometheus::Result<M> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("sqs_source")
}

fn with_queue<'l>(labels: &[&'l str]) -> Vec<&'l str> {
    let mut all = vec!["queue"];
    all.extend(labels);
    all
}
