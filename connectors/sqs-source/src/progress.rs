//! What the source has done with one queue so far, counted, and told now and then.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus::{Histogram, IntCounter, IntGauge};

use crate::custody::InHand;
use crate::metrics::Metrics;
use crate::queue::{Depth, QueueError, Refusal};

/// How often progress is told, if there is any.
const INTERVAL: Duration = Duration::from_secs(10);

/// The counters of one queue.
#[derive(Debug)]
pub struct Progress {
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

impl Progress {
    /// Those of the queue with this URL.
    #[must_use]
    pub fn new(metrics: &Metrics, queue_url: &str) -> Self {
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

    /// The queue's messages are never deleted.
    pub(crate) fn messages_stay(&self) {
        self.stay.set(1);
    }

    /// The topic has acknowledged a record of so many bytes, whose message was sent then.
    pub(crate) fn produced(&self, bytes: usize, sent_at: Option<SystemTime>) {
        self.produced.inc();
        self.produced_bytes.inc_by(bytes as u64);
        // A sender's clock may be ahead of this one.
        if let Some(delay) = sent_at.and_then(|sent_at| sent_at.elapsed().ok()) {
            self.delay.observe(delay.as_secs_f64());
        }
    }

    /// A call failed as a whole.
    pub(crate) fn failed(&self, error: &QueueError) {
        self.count_failure(error.operation, &error.code);
    }

    /// An entry of a batch failed.
    pub(crate) fn refused(&self, operation: &str, refusal: &Refusal) {
        self.count_failure(operation, &refusal.code);
    }

    fn count_failure(&self, operation: &str, code: &str) {
        let labels = [self.queue.as_str(), operation, code];
        self.metrics.failures.with_label_values(&labels).inc();
    }

    /// How many messages SQS counts in the queue.
    pub(crate) fn depth(&self, depth: Depth) {
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

    /// Measures what is in hand, every second, and tells the progress at every interval in which there was any.
    pub(crate) async fn tell(self: Arc<Self>, in_hand: impl Fn() -> InHand) {
        let mut told = 0;
        for second in 1_u64.. {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let in_hand = in_hand();
            self.in_flight.set(signed(in_hand.messages));
            self.in_flight_bytes.set(signed(in_hand.bytes));
            self.remembered.set(signed(in_hand.remembered));
            let age = in_hand
                .oldest_sent_at
                .and_then(|sent_at| sent_at.elapsed().ok());
            self.oldest_in_flight
                .set(age.map_or(0, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX)));
            let counters = [
                &self.received,
                &self.duplicates,
                &self.repeats,
                &self.deleted,
                &self.left,
            ];
            let done: u64 = counters.iter().map(|counter| counter.get()).sum();
            if second % INTERVAL.as_secs() == 0 && done != told {
                self.log("progress", in_hand.messages);
                told = done;
            }
        }
    }

    pub(crate) fn log(&self, what: &str, in_flight: usize) {
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
            "{what}"
        );
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
