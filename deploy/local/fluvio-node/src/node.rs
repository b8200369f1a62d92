//! Starts and stops a node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fluvio_smartengine::SmartEngine;
use fluvio_types::defaults::SC_PUBLIC_PORT;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::connection::serve;
use crate::data_dir::{DataDir, Durability, replace_file};
use crate::metadata::Metadata;
use crate::replicas::Replicas;
use crate::sc::Sc;
use crate::spu::{ConsumerOffsets, Spu};

/// The port of the first SPU of `fluvio cluster start --local`.
const SPU_PUBLIC_PORT: u16 = 9010;

/// The time that a running SmartModule gets when the node stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The configuration of a node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Data folder, created if it is missing. Only one node can use it at a time.
    pub data_dir: PathBuf,
    /// Address of the SC, which clients connect to. Port 0 selects a free port.
    /// Default: 127.0.0.1:9003.
    pub sc_addr: SocketAddr,
    /// Address of the SPU, which clients get from the SC. Port 0 selects a free port.
    /// Default: 127.0.0.1:9010.
    pub spu_addr: SocketAddr,
    /// Fluvio profile file to write or replace. Clients find it through the environment variable
    /// `FLV_PROFILE_PATH`. Default: none.
    pub profile: Option<PathBuf>,
}

impl NodeConfig {
    /// Configures a node on Fluvio's default ports.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            data_dir: data_dir.into(),
            sc_addr: (loopback, SC_PUBLIC_PORT).into(),
            spu_addr: (loopback, SPU_PUBLIC_PORT).into(),
            profile: None,
        }
    }

    /// Configures a node on free ports of the loopback interface.
    pub fn on_free_ports(data_dir: impl Into<PathBuf>) -> Self {
        let mut config = Self::new(data_dir);
        config.sc_addr.set_port(0);
        config.spu_addr.set_port(0);
        config
    }
}

/// A running node. Dropping it stops the node; [`stop`](Self::stop) also waits until it has
/// stopped.
#[derive(Debug)]
pub struct Node {
    sc_addr: SocketAddr,
    spu_addr: SocketAddr,
    data_dir: DataDir,
    replicas: Arc<Replicas>,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl Node {
    /// Starts a node on the current runtime. When it returns, clients can connect and the profile
    /// is written.
    ///
    /// # Errors
    /// The data folder is unusable, in use by another node, or damaged; a port is taken; or the
    /// profile can't be written.
    pub async fn start(config: NodeConfig) -> anyhow::Result<Self> {
        let data_dir = DataDir::open(&config.data_dir)?;
        let sc_listener = bind(config.sc_addr, "SC").await?;
        let spu_listener = bind(config.spu_addr, "SPU").await?;
        let sc_addr = reachable(sc_listener.local_addr()?);
        let spu_addr = reachable(spu_listener.local_addr()?);

        let consumer_offsets = Arc::new(ConsumerOffsets::load(data_dir.consumer_offsets())?);
        let metadata = Arc::new(Metadata::load(&data_dir, spu_addr).await?);
        let replicas = metadata.replicas.clone();
        let spu = Spu {
            replicas: replicas.clone(),
            smartmodules: metadata.smartmodules.clone(),
            consumer_offsets,
            engine: SmartEngine::new(),
        };

        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(serve(
            sc_listener,
            Sc { metadata },
            stop.clone(),
            tasks.clone(),
        ));
        tasks.spawn(serve(spu_listener, spu, stop.clone(), tasks.clone()));
        let node = Self {
            sc_addr,
            spu_addr,
            data_dir,
            replicas,
            tasks,
            stop: stop.drop_guard(),
        };
        if let Some(path) = &config.profile {
            write_profile(path, sc_addr)?;
        }
        Ok(node)
    }

    /// Returns the address of the SC, which clients connect to.
    pub fn sc_addr(&self) -> SocketAddr {
        self.sc_addr
    }

    /// Returns the address of the SPU, which clients get from the SC.
    pub fn spu_addr(&self) -> SocketAddr {
        self.spu_addr
    }

    /// Returns the data folder.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Stops the node: finishes current requests, ends all connections and streams, and syncs the
    /// logs to disk. It waits up to 10 seconds for a running SmartModule.
    ///
    /// # Errors
    /// A log can't be synced. The node has stopped nevertheless.
    pub async fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.tasks.close();
        if timeout(STOP_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!("a SmartModule is still running; stopping without it");
        }
        let replicas = self.replicas;
        tokio::task::spawn_blocking(move || {
            for replica in replicas.all() {
                replica
                    .log
                    .sync()
                    .with_context(|| format!("can't sync the log of {}", replica.key))?;
            }
            Ok(())
        })
        .await?
    }
}

async fn bind(addr: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| {
        format!(
            "the {what} can't listen on {addr}; stop the process that does, or use another address"
        )
    })
}

/// Returns the address for clients: the loopback one for a listener on all interfaces.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// Writes or replaces a Fluvio profile file with the single profile `local`.
fn write_profile(path: &Path, sc_addr: SocketAddr) -> anyhow::Result<()> {
    let context = || format!("can't write the Fluvio profile {}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(context)?;
    }
    let profile = format!(
        r#"version = "2.0"
current_profile = "local"

[profile.local]
cluster = "local"

[cluster.local]
endpoint = "{sc_addr}"
use_spu_local_address = false

[cluster.local.tls]
tls_policy = "disabled"
"#
    );
    replace_file(path, profile.as_bytes(), Durability::Kill).with_context(context)
}
