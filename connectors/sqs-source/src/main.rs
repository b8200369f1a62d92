//! The connector as a process: `sqs_source --config FILE [--secrets FILE]`.

mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    connector_common::run("sqs", sqs_source::run)
}
