//! Starting and stopping a node.

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

use crate::data_dir::DataDir;
use crate::listener::serve;
use crate::metadata::Metadata;
use crate::profile;
use crate::sc::Sc;
use crate::spu::{ConsumerOffsets, Replicas, Spu};

/// The port of the first SPU of `fluvio cluster start --local`.
const SPU_PUBLIC_PORT: u16 = 9010;

/// How long a SmartModule may go on when the node is stopped.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// What a node needs to know.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The folder that holds everything; made if need be. One node at a time.
    pub data_dir: PathBuf,
    /// Where the SC listens: the address that clients connect to. Port 0 takes a free one.
    /// Default: 127.0.0.1:9003.
    pub sc_addr: SocketAddr,
    /// Where the SPU listens: clients learn this address from the SC. Port 0 takes a free one.
    /// Default: 127.0.0.1:9010.
    pub spu_addr: SocketAddr,
    /// The Fluvio profile file to write, replacing what is there; clients find it through the
    /// environment variable `FLV_PROFILE_PATH`. Default: none is written.
    pub profile: Option<PathBuf>,
}

impl NodeConfig {
    /// A node on Fluvio's usual ports.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            data_dir: data_dir.into(),
            sc_addr: (loopback, SC_PUBLIC_PORT).into(),
            spu_addr: (loopback, SPU_PUBLIC_PORT).into(),
            profile: None,
        }
    }

    /// A node on free ports of the loopback interface.
    pub fn on_free_ports(data_dir: impl Into<PathBuf>) -> Self {
        let mut config = Self::new(data_dir);
        config.sc_addr.set_port(0);
        config.spu_addr.set_port(0);
        config
    }
}

/// A running node. It stops when this is dropped; [`stop`](Self::stop) waits until it has.
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
    /// Starts a node on the runtime that this is called on. When this returns clients can
    /// connect, and the profile is written.
    ///
    /// # Errors
    /// When the data folder can't be used, is used by another node, or is damaged, when a port
    /// is taken, and when the profile can't be written.
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
            profile::write(path, sc_addr)?;
        }
        Ok(node)
    }

    /// Where clients connect to.
    pub fn sc_addr(&self) -> SocketAddr {
        self.sc_addr
    }

    /// Where clients produce to and consume from; the SC tells them.
    pub fn spu_addr(&self) -> SocketAddr {
        self.spu_addr
    }

    /// The folder that holds everything.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Stops the node: finishes the requests in hand, ends all connections and streams, and
    /// syncs the logs to disk. A SmartModule that doesn't come to an end is not waited for.
    ///
    /// # Errors
    /// When a log can't be synced. The node has stopped all the same.
    pub async fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.tasks.close();
        if timeout(STOP_PATIENCE, self.tasks.wait()).await.is_err() {
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
        format!("the {what} can't listen on {addr}; stop what does, or name another address")
    })
}

/// The address to tell clients, for a listener on all interfaces too.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}
