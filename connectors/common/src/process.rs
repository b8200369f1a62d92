//! A connector's `main`: arguments, logging, configuration, runtime, stop signal, exit code.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Parser;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::chain;
use crate::config::{Connector, Validate};
use crate::logging;
use crate::monitor::Healthcheck;

// `cdk` passes `config` and `secrets`; the others are for people and container engines.
#[derive(Debug, Parser)]
struct Args {
    /// The connector's configuration, in Fluvio's connector YAML.
    #[arg(long, value_name = "FILE", required_unless_present = "healthcheck")]
    config: Option<PathBuf>,
    /// Secrets, one `NAME=value` a line. Default: read from the environment.
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Check the configuration and the secrets, then exit.
    #[arg(long)]
    dry_run: bool,
    /// Ask the connector whose `metrics-address` this is for its health; exit with 0 if it is
    /// healthy, else 1. Append `/readyz` to ask for readiness.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["config", "secrets", "dry_run"])]
    healthcheck: Option<Healthcheck>,
}

/// Runs a connector whose own section in the YAML is called `section`.
///
/// Reads the arguments, installs the handlers of a [`Stop`], starts logging to stderr (`RUST_LOG`,
/// else `FLUVIO_CONNECTOR_LOG_LEVEL`, else `info`; a JSON object a line with `LOG_FORMAT=json`),
/// reads the configuration and runs the connector. An error becomes one line on stderr and exit
/// code 1.
pub fn run<C, F, Fut>(section: &'static str, connector: F) -> ExitCode
where
    C: DeserializeOwned + Validate,
    F: FnOnce(Connector<C>, Stop) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let args = Args::parse();
    let outcome = match (&args.healthcheck, &args.config) {
        (Some(check), _) => check.run(),
        (None, Some(config)) => start(section, config, &args, connector),
        (None, None) => Err(anyhow!("give a configuration with --config FILE")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(error.as_ref()));
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    // Without handlers a signal ends the process at once.
    let stop = runtime
        .block_on(async { Stop::on_signals() })
        .context("cannot listen for SIGTERM and SIGINT")?;
    logging::start();
    let loaded = Connector::<C>::load(section, config, args.secrets.as_deref())?;
    let meta = &loaded.meta;
    if args.dry_run {
        println!("{} is valid", config.display());
        return Ok(());
    }
    tracing::info!(
        name = meta.name, type = meta.type_, version = meta.version, topic = meta.topic.name,
        "connector starts"
    );
    runtime.block_on(connector(loaded, stop))
}

/// The stop signal. A connector that is asked to stop finishes its work first: messages produced
/// and not yet deleted, a batch in a transaction. Clones see the same signal.
#[derive(Clone, Debug)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Listens for SIGTERM and SIGINT.
    ///
    /// # Errors
    /// The signal handlers can't be installed.
    pub fn on_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let token = CancellationToken::new();
        let stop = Self(token.clone());
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!("{name}: finishing the work in flight, then stopping");
            token.cancel();
        });
        Ok(stop)
    }

    /// A stop that the second value triggers, for a connector that is run within a process.
    pub fn manual() -> (Self, impl Fn() + Send + Sync + 'static) {
        let token = CancellationToken::new();
        let stop = Self(token.clone());
        (stop, move || token.cancel())
    }

    /// Resolves when the stop is requested, at once if it was before.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// True after the stop was requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }
}
