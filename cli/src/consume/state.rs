//! A consumer's position, kept in a file.
//!
//! ```json
//! {"topic":"shop-events","partitions":{"0":{"next_offset":1234,"last":{"offset":1233,"key":"…"}}}}
//! ```
//!
//! The file is replaced at once, so a kill leaves the old or the new one. `last` is a record that
//! was read: another key at its offset means that the topic was created again.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::topic::{Record, Topic};

/// The file is replaced this often while records flow, and this long after the last of them.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// The most records of a partition that are remembered until they are confirmed.
const MAX_WRITTEN: usize = 64;
/// The longest key that is remembered.
const MAX_KEY: usize = 1024;

/// The positions of all partitions.
pub struct State {
    file: PathBuf,
    stored: Stored,
    written: BTreeMap<u32, Written>,
    is_stored: bool,
    last_time: Instant,
    /// Locked until the end of the process.
    _lock: File,
}

/// The contents of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    topic: String,
    partitions: BTreeMap<u32, Position>,
}

/// The position in a partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The offset of the first record that was not processed.
    pub next_offset: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Known>,
}

/// A record that was processed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    offset: i64,
    key: String,
}

/// The records that were written and not confirmed.
#[derive(Default)]
struct Written {
    last: i64,
    /// Some of them.
    known: VecDeque<Known>,
}

impl State {
    /// Reads the file, or begins without one, and keeps other processes from using it.
    ///
    /// # Errors
    /// The file can't be read, is in use, or belongs to another topic.
    pub fn open(file: &Path, topic: &str) -> anyhow::Result<Self> {
        let shown = file.display();
        let with = |suffix: &str| {
            let mut name = file.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        let path = with(".lock");
        let lock = File::create(&path)
            .with_context(|| format!("cannot create {}, which locks {shown}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "another process consumes with {shown}; stop it, or give each consumer a file of \
                 its own"
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        let stored = match std::fs::read(file) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{shown} is not a file of `etl consume --state`"))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Stored {
                topic: topic.to_owned(),
                partitions: BTreeMap::new(),
            },
            Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
        };
        ensure!(
            stored.topic == topic,
            "{shown} has the position in the topic `{}`, not in `{topic}`; name another file",
            stored.topic
        );
        Ok(Self {
            file: file.to_owned(),
            stored,
            written: BTreeMap::new(),
            is_stored: true,
            last_time: Instant::now(),
            _lock: lock,
        })
    }

    /// True if the consumer has read before.
    pub fn has_begun(&self) -> bool {
        !self.stored.partitions.is_empty()
    }

    /// The position in a partition, if it was read before.
    pub fn position(&self, partition: u32) -> Option<Position> {
        self.stored.partitions.get(&partition).cloned()
    }

    /// Begins a partition without a position.
    pub fn begin(&mut self, partition: u32, offset: i64) {
        self.stored.partitions.entry(partition).or_insert_with(|| {
            self.is_stored = false;
            Position {
                next_offset: offset,
                last: None,
            }
        });
    }

    /// Allows the confirmation of records up to `last`, which are being written.
    pub fn written(&mut self, partition: u32, last: &Record) {
        let written = self.written.entry(partition).or_default();
        written.last = last.offset;
        let key = last.key.as_deref().filter(|key| key.len() <= MAX_KEY);
        let key = key.and_then(|key| std::str::from_utf8(key).ok());
        if let Some(key) = key.filter(|_| written.known.len() < MAX_WRITTEN) {
            written.known.push_back(Known {
                offset: last.offset,
                key: key.to_owned(),
            });
        }
    }

    /// Moves the position behind a record and all before it in its partition.
    ///
    /// # Errors
    /// The record was not written, so its number is wrong.
    pub fn confirm(&mut self, partition: u32, offset: i64) -> anyhow::Result<()> {
        let (written, position) = match (
            self.written.get_mut(&partition),
            self.stored.partitions.get_mut(&partition),
        ) {
            (Some(written), Some(position)) if offset <= written.last => (written, position),
            _ => bail!(
                "offset {offset} of partition {partition} is confirmed, and was not printed; \
                 confirm the last record that was processed"
            ),
        };
        while let Some(known) = written.known.pop_front_if(|known| known.offset <= offset) {
            position.last = Some(known);
        }
        if offset >= position.next_offset {
            position.next_offset = offset.saturating_add(1);
            self.is_stored = false;
        }
        Ok(())
    }

    /// True if all records that were written are confirmed.
    pub fn is_confirmed(&self) -> bool {
        self.written.iter().all(|(partition, written)| {
            let position = self.stored.partitions.get(partition);
            position.is_some_and(|position| position.next_offset > written.last)
        })
    }

    /// True if the file has the position.
    pub fn is_stored(&self) -> bool {
        self.is_stored
    }

    /// True if the file was replaced a while ago.
    pub fn is_due(&self) -> bool {
        self.last_time.elapsed() >= INTERVAL
    }

    /// Replaces the file, unless it has the position.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn store(&mut self) -> anyhow::Result<()> {
        if self.is_stored {
            return Ok(());
        }
        self.replace()
            .with_context(|| format!("cannot write the position to {}", self.file.display()))?;
        self.is_stored = true;
        self.last_time = Instant::now();
        Ok(())
    }

