//! Measures how far a sink is behind the topic, in records and in seconds.
//!
//! A record has no time of its own after a SmartModule. So the seconds count from the moment at
//! which this task saw that the topic has records that are not written: the oldest of them
//! has waited at least that long.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use connector_common::Warnings;
use prometheus::{IntGauge, IntGaugeVec};

use crate::topic::Partition;

/// The time between two requests for the topic's end offset.
const REQUEST_INTERVAL: Duration = Duration::from_secs(10);
/// The time between two comparisons with the committed offset.
const COMPARE_INTERVAL: Duration = Duration::from_secs(1);
/// The number of end offsets to keep: those of a day. Of a longer lag the oldest ones count.
const MAX_ENDS: usize = 8640;

/// The gauges of a sink's partitions, with the label `partition`.
#[derive(Clone, Debug)]
pub struct LagGauges {
    /// The committed offset, which the sink sets.
    pub next_offset: IntGaugeVec,
    /// The records in the topic that are not committed yet.
    pub records: IntGaugeVec,
    /// The age of the oldest of them.
    pub seconds: IntGaugeVec,
}

/// Measures until it is dropped.
pub async fn measure(partition: Partition, gauges: LagGauges) {
    let number = partition.number.to_string();
    let gauge = |gauges: &IntGaugeVec| gauges.with_label_values(&[number.as_str()]);
    let next_offset: IntGauge = gauge(&gauges.next_offset);
    let (records, seconds) = (gauge(&gauges.records), gauge(&gauges.seconds));
    let mut ends = Ends::default();
    let warnings = Warnings::default();
    loop {
        match partition.end().await {
            Ok(end) => {
                warnings.reset();
                ends.add(end, Instant::now());
            }
            // Records that were seen before still wait.
            Err(error) => {
                if warnings.due().is_some() {
                    tracing::warn!(
                        topic = partition.topic,
                        partition = partition.number,
                        "cannot measure the lag: {error:#}"
                    );
                }
            }
        }
        let requested = Instant::now();
        while requested.elapsed() < REQUEST_INTERVAL {
            let lag = ends.lag(next_offset.get(), Instant::now());
            records.set(lag.records);
            seconds.set(i64::try_from(lag.waited.as_secs()).unwrap_or(i64::MAX));
            tokio::time::sleep(COMPARE_INTERVAL).await;
        }
    }
}

/// End offsets of the topic, and when each was seen first.
#[derive(Default)]
struct Ends(VecDeque<(i64, Instant)>);

#[derive(Debug, PartialEq, Eq)]
struct Lag {
    records: i64,
    waited: Duration,
}

impl Ends {
    fn add(&mut self, end: i64, now: Instant) {
        let is_new = self.0.back().is_none_or(|(last, _)| *last != end);
        if is_new && self.0.len() == MAX_ENDS {
            self.0.pop_back();
        }
        if is_new {
            self.0.push_back((end, now));
        }
    }

    fn lag(&mut self, next_offset: i64, now: Instant) -> Lag {
        let last = self.0.back().map_or(next_offset, |(end, _)| *end);
        while self.0.len() > 1 && self.0.front().is_some_and(|(end, _)| *end <= next_offset) {
            self.0.pop_front();
        }
        let oldest = self.0.front().filter(|(end, _)| *end > next_offset);
        Lag {
            records: (last - next_offset).max(0),
            waited: oldest.map_or(Duration::ZERO, |(_, seen)| now.duration_since(*seen)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_record_that_waits_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let lag = |records, seconds| Lag {
            records,
            waited: Duration::from_secs(seconds),
        };
        let mut ends = Ends::default();
        assert_eq!(ends.lag(5, at(0)), lag(0, 0));
        ends.add(10, at(0));
        assert_eq!(ends.lag(10, at(5)), lag(0, 0));
        ends.add(20, at(10));
        ends.add(20, at(20));
        ends.add(50, at(30));
        assert_eq!(ends.lag(10, at(40)), lag(40, 30));
        assert_eq!(ends.lag(19, at(40)), lag(31, 30));
        assert_eq!(ends.lag(20, at(40)), lag(30, 10));
        assert_eq!(ends.lag(50, at(40)), lag(0, 0));
    }
}
