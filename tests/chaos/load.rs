//! The load: messages at a steady rate, and the comparison of the tables with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use aws_sdk_sqs::Client as Sqs;
use end_to_end::pipeline::send;
use end_to_end::{found, shop};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// The bodies that are made and compared at once. Their event ids begin with the same number.
const CHUNK: usize = 10_000;
/// The messages that SQS takes in one call.
const BATCH: usize = 10;

/// Sends messages until it is stopped.
pub struct Load {
    seed: u64,
    sent: Arc<AtomicUsize>,
    is_stopped: Arc<AtomicBool>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Load {
    /// Starts to send `rate` messages a second.
    pub fn start(sqs: Sqs, queue_url: String, seed: u64, rate: u32) -> Self {
        let sent = Arc::new(AtomicUsize::new(0));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (counter, stop) = (Arc::clone(&sent), Arc::clone(&is_stopped));
        let task = tokio::spawn(async move {
            let pause = Duration::from_secs(1) * u32::try_from(BATCH)? / rate.max(1);
            let mut ticks = tokio::time::interval(pause);
            let mut chunk = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                ticks.tick().await;
                let count = counter.load(Ordering::Relaxed);
                if count % CHUNK == 0 {
                    let number = count / CHUNK;
                    chunk =
                        tokio::task::spawn_blocking(move || bodies(seed, number, CHUNK)).await?;
                }
                let from = count % CHUNK;
                let batch = chunk.get(from..from + BATCH).context("a batch of bodies")?;
                send(&sqs, &queue_url, batch).await?;
                counter.fetch_add(BATCH, Ordering::Relaxed);
            }
            Ok(())
        });
        Self {
            seed,
            sent,
            is_stopped,
            task,
        }
    }

    /// The number of sent messages.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Returns true if sending failed.
    pub fn has_failed(&self) -> bool {
        self.task.is_finished()
    }

    /// Stops sending.
    ///
    /// # Errors
    /// The queue refused a message.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.is_stopped.store(true, Ordering::Relaxed);
        (&mut self.task).await.context("the load")?
    }

    /// Compares the tables with the sent messages and returns the number of facts.
    ///
    /// # Errors
    /// Fails with the first difference.
    pub async fn ensure_equal(&self, client: &Client) -> anyhow::Result<usize> {
        let (mut facts, mut unreadable) = (0, 0);
        let sent = self.sent();
        for number in 0..sent.div_ceil(CHUNK) {
            let count = CHUNK.min(sent - number * CHUNK);
            let bodies = bodies(self.seed, number, count);
            let of_chunk = format!("event_id LIKE '{}-%'", event_prefix(self.seed, number));
            let compared = found::ensure_facts_equal(client, &of_chunk, &bodies).await?;
            facts += compared.facts;
            unreadable += compared.unreadable;
        }
        let row = client
            .query_one("SELECT count(*) FROM fact_events", &[])
            .await?;
        let stored = usize::try_from(row.get::<_, i64>(0))?;
        ensure!(stored == facts, "{stored} facts, should be {facts}");
        found::ensure_rejected(client, unreadable).await?;
        Ok(facts)
    }
}

fn event_prefix(seed: u64, number: usize) -> u64 {
    seed.wrapping_mul(1_000_000).wrapping_add(number as u64)
}

/// The first bodies of a chunk.
fn bodies(seed: u64, number: usize, count: usize) -> Vec<String> {
    shop::bodies(event_prefix(seed, number), count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sent_part_of_a_chunk_can_be_made_again() {
        let whole = bodies(1, 2, 300);
        assert_eq!(bodies(1, 2, 120), whole[..120]);
        assert_ne!(bodies(1, 3, 300), whole);
    }
}
