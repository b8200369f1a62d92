//! `etl doctor`: everything that is easily wrong with a deployment, a line a check, each with what mends it.
//!
//! It changes nothing and takes no message, unless `--receive` is given. With the connectors' own files
//! ([`deployment`]) it checks what is deployed, else what the environment names. One file for each
//! thing that is asked: [`cluster`], [`smartmodule`], [`queue`], [`database`], [`connectors`]; [`report`] is
//! what comes of it, [`clock`] compares clocks.

mod clock;
mod cluster;
mod connectors;
mod database;
mod deployment;
mod queue;
mod report;
mod smartmodule;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::endpoint::Endpoint;
use deployment::Deployment;
use report::Report;

#[derive(clap::Args)]
pub struct Args {
    /// The source's file, as it is deployed
    #[arg(long, value_name = "FILE")]
    source_config: Option<PathBuf>,
    /// The sink's file, as it is deployed
    #[arg(long, value_name = "FILE")]
    sink_config: Option<PathBuf>,
    /// The secrets of both, `NAME=value` lines [default: the environment]
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// The queue, without --source-config
    #[arg(long, env = "QUEUE_URL", value_name = "URL")]
    queue_url: Option<String>,
    /// The database, without --sink-config
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// The topic, without either [default: shop-events]
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Where a source serves its metrics; may be given several times
    #[arg(long, value_name = "http://HOST:PORT")]
    source_metrics: Vec<Endpoint>,
    /// Where a sink serves its metrics; may be given several times
    #[arg(long, value_name = "http://HOST:PORT")]
    sink_metrics: Vec<Endpoint>,
    /// This build's flatten-items.wasm, to compare with the cluster's [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    wasm: Option<PathBuf>,
    /// Try whether messages can be received. One that comes is visible again at once, but the receive counts
    /// towards the queue's redrive policy
    #[arg(long)]
    receive: bool,
    /// Print JSON: {"verdict", "checks": [{"area", "check", "verdict", "found", "mend"}]}
    #[arg(long)]
    json: bool,
}

/// Checks; exit code 1 when a check fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    let deployment = Deployment::read(&args, &mut report);
    let topic = cluster::check(&mut report, &deployment).await;
    if let Some(topic) = &topic {
        smartmodule::check(&mut report, &deployment, topic, args.wasm.as_deref()).await;
    }
    let oldest = database::check(&mut report, &deployment, topic.as_ref()).await;
    queue::check(&mut report, &deployment, args.receive, oldest).await;
    connectors::check(&mut report, &args.source_metrics, &args.sink_metrics).await;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report.as_json())?);
    } else {
        print!("{report}");
    }
    Ok(if report.has_failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
