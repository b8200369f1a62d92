//! SmartModules: a chain of them, applied to batches the way the real SPU does.
//!
//! What clients of the real SPU rely on, or stumble over, is kept exactly:
//!
//! - All output of one read becomes one batch, whose base offset is that of the first input
//!   batch with output. A client derives a record's offset from the batch's base offset and the
//!   record's place, so a SmartModule that changes the number of records shifts offsets.
//! - The output's timestamps are those of a new batch: −1.
//! - A batch whose output does not fit into what is left of `max_bytes` ends the read and its
//!   output is dropped; when it was the first one, nothing is put out at all.
//! - A read ends with its segment at the latest. When nothing is put out the stream goes on at the
//!   end of the log all the same.
//! - A SmartModule that returns an error ends the read: what it had put out so far counts, the
//!   rest of its batch does not. A trap is an error of the chain as a whole.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fluvio_compression::{Compression, CompressionError};
use fluvio_controlplane_metadata::smartmodule::SmartModulePackageKey;
use fluvio_protocol::link::ErrorCode;
use fluvio_protocol::link::smartmodule::SmartModuleTransformRuntimeError;
use fluvio_protocol::record::{Batch, Offset, RawRecords, Record};
use fluvio_protocol::types::Timestamp;
use fluvio_protocol::{Decoder, Encoder};
use fluvio_smartengine::{
    EngineError, Lookback, SmartEngine, SmartModuleChainBuilder, SmartModuleChainInstance,
    SmartModuleConfig, SmartModuleInitialData,
};
use fluvio_smartmodule::dataplane::smartmodule::SmartModuleInput;
use fluvio_spu_schema::server::smartmodule::{
    SmartModuleContextData, SmartModuleInvocation, SmartModuleInvocationWasm, SmartModuleKind,
};
use fluvio_types::defaults::SPU_SMARTENGINE_STORE_MAX_BYTES;
use futures_util::FutureExt;

use super::Spu;
use crate::log::{Batches, PartitionLog, StoredBatch};

/// A batch on its way into a chain.
pub(super) struct InputBatch {
    base_offset: Offset,
    base_timestamp: Timestamp,
    last_offset_delta: i32,
    compression: Result<Compression, CompressionError>,
    /// The encoded records, decompressed.
    records: Vec<u8>,
}

impl InputBatch {
    /// A batch as a producer has sent it.
    pub fn from_produced(batch: &Batch<RawRecords>) -> io::Result<Self> {
        let compression = batch.get_compression().map_err(io::Error::other)?;
        let raw = &batch.records().0;
        let records = match compression.uncompress(raw).map_err(io::Error::other)? {
            Some(records) => records,
            None => raw.to_vec(),
        };
        Ok(Self::new(batch, records))
    }

    fn new<R>(header: &Batch<R>, records: Vec<u8>) -> Self {
        Self {
            base_offset: header.base_offset,
            base_timestamp: header.get_base_timestamp(),
            last_offset_delta: header.last_offset_delta(),
            compression: header.get_compression(),
            records,
        }
    }
}

impl From<StoredBatch> for InputBatch {
    fn from(stored: StoredBatch) -> Self {
        Self::new(&stored.header, stored.records)
    }
}

/// What a chain has made of one read.
pub(super) struct Transformed {
    /// All output. Without output its base offset is −1.
    pub batch: Batch,
    /// What a SmartModule returned instead of an output.
    pub error: Option<SmartModuleTransformRuntimeError>,
}

/// SmartModules in a row, each with its state.
pub(super) struct Chain {
    instance: SmartModuleChainInstance,
    version: i16,
}

