//! The connector's process: `postgres_sink --config FILE [--secrets FILE]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    connector_common::run("postgres", postgres_sink::run)
}
