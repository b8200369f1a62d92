//! `etl generate`: made-up message bodies, a line each, or made-up facts straight into the tables.
//!
//! [`shop`] decides who does what and when; [`queue`] and [`ga4`] write it down in two formats, and
//! [`messages`] adds the repeats and the unreadable messages that a real queue has. The demo sends
//! the same messages. [`facts`] is for trying the analysts' questions at size.

mod facts;
mod ga4;
pub mod messages;
mod queue;
mod shop;

use std::io::{self, BufWriter, Write};
use std::num::NonZero;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use chrono::Utc;

pub use messages::{Choice, Messages};

use crate::flatten::is_broken_pipe;

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("kind").required(true)))]
pub struct Args {
    /// Print this many message bodies, a line each, as `etl send`, `etl flatten --lines` and
    /// `etl demo --input` read them
    #[arg(long, value_name = "N", group = "kind")]
    messages: Option<usize>,
    #[command(flatten)]
    choice: Choice,
    /// Write about this many facts into the tables, past queue, topic and connectors
    #[arg(long, value_name = "FACTS", group = "kind", conflicts_with_all = ["format", "seed"])]
    into_database: Option<u64>,
    /// Days that the facts spread over, up to yesterday
    #[arg(long, default_value_t = 30, conflicts_with = "messages")]
    days: u32,
    /// Connections that write facts at once
    #[arg(
        short,
        long,
        value_name = "N",
        default_value = "2",
        conflicts_with = "messages"
    )]
    jobs: NonZero<u8>,
    /// The database for the facts
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(count) = args.messages {
        return match print(count, args.choice) {
            // Whoever reads has seen enough.
            Err(error) if !is_broken_pipe(&error) => Err(error),
            _ => Ok(ExitCode::SUCCESS),
        };
    }
    let url = args
        .database_url
        .ok_or_else(|| anyhow!("no database named; use --database-url or DATABASE_URL"))?;
    let facts = args.into_database.context("--into-database is missing")?;
    facts::write(&url, facts, args.days, args.jobs).await
}

fn print(count: usize, choice: Choice) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for body in Messages::new(choice, Utc::now()).take(count) {
        writeln!(out, "{body}")?;
    }
    Ok(out.flush()?)
}
