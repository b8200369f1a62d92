//! The connector's process: `postgres_sink --config FILE [--secrets FILE]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    postgres_sink::main()
}
