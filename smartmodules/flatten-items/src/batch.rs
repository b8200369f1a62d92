//! A batch of records as the engine hands it over and takes it back.
//!
//! In (`SmartModuleInput`): the base offset, then the records with their length in front, then what a
//! `map` has no use for. Out (`SmartModuleOutput`): the records, then whether there was an error.
//! The records are a count and, for each, its length, attributes, timestamp delta, offset delta, key,
//! value and headers; the same in every version of the interface.

use fact_model::{Arena, Reason, flatten_in, reject};

use crate::wire::{Reader, length_size, write_length};

/// Why a batch as a whole was not understood. It takes a fault in Fluvio to see one of these: a
/// record's own content never is the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum BatchError {
    /// The frame around the records is cut off.
    Input = -11,
    /// The records are not as many as announced, or cut off.
    Records = -22,
    /// An envelope could not be written as JSON.
    Output = -33,
}

/// How large an output may become before the rest of its batch is refused: the engine gives a module 1 GB, a
/// buffer that grows is there twice for a moment, and a trap would stop the stream at this batch for good. Ordinary
/// events become three times as large, and the largest request of a producer is 32 MiB.
const OUTPUT_LIMIT: usize = 256 * 1024 * 1024;

/// Flattens batch after batch, in memory that is as large as the largest of them needed.
#[derive(Debug)]
pub struct Flattener {
    arena: Arena,
    envelope: Vec<u8>,
    output: Vec<u8>,
    output_limit: usize,
}

impl Default for Flattener {
    fn default() -> Self {
        Self::with_output_limit(OUTPUT_LIMIT)
    }
}

impl Flattener {
    /// A flattener that refuses further records of a batch once its output exceeds `bytes`.
    pub fn with_output_limit(bytes: usize) -> Self {
        Self {
            arena: Arena::new(),
            envelope: Vec::new(),
            output: Vec::new(),
            output_limit: bytes,
        }
    }

    /// Turns an encoded `SmartModuleInput` into an encoded `SmartModuleOutput`, which
    /// [`Self::output`] holds until the next batch, and returns the number of records.
    ///
    /// # Errors
    /// When the bytes are no such input.
    pub fn flatten(&mut self, input: &[u8]) -> Result<usize, BatchError> {
        let mut records = records(input).ok_or(BatchError::Input)?;
        let count = records.count().ok_or(BatchError::Records)?;
        self.output.clear();
        let announced = u32::try_from(count).map_err(|_| BatchError::Records)?;
        self.output.extend_from_slice(&announced.to_be_bytes());
        for _ in 0..count {
            let record = records
                .bytes()
                .and_then(Record::read)
                .ok_or(BatchError::Records)?;
            self.flatten_record(&record)?;
        }
        self.output.push(NO_ERROR);
        Ok(count)
    }

    /// The encoded output of the last batch.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    fn flatten_record(&mut self, record: &Record<'_>) -> Result<(), BatchError> {
        self.arena.reset();
        self.envelope.clear();
        let envelope = if self.output.len() <= self.output_limit {
            flatten_in(&self.arena, record.value)
        } else {
            reject(
                record.value,
                Reason::TooLarge,
                "the events before it in the batch took all room",
            )
        };
        serde_json::to_writer(&mut self.envelope, &envelope).map_err(|_| BatchError::Output)?;
        record.write_with(&self.envelope, &mut self.output);
        Ok(())
    }
}

/// `None` of an optional error.
const NO_ERROR: u8 = 0;

/// The part of an encoded `SmartModuleInput` that is the records.
fn records(input: &[u8]) -> Option<Reader<'_>> {
    let mut input = Reader(input);
    let _base_offset = input.take(8)?;
    let length = input.count()?;
    input.take(length).map(Reader)
}

/// A record, of which all but the value stays as it came.
struct Record<'a> {
    /// Attributes, deltas and key.
    before: &'a [u8],
    value: &'a [u8],
    headers: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(record: &'a [u8]) -> Option<Self> {
        let mut rest = Reader(record);
        let _attributes = rest.byte()?;
        let _timestamp_delta = rest.varint()?;
        let _offset_delta = rest.varint()?;
        match rest.byte()? {
            0 => {}
            1 => drop(rest.bytes()?),
            _ => return None,
        }
        let (before, _) = record.split_at_checked(record.len() - rest.0.len())?;
        let value = rest.bytes()?;
        Some(Self {
            before,
            value,
            headers: rest.0,
        })
    }

    fn write_with(&self, value: &[u8], out: &mut Vec<u8>) {
        let length =
            self.before.len() + length_size(value.len()) + value.len() + self.headers.len();
        write_length(length, out);
        out.extend_from_slice(self.before);
        write_length(value.len(), out);
        out.extend_from_slice(value);
        out.extend_from_slice(self.headers);
    }
}