impl Chain {
    /// Compiles the SmartModules, which have to be resolved. `None` when there are none.
    /// Takes a while.
    pub fn build(
        invocations: Vec<SmartModuleInvocation>,
        version: i16,
        engine: &SmartEngine,
    ) -> Result<Option<Self>, ErrorCode> {
        if invocations.is_empty() {
            return Ok(None);
        }
        let mut builder = SmartModuleChainBuilder::default();
        builder.set_store_memory_limit(SPU_SMARTENGINE_STORE_MAX_BYTES);
        for invocation in invocations {
            let names = vec![invocation.name.clone().unwrap_or_default()];
            let wasm = invocation.wasm.into_raw().map_err(invalid)?;
            let lookback = invocation.params.lookback().map(Lookback::from);
            let config = SmartModuleConfig::builder()
                .smartmodule_names(names)
                .params(invocation.params)
                .version(version)
                .lookback(lookback)
                .initial_data(initial_data(&invocation.kind))
                .build()
                .map_err(invalid)?;
            builder.add_smart_module(config, wasm);
        }
        let instance = builder.initialize(engine).map_err(init_error)?;
        Ok(Some(Self { instance, version }))
    }

    /// Shows the SmartModules that ask for it the records before.
    pub fn look_back(&mut self, log: &PartitionLog) -> Result<(), ErrorCode> {
        let version = self.version;
        // Nothing in it waits.
        self.instance
            .look_back(|lookback| std::future::ready(look_back(log, lookback, version)))
            .now_or_never()
            .unwrap_or(Ok(()))
            .map_err(|err| ErrorCode::SmartModuleLookBackError(err.root_cause().to_string()))
    }

    /// Runs batches through the chain until `max_bytes` of output are reached.
    pub fn process<B: Into<InputBatch>>(
        &mut self,
        batches: impl Iterator<Item = io::Result<B>>,
        max_bytes: usize,
    ) -> anyhow::Result<Transformed> {
        let mut output = Batch::default();
        output.base_offset = -1;
        output.set_offset_delta(-1);
        let mut output_bytes = 0;

        for batch in batches {
            let input: InputBatch = batch?.into();
            let processed = self.instance.process(SmartModuleInput::new(
                input.records,
                input.base_offset,
                input.base_timestamp,
            ))?;
            let error = processed.error;
            let mut records = processed.successes;

            if !records.is_empty() {
                if output.base_offset == -1 {
                    if let Ok(compression) = input.compression {
                        output.header.set_compression(compression);
                    }
                    output.base_offset = input.base_offset;
                }
                for record in &mut records {
                    record.add_base_offset(output.base_offset - input.base_offset);
                }
                let bytes = records.write_size(0);
                if output_bytes + bytes > max_bytes {
                    return Ok(Transformed {
                        batch: output,
                        error,
                    });
                }
                output_bytes += bytes;
                output.mut_records().append(&mut records);
            }
            if output.base_offset != -1 {
                output.add_to_offset_delta(input.last_offset_delta + 1);
            }
            if error.is_some() {
                return Ok(Transformed {
                    batch: output,
                    error,
                });
            }
        }
        Ok(Transformed {
            batch: output,
            error: None,
        })
    }
}

impl Spu {
    /// Puts the WebAssembly of SmartModules in the place of their names.
    pub(super) async fn resolve(
        &self,
        invocations: Vec<SmartModuleInvocation>,
    ) -> Result<Vec<SmartModuleInvocation>, ErrorCode> {
        let mut resolved = Vec::with_capacity(invocations.len());
        for invocation in invocations {
            let SmartModuleInvocationWasm::Predefined(name) = invocation.wasm else {
                resolved.push(invocation);
                continue;
            };
            let key = SmartModulePackageKey::from_qualified_name(&name).map_err(|err| {
                ErrorCode::Other(format!("error parsing SmartModule name: {err}"))
            })?;
            let stored = self.smartmodules.read().await;
            let payload = stored
                .values()
                .find(|it| key.is_match(&it.key, it.spec.meta.as_ref().map(|meta| &meta.package)))
                .map(|it| it.spec.wasm.payload.to_vec())
                .ok_or_else(|| ErrorCode::SmartModuleNotFound { name: name.clone() })?;
            resolved.push(SmartModuleInvocation {
                wasm: SmartModuleInvocationWasm::AdHoc(payload),
                name: Some(name),
                ..invocation
            });
        }
        Ok(resolved)
    }
}

