//! Prints a partition's records, and loses none: a consumer to copy from.
//!
//! ```sh
//! consume-example TOPIC PARTITION FILE
//! ```
//!
//! FILE keeps the offset of the next record. It is replaced after the records before it were
//! printed, so after a kill some records come again, and none is left out.

use std::io::Write;

use anyhow::{Context, ensure};
use fluvio::consumer::ConsumerConfigExt;
use fluvio::{
    Fluvio, Isolation, Offset, SmartModuleContextData, SmartModuleInvocation,
    SmartModuleInvocationWasm, SmartModuleKind,
};
use futures_util::StreamExt;

/// The records between two replacements of the file.
const STORE_EVERY: i64 = 100;
/// The first and the largest response. A record has up to 1 MiB, a batch of `sqs-source` up to 4.
const RESPONSES: [i32; 2] = [16 << 20, 1 << 30];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut argument = || {
        args.next()
            .context("usage: consume-example TOPIC PARTITION FILE")
    };
    let (topic, partition, file) = (argument()?, argument()?.parse()?, argument()?);
    let mut next: i64 = match std::fs::read_to_string(&file) {
        Ok(text) => text.trim().parse()?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error).context(format!("cannot read {file}")),
    };
    // It is flushed at each end of a line.
    let mut out = std::io::stdout().lock();
    let mut max_bytes = RESPONSES[0];
    let fluvio = Fluvio::connect().await?;
    loop {
        // With a SmartModule the SPU reads whole batches. Without one it cuts responses, and the
        // client skips the records that were cut off.
        let raw_events = SmartModuleInvocation {
            wasm: SmartModuleInvocationWasm::Predefined("raw-events".to_owned()),
            kind: SmartModuleKind::Generic(SmartModuleContextData::None),
            ..SmartModuleInvocation::default()
        };
        let config = ConsumerConfigExt::builder()
            .topic(&topic)
            .partition(partition)
            .offset_start(Offset::absolute(next)?)
            .isolation(Isolation::ReadCommitted)
            .max_bytes(max_bytes)
            .smartmodule(vec![raw_events])
            .build()?;
        let mut records = fluvio.consumer_with_config(config).await?;
        let before = next;
        while let Some(record) = records.next().await {
            let record = record?;
            if record.offset != next {
                eprintln!(
                    "offset {} came, {next} is missing; reading again",
                    record.offset
                );
                break;
            }
            // Process the record here.
            write!(out, "{}\t", record.offset)?;
            out.write_all(record.value())?;
            out.write_all(b"\n")?;
            next += 1;
            if next % STORE_EVERY == 0 {
                std::fs::write(format!("{file}.new"), next.to_string())?;
                std::fs::rename(format!("{file}.new"), &file)?;
            }
        }
        // A batch that is larger than a response is not sent.
        if next == before {
            ensure!(max_bytes < RESPONSES[1], "offset {next} is missing");
            max_bytes = max_bytes.saturating_mul(4).min(RESPONSES[1]);
        } else {
            max_bytes = RESPONSES[0];
        }
    }
}
