//! Opens and verifies the segment files of a log.
//!
//! It reads every batch header: lengths and offsets must add up. In the last segment it verifies
//! the checksums too. Only there can a crash leave a torn batch, which is cut off with everything
//! after it and kept in a separate file for inspection.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use fluvio_protocol::record::{BATCH_FILE_HEADER_SIZE, Batch, Offset};

use super::OpenError;
use super::segment::{IndexEntry, LogSlice, Segment, read_header, records_len, segment_path};

/// A batch's checksum covers everything after the base offset, the length, the leader epoch, the
/// magic byte and the checksum itself.
const CHECKSUMMED_FROM: usize = 8 + 4 + 4 + 1 + 4;

/// The parts of a segment to verify.
#[derive(Clone, Copy, PartialEq)]
enum Check {
    Headers,
    Checksums,
}

/// Opens all segments in `dir`, oldest first.
pub(super) fn open_segments(dir: &Path) -> Result<Vec<Segment>, OpenError> {
    let bases = segment_bases(dir)?;
    let mut segments: Vec<Segment> = Vec::with_capacity(bases.len());
    for (at, base_offset) in bases.iter().enumerate() {
        let path = segment_path(dir, *base_offset);
        if let Some(previous) = segments.last()
            && previous.end_offset != *base_offset
        {
            let expected = previous.end_offset;
            return Err(OpenError::Gap { path, expected });
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io_error("can't open", &path))?;
        let last = at + 1 == bases.len();
        let check = if last {
            Check::Checksums
        } else {
            Check::Headers
        };
        let mut segment = Segment::empty(*base_offset, file);
        if let Some((position, reason)) =
            scan(&mut segment, check).map_err(io_error("can't read", &path))?
        {
            if !last {
                return Err(OpenError::Damaged {
                    path,
                    position,
                    reason,
                });
            }
            set_aside(&segment.file, &path, position)
                .map_err(io_error("can't cut off the torn end of", &path))?;
            tracing::warn!(
                file = %path.display(), position, reason,
                "the log ends in a torn batch, which was moved to a separate file"
            );
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// Reads a segment's batches into its index. Returns the position and the reason if it stops before
/// the end of the file.
fn scan(segment: &mut Segment, check: Check) -> io::Result<Option<(u64, String)>> {
    let file_len = segment.file.metadata()?.len();
    let slice = LogSlice::new(segment.file.clone(), 0, file_len);
    while segment.len < file_len {
        let position = segment.len;
        match whole_batch(&slice, position, segment.end_offset, check) {
            Ok((header, len)) => {
                let entry = IndexEntry {
                    offset: header.base_offset,
                    position,
                };
                segment.extend(len as u64, &[entry], header.get_last_offset() + 1);
            }
            Err(err) if is_damage(&err) => return Ok(Some((position, err.to_string()))),
            Err(err) => return Err(err),
        }
    }
    Ok(None)
}

fn whole_batch(
    slice: &LogSlice,
    position: u64,
    expected: Offset,
    check: Check,
) -> io::Result<(Batch, usize)> {
    let header = read_header(slice, position)?;
    let len = BATCH_FILE_HEADER_SIZE + records_len(&header)?;
    if header.base_offset != expected {
        return damage(format!(
            "base offset {} instead of {expected}",
            header.base_offset
        ));
    }
    if header.records_len() == 0 {
        return damage("a batch without records".to_owned());
    }
    if position + len as u64 > slice.len() {
        return damage(format!("a batch of {len} bytes ends after the file"));
    }
    if check == Check::Checksums {
        let bytes = slice.read(position, len)?;
        let covered = bytes.get(CHECKSUMMED_FROM..).unwrap_or_default();
        if crc32c::crc32c(covered) != header.header.crc {
            return damage("a wrong checksum".to_owned());
        }
    }
    Ok((header, len))
}

fn damage<T>(reason: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

fn is_damage(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

/// Moves the bytes from `position` on to a file next to the segment.
fn set_aside(mut file: &File, path: &Path, position: u64) -> io::Result<()> {
    let aside = path.with_extension(format!("torn-at-{position}"));
    file.seek(SeekFrom::Start(position))?;
    let mut copy = File::create(aside)?;
    io::copy(&mut file.take(u64::MAX), &mut copy)?;
    copy.sync_data()?;
    file.set_len(position)
}

fn segment_bases(dir: &Path) -> Result<Vec<Offset>, OpenError> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("can't list", dir))? {
        let path = entry.map_err(io_error("can't list", dir))?.path();
        if path.extension().is_none_or(|it| it != "log") {
            continue;
        }
        let base = path.file_stem().and_then(|it| it.to_str()?.parse().ok());
        match base {
            Some(base) => bases.push(base),
            None => tracing::warn!(file = %path.display(), "not a segment of this log; ignored"),
        }
    }
    bases.sort_unstable();
    Ok(bases)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError + use<> {
    let path: PathBuf = path.to_owned();
    move |source| OpenError::Io {
        action,
        path,
        source,
    }
}
