//! A place in a segment file that stays readable for as long as it is held.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes of a segment file: whole batches at first, the last one possibly cut.
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

    /// Where the slice begins in its file.
    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// The same slice, at most `max_len` bytes long. The cut may go through a batch.
    pub fn limited(self, max_len: u32) -> Self {
        Self {
            len: self.len.min(max_len.into()),
            ..self
        }
    }

    /// Reads `len` bytes at `at`, counted from the beginning of the slice.
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
