//! The whole pipeline on one machine, nothing installed: a private PostgreSQL, the embedded Fluvio
//! node, an SQS endpoint, and the very connectors and files that a cluster is deployed with.
//!
//! The demo, `etl up` and the end-to-end tests all start it from here, so what they show is one and
//! the same thing.
//!
//! # Layout
//!
//! - [`artefacts`]: where the built programs and the SmartModule are
//! - [`files`]: the files of `deploy/cluster`, written out for a run
//! - [`cluster`]: topic and SmartModule, loaded as `fluvio` and `smdk` would
//! - [`topic_end`](mod@topic_end): how far the topic is filled
//! - [`queue`]: the queue, and clients for it
//! - [`launch`]: one part's command line, for this process and for a person to repeat
//! - [`options`]: what a stack is made of; [`part`]: which processes it has
//! - [`stack`]: all of it, in order, up and down

pub mod artefacts;
pub mod cluster;
pub mod files;
mod folder;
pub mod launch;
pub mod options;
pub mod part;
pub mod queue;
pub mod stack;
pub mod topic_end;

pub use options::{Fluvio, Sqs, StackOptions};
pub use part::Part;
pub use stack::Stack;
pub use topic_end::TopicEnd;
