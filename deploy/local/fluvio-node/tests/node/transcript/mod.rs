//! Transcripts: what a client sees of a real cluster, held against what it sees of the node.
//!
//! Each scene does the same to any cluster and writes down what comes back, one line for each
//! observation. `recorded/` has what a cluster of Fluvio 0.18.1 answered. `cargo test` plays the
//! scenes to a node in this process and compares.
//!
//! `ETL_TEST_CLUSTER=profile` plays them to the cluster of the current Fluvio profile instead
//! (no TLS, nothing else going on, one SPU numbered 5001); with `ETL_RECORD=1` on top its answers
//! become the recorded ones. One scene at a time: when topics are created side by side, a
//! cluster now and then leaves one unanswered for a minute.
//!
//! ```text
//! ETL_TEST_CLUSTER=profile ETL_RECORD=1 \
//!     cargo test --release -p fluvio-node --test node transcript -- --test-threads=1
//! ```

mod recorded;
mod scene;
mod wire;

mod admin;
mod connections;
mod consumer_offsets;
mod cutting;
mod lookback;
mod offsets;
mod producing;
mod reading;
mod smartmodules;
mod streaming;
mod topics;
mod transforming_producer;

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt;
use scene::Scene;

/// Plays a scene and compares its transcript with the recorded one, or records it.
async fn play(name: &str, scene: impl AsyncFnOnce(&mut Scene)) {
    let mut stage = Scene::start().await;
    let played = AssertUnwindSafe(scene(&mut stage)).catch_unwind().await;
    let transcript = stage.finish().await;
    if let Err(panic) = played {
        eprintln!("the transcript so far:\n{transcript}");
        resume_unwind(panic);
    }
    recorded::compare(name, &transcript);
}

macro_rules! scenes {
    ($($scene:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $scene() {
            play(stringify!($scene), $scene::scene).await;
        }
    )*};
}

scenes! {
    admin
    connections
    consumer_offsets
    cutting
    lookback
    offsets
    producing
    reading
    smartmodules
    streaming
    topics
    transforming_producer
}
