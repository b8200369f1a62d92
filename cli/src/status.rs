//! `etl status`: the state of queue, topic, sinks, tables and lake, to see where events wait.
//!
//! [`reading`] is the object of `--json`, whose doc comments are its reference; [`screen`] formats a
//! reading as text.

mod database;
#[cfg(feature = "lake")]
mod lake;
mod reading;
mod screen;
mod sinks;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use connector_common::escape::{Escaping, escaped};

use crate::printer;
use crate::up::Interrupted;
use reading::{Parts, Reading, Watcher};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    parts: Parts,
    /// Repeat every so many seconds until Ctrl-C, and show rates
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
    /// Print a JSON object, with --watch one a line; docs/etl.md describes its fields
    #[arg(long)]
    json: bool,
}

/// Exits with 1 if a part is unreachable.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let json = args.json;
    let mut watcher = Watcher::new(args.parts);
    let mut reading = watcher.read().await;
    let Some(seconds) = args.watch else {
        if json {
            printer::json(&serde_json::to_string_pretty(&reading)?);
        } else {
            outln!("{}", screen::draw(&reading));
        }
        return Ok(code(&reading));
    };
    let mut ticks = tokio::time::interval(Duration::from_secs(seconds));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is immediate.
    ticks.tick().await;
    let mut interrupted = Interrupted::listen()?;
    loop {
        show(&reading, json)?;
        tokio::select! {
            () = interrupted.wait() => return Ok(code(&reading)),
            next = async { ticks.tick().await; watcher.read().await } => reading = next,
        }
    }
}

fn code(reading: &Reading) -> ExitCode {
    if reading.whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Shows a reading of `--watch`: on a terminal in place of the previous one.
fn show(reading: &Reading, json: bool) -> anyhow::Result<()> {
    if json {
        let mut out = printer::locked_json();
        writeln!(out, "{}", serde_json::to_string(reading)?)?;
        return Ok(out.flush()?);
    }
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        // Overwrites the previous screen and clears the rest of each line, to avoid flicker.
        let lines = escaped(&screen::draw(reading)).replace('\n', "\u{1b}[K\n");
        write!(out, "\u{1b}[H{lines}\u{1b}[K\n\u{1b}[J")?;
    } else {
        writeln!(Escaping::text(&mut out), "{}\n", screen::draw(reading))?;
    }
    out.flush()?;
    Ok(())
}
