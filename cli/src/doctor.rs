//! `etl doctor`: checks a deployment, and prints a line for each check with its fix.
//!
//! It changes nothing and receives no message, unless `--receive` or `--write` is given. With the
//! connectors' own files ([`deployment`]) it checks what is deployed, else what the environment
//! names. Each part has a file: [`cluster`], [`queue`], [`database`], `lake`; [`report`] collects
//! the results.

mod cluster;
mod database;
mod deployment;
#[cfg(feature = "lake")]
mod lake;
mod queue;
mod replicas;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use connector_common::chain;

use crate::arguments::Endpoints;
use crate::printer;
use deployment::{Deployment, Named};
use report::Report;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    endpoints: Endpoints,
    /// The flatten-items.wasm to compare with the cluster's [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    wasm: Option<PathBuf>,
    /// Test receiving. The message becomes visible again immediately, but its receive count rises
    #[arg(long)]
    receive: bool,
    /// Test the lake's storage by a file below `warehouse` that is deleted again
    #[cfg(feature = "lake")]
    #[arg(long, requires = "lake_config")]
    write: bool,
    /// Print JSON: {"verdict", "checks": [{"area", "check", "verdict", "found", "fix"}]}
    #[arg(long)]
    json: bool,
}

/// Exits with 1 if a check fails.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    let deployment = Deployment::read(&args.named, &mut report);
    let topic = cluster::check(&mut report, &deployment).await;
    if let Some(topic) = &topic {
        cluster::check_smartmodules(&mut report, &deployment, topic, args.wasm.as_deref()).await;
    }
    let oldest = database::check(&mut report, &deployment, topic.as_ref()).await;
    queue::check(&mut report, &deployment, args.receive, oldest).await;
    #[cfg(feature = "lake")]
    if let Some(sink) = &deployment.lake {
        lake::check(&mut report, &deployment, sink, topic.as_ref(), args.write).await;
    }
    check_connectors(&mut report, &args.endpoints).await;
    if args.json {
        printer::json(&serde_json::to_string_pretty(&report.as_json())?);
    } else {
        printer::out(format_args!("{report}"));
    }
    Ok(if report.has_failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Checks that each connector is ready.
async fn check_connectors(report: &mut Report, endpoints: &Endpoints) {
    const AREA: &str = "connectors";
    let connectors = [
        ("source", &endpoints.source_metrics),
        ("sink", &endpoints.sink_metrics),
    ];
    for (name, endpoints) in connectors {
        for endpoint in endpoints {
            match endpoint.troubles().await {
                Ok(troubles) if troubles.is_empty() => {
                    report.ok(AREA, name, format!("ready, at {endpoint}"));
                }
                Ok(troubles) => report.fail(
                    AREA,
                    name,
                    format!("not ready, at {endpoint}: {}", troubles.join("; ")),
                    "see the section of deploy/RUNBOOK.md for the part that it names",
                ),
                Err(error) => report.fail(
                    AREA,
                    name,
                    chain(error.as_ref()),
                    "start it, or correct the address: the `metrics-address` of its file",
                ),
            }
        }
        if endpoints.is_empty() {
            report.skip(
                AREA,
                name,
                format!("not checked; use --{name}-metrics http://HOST:PORT"),
            );
        }
    }
}
