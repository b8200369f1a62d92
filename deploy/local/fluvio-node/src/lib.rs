//! An embedded Fluvio node: SC and SPU in one process, for one machine.
//!
//! It speaks Fluvio's wire protocol on two loopback ports, from the protocol crates of the
//! release that goes with platform 0.18.1, runs SmartModules in Fluvio's own engine and keeps
//! its log on disk. Fluvio's clients work against it unchanged: the `fluvio` crate, the command
//! line, the Python client. It exists so that one command shows a whole pipeline, and tests need
//! no cluster. Where a client can tell, it behaves like the real server, its traps included.
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
//! # How it compares
//!
//! The scenes in `tests/node/transcript` record what a client sees: offsets, borders of batches,
//! errors and their codes, `max_bytes`, resuming, SmartModules, consumer offsets, lists. They
//! were recorded from a cluster of 0.18.1 (one SC, one SPU) and run against the node with every
//! `cargo test`; each can be recorded again from any cluster.
//!
//! # What is left out
//!
//! It is no cluster. Compared with a real one it has
//! - one SPU (5001), so a record is committed once it is in the log, a topic has one replica,
//!   and `ReadCommitted` equals `ReadUncommitted`. A topic with more replicas is refused at once;
//!   a cluster looks for SPUs for 90 seconds, refuses with the same code and keeps the topic;
//! - no retention: records stay until their topic is deleted;
//! - at most 1,024 partitions a topic;
//! - no deduplication (such topics are refused), mirrors, SPU groups, further SPUs, table formats
//!   (requests get an error, lists are empty);
//! - no authorization and no TLS: it is for the loopback interface;
//! - the system topic `consumer-offset` by name only: consumer offsets are kept in a file, and
//!   the topic can't be deleted by force;
//! - partition offsets and sizes in lists, not in watches; a size is that of the batches, where a
//!   cluster counts its index files as well;
//! - no delay between its SC and its SPU. In a cluster a SmartModule is known to the SPU a little
//!   after its creation was answered, and of topics created side by side one was now and then
//!   not answered for a minute;
//! - no short circuit: after a batch without records next to others, a real partition takes
//!   nothing more until its SPU is started again. The node refuses that request alone.
//!
//! # How it is built
//!
//! - [`Node`] starts and stops everything. `data_dir` owns the folder on disk, `profile` writes
//!   the file that leads clients here.
//! - `listener` and `wire` are what both ports share: connections, frames, responses.
//! - `sc` answers the SC's requests from `metadata`, whose objects `objects` keeps on disk.
//! - `spu` answers the SPU's requests from the `log` of each partition.

mod data_dir;
mod listener;
mod log;
mod metadata;
mod node;
mod objects;
mod profile;
mod sc;
mod spu;
mod wire;

pub use node::{Node, NodeConfig};
