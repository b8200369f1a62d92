//! `fluvio-node`: an embedded Fluvio node as a separate process.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use fluvio_node::{Node, NodeConfig};
use nix::sys::stat::{Mode, umask};
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
    /// Data folder, created if it is missing. Only one node can use it at a time.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Address of the SC, which clients connect to. Port 0 selects a free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9003")]
    sc_addr: SocketAddr,
    /// Address of the SPU, which clients get from the SC. Port 0 selects a free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9010")]
    spu_addr: SocketAddr,
    /// Fluvio profile file to write. Clients find it through FLV_PROFILE_PATH.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // Nobody else reads the topics.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let outcome = Runtime::new()
        .context("can't start the runtime")
        .and_then(|runtime| {
            let outcome = runtime.block_on(run(args));
            // Doesn't wait for a SmartModule that never ends.
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
    // Registered before the node starts, so no signal is missed meanwhile.
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
