//! The lake in a reading: its tables, and the lag of its sink.

use std::collections::BTreeMap;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use lake_sink::maintenance::Lake;
use lake_sink::offsets;
use serde::Serialize;

use super::sinks::{self, Ends, Lag};
use crate::lake::{LakeFile, NO_CATALOG, load, open_existing};

/// The lake of `--lake-config`.
#[derive(Serialize)]
pub struct LakeState {
    /// The tables: of facts or records, and of rejected events.
    pub tables: Vec<TableState>,
    /// Records in the topic that are not committed to the lake.
    pub lag_records: Option<i64>,
    /// The age of the oldest of them; 0 if there is none, `null` if its producer set no time.
    pub lag_seconds: Option<f64>,
    /// The partitions whose offsets the table of facts or records has.
    pub partitions: Vec<LakePartition>,
}

/// A table of the lake.
#[derive(Serialize)]
pub struct TableState {
    /// Its name, with the namespace.
    pub name: String,
    /// The age of its newest snapshot, of a sink or another program; `null` without any.
    pub newest_snapshot_seconds: Option<f64>,
}

/// The state of a lake in a partition.
#[derive(Serialize)]
pub struct LakePartition {
    /// The partition.
    pub partition: u32,
    /// The offset of the partition's next record.
    pub topic_end: Option<i64>,
    /// The first record that is not committed to the lake.
    pub next_offset: i64,
    /// As of the lake.
    pub lag_records: Option<i64>,
    /// As of the lake.
    pub lag_seconds: Option<f64>,
}

/// A connection to the catalog that is kept between readings.
#[derive(Default)]
pub struct Connection(Option<Opened>);

struct Opened {
    lake: Lake,
    topic: String,
}

/// The committed offsets, without the lag.
pub struct Committed {
    topic: String,
    tables: Vec<TableState>,
    offsets: BTreeMap<u32, i64>,
}

impl Connection {
    /// Reads the tables' metadata. Returns `None` without `--lake-config`.
    pub async fn read(&mut self, file: &LakeFile) -> anyhow::Result<Option<Committed>> {
        let Some(config) = &file.lake_config else {
            return Ok(None);
        };
        let Opened { lake, topic } = match &self.0 {
            Some(opened) => opened,
            None => {
                let connector = load(config, file.secrets.as_deref())?;
                let lake = open_existing(&connector.config).await?;
                &*self.0.insert(Opened {
                    lake: lake.context(NO_CATALOG)?,
                    topic: connector.meta.topic.name,
                })
            }
        };
        let now = Utc::now();
        let mut tables = Vec::new();
        for (id, _) in lake.tables() {
            let table = lake.load(id).await?;
            let snapshots = table.metadata().snapshots();
            let newest = snapshots.map(|snapshot| snapshot.timestamp_ms()).max();
            let newest = newest.and_then(DateTime::from_timestamp_millis);
            tables.push(TableState {
                name: id.to_string(),
                newest_snapshot_seconds: newest
                    .map(|newest| (now - newest).as_seconds_f64().max(0.0)),
            });
        }
        Ok(Some(Committed {
            topic: topic.clone(),
            tables,
            offsets: offsets::committed(&lake.rows().await?, topic),
        }))
    }
}

impl Committed {
    /// Compares the offsets with the ends of their topic. `ends` are those of the topic of the
    /// reading, which may be another one.
    pub async fn compare(self, ends: Option<&Ends>) -> LakeState {
        let other = match ends {
            Some(ends) if ends.name() == self.topic => None,
            _ => sinks::ends(&self.topic).await.ok(),
        };
        let ends = ends.filter(|ends| ends.name() == self.topic);
        let mut partitions = Vec::new();
        for (partition, next_offset) in self.offsets {
            let lag = Lag::of(ends.or(other.as_ref()), partition, next_offset).await;
            partitions.push(LakePartition {
                partition,
                topic_end: lag.topic_end,
                next_offset,
                lag_records: lag.records,
                lag_seconds: lag.seconds,
            });
        }
        let lags = partitions.iter();
        let (lag_records, lag_seconds) =
            sinks::sum(lags.map(|one| (one.lag_records, one.lag_seconds)));
        LakeState {
            tables: self.tables,
            lag_records,
            lag_seconds,
            partitions,
        }
    }
}
