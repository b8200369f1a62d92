//! The connector's process: `lake_sink --config FILE [--secrets FILE]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lake_sink::main()
}
