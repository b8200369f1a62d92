//! `etl status`: queue, topic, sinks and tables side by side, so that one sees where events are waiting.
//!
//! [`reading`] is what is asked, and the reference of `--json`; [`screen`] is what a person sees of it.

mod connectors;
mod database;
mod queue;
mod reading;
mod screen;
mod sinks;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::up::Interrupted;
use reading::{Reading, Watcher};

#[derive(clap::Args)]
pub struct Args {
    /// The queue; credentials, region and endpoint come from the AWS environment
    #[arg(long, env = "QUEUE_URL", value_name = "URL")]
    queue_url: Option<String>,
    /// The topic, in the cluster of the current Fluvio profile
    #[arg(long, value_name = "NAME", default_value = local_stack::files::TOPIC)]
    topic: String,
    /// The database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// Where a source serves its metrics, as its `metrics-address` has it; may be given several times
    #[arg(long, value_name = "http://HOST:PORT")]
    source_metrics: Vec<Endpoint>,
    /// Where a sink serves its metrics; may be given several times
    #[arg(long, value_name = "http://HOST:PORT")]
    sink_metrics: Vec<Endpoint>,
    /// Look again and again until Ctrl-C, every so many seconds, and show rates
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
    /// Print JSON: an object, with --watch one a line. The fields are named in cli/src/status/reading.rs
    #[arg(long)]
    json: bool,
}

/// Shows every part that can be reached; exit code 1 when one can't.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (watch, json) = (args.watch, args.json);
    let mut watcher = Watcher::new(args);
    let mut reading = watcher.read().await;
    let Some(seconds) = watch else {
        let text = if json {
            serde_json::to_string_pretty(&reading)?
        } else {
            screen::draw(&reading)
        };
        println!("{text}");
        return Ok(code(&reading));
    };
    let mut ticks = tokio::time::interval(Duration::from_secs(seconds));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Its first tick is at once.
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

/// A reading among others: in place of the last one on a terminal, else a block of its own.
fn show(reading: &Reading, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(reading)?)?;
    } else if out.is_terminal() {
        // From the top, each line cleared behind its end, and all below cleared: nothing flickers.
        let lines = screen::draw(reading).replace('\n', "\u{1b}[K\n");
        write!(out, "\u{1b}[H{lines}\u{1b}[K\n\u{1b}[J")?;
    } else {
        writeln!(out, "{}\n", screen::draw(reading))?;
    }
    out.flush()?;
    Ok(())
}
