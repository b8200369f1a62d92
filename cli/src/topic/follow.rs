//! Reads a partition's records: each once, in order, and without a gap.
//!
//! Fluvio 0.18.1 cuts a response at its limit of bytes, in the middle of a batch. The client drops
//! the record that was cut and goes on behind the batch. So each batch is compared with the offsets
//! in its header and with the batch before it, and where records are missing, the stream is opened
//! again at the first of them. A batch that is larger than a response needs a larger one.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use connector_common::{Backoff, chain};
use fluvio::Fluvio;
use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::Batch;
use futures_util::{FutureExt, StreamExt};

use super::{BatchStream, MAX_BYTES, Record, consumer_config, grown, open, refused};

/// The size of the first response.
const FIRST_BYTES: i32 = 4 << 20;
/// The largest response of a stream that stays open. A batch of the source has up to 4 MiB.
const LARGEST_KEPT: i32 = 16 << 20;
/// A stream that was silent for this long is opened again: its connection may be dead.
const SILENCE: Duration = Duration::from_secs(20);
/// The pauses before a stream is opened again after an error.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The time without an answer after which a reader that may give up does.
const GIVE_UP: Duration = Duration::from_secs(60);

/// Reads a partition on a connection of its own.
pub struct Follower {
    topic: String,
    partition: u32,
    next: i64,
    first_bytes: i32,
    bytes: i32,
    gives_up: bool,
    stream: Option<Open>,
}

/// An open stream. It holds its client, since a dropped client closes its streams.
struct Open {
    batches: BatchStream,
    /// True if it has sent a new record.
    has_progress: bool,
    _client: Fluvio,
}

/// An item of a stream.
type Received = Option<Result<Batch, ErrorCode>>;

/// The reason why no more batches are taken from a stream.
enum End {
    /// There is none: the rest has not arrived yet, or enough has been taken.
    None,
    /// Records are missing.
    Cut,
    Failed(ErrorCode),
    Closed,
}

enum Fault {
    /// The cluster is away, or moves the partition.
    Transient(anyhow::Error),
    Permanent(anyhow::Error),
}