    fn replace(&self) -> io::Result<()> {
        let mut new = self.file.as_os_str().to_owned();
        new.push(".new");
        let mut text = serde_json::to_vec(&self.stored)?;
        text.push(b'\n');
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_data()?;
        std::fs::rename(&new, &self.file)
    }
}

impl Position {
    /// Checks that the topic has the records from the position on.
    ///
    /// # Errors
    /// Records are removed, or the topic is another one.
    pub async fn check(
        &self,
        topic: &Topic,
        partition: u32,
        offsets: Range<i64>,
    ) -> anyhow::Result<()> {
        let Range { start, end } = offsets;
        let next = self.next_offset;
        if next < start {
            bail!(
                "the topic's retention has removed the records at offsets {next} up to {start} of \
                 partition {partition}, which were not read; remove the partition from the file of \
                 --state to continue at offset {start}"
            );
        }
        if next > end {
            bail!(
                "partition {partition} ends at offset {end}, and {next} records were read: it lost \
                 its end, or the topic was created again; remove the file of --state to read it \
                 from its start"
            );
        }
        let Some(last) = self.last.as_ref().filter(|last| last.offset >= start) else {
            return Ok(());
        };
        let mut follower = topic.follow(partition, last.offset).give_up();
        let records = follower.next().await?;
        let key = records.first().and_then(|record| record.key.as_deref());
        ensure!(
            key == Some(last.key.as_bytes()),
            "the record at offset {} of partition {partition} is not the one that was read: the \
             topic was created again; remove the file of --state to read it from its start",
            last.offset
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64) -> Record {
        Record {
            offset,
            time: None,
            key: Some(format!("m-{offset}").into_bytes()),
            value: Vec::new(),
        }
    }

    #[test]
    fn the_position_moves_with_confirmations_and_survives() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shop.json");
        let mut state = State::open(&file, "t").unwrap();
        assert!(State::open(&file, "t").is_err(), "it is locked");
        state.begin(2, 10);
        for offset in [14, 19] {
            state.written(2, &record(offset));
        }
        assert!(!state.is_confirmed());
        state.confirm(2, 16).unwrap();
        state.confirm(2, 12).unwrap();
        assert!(state.confirm(2, 20).is_err(), "it was not written");
        assert!(state.confirm(0, 0).is_err(), "it is not read");
        state.store().unwrap();
        drop(state);

        let mut state = State::open(&file, "t").unwrap();
        let position = state.position(2).unwrap();
        assert_eq!(position.next_offset, 17);
        assert_eq!(position.last.unwrap().key, "m-14");
        state.begin(2, 0);
        assert_eq!(state.position(2).unwrap().next_offset, 17);
        drop(state);
        assert!(State::open(&file, "another").is_err());
    }
}
