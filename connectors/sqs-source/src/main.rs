//! The connector as a process: `sqs_source --config FILE [--secrets FILE]`.

use std::process::ExitCode;

#[cfg(feature = "jemalloc")]
sqs_source::use_jemalloc!();

fn main() -> ExitCode {
    sqs_source::main()
}
