//! Decodes a batch of records from the engine, flattens or copies it, and encodes the output.
//!
//! The input (`SmartModuleInput`) is the base offset, the records with their length in front, the
//! parameters (up to version 22), records to join (from 16 to 22), and the batch's time (from 22
//! on). Only the records and the time are read. The output (`SmartModuleOutput`) is the records and
//! an optional error. Records are a count and, for each, its length, attributes, timestamp delta,
//! offset delta, key, value and headers, in every version of the interface.

use fact_model::{Arena, Envelope, Options, Reason, flatten_in, reject};

use crate::abi::{BatchError, Transformation};
use crate::parameters::{self, InitError};
use crate::wire::{Reader, length_size, write_length};

/// The output size from which the rest of a batch is rejected. The engine gives a module 1 GB, a
/// growing buffer briefly exists twice, and a trap would stop the stream at this batch for good.
/// Ordinary events grow threefold, and a producer's largest request is 32 MiB.
const OUTPUT_LIMIT: usize = 256 * 1024 * 1024;

/// Converts an envelope to records.
pub type Put = fn(&Envelope<'_>, &mut Records<'_>);

/// Flattens batches. Its memory is as large as the largest batch needed.
#[derive(Debug)]
pub struct Flattener {
    put: Put,
    options: Options,
    arena: Arena,
    value: Vec<u8>,
    output: Vec<u8>,
    output_limit: usize,
}

impl Flattener {
    /// Creates a flattener that converts each record's envelope to records with `put`.
    #[must_use]
    pub fn new(put: Put) -> Self {
        Self {
            put,
            options: Options::default(),
            arena: Arena::new(),
            value: Vec::new(),
            output: Vec::new(),
            output_limit: OUTPUT_LIMIT,
        }
    }

    /// Sets the options from the next batch on.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    /// Sets the output size from which the rest of a batch is rejected.
    pub fn set_output_limit(&mut self, bytes: usize) {
        self.output_limit = bytes;
    }

    /// Turns an encoded `SmartModuleInput` into an encoded `SmartModuleOutput` and returns the
    /// number of records. [`Self::output`] returns the output until the next batch.
    ///
    /// # Errors
    /// The bytes are not a valid input.
    pub fn flatten(&mut self, input: &[u8], version: i32) -> Result<usize, BatchError> {
        let Input { mut records, time } = Input::read(input, version).ok_or(BatchError::Input)?;
        let count = records.count().ok_or(BatchError::Records)?;
        self.output.clear();
        self.output.extend_from_slice(&[0; COUNT]);
        let mut put = 0;
        for _ in 0..count {
            let record = records
                .bytes()
                .and_then(Record::read)
                .ok_or(BatchError::Records)?;
            put += self.flatten_record(&record, time);
        }
        self.output.push(NO_ERROR);
        let announced = i32::try_from(put).map_err(|_| BatchError::Output)?;
        if let Some(place) = self.output.first_chunk_mut() {
            *place = announced.to_be_bytes();
        }
        Ok(put)
    }

    /// Returns the encoded output of the last batch.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// Flattens one record and returns the number of output records.
    fn flatten_record(&mut self, record: &Record<'_>, time_of_batch: Option<i64>) -> usize {
        self.arena.reset();
        let envelope = if self.output.len() <= self.output_limit {
            let time = time_of_batch.and_then(|time| time.checked_add(record.timestamp_delta));
            flatten_in(&self.arena, &self.options, record.value, time)
        } else {
            reject(
                record.value,
                Reason::TooLarge,
                "the output of the batch is full after the records before this one",
            )
        };
        let mut records = Records {
            record,
            value: &mut self.value,
            output: &mut self.output,
            count: 0,
        };
        (self.put)(&envelope, &mut records);
        records.count
    }
}

impl Transformation for Flattener {
    fn configure(&mut self, parameters: &[u8]) -> Result<(), InitError> {
        self.set_options(parameters::read(parameters)?);
        Ok(())
    }

    fn transform(&mut self, input: &[u8], version: i32) -> Result<usize, BatchError> {
        self.flatten(input, version)
    }

    fn output(&self) -> &[u8] {
        Flattener::output(self)
    }
}

/// Copies batches: input and output have the same encoding of records.
#[derive(Debug, Default)]
pub struct Copier {
    output: Vec<u8>,
}

impl Transformation for Copier {
    fn configure(&mut self, parameters: &[u8]) -> Result<(), InitError> {
        parameters::refuse(parameters)
    }

    fn transform(&mut self, input: &[u8], version: i32) -> Result<usize, BatchError> {
        let Input { records, .. } = Input::read(input, version).ok_or(BatchError::Input)?;
        let mut counted = records;
        let count = counted.count().ok_or(BatchError::Records)?;
        self.output.clear();
        self.output.extend_from_slice(records.0);
        self.output.push(NO_ERROR);
        Ok(count)
    }

    fn output(&self) -> &[u8] {
        &self.output
    }
}

/// The size of the number of records.
const COUNT: usize = 4;

/// `None` of an optional error.
const NO_ERROR: u8 = 0;

/// The first version of the interface with the batch's time.
const WITH_TIME: i32 = 22;

/// An encoded `SmartModuleInput`.
struct Input<'a> {
    records: Reader<'a>,
    /// The time when the batch was written, in ms of Unix time.
    time: Option<i64>,
}

impl<'a> Input<'a> {
    fn read(input: &'a [u8], version: i32) -> Option<Self> {
        let mut rest = Reader(input);
        let _base_offset = rest.long()?;
        let length = rest.count()?;
        let records = rest.take(length).map(Reader)?;
        // The time is the last field.
        let time = match rest.0.last_chunk() {
            Some(time) if version >= WITH_TIME => Some(i64::from_be_bytes(*time)),
            _ => None,
        };
        Some(Self { records, time })
    }
}

/// A record. Everything but the value is copied unchanged.
#[derive(Debug)]
struct Record<'a> {
    /// The record's time minus the batch's, in ms.
    timestamp_delta: i64,
    /// Attributes, deltas and key.
    before: &'a [u8],
    value: &'a [u8],
    headers: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(record: &'a [u8]) -> Option<Self> {
        let mut rest = Reader(record);
        let _attributes = rest.byte()?;
        let timestamp_delta = rest.varint()?;
        let _offset_delta = rest.varint()?;
        match rest.byte()? {
            0 => {}
            1 => drop(rest.bytes()?),
            _ => return None,
        }
        let (before, _) = record.split_at_checked(record.len() - rest.0.len())?;
        let value = rest.bytes()?;
        Some(Self {
            timestamp_delta,
            before,
            value,
            headers: rest.0,
        })
    }
}

/// The output of one record: records with its key and headers and other values.
#[derive(Debug)]
pub struct Records<'a> {
    record: &'a Record<'a>,
    value: &'a mut Vec<u8>,
    output: &'a mut Vec<u8>,
    count: usize,
}

impl Records<'_> {
    /// Adds a record with the value that `write` appends.
    pub fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let Record {
            before, headers, ..
        } = self.record;
        self.value.clear();
        write(self.value);
        let value = self.value.len();
        let length = before.len() + length_size(value) + value + headers.len();
        write_length(length, self.output);
        self.output.extend_from_slice(before);
        write_length(value, self.output);
        self.output.extend_from_slice(self.value);
        self.output.extend_from_slice(headers);
        self.count += 1;
    }
}
