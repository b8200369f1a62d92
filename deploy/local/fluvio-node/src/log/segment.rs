//! One file of a log, and where in it to look for an offset.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fluvio_protocol::record::{BATCH_FILE_HEADER_SIZE, Offset};

use super::LogSlice;
use super::batches::{read_header, records_len};

/// Bytes between two entries of the index. A lookup reads the batch headers in between.
const INDEX_INTERVAL_BYTES: u64 = 16 * 1024;

/// A batch's base offset and where it begins in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndexEntry {
    pub offset: Offset,
    pub position: u64,
}

/// One file of a log.
#[derive(Debug)]
pub(super) struct Segment {
    pub base_offset: Offset,
    /// One behind the last record.
    pub end_offset: Offset,
    /// Bytes of whole batches; the file may be longer after a failed write.
    pub len: u64,
    pub file: Arc<File>,
    /// Sparse, ascending; kept in memory only and rebuilt when the log is opened.
    index: Vec<IndexEntry>,
}

impl Segment {
    /// Creates an empty segment file.
    pub fn create(dir: &Path, base_offset: Offset) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(segment_path(dir, base_offset))?;
        Ok(Self::empty(base_offset, file))
    }

    /// A segment none of whose batches are known yet.
    pub fn empty(base_offset: Offset, file: File) -> Self {
        Self {
            base_offset,
            end_offset: base_offset,
            len: 0,
            file: Arc::new(file),
            index: Vec::new(),
        }
    }

    /// Takes note of batches that were written behind the end.
    pub fn extend(&mut self, bytes: u64, entries: &[IndexEntry], end: Offset) {
        for entry in entries {
            let due = self
                .index
                .last()
                .is_none_or(|last| entry.position >= last.position + INDEX_INTERVAL_BYTES);
            if due {
                self.index.push(*entry);
            }
        }
        self.len += bytes;
        self.end_offset = end;
    }

    /// All that is needed to find an offset later, without the segment.
    pub fn lookup(&self, offset: Offset) -> Lookup {
        let after = self.index.partition_point(|it| it.offset <= offset);
        let hint = after.checked_sub(1).and_then(|it| self.index.get(it));
        Lookup {
            offset,
            from: hint.map_or(0, |it| it.position),
            slice: LogSlice::new(self.file.clone(), 0, self.len),
        }
    }
}

/// Looks for the batch that holds an offset.
pub(super) struct Lookup {
    offset: Offset,
    from: u64,
    slice: LogSlice,
}

impl Lookup {
    /// From the batch that holds the offset to the end of the segment.
    pub fn find(self) -> io::Result<Option<LogSlice>> {
        let mut at = self.from;
        while at < self.slice.len() {
            let header = read_header(&self.slice, at)?;
            if header.get_last_offset() >= self.offset {
                let len = self.slice.len() - at;
                return Ok(Some(LogSlice::new(self.slice.file().clone(), at, len)));
            }
            at += (BATCH_FILE_HEADER_SIZE + records_len(&header)?) as u64;
        }
        Ok(None)
    }
}

/// Fluvio names a segment file after its first offset, in 20 digits.
pub(super) fn segment_path(dir: &Path, base_offset: Offset) -> PathBuf {
    dir.join(format!("{base_offset:020}.log"))
}
