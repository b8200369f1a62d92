//! The log of one partition: batches, appended to segment files and read by offset.
//!
//! Fluvio's storage crate isn't published for this release. This is a small replacement with the
//! same behaviour: a batch is stored with its new base offset and otherwise unchanged (compressed
//! batches stay compressed). A read starts at the batch that holds the offset and ends at the
//! segment's end or after a number of bytes, even in the middle of a batch.
//!
//! Appended batches are in the operating system's page cache when [`PartitionLog::append`] returns,
//! as in the real server: killing the process loses nothing, a power cut can lose batches that
//! weren't synced yet. A segment is synced when the next one begins and when the node stops.
//!
//! Batches aren't kept in memory: a reader gets a [`LogSlice`] of a file, which stays readable even
//! if the topic is deleted meanwhile.

mod recovery;
mod segment;

pub(crate) use segment::{Batches, LogSlice, StoredBatch};

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fluvio_protocol::Encoder;
use fluvio_protocol::link::ErrorCode;
use fluvio_protocol::record::{Offset, RawRecords, RecordSet};
use fluvio_types::defaults::{SPU_LOG_SEGMENT_MAX_BYTES, STORAGE_MAX_REQUEST_SIZE};
use tokio::sync::watch;

use crate::data_dir::sync_dir;
use segment::{IndexEntry, Segment, write_all_at};

/// The capacity of the write buffer that is kept between appends.
const KEPT_BUFFER_BYTES: usize = 1024 * 1024;

/// Batches could not be appended. Readers see none of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// Fluvio refuses batches larger than a segment or than 32 MiB.
    #[error("a batch of {size} bytes exceeds the limit of {limit} bytes")]
    BatchTooLarge { size: usize, limit: u64 },
    /// A batch without records has no offset.
    #[error("a batch without records")]
    EmptyBatch,
    /// The topic was deleted.
    #[error("the log was deleted")]
    Deleted,
    /// The file system refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// A log on disk is unusable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The file system refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// A segment before the last one is damaged, which a torn write can't cause.
    #[error(
        "{} is damaged at byte {position} ({reason}), and later segments follow it; \
         restore the file from a copy or delete the topic's folder",
        path.display()
    )]
    Damaged {
        path: PathBuf,
        position: u64,
        reason: String,
    },
    /// A segment is missing.
    #[error("{} should begin at offset {expected}: a segment is missing before it", path.display())]
    Gap { path: PathBuf, expected: Offset },
}

/// The result of a read.
#[derive(Debug)]
pub(crate) struct LogRead {
    /// The first offset in the log.
    pub start: Offset,
    /// The offset of the next record. With one replica it is both log end offset and high
    /// watermark.
    pub end: Offset,
    /// The records; `None` if the requested offset is the end.
    pub slice: Option<LogSlice>,
}

/// The log of one partition.
#[derive(Debug)]
pub(crate) struct PartitionLog {
    dir: PathBuf,
    segment_max_bytes: u64,
    /// Held while appending, so offsets are assigned and published in order.
    appender: Mutex<Appender>,
    /// Held only briefly: no file is read or written under it.
    segments: RwLock<Segments>,
    end: watch::Sender<Offset>,
}

#[derive(Debug, Default)]
struct Appender {
    deleted: bool,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Segments {
    /// Full segments, oldest first.
    sealed: Vec<Segment>,
    active: Segment,
}

impl Segments {
    fn start(&self) -> Offset {
        self.sealed.first().unwrap_or(&self.active).base_offset
    }

    fn holding(&self, offset: Offset) -> Option<&Segment> {
        if offset >= self.active.base_offset {
            return Some(&self.active);
        }
        let after = self.sealed.partition_point(|it| it.base_offset <= offset);
        after.checked_sub(1).and_then(|it| self.sealed.get(it))
    }
}

impl PartitionLog {
    /// Opens or creates the log in `dir`. A torn batch at the end of the last segment is moved to a
    /// file next to it.
    ///
    /// `segment_max_bytes` is the topic's segment size; Fluvio's default is 1 GiB.
    pub fn open(dir: PathBuf, segment_max_bytes: Option<u32>) -> Result<Self, OpenError> {
        fs::create_dir_all(&dir).map_err(|source| OpenError::Io {
            action: "can't create",
            path: dir.clone(),
            source,
        })?;
        let mut sealed = recovery::open_segments(&dir)?;
        let active = match sealed.pop() {
            Some(last) => last,
            None => Segment::create(&dir, 0).map_err(|source| OpenError::Io {
                action: "can't create a segment in",
                path: dir.clone(),
                source,
            })?,
        };
        Ok(Self {
            segment_max_bytes: segment_max_bytes
                .unwrap_or(SPU_LOG_SEGMENT_MAX_BYTES)
                .into(),
            appender: Mutex::default(),
            end: watch::Sender::new(active.end_offset),
            segments: RwLock::new(Segments { sealed, active }),
            dir,
        })
    }

    /// Returns the first offset in the log.
    pub fn start_offset(&self) -> Offset {
        self.segments().start()
    }

    /// Returns the offset of the next record.
    pub fn end_offset(&self) -> Offset {
        *self.end.borrow()
    }

    /// Returns a watch of the end offset.
    pub fn watch_end(&self) -> watch::Receiver<Offset> {
        self.end.subscribe()
    }

    /// Returns the bytes of batches in the log.
    pub fn size(&self) -> u64 {
        let segments = self.segments();
        segments.sealed.iter().map(|it| it.len).sum::<u64>() + segments.active.len
    }

