//! A connector's `main`: what `cdk` passes in, and what it sees come out.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Parser;
use serde::de::DeserializeOwned;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::config::{Connector, Validate};
use crate::healthcheck::Healthcheck;
use crate::stop::Stop;

/// The arguments that `cdk` starts a connector with, one for people and one for container engines.
#[derive(Debug, Parser)]
struct Args {
    /// The connector's configuration, in Fluvio's connector YAML.
    #[arg(long, value_name = "FILE", required_unless_present = "healthcheck")]
    config: Option<PathBuf>,
    /// Secrets, one `NAME=value` a line; without it they are read from the environment.
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Check the configuration and the secrets, then end without touching anything.
    #[arg(long)]
    dry_run: bool,
    /// Ask the connector that serves `metrics-address` here how it is, and end with exit code 0 when it is well, else 1;
    /// `/readyz` behind the address asks whether it is ready instead.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["config", "secrets", "dry_run"])]
    healthcheck: Option<Healthcheck>,
}

/// Runs a connector whose own section in the YAML is called `section`.
///
/// Reads the arguments and the configuration, starts logging to stderr (`RUST_LOG`, else
/// `FLUVIO_CONNECTOR_LOG_LEVEL`, else `info`; a JSON object a line with `LOG_FORMAT=json`) and gives the connector a [`Stop`] to finish its
/// work on. An error ends up as one line on stderr and exit code 1.
pub fn run<C, F, Fut>(section: &'static str, connector: F) -> ExitCode
where
    C: DeserializeOwned + Validate,
    F: FnOnce(Connector<C>, Stop) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let args = Args::parse();
    let outcome = match (&args.healthcheck, &args.config) {
        (Some(check), _) => check.ask(),
        (None, Some(config)) => start(section, config, &args, connector),
        (None, None) => Err(anyhow!("give a configuration with --config FILE")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start<C, F, Fut>(section: &str, config: &Path, args: &Args, connector: F) -> anyhow::Result<()>
where
    C: DeserializeOwned + Validate,
    F: FnOnce(Connector<C>, Stop) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    start_logging();
    let loaded = Connector::<C>::load(section, config, args.secrets.as_deref())?;
    let meta = &loaded.meta;
    if args.dry_run {
        println!("{}: sound", config.display());
        return Ok(());
    }
    tracing::info!(name = meta.name, type = meta.type_, version = meta.version, topic = meta.topic.name, "connector starts");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    runtime.block_on(async {
        let stop = Stop::on_signals().context("cannot listen for SIGTERM and SIGINT")?;
        connector(loaded, stop).await
    })
}

fn start_logging() {
    // cdk puts a bare level into RUST_LOG.
    let filter = std::env::var("RUST_LOG")
        .or_else(|_| std::env::var("FLUVIO_CONNECTOR_LOG_LEVEL"))
        .map_or_else(|_| without_noise("info"), |level| without_noise(&level));
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse_lossy(filter);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr);
    match std::env::var("LOG_FORMAT").as_deref() {
        Ok("json") => log.json().flatten_event(true).init(),
        _ => log.init(),
    }
}

/// At `info` the Fluvio client tells of every stream and socket; that is for its own developers.
fn without_noise(level: &str) -> String {
    match level {
        "info" => "info,fluvio=warn,fluvio_socket=warn,fluvio_future=warn".to_owned(),
        other => other.to_owned(),
    }
}
