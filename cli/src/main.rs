//! The `etl` command: try, run, feed and watch the pipeline.
//!
//! # Layout
//!
//! One file a subcommand: [`demo`], [`up`], [`send`], [`flatten`] (with [`place`], which marks what is wrong in
//! a body), [`migrate`], [`status`] and [`doctor`] (with [`endpoint`], a connector's metrics), [`verify`] and [`replay`]
//! (with [`topic`]), [`rejected`], [`partitions`], [`aggregates`], [`generate`] (made-up events), [`report`]. Around
//! them what several of them use: [`expectation`] (what must arrive), [`tables`] (what did), [`progress`] (bars),
//! [`answers`] (the analysts' questions), [`parameters`] (of the SmartModule), [`units`] (numbers as people say
//! them), [`escape`] (what others sent, shown as it is).

mod aggregates;
mod answers;
mod bodies;
mod demo;
mod doctor;
mod endpoint;
mod escape;
mod expectation;
mod flatten;
mod generate;
mod migrate;
mod parameters;
mod partitions;
mod place;
mod progress;
mod rejected;
mod replay;
mod report;
mod send;
mod status;
mod tables;
mod topic;
mod units;
mod up;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tikv_jemallocator::Jemalloc;
use tracing_subscriber::EnvFilter;

/// `up` and `demo` serve a queue in this process: many small blocks, a part of them freed in another thread.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Shop events from an AWS SQS queue to tables that analysts query.
#[derive(Parser)]
#[command(name = "etl", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole pipeline on this machine, send events through it and check that the counts add up
    Demo(demo::Args),
    /// Run the whole pipeline on this machine until Ctrl-C
    Up(up::Args),
    /// Put the lines of a file into a queue, each a message
    Send(send::Args),
    /// Show what would become of message bodies, and why one is refused; needs no server
    Flatten(flatten::Args),
    /// Create or update the tables
    Migrate(migrate::Args),
    /// List, show, retry or purge events that could not become facts
    Rejected(rejected::Args),
    /// List, drop or detach the months of the facts
    Partitions(partitions::Args),
    /// Check or rebuild the hourly aggregates, change their settings
    Aggregates(aggregates::Args),
    /// Make up shop events: message bodies a line each, or facts straight into the tables
    Generate(generate::Args),
    /// Show queue, topic, sinks and tables side by side, once or again and again
    Status(status::Args),
    /// Write a page about some days: funnel, trend, lists, products, data quality
    Report(report::Args),
    /// Check what a deployment needs, a line a check: cluster, topic, SmartModule, queue, database, connectors
    Doctor(doctor::Args),
    /// Compare a range of the topic with the tables, fact by fact
    Verify(verify::Args),
    /// Have a sink read a partition again from an earlier offset or time; changes no row that is there
    Replay(replay::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error")),
        )
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
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
            Command::Generate(args) => generate::run(args).await,
            Command::Status(args) => status::run(args).await,
            Command::Report(args) => report::run(args).await,
            Command::Doctor(args) => doctor::run(args).await,
            Command::Verify(args) => verify::run(args).await,
            Command::Replay(args) => replay::run(args).await,
        }
    });
    // A long poll that nobody waits for any more must not hold up the exit.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
