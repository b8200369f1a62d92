//! A batch of records as the engine hands it over and takes it back.
//!
//! In (`SmartModuleInput`): the base offset, the records with their length in front, then, of which records have no
//! use but for the last, the parameters (up to version 22), records to join (from 16 to 22), and the time of the
//! batch (from 22 on). Out (`SmartModuleOutput`): the records, then whether there was an error.
//! The records are a count and, for each, its length, attributes, timestamp delta, offset delta, key,
//! value and headers; the same in every version of the interface.

use fact_model::{Arena, Envelope, Options, Reason, flatten_in, reject};

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
    /// There are more records than the interface can count.
    Output = -33,
}

/// How large an output may become before the rest of its batch is refused: the engine gives a module 1 GB, a
/// buffer that grows is there twice for a moment, and a trap would stop the stream at this batch for good. Ordinary
/// events become three times as large, and the largest request of a producer is 32 MiB.
const OUTPUT_LIMIT: usize = 256 * 1024 * 1024;

/// What a SmartModule does with an envelope: it puts out records.
pub type Put = fn(&Envelope<'_>, &mut Records<'_>);

/// Flattens batch after batch, in memory that is as large as the largest of them needed.
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
    /// A flattener that puts out what `put` makes of the envelope of each record.
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

    /// What the operator chose, from the next batch on.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    /// Refuses further records of a batch once its output exceeds `bytes`.
    pub fn set_output_limit(&mut self, bytes: usize) {
        self.output_limit = bytes;
    }

    /// Turns an encoded `SmartModuleInput` into an encoded `SmartModuleOutput`, which
    /// [`Self::output`] holds until the next batch, and returns the number of records.
    ///
    /// # Errors
    /// When the bytes are no such input.
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

    /// The encoded output of the last batch.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// Puts out what comes of one record, and returns how many records that is.
    fn flatten_record(&mut self, record: &Record<'_>, time_of_batch: Option<i64>) -> usize {
        self.arena.reset();
        let envelope = if self.output.len() <= self.output_limit {
            let time = time_of_batch.and_then(|time| time.checked_add(record.timestamp_delta));
            flatten_in(&self.arena, &self.options, record.value, time)
        } else {
            reject(
                record.value,
                Reason::TooLarge,
                "the events before it in the batch took all room",
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

/// The bytes of the number of records.
const COUNT: usize = 4;

/// `None` of an optional error.
const NO_ERROR: u8 = 0;

/// The first version of the interface that tells the time of a batch.
const WITH_TIME: i32 = 22;

/// An encoded `SmartModuleInput`.
struct Input<'a> {
    records: Reader<'a>,
    /// When the batch was written, in ms of Unix time.
    time: Option<i64>,
}

impl<'a> Input<'a> {
    fn read(input: &'a [u8], version: i32) -> Option<Self> {
        let mut rest = Reader(input);
        let _base_offset = rest.long()?;
        let length = rest.count()?;
        let records = rest.take(length).map(Reader)?;
        // Whatever else there is, the time is the last of it.
        let time = match rest.0.last_chunk() {
            Some(time) if version >= WITH_TIME => Some(i64::from_be_bytes(*time)),
            _ => None,
        };
        Some(Self { records, time })
    }
}

/// A record, of which all but the value stays as it came.
#[derive(Debug)]
struct Record<'a> {
    /// Milliseconds from the time of the batch to that of the record.
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

/// The records that come of one record: its key and headers, with other values.
#[derive(Debug)]
pub struct Records<'a> {
    record: &'a Record<'a>,
    value: &'a mut Vec<u8>,
    output: &'a mut Vec<u8>,
    count: usize,
}

impl Records<'_> {
    /// Puts out a record whose value is what `write` appends.
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
