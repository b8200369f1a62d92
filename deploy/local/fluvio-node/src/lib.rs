//! An embedded Fluvio node: SC and SPU in one process, for one machine.
//!
//! It speaks Fluvio's wire protocol on two loopback ports, uses the protocol crates of platform
//! release 0.18.1, runs SmartModules in Fluvio's own engine and keeps its log on disk. Fluvio's
//! clients work unchanged: the `fluvio` crate, the command line, the Python client. With it one
//! command shows a whole pipeline, and tests need no cluster. It behaves like the real server where
//! a client can notice, including the real server's faults.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use fluvio_node::{Node, NodeConfig};
//!
//! let node = Node::start(NodeConfig::on_free_ports("data")).await?;
//! println!("clients connect to {}", node.sc_addr());
//! node.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Fidelity
//!
//! The scenes in `tests/node/transcript` record what a client sees: offsets, batch boundaries,
//! errors and their codes, `max_bytes`, resuming, SmartModules, consumer offsets, lists. They were
//! recorded from a cluster of 0.18.1 (one SC, one SPU). `cargo test` runs them against the node;
//! they can be recorded again from any cluster.
//!
//! # Differences from a cluster
//!
//! - One SPU (5001): a record is committed once it is in the log, a topic has one replica, and
//!   `ReadCommitted` equals `ReadUncommitted`. A topic with more replicas is refused at once; a
//!   cluster searches for SPUs for 90 seconds, refuses with the same code and keeps the topic.
//! - No retention: records stay until their topic is deleted.
//! - At most 1,024 partitions a topic.
//! - SmartModules run on streams only, not on produce requests.
//! - No plain fetch requests; clients use streams.
//! - No deduplication, mirrors, SPU groups, further SPUs or table formats. Such topics are refused,
//!   requests get an error, lists are empty.
//! - No authorization and no TLS: the node is meant for the loopback interface.
//! - The system topic `consumer-offset` exists by name only: consumer offsets are stored in a file,
//!   and the topic can't be deleted by force.
//! - Lists have current partition offsets and sizes, watches don't. A size covers batches only; a
//!   cluster includes its index files.
//! - No delay between SC and SPU. In a cluster an SPU knows a SmartModule some time after it was
//!   created, and of topics created concurrently one was now and then not answered for a minute.
//! - After a batch without records next to others, a real partition accepts nothing until its SPU
//!   restarts. The node refuses only that request.
//!
//! # Modules
//!
//! - [`Node`] starts and stops everything. `data_dir` owns the folder on disk.
//! - `connection` handles connections, frames and responses of both ports.
//! - `sc` answers the SC's requests from `metadata`, whose objects `objects` stores on disk.
//! - `spu` answers the SPU's requests from the `log` of each partition in `replicas`.

mod connection;
mod data_dir;
mod log;
mod metadata;
mod node;
mod objects;
mod replicas;
mod sc;
mod spu;

pub use node::{Node, NodeConfig};
