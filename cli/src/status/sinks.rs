//! Where the topic ends, and how far behind that the sinks are.

use anyhow::Context;
use chrono::Utc;
use postgres_sink::claims::Stand;
use serde::Serialize;

use crate::topic::Topic;

/// The topic.
#[derive(Serialize)]
pub struct TopicStand {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: usize,
    /// Records that were ever produced: the sum of the partitions' ends. Those that retention has removed count.
    pub records: i64,
    /// Records that came since the last reading.
    pub records_per_second: Option<f64>,
}

/// A sink, over all partitions that it has ever read.
#[derive(Serialize)]
pub struct Sink {
    /// Its name: `meta.consumer.id` of its file, else `meta.name`.
    pub name: String,
    /// Records whose facts are committed: the sum of its offsets.
    pub committed_records: i64,
    /// Records in the topic and not yet committed, in the partitions that the topic has now.
    pub lag_records: Option<i64>,
    /// How long ago the oldest of them was produced; 0 where there is none, `null` where its producer
    /// gave it no time.
    pub lag_seconds: Option<f64>,
    /// Records committed since the last reading.
    pub records_per_second: Option<f64>,
    /// Its partitions.
    pub partitions: Vec<PartitionStand>,
}

/// A sink in one partition.
#[derive(Serialize)]
pub struct PartitionStand {
    /// The partition.
    pub partition: i32,
    /// The offset that the partition's next record will get.
    pub topic_end: Option<i64>,
    /// The first record that the sink has not committed. Above `topic_end` where the topic was made anew.
    pub next_offset: i64,
    /// As in the whole sink.
    pub lag_records: Option<i64>,
    /// As in the whole sink.
    pub lag_seconds: Option<f64>,
    /// Since the sink's last commit, by the database's clock.
    pub seconds_since_commit: f64,
    /// As in the whole sink.
    pub records_per_second: Option<f64>,
    /// Who holds the partition's lock and so writes it: application name, process, address, since when.
    pub writer: Option<String>,
}

/// A topic and where its partitions end.
pub struct Ends {
    name: String,
    topic: Topic,
    ends: Vec<i64>,
}

/// Asks every partition of the topic for its end.
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
    /// The topic's part of a reading.
    pub fn stand(&self) -> TopicStand {
        TopicStand {
            name: self.name.clone(),
            partitions: self.ends.len(),
            records: self.ends.iter().sum(),
            records_per_second: None,
        }
    }

    fn of(&self, partition: i32) -> Option<i64> {
        let index = usize::try_from(partition).ok()?;
        self.ends.get(index).copied()
    }

    /// How long ago the record at `offset` was produced.
    async fn age(&self, partition: i32, offset: i64) -> Option<f64> {
        let partition = u32::try_from(partition).ok()?;
        // What retention has removed tells nothing any more.
        let time = self.topic.time(partition, offset).await.ok()??;
        Some(((Utc::now() - time).as_seconds_f64()).max(0.0))
    }
}

/// The sinks by name, each compared with the ends of the topic where those are known.
pub async fn compare(ends: Option<&Ends>, stands: Vec<Stand>) -> Vec<Sink> {
    let mut sinks: Vec<Sink> = Vec::new();
    for stand in stands {
        let name = stand.source.sink.clone();
        let one = PartitionStand::of(ends, stand).await;
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
        sink.lag_records = all()
            .filter_map(|one| one.lag_records)
            .reduce(|sum, lag| sum + lag);
        // One whose age is not known could be the oldest.
        let known: Option<Vec<f64>> = all()
            .filter(|one| one.lag_records.is_some())
            .map(|one| one.lag_seconds)
            .collect();
        sink.lag_seconds = known.and_then(|known| known.into_iter().reduce(f64::max));
    }
    sinks
}

impl PartitionStand {
    async fn of(ends: Option<&Ends>, stand: Stand) -> Self {
        let (partition, next_offset) = (stand.source.partition, stand.next_offset);
        let topic_end = ends.and_then(|ends| ends.of(partition));
        let lag_records = topic_end.map(|end| (end - next_offset).max(0));
        let lag_seconds = match (ends, lag_records) {
            (_, Some(0)) => Some(0.0),
            (Some(ends), Some(_)) => ends.age(partition, next_offset).await,
            _ => None,
        };
        Self {
            partition,
            topic_end,
            next_offset,
            lag_records,
            lag_seconds,
            seconds_since_commit: stand.moved_ago.max(0.0),
            records_per_second: None,
            writer: stand.writer,
        }
    }
}
