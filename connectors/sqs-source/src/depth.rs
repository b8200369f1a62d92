//! How many messages wait in the queue, asked now and then for whoever watches.

use std::sync::Arc;
use std::time::Duration;

use crate::progress::Progress;
use crate::queue::{Depth, Queue};

/// Asks every `interval` until it is dropped, and passes each answer to `look`. What can't be asked now is
/// asked next time, and stands at what it was.
pub(crate) async fn watch(
    queue: Arc<dyn Queue>,
    progress: Arc<Progress>,
    interval: Duration,
    mut look: impl FnMut(Depth) + Send,
) {
    loop {
        match queue.depth().await {
            Ok(depth) => {
                progress.depth(depth);
                look(depth);
            }
            Err(error) => {
                progress.failed(&error);
                tracing::debug!("cannot tell how many messages wait: {error}");
            }
        }
        tokio::time::sleep(interval).await;
    }
}
