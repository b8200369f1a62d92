//! Segment files: their batches, and a sparse index of offsets.

use std::fs::{File, OpenOptions};
use std::io::{self, Cursor};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fluvio_protocol::record::{BATCH_FILE_HEADER_SIZE, BATCH_HEADER_SIZE, Batch, Offset};

/// The bytes between two entries of the index. A lookup reads the batch headers in between.
const INDEX_INTERVAL_BYTES: u64 = 16 * 1024;

/// A batch's base offset and its position in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndexEntry {
    pub offset: Offset,
    pub position: u64,
}

/// One file of a log.
#[derive(Debug)]
pub(super) struct Segment {
    pub base_offset: Offset,
    /// The last record's offset plus one.
    pub end_offset: Offset,
    /// Bytes of whole batches; the file may be longer after a failed write.
    pub len: u64,
    pub file: Arc<File>,
    /// Sparse and ascending. It is kept only in memory and rebuilt when the log is opened.
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

    /// Returns a segment without known batches.
    pub fn empty(base_offset: Offset, file: File) -> Self {
        Self {
            base_offset,
            end_offset: base_offset,
            len: 0,
            file: Arc::new(file),
            index: Vec::new(),
        }
    }

    /// Adds batches that were written at the end.
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

    /// Returns a lookup of an offset, which doesn't borrow the segment.
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

/// Finds the batch that holds an offset.
pub(super) struct Lookup {
    offset: Offset,
    from: u64,
    slice: LogSlice,
}

impl Lookup {
    /// Returns the slice from the batch that holds the offset to the end of the segment.
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

/// Returns a segment's path. Fluvio names the file after its first offset, in 20 digits.
pub(super) fn segment_path(dir: &Path, base_offset: Offset) -> PathBuf {
    dir.join(format!("{base_offset:020}.log"))
}

/// Bytes of a segment file: batches, of which the last may be cut. They stay readable as long as
/// the slice exists.
#[derive(Debug, Clone)]
pub(crate) struct LogSlice {
    file: Arc<File>,
    position: u64,
    len: u64,
}

impl LogSlice {
    pub fn new(file: Arc<File>, position: u64, len: u64) -> Self {
        Self {
            file,
            position,
            len,
        }
    }

    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Returns the slice's position in its file.
    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// Shortens the slice to at most `max_len` bytes, even in the middle of a batch.
    pub fn limited(self, max_len: u32) -> Self {
        Self {
            len: self.len.min(max_len.into()),
            ..self
        }
    }

    /// Reads `len` bytes at position `at` of the slice.
    pub fn read(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        if at.saturating_add(len as u64) > self.len {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{len} bytes at {at} of a slice of {} bytes", self.len),
            ));
        }
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, self.position + at)?;
        Ok(bytes)
    }
}

pub(super) fn write_all_at(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
    file.write_all_at(bytes, position)
}

/// A batch with its records decompressed, as SmartModules need it.
#[derive(Debug)]
pub(crate) struct StoredBatch {
    /// The header, with empty records.
    pub header: Batch,
    /// The encoded records, decompressed.
    pub records: Vec<u8>,
}

/// Iterates over the batches of a slice, one in memory at a time. A cut batch at the end is an
/// error.
#[derive(Debug)]
pub(crate) struct Batches {
    slice: LogSlice,
    at: u64,
}

impl Batches {
    pub fn new(slice: LogSlice) -> Self {
        Self { slice, at: 0 }
    }

    fn read(&mut self) -> io::Result<StoredBatch> {
        let header = read_header(&self.slice, self.at)?;
        let records_at = self.at + BATCH_FILE_HEADER_SIZE as u64;
        let raw = self.slice.read(records_at, records_len(&header)?)?;
        self.at = records_at + raw.len() as u64;
        let compression = header.get_compression().map_err(io::Error::other)?;
        let records = match compression.uncompress(&raw).map_err(io::Error::other)? {
            Some(records) => records,
            None => raw,
        };
        Ok(StoredBatch { header, records })
    }
}

impl Iterator for Batches {
    type Item = io::Result<StoredBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.at < self.slice.len())
            .then(|| self.read().inspect_err(|_| self.at = self.slice.len()))
    }
}

/// Reads the header of the batch at position `at` of the slice.
pub(super) fn read_header(slice: &LogSlice, at: u64) -> io::Result<Batch> {
    let bytes = slice.read(at, BATCH_FILE_HEADER_SIZE)?;
    let mut batch = Batch::default();
    batch.decode_from_file_buf(&mut Cursor::new(bytes), 0)?;
    Ok(batch)
}

/// Returns the bytes of records after a batch's header.
pub(super) fn records_len(header: &Batch) -> io::Result<usize> {
    usize::try_from(header.batch_len)
        .ok()
        .and_then(|len| len.checked_sub(BATCH_HEADER_SIZE))
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a batch length of {}", header.batch_len),
            )
        })
}
