//! The topic and the sinks in a reading: end offsets, committed offsets and lag.

use anyhow::Context;
use chrono::Utc;
use serde::Serialize;
use warehouse::locks::CommittedOffset;

use crate::topic::Topic;

/// The topic.
#[derive(Serialize)]
pub struct TopicState {
    /// Its name.
    pub name: String,
    /// The number of its partitions.
    pub partitions: usize,
    /// Records ever produced, including those that retention has removed: the sum of the
    /// partitions' end offsets.
    pub records: i64,
    /// The rate of `records` since the last reading.
    pub records_per_second: Option<f64>,
}

/// A sink and all partitions that it has ever read.
#[derive(Serialize)]
pub struct Sink {
    /// Its name: `meta.consumer.id` of its file, else `meta.name`.
    pub name: String,
    /// Records whose facts are committed: the sum of its committed offsets.
    pub committed_records: i64,
    /// Records in the topic that are not yet committed, in the current partitions.
    pub lag_records: Option<i64>,
    /// The age of the oldest of them; 0 if there is none, `null` if its producer set no time.
    pub lag_seconds: Option<f64>,
    /// The rate of `committed_records` since the last reading.
    pub records_per_second: Option<f64>,
    /// Its partitions.
    pub partitions: Vec<PartitionState>,
}

/// The state of a sink in a partition.
#[derive(Serialize)]
pub struct PartitionState {
    /// The partition.
    pub partition: i32,
    /// The offset of the partition's next record.
    pub topic_end: Option<i64>,
    /// The first record that the sink has not committed. Above `topic_end` if the topic was
    /// recreated.
    pub next_offset: i64,
    /// As of the sink.
    pub lag_records: Option<i64>,
    /// As of the sink.
    pub lag_seconds: Option<f64>,
    /// The time since the sink's last commit, by the database's clock.
    pub seconds_since_commit: f64,
    /// As of the sink.
    pub records_per_second: Option<f64>,
    /// The holder of the partition's advisory lock, which writes it: application name, process,
    /// address, start.
    pub writer: Option<String>,
}

/// The distance of a committed offset from the end of its partition. Its parts are `None` if they
/// are unknown.
pub struct Lag {
    pub topic_end: Option<i64>,
    pub records: Option<i64>,
    pub seconds: Option<f64>,
}

/// A topic and the end offsets of its partitions.
pub struct Ends {
    name: String,
    topic: Topic,
    ends: Vec<i64>,
}

/// Reads the end offset of every partition.
pub async fn ends(name: &str) -> anyhow::Result<Ends> {
    let topic = Topic::connect(name).await?;
    let mut ends = Vec::new();
    for partition in topic.partitions() {
        let end = topic.end(partition).await;
        ends.push(end.with_context(|| format!("partition {partition} of `{name}`"))?);
    }
    Ok(Ends {
        name: name.to_owned(),
        topic,
        ends,
    })
}

impl Ends {
    /// The topic in a reading.
    pub fn state(&self) -> TopicState {
        TopicState {
            name: self.name.clone(),
            partitions: self.ends.len(),
            records: self.ends.iter().sum(),
            records_per_second: None,
        }
    }

    /// The name of the topic.
    #[cfg(feature = "lake")]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The age of the record at `offset`.
    async fn age(&self, partition: u32, offset: i64) -> Option<f64> {
        // Fails if retention has removed the record.
        let time = self.topic.time(partition, offset).await.ok()??;
        Some(((Utc::now() - time).as_seconds_f64()).max(0.0))
    }
}

impl Lag {
    /// The lag of an offset, if the end offsets are known and have the partition.
    pub async fn of(ends: Option<&Ends>, partition: u32, next_offset: i64) -> Self {
        let end = ends.and_then(|ends| Some((ends, *ends.ends.get(partition as usize)?)));
        let records = end.map(|(_, end)| (end - next_offset).max(0));
        let seconds = match (end, records) {
            (_, Some(0)) => Some(0.0),
            (Some((ends, _)), _) => ends.age(partition, next_offset).await,
            (None, _) => None,
        };
        Self {
            topic_end: end.map(|(_, end)| end),
            records,
            seconds,
        }
    }
}

/// The lag of several partitions: records in all of those that the topic has, and the age of the
/// oldest.
pub fn sum(
    lags: impl Iterator<Item = (Option<i64>, Option<f64>)> + Clone,
) -> (Option<i64>, Option<f64>) {
    let records = lags.clone().filter_map(|(records, _)| records);
    // A record of unknown age could be the oldest.
    let known: Option<Vec<f64>> = lags
        .filter(|(records, _)| records.is_some())
        .map(|(_, seconds)| seconds)
        .collect();
    (
        records.reduce(|sum, lag| sum + lag),
        known.and_then(|known| known.into_iter().reduce(f64::max)),
    )
}

/// The sinks by name, with their lag if the end offsets are known.
pub async fn compare(ends: Option<&Ends>, offsets: Vec<CommittedOffset>) -> Vec<Sink> {
    let mut sinks: Vec<Sink> = Vec::new();
    for offset in offsets {
        let name = offset.source.sink.clone();
        let one = PartitionState::of(ends, offset).await;
        match sinks.last_mut() {
            Some(sink) if sink.name == name => sink.partitions.push(one),
            _ => sinks.push(Sink {
                name,
                committed_records: 0,
                lag_records: None,
                lag_seconds: None,
                records_per_second: None,
                partitions: vec![one],
            }),
        }
    }
    for sink in &mut sinks {
        let all = || sink.partitions.iter();
        sink.committed_records = all().map(|one| one.next_offset).sum();
        let lags = all().map(|one| (one.lag_records, one.lag_seconds));
        (sink.lag_records, sink.lag_seconds) = sum(lags);
    }
    sinks
}

impl PartitionState {
    async fn of(ends: Option<&Ends>, offset: CommittedOffset) -> Self {
        let (partition, next_offset) = (offset.source.partition, offset.next_offset);
        let number = u32::try_from(partition).unwrap_or(u32::MAX);
        let lag = Lag::of(ends, number, next_offset).await;
        Self {
            partition,
            topic_end: lag.topic_end,
            next_offset,
            lag_records: lag.records,
            lag_seconds: lag.seconds,
            seconds_since_commit: offset.moved_ago.max(0.0),
            records_per_second: None,
            writer: offset.writer,
        }
    }
}