fn initial_data(kind: &SmartModuleKind) -> SmartModuleInitialData {
    match kind {
        SmartModuleKind::Aggregate { accumulator }
        | SmartModuleKind::Generic(SmartModuleContextData::Aggregate { accumulator }) => {
            SmartModuleInitialData::with_aggregate(accumulator.clone())
        }
        _ => SmartModuleInitialData::default(),
    }
}

fn invalid(error: impl ToString) -> ErrorCode {
    ErrorCode::SmartModuleInvalid {
        error: error.to_string(),
        name: None,
    }
}

fn init_error(err: anyhow::Error) -> ErrorCode {
    match err.downcast_ref() {
        Some(EngineError::StoreMemoryExceeded { requested, max, .. }) => {
            ErrorCode::SmartModuleMemoryLimitExceeded {
                requested: *requested as u64,
                max: *max as u64,
            }
        }
        _ => ErrorCode::SmartModuleChainInitError(err.to_string()),
    }
}

/// A record of the log on its way into a chain's look back.
struct Past {
    offset: Offset,
    timestamp: Timestamp,
    record: Record,
}

/// The last records of the log, or those that are young enough, or the young of the last.
fn look_back(log: &PartitionLog, lookback: Lookback, version: i16) -> anyhow::Result<Vec<Record>> {
    let (past, oldest) = match lookback {
        Lookback::Last(count) => (last(log, count, version)?, Timestamp::MIN),
        Lookback::Age { age, last: 0 } => {
            let oldest = oldest(age)?;
            (young(log, oldest, version)?, oldest)
        }
        Lookback::Age { age, last: count } => (last(log, count, version)?, oldest(age)?),
    };
    let young_enough = past.into_iter().filter(|it| it.timestamp >= oldest);
    Ok(young_enough.map(|it| it.record).collect())
}

/// The last `count` records, up to the end of the segment that the first of them is in: the real
/// server reads once.
fn last(log: &PartitionLog, count: u64, version: i16) -> anyhow::Result<Vec<Past>> {
    let (start, end) = (log.start_offset(), log.end_offset());
    let from = end.saturating_sub(i64::try_from(count)?).clamp(start, end);
    let mut found = Vec::new();
    if let Some(slice) = log.read(from, u32::MAX)?.slice {
        for batch in Batches::new(slice) {
            let records = past(batch?, version)?;
            found.extend(records.filter(|it| it.offset >= from));
        }
    }
    Ok(found)
}

/// The records of the batches that are young enough, from the end backwards. The real server
/// looks one record further back than it should each time: a batch of one record is passed over
/// when another one is before it, and an error when none is.
fn young(log: &PartitionLog, oldest: Timestamp, version: i16) -> anyhow::Result<Vec<Past>> {
    let mut batches = Vec::new();
    let mut at = log.end_offset() - 1;
    while at >= 0 {
        let Some(slice) = log.read(at - 1, u32::MAX)?.slice else {
            break;
        };
        let Some(batch) = Batches::new(slice).next().transpose()? else {
            break;
        };
        if batch.header.header.max_time_stamp < oldest {
            break;
        }
        at = batch.header.base_offset - 1;
        batches.push(batch);
    }
    let mut found = Vec::new();
    for batch in batches.into_iter().rev() {
        found.extend(past(batch, version)?);
    }
    Ok(found)
}

fn past(batch: StoredBatch, version: i16) -> io::Result<impl Iterator<Item = Past>> {
    let StoredBatch { header, records } = batch;
    let records = Vec::<Record>::decode_from(&mut io::Cursor::new(records), version)?;
    let (base_offset, base_timestamp) = (header.base_offset, header.header.first_timestamp);
    Ok(records.into_iter().map(move |record| Past {
        offset: base_offset + record.get_header().offset_delta(),
        timestamp: base_timestamp + record.get_header().get_timestamp_delta(),
        record,
    }))
}

fn oldest(age: Duration) -> anyhow::Result<Timestamp> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(i64::try_from(now.saturating_sub(age).as_millis())?)
}
