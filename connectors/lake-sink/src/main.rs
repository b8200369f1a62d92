//! The connector's process: `lake_sink --config FILE [--secrets FILE]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    connector_common::run("lake", lake_sink::run)
}