impl Follower {
    pub(super) fn new(topic: &str, partition: u32, from: i64) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            next: from,
            first_bytes: FIRST_BYTES,
            bytes: FIRST_BYTES,
            gives_up: false,
            stream: None,
        }
    }

    /// Limits the memory: responses begin with up to `bytes`.
    #[must_use]
    pub fn responses_of(mut self, bytes: i32) -> Self {
        self.first_bytes = bytes;
        self.bytes = bytes;
        self
    }

    /// Makes it fail if the cluster is away for a minute, instead of waiting for it.
    #[must_use]
    pub fn give_up(mut self) -> Self {
        self.gives_up = true;
        self
    }

    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// The offset of the next record.
    pub fn position(&self) -> i64 {
        self.next
    }

    /// The next records, at least one: those of a response. Waits for a record if there is none.
    ///
    /// # Errors
    /// The record at the position is removed, missing, or beyond the end of the topic.
    pub async fn next(&mut self) -> anyhow::Result<Vec<Record>> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let began = Instant::now();
        loop {
            let error = match self.read().await {
                Ok(records) => return Ok(records),
                Err(Fault::Permanent(error)) => return Err(error),
                Err(Fault::Transient(error)) => error,
            };
            self.stream = None;
            if self.gives_up && began.elapsed() > GIVE_UP {
                return Err(error);
            }
            if backoff.warning_due().is_some() {
                errln!(
                    "warning: waiting for partition {} of `{}` at offset {}: {}",
                    self.partition,
                    self.topic,
                    self.next,
                    chain(error.as_ref())
                );
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    async fn read(&mut self) -> Result<Vec<Record>, Fault> {
        loop {
            let mut stream = match self.stream.take() {
                Some(stream) => stream,
                None => self.open().await.map_err(Fault::Transient)?,
            };
            let Ok(first) = tokio::time::timeout(SILENCE, stream.batches.next()).await else {
                if self.gives_up {
                    return Err(Fault::Transient(anyhow!(
                        "nothing was sent within {SILENCE:?}"
                    )));
                }
                continue;
            };
            let mut records = Vec::new();
            let end = self.take(first, &mut stream.batches, &mut records);
            stream.has_progress |= !records.is_empty();
            match end {
                End::None => self.stream = Some(stream),
                // The stream that is opened next begins behind the records of this one.
                End::Cut | End::Failed(_) | End::Closed if stream.has_progress => {}
                End::Cut => self.grow()?,
                End::Failed(code) => return Err(self.fault(code)),
                End::Closed => {
                    return Err(Fault::Transient(anyhow!("the cluster ended the stream")));
                }
            }
            if !records.is_empty() {
                // It would hold that much memory for good.
                if self.bytes > LARGEST_KEPT {
                    self.stream = None;
                }
                self.bytes = self.first_bytes;
                return Ok(records);
            }
        }
    }

    /// Takes the batches of a response that has arrived.
    fn take(
        &mut self,
        first: Received,
        batches: &mut BatchStream,
        records: &mut Vec<Record>,
    ) -> End {
        let mut bytes = 0;
        let mut received = Some(first);
        while let Some(item) = received {
            match item {
                Some(Ok(batch)) => {
                    bytes += batch.batch_len();
                    if !self.accept(batch, records) {
                        return End::Cut;
                    }
                }
                Some(Err(code)) => return End::Failed(code),
                None => return End::Closed,
            }
            if bytes >= self.bytes {
                break;
            }
            received = batches.next().now_or_never();
        }
        End::None
    }

    /// Adds the new records of a batch. Returns false if records are missing before it or at its
    /// end.
    fn accept(&mut self, batch: Batch, records: &mut Vec<Record>) -> bool {
        let (base, time) = (batch.get_base_offset(), batch.header.first_timestamp);
        if base > self.next {
            return false;
        }
        let promised = batch.records_len();
        let found = batch.own_records();
        let is_whole = found.len() >= promised;
        for (offset, record) in (base..).zip(found) {
            if offset == self.next {
                self.next += 1;
                records.push(Record {
                    offset,
                    time: (time > 0).then(|| time + record.timestamp_delta()),
                    key: record.key.as_deref().map(|key| key.to_vec()),
                    value: record.value.to_vec(),
                });
            }
        }
        is_whole
    }

    /// Has the next stream send larger responses.
    fn grow(&mut self) -> Result<(), Fault> {
        if self.bytes == MAX_BYTES {
            return Err(Fault::Permanent(anyhow!(
                "the cluster does not return the record at offset {} of partition {} of `{}`",
                self.next,
                self.partition,
                self.topic
            )));
        }
        self.bytes = grown(self.bytes);
        Ok(())
    }

    fn fault(&mut self, code: ErrorCode) -> Fault {
        match code {
            // The server has no code for it, only this text.
            ErrorCode::Other(text) if text.contains("is greater than leo") => {
                Fault::Permanent(anyhow!(
                    "partition {} of `{}` ends before offset {}: it lost its end, or the topic was \
                     created again",
                    self.partition,
                    self.topic,
                    self.next
                ))
            }
            ErrorCode::OffsetEvicted { .. } | ErrorCode::TopicDeleted => {
                Fault::Permanent(refused(&self.topic, self.partition, code))
            }
            code => {
                // A compressed batch that is cut can't be read. The client has no code for it.
                if matches!(code, ErrorCode::Other(_)) {
                    self.bytes = grown(self.bytes);
                }
                Fault::Transient(refused(&self.topic, self.partition, code))
            }
        }
    }

    async fn open(&mut self) -> anyhow::Result<Open> {
        let client = connector_common::connect().await?;
        let config = consumer_config(self.bytes).build()?;
        let (topic, partition) = (&self.topic, self.partition);
        Ok(Open {
            batches: open(&client, topic, partition, self.next, config).await?,
            has_progress: false,
            _client: client,
        })
    }
}

#[cfg(test)]
mod tests {
    use fluvio::dataplane::record::Record as Sent;

    use super::*;

    /// The records that arrived of a batch of ten.
    fn batch(base: i64, arrived: usize) -> Batch {
        let records = (0..10).map(|number| Sent::new(format!("{}", base + number)));
        let mut batch = Batch::from(Vec::from_iter(records)).base_offset(base);
        batch.mut_records().truncate(arrived);
        batch
    }

    fn offsets(records: &[Record]) -> Vec<i64> {
        for record in records {
            assert_eq!(record.value, record.offset.to_string().into_bytes());
        }
        records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn a_cut_is_seen_at_the_batch_itself_and_at_the_one_behind_it() {
        let mut follower = Follower::new("t", 0, 5);
        let mut records = Vec::new();
        assert!(follower.accept(batch(0, 10), &mut records));
        assert!(!follower.accept(batch(10, 7), &mut records));
        assert!(!follower.accept(batch(20, 10), &mut records));
        assert_eq!(offsets(&records), Vec::from_iter(5..17));
        assert_eq!(follower.position(), 17);
        assert!(follower.accept(batch(10, 10), &mut records));
        assert!(follower.accept(batch(20, 10), &mut records));
        assert_eq!(offsets(&records), Vec::from_iter(5..30));
    }

    #[test]
    fn responses_grow_up_to_the_limit_of_the_protocol() {
        let mut follower = Follower::new("t", 0, 0);
        let sizes: Vec<i32> = std::iter::from_fn(|| {
            follower.grow().ok()?;
            Some(follower.bytes)
        })
        .collect();
        assert_eq!(sizes, [16 << 20, 64 << 20, 256 << 20, 1 << 30]);
    }

    #[test]
    fn only_an_error_that_can_come_from_a_cut_makes_responses_grow() {
        let mut follower = Follower::new("t", 0, 0);
        for code in [ErrorCode::NotLeaderForPartition, ErrorCode::SpuOffline] {
            assert!(matches!(follower.fault(code), Fault::Transient(_)));
            assert_eq!(follower.bytes, FIRST_BYTES);
        }
        let cut = ErrorCode::Other("failed to fill whole buffer".to_owned());
        assert!(matches!(follower.fault(cut), Fault::Transient(_)));
        assert_eq!(follower.bytes, 16 << 20);
        let lost = ErrorCode::Other("offset 7 is greater than leo 5".to_owned());
        assert!(matches!(follower.fault(lost), Fault::Permanent(_)));
        assert_eq!(follower.bytes, 16 << 20);
    }
}
