//! How many messages wait in the queue, asked now and then for whoever watches.

use std::sync::Arc;
use std::time::Duration;

use crate::progress::Progress;
use crate::queue::Queue;

/// SQS's own metrics are no fresher than a minute.
const INTERVAL: Duration = Duration::from_secs(30);

/// Asks until it is dropped. What can't be asked now is asked next time, and stands at what it was.
pub(crate) async fn watch(queue: Arc<dyn Queue>, progress: Arc<Progress>) {
    loop {
        match queue.depth().await {
            Ok(depth) => progress.depth(depth),
            Err(error) => {
                progress.failed(&error);
                tracing::debug!("cannot tell how many messages wait: {error}");
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
