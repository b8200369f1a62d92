//! Transcripts: compare a client's view of the node with its view of a real cluster.
//!
//! Each scene sends the same requests to any cluster and writes one line for each observation.
//! `recorded/` has the lines of a cluster of Fluvio 0.18.1. `cargo test` runs the scenes against a
//! node in this process and compares.
//!
//! `ETL_TEST_CLUSTER=profile` runs them against the cluster of the current Fluvio profile instead
//! (no TLS, no other users, one SPU with id 5001); `ETL_RECORD=1` also records its answers. Run one
//! scene at a time: a cluster sometimes doesn't answer for a minute if topics are created
//! concurrently.
//!
//! ```text
//! ETL_TEST_CLUSTER=profile ETL_RECORD=1 \
//!     cargo test --release -p fluvio-node --test node transcript -- --test-threads=1
//! ```

mod recorded;
mod scene;
mod wire;

mod admin;
mod consumer_offsets;
mod cutting;
mod offsets;
mod producing;
mod reading;
mod smartmodules;
mod streaming;
mod topics;

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt;
use scene::Scene;

/// Runs a scene and compares its transcript with the recorded one, or records it.
async fn play(name: &str, scene: impl AsyncFnOnce(&mut Scene)) {
    let mut scene_state = Scene::start().await;
    let outcome = AssertUnwindSafe(scene(&mut scene_state))
        .catch_unwind()
        .await;
    let transcript = scene_state.finish().await;
    if let Err(panic) = outcome {
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
    consumer_offsets
    cutting
    offsets
    producing
    reading
    smartmodules
    streaming
    topics
}