    /// Assigns offsets to batches, appends them and returns their records' offsets. Blocks on the
    /// file system.
    pub fn append(
        &self,
        records: &mut RecordSet<RawRecords>,
    ) -> Result<Range<Offset>, AppendError> {
        let limit = self.segment_max_bytes.min(STORAGE_MAX_REQUEST_SIZE.into());
        for batch in &records.batches {
            let size = batch.write_size(0);
            if size as u64 > limit {
                return Err(AppendError::BatchTooLarge { size, limit });
            }
            if batch.records_len() == 0 {
                return Err(AppendError::EmptyBatch);
            }
        }

        let mut appender = self.appender();
        if appender.deleted {
            return Err(AppendError::Deleted);
        }
        let first = self.end_offset();
        let mut next = first;
        let mut entries = Vec::with_capacity(records.batches.len());
        let mut position = self.segments().active.len;
        appender.buffer.clear();
        for batch in &mut records.batches {
            if position > 0 && position + batch.write_size(0) as u64 > self.segment_max_bytes {
                self.write(&appender.buffer, &entries, next)?;
                self.roll(next)?;
                appender.buffer.clear();
                entries.clear();
                position = 0;
            }
            batch.set_base_offset(next);
            entries.push(IndexEntry {
                offset: next,
                position,
            });
            let before = appender.buffer.len();
            batch
                .encode(&mut appender.buffer, 0)
                .map_err(|source| self.io("can't encode a batch for", source))?;
            position += (appender.buffer.len() - before) as u64;
            next = batch.get_last_offset() + 1;
        }
        self.write(&appender.buffer, &entries, next)?;
        appender.buffer.clear();
        appender.buffer.shrink_to(KEPT_BUFFER_BYTES);
        Ok(first..next)
    }

    /// Returns the batch that holds `offset` and the rest of its segment, cut at `max_len` bytes.
    /// The errors are those of Fluvio's storage. Blocks on the file system.
    pub fn read(&self, offset: Offset, max_len: u32) -> Result<LogRead, ErrorCode> {
        let (start, end, lookup) = {
            let segments = self.segments();
            let end = segments.active.end_offset;
            let lookup = segments
                .holding(offset)
                .map(|segment| segment.lookup(offset));
            (segments.start(), end, lookup)
        };
        if offset == end {
            let slice = None;
            return Ok(LogRead { start, end, slice });
        }
        if offset > end {
            return Err(ErrorCode::Other(format!(
                "start offset: {offset} is greater than leo: {end}"
            )));
        }
        let lookup = lookup.ok_or(ErrorCode::OffsetEvicted {
            offset,
            next_available: start,
        })?;
        let slice = lookup
            .find()
            .map_err(|err| ErrorCode::Other(format!("offset error: {err}")))?
            .ok_or_else(|| ErrorCode::Other(format!("no records found at offset {offset}")))?;
        Ok(LogRead {
            start,
            end,
            slice: Some(slice.limited(max_len)),
        })
    }

    /// Syncs the active segment to disk.
    pub fn sync(&self) -> io::Result<()> {
        let file = self.segments().active.file.clone();
        file.sync_data()
    }

    /// Deletes the log's files. Existing slices stay readable.
    pub fn delete(&self) -> io::Result<()> {
        self.appender().deleted = true;
        match fs::remove_dir_all(&self.dir) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
            _ => Ok(()),
        }
    }

    /// Writes encoded batches at the end of the active segment, then makes them visible.
    fn write(&self, bytes: &[u8], entries: &[IndexEntry], end: Offset) -> Result<(), AppendError> {
        if entries.is_empty() {
            return Ok(());
        }
        let (file, len) = {
            let segments = self.segments();
            (segments.active.file.clone(), segments.active.len)
        };
        if let Err(source) = write_all_at(&file, bytes, len) {
            // The next append overwrites it; cutting it off matters only if a crash comes first.
            if let Err(err) = file.set_len(len) {
                tracing::warn!(log = %self.dir.display(), %err, "can't cut off a failed write");
            }
            return Err(self.io("can't append to", source));
        }
        self.segments_mut()
            .active
            .extend(bytes.len() as u64, entries, end);
        self.end.send_replace(end);
        Ok(())
    }

    fn roll(&self, base_offset: Offset) -> Result<(), AppendError> {
        self.sync()
            .map_err(|source| self.io("can't sync", source))?;
        let fresh = Segment::create(&self.dir, base_offset)
            .map_err(|source| self.io("can't begin a segment in", source))?;
        sync_dir(&self.dir).map_err(|source| self.io("can't sync", source))?;
        let mut segments = self.segments_mut();
        let full = std::mem::replace(&mut segments.active, fresh);
        segments.sealed.push(full);
        Ok(())
    }

    fn io(&self, action: &'static str, source: io::Error) -> AppendError {
        AppendError::Io {
            action,
            path: self.dir.clone(),
            source,
        }
    }

    // A panic under one of these locks leaves consistent data, which is changed in single steps. So
    // poisoning is ignored.

    fn appender(&self) -> MutexGuard<'_, Appender> {
        self.appender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn segments(&self) -> RwLockReadGuard<'_, Segments> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn segments_mut(&self) -> RwLockWriteGuard<'_, Segments> {
        self.segments
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the folder of a partition's log in the data folder's `logs`.
pub(crate) fn log_dir(logs: &Path, topic: &str, partition: u32) -> PathBuf {
    logs.join(format!("{topic}-{partition}"))
}
