//! Applies a chain of SmartModules to batches like the real SPU.
//!
//! It reproduces exactly what clients of the real SPU see, faults included:
//!
//! - All output of one read becomes one batch, with the base offset of the first input batch that
//!   has output. A client computes a record's offset from the batch's base offset and the record's
//!   position, so a SmartModule that changes the number of records shifts offsets.
//! - The output's timestamps are those of a new batch: −1.
//! - A batch whose output exceeds the rest of `max_bytes` ends the read, and its output is dropped.
//!   If it is the first one, there is no output at all.
//! - A read ends with its segment at the latest. Without output the stream continues at the end of
//!   the log.
//! - A SmartModule that returns an error ends the read: its output so far is sent, the rest of its
//!   batch is lost. A trap is an error of the whole chain.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fluvio_controlplane_metadata::smartmodule::SmartModulePackageKey;
use fluvio_protocol::link::ErrorCode;
use fluvio_protocol::link::smartmodule::SmartModuleTransformRuntimeError;
use fluvio_protocol::record::{Batch, Offset, Record};
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

/// The output of a chain for one read.
pub(super) struct Transformed {
    /// All output. Without output its base offset is −1.
    pub batch: Batch,
    /// The error of a SmartModule.
    pub error: Option<SmartModuleTransformRuntimeError>,
}

/// A chain of SmartModules with their state.
pub(super) struct Chain {
    instance: SmartModuleChainInstance,
    version: i16,
}

impl Chain {
    /// Compiles the SmartModules, which must be resolved and takes long. `None` if there are none.
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

    /// Passes earlier records to the SmartModules that request them.
    pub fn look_back(&mut self, log: &PartitionLog) -> Result<(), ErrorCode> {
        let version = self.version;
        // The future is always ready.
        self.instance
            .look_back(|lookback| std::future::ready(look_back(log, lookback, version)))
            .now_or_never()
            .unwrap_or(Ok(()))
            .map_err(|err| ErrorCode::SmartModuleLookBackError(err.root_cause().to_string()))
    }

    /// Runs batches through the chain until the output reaches `max_bytes`.
    pub fn process(&mut self, batches: Batches, max_bytes: usize) -> anyhow::Result<Transformed> {
        let mut output = Batch::default();
        output.base_offset = -1;
        output.set_offset_delta(-1);
        let mut output_bytes = 0;

        for batch in batches {
            let StoredBatch { header, records } = batch?;
            let processed = self.instance.process(SmartModuleInput::new(
                records,
                header.base_offset,
                header.get_base_timestamp(),
            ))?;
            let error = processed.error;
            let mut records = processed.successes;

            if !records.is_empty() {
                if output.base_offset == -1 {
                    if let Ok(compression) = header.get_compression() {
                        output.header.set_compression(compression);
                    }
                    output.base_offset = header.base_offset;
                }
                for record in &mut records {
                    record.add_base_offset(output.base_offset - header.base_offset);
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
                output.add_to_offset_delta(header.last_offset_delta() + 1);
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
    /// Replaces names of SmartModules by their WebAssembly.
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

/// An earlier record for a chain that looks back.
struct Past {
    offset: Offset,
    timestamp: Timestamp,
    record: Record,
}

/// Returns the last records of the log, the records younger than an age, or both conditions
/// combined.
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

/// Returns the last `count` records, up to the end of the first one's segment, since the real
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

/// Returns the records of batches that are young enough, searching backwards from the end. The real
/// server goes one record too far back each time: it skips a batch of one record if there is one
/// before it, and fails otherwise.
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
