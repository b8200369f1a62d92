//! Receives and deletes all messages of the queue `QUEUE_URL` with the AWS SDK alone and the
//! source's allocator: the least CPU that the source can take. `bench/` runs it beside the source.

use anyhow::Context;
use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use tokio::task::JoinSet;

sqs_source::use_jemalloc!();

/// Receives that run at once: enough to keep one core busy.
const POLLERS: usize = 8;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let queue = std::env::var("QUEUE_URL").context("QUEUE_URL is not set")?;
    let client = Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    let mut pollers = JoinSet::new();
    for _ in 0..POLLERS {
        pollers.spawn(drain(client.clone(), queue.clone()));
    }
    while let Some(ended) = pollers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn drain(client: Client, queue: String) -> anyhow::Result<()> {
    loop {
        let receive = client
            .receive_message()
            .queue_url(&queue)
            .max_number_of_messages(10);
        let messages = receive.send().await?.messages.unwrap_or_default();
        if messages.is_empty() {
            return Ok(());
        }
        let entry = |(index, message): (usize, aws_sdk_sqs::types::Message)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(message.receipt_handle.unwrap_or_default())
                .build()
        };
        let entries = messages
            .into_iter()
            .enumerate()
            .map(entry)
            .collect::<Result<_, _>>()?;
        let delete = client
            .delete_message_batch()
            .queue_url(&queue)
            .set_entries(Some(entries));
        delete.send().await?;
    }
}
