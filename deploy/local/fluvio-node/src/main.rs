//! `fluvio-node`: an embedded Fluvio node as a process of its own.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use fluvio_node::{Node, NodeConfig};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Fluvio on one machine: SC and SPU in one process, speaking Fluvio's own protocol.
///
/// Prints one line when clients can connect and runs until SIGTERM or SIGINT. Logs go to
/// stderr; the environment variable RUST_LOG sets their level.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The folder that holds everything; made if need be. One node at a time.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where the SC listens: the address that clients connect to. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9003")]
    sc_addr: SocketAddr,
    /// Where the SPU listens; clients learn it from the SC. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9010")]
    spu_addr: SocketAddr,
    /// The Fluvio profile file to write; point clients to it with FLV_PROFILE_PATH.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let outcome = Runtime::new()
        .context("can't start the runtime")
        .and_then(|runtime| {
            let outcome = runtime.block_on(run(args));
            // Not waiting for a SmartModule that doesn't come to an end.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("error: {err:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    // Before the node is up: a signal that comes while it starts must not go unheard.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let node = Node::start(NodeConfig {
        data_dir: args.data_dir,
        sc_addr: args.sc_addr,
        spu_addr: args.spu_addr,
        profile: args.profile,
    })
    .await?;
    let mut stdout = std::io::stdout();
    writeln!(
        stdout,
        "fluvio-node: SC {}, SPU {}, data {}",
        node.sc_addr(),
        node.spu_addr(),
        node.data_dir().display()
    )?;
    stdout.flush()?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    node.stop().await
}
