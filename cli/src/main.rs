//! The `etl` command: try, run, feed and watch the pipeline.
//!
//! # Layout
//!
//! Each subcommand has a file: [`demo`] (with [`expectation`], the expected contents of the
//! tables), [`up`], [`send`], [`flatten`] (with [`place`], which marks the error in a body),
//! [`migrate`], [`rejected`], [`partitions`], [`aggregates`], [`erase`] and [`export`] (with
//! [`people`], which finds somebody's data), [`generate`], [`status`] and [`doctor`] (with
//! [`endpoint`], a connector's metrics), [`report`], [`verify`], [`replay`], [`consume`] (with
//! [`topic`]) and [`lake`]. They share [`arguments`], [`display`] (text for people), [`printer`]
//! (standard output) and [`progress`] (progress bars).

#![warn(clippy::print_stderr, clippy::print_stdout)]

// First, for its macros.
#[macro_use]
mod printer;

mod aggregates;
mod arguments;
mod consume;
mod demo;
mod display;
mod doctor;
mod endpoint;
mod erase;
mod expectation;
mod export;
mod flatten;
mod generate;
#[cfg(feature = "lake")]
mod lake;
mod migrate;
mod partitions;
mod people;
mod place;
mod progress;
mod rejected;
mod replay;
mod report;
mod send;
mod status;
mod topic;
mod up;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use connector_common::chain;
use tokio_postgres::error::SqlState;
use tracing_subscriber::EnvFilter;

/// `up` and `demo` serve a queue in this process, which allocates many small blocks and frees some
/// of them in another thread.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The default of `RUST_LOG`. The client logs an error for each compressed batch that a response
/// cuts, which `topic` reads again.
const LOG: &str = "error,fluvio::consumer=off";

/// Move shop events from an AWS SQS queue to tables that analysts query
#[derive(Parser)]
#[command(name = "etl", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole pipeline on this machine, send events through it and check that the counts add
    /// up
    Demo(demo::Args),
    /// Run the whole pipeline on this machine until Ctrl-C
    Up(up::Args),
    /// Send the lines of a file to a queue, one message a line
    Send(send::Args),
    /// Show the facts of message bodies, or why one is rejected; needs no server
    Flatten(flatten::Args),
    /// Create or update the tables
    Migrate(migrate::Args),
    /// List, show, retry, purge or skip rejected events
    Rejected(rejected::Args),
    /// List, drop or detach partitions of the facts
    Partitions(partitions::Args),
    /// Check or rebuild the stored aggregates, or change their settings
    Aggregates(aggregates::Args),
    /// Erase somebody's facts, rejected events and aggregates from the tables
    Erase(erase::Args),
    /// Print all that the tables have about somebody, as JSON lines
    Export(export::Args),
    /// Generate shop events: message bodies, or facts directly in the tables
    Generate(generate::Args),
    /// Show the state of queue, topic, sinks, tables and lake, once or continuously
    Status(status::Args),
    /// Write a report of some days as a page, or serve it live
    Report(report::Args),
    /// Check a deployment: cluster, topic, SmartModule, queue, database, lake, connectors
    Doctor(doctor::Args),
    /// Compare a range of the topic with the tables, fact by fact
    Verify(verify::Args),
    /// Move a sink back to an earlier offset or time; it changes no existing rows
    Replay(replay::Args),
    /// Print the topic's records or facts as JSON lines, from a position that can be kept
    Consume(consume::Args),
    /// Look into the Iceberg tables of a lake sink, and keep them in order
    #[cfg(feature = "lake")]
    Lake(lake::Args),
    /// Look into the Iceberg tables of a lake sink; `make build` builds an `etl` that can
    #[cfg(not(feature = "lake"))]
    Lake {
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

impl Command {
    /// The rights in the database that it needs.
    fn needed_rights(&self) -> Option<&'static str> {
        Some(match self {
            Self::Migrate(_) | Self::Partitions(_) | Self::Erase(_) | Self::Generate(_) => {
                "only the owner of the tables may do this"
            }
            Self::Aggregates(_) => {
                "only the owner of the tables may do this; `check` needs membership in etl_reader"
            }
            Self::Rejected(_) => {
                "rejected events with their payloads need membership in etl_operator, and `retry` \
                 in etl_writer; the owner of the tables can run `GRANT etl_operator TO …`"
            }
            Self::Export(_) => {
                "this needs membership in etl_reader and etl_operator; the owner of the tables can \
                 run `GRANT etl_reader, etl_operator TO …`"
            }
            Self::Replay(_) => {
                "this needs membership in etl_writer; the owner of the tables can run `GRANT \
                 etl_writer TO …`"
            }
            Self::Status(_) | Self::Report(_) | Self::Doctor(_) | Self::Verify(_) => {
                "this needs membership in etl_reader; the owner of the tables can run `GRANT \
                 etl_reader TO …`"
            }
            Self::Lake { .. } => {
                "the user of `catalog-url` needs rights on iceberg_tables and \
                 iceberg_namespace_properties, and for `init` the right to create them; `verify` \
                 also needs membership in etl_reader"
            }
            Self::Demo(_) | Self::Up(_) | Self::Send(_) | Self::Flatten(_) | Self::Consume(_) => {
                return None;
            }
        })
    }
}

/// True if the database refused for lack of rights.
fn is_denied(error: &anyhow::Error) -> bool {
    let code = error.chain().find_map(|cause| {
        let ours = cause.downcast_ref::<warehouse::Error>();
        let theirs = cause.downcast_ref::<tokio_postgres::Error>();
        ours.and_then(warehouse::Error::sqlstate)
            .or_else(|| theirs?.code())
    });
    code == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG)))
        // Colours would be escaped.
        .with_ansi(false)
        .with_writer(printer::stderr)
        .init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            errln!("error: cannot start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let needed_rights = cli.command.needed_rights();
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Demo(args) => demo::run(args).await,
            Command::Up(args) => up::run(args).await,
            Command::Send(args) => send::run(args).await,
            Command::Flatten(args) => flatten::run(&args),
            Command::Migrate(args) => migrate::run(args).await,
            Command::Rejected(args) => rejected::run(args).await,
            Command::Partitions(args) => partitions::run(args).await,
            Command::Aggregates(args) => aggregates::run(args).await,
            Command::Erase(args) => erase::run(args).await,
            Command::Export(args) => export::run(args).await,
            Command::Generate(args) => generate::run(args).await,
            Command::Status(args) => status::run(args).await,
            Command::Report(args) => report::run(args).await,
            Command::Doctor(args) => doctor::run(args).await,
            Command::Verify(args) => verify::run(args).await,
            Command::Replay(args) => replay::run(args).await,
            Command::Consume(args) => consume::run(args).await,
            #[cfg(feature = "lake")]
            Command::Lake(args) => lake::run(args).await,
            #[cfg(not(feature = "lake"))]
            Command::Lake { .. } => Err(anyhow::anyhow!(
                "this `etl` was built without the lake, as `make demo` does; use `make build`"
            )),
        }
    });
    // An abandoned long poll must not delay the exit.
    runtime.shutdown_background();
    let code = outcome.unwrap_or_else(|error| {
        let error = match needed_rights {
            Some(rights) if is_denied(&error) => error.context(rights),
            _ => error,
        };
        errln!("error: {}", chain(error.as_ref()));
        ExitCode::FAILURE
    });
    if let Some(error) = printer::failure() {
        errln!("error: cannot write to standard output: {error}");
        return ExitCode::FAILURE;
    }
    code
}
