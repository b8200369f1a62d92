//! The connector as a process: `sqs_source --config FILE [--secrets FILE]`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// The AWS SDK allocates and frees some hundred small blocks for each call, a part of them in another thread: a tenth of
/// the CPU less than with glibc.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    connector_common::run("sqs", sqs_source::run)
}
