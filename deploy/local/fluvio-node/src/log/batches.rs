//! Walks over the batches of a slice, one at a time, decompressed.

use std::io::{self, Cursor};

use fluvio_protocol::record::{BATCH_FILE_HEADER_SIZE, BATCH_HEADER_SIZE, Batch};

use super::LogSlice;

/// A batch as a SmartModule wants it.
#[derive(Debug)]
pub(crate) struct StoredBatch {
    /// The header; its records are left empty.
    pub header: Batch,
    /// The encoded records, decompressed.
    pub records: Vec<u8>,
}

/// The batches of a slice. Ends with an error when the slice ends in the middle of a batch.
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

/// Reads the header of the batch that begins `at` bytes into the slice.
pub(super) fn read_header(slice: &LogSlice, at: u64) -> io::Result<Batch> {
    let bytes = slice.read(at, BATCH_FILE_HEADER_SIZE)?;
    let mut batch = Batch::default();
    batch.decode_from_file_buf(&mut Cursor::new(bytes), 0)?;
    Ok(batch)
}

/// Bytes of records behind a batch's header.
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
