//! `etl send`: puts the lines of a file into a queue.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, ensure};
use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use futures_util::stream::{self, StreamExt};
use sqs_source::sqs::words;

use crate::bodies;
use crate::progress::Bar;

/// SQS's limits for one SendMessageBatch: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>.
const BATCH_MESSAGES: usize = 10;
const BATCH_BYTES: usize = 1 << 20;
/// Requests under way at once.
const PIPELINE: usize = 8;
/// How often an entry that the queue could not take is sent again.
const ATTEMPTS: u32 = 5;

#[derive(clap::Args)]
pub struct Args {
    /// The file, a message body a line; `-` is standard input
    #[arg(value_name = "FILE.jsonl")]
    file: PathBuf,
    /// The queue; credentials, region and endpoint come from the AWS environment
    #[arg(long, env = "QUEUE_URL", value_name = "URL")]
    queue_url: String,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let bar = Bar::counter("sent");
    let sent = send_all(
        &Client::new(&config),
        &args.queue_url,
        bodies::open(&args.file)?,
        |batch, _| {
            bar.add(batch.len() as u64);
        },
    )
    .await?;
    bar.finish();
    println!("{sent} messages sent to {}", args.queue_url);
    Ok(ExitCode::SUCCESS)
}

/// Sends every body, and tells `on_sent` of those that the queue took, with the time just before
/// (microseconds after the epoch). Returns their number.
///
/// # Errors
/// The queue refuses a body or can't be reached; what was told to `on_sent` is in the queue.
pub async fn send_all(
    client: &Client,
    queue_url: &str,
    bodies: impl Iterator<Item = anyhow::Result<String>> + Send,
    mut on_sent: impl FnMut(&[String], u64),
) -> anyhow::Result<u64> {
    let mut answers = stream::iter(Batches { bodies, next: None })
        .map(|batch| async move {
            let batch = batch?;
            let micros = now_micros();
            send_batch(client, queue_url, &batch).await?;
            anyhow::Ok((batch, micros))
        })
        .buffered(PIPELINE);
    let mut sent = 0;
    while let Some(answer) = answers.next().await {
        let (batch, micros) = answer?;
        sent += batch.len() as u64;
        on_sent(&batch, micros);
    }
    Ok(sent)
}

async fn send_batch(client: &Client, queue_url: &str, batch: &[String]) -> anyhow::Result<()> {
    let mut waiting: Vec<usize> = (0..batch.len()).collect();
    for _ in 0..ATTEMPTS {
        let entries = waiting
            .iter()
            .filter_map(|&index| {
                let body = batch.get(index)?;
                Some(
                    SendMessageBatchRequestEntry::builder()
                        .id(index.to_string())
                        .message_body(body)
                        .build(),
                )
            })
            .collect::<Result<Vec<_>, _>>()?;
        let answer = client
            .send_message_batch()
            .queue_url(queue_url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| anyhow!("cannot send to {queue_url}: {}", words(&error)))?;
        let mut failed = Vec::new();
        for entry in &answer.failed {
            ensure!(
                !entry.sender_fault,
                "{queue_url} refuses a message: {} {}",
                entry.code,
                entry.message.as_deref().unwrap_or_default()
            );
            failed.push(
                entry
                    .id
                    .parse()
                    .context("the queue answered for a message that was not sent")?,
            );
        }
        if failed.is_empty() {
            return Ok(());
        }
        waiting = failed;
    }
    Err(anyhow!(
        "{queue_url} did not take {} messages in {ATTEMPTS} attempts",
        waiting.len()
    ))
}

fn now_micros() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Bodies in batches as large as SQS takes.
struct Batches<I> {
    bodies: I,
    next: Option<String>,
}

impl<I: Iterator<Item = anyhow::Result<String>>> Iterator for Batches<I> {
    type Item = anyhow::Result<Vec<String>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut batch: Vec<String> = self.next.take().into_iter().collect();
        let mut bytes: usize = batch.iter().map(String::len).sum();
        while batch.len() < BATCH_MESSAGES {
            match self.bodies.next() {
                None => break,
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(body)) if bytes + body.len() > BATCH_BYTES && !batch.is_empty() => {
                    self.next = Some(body);
                    break;
                }
                Some(Ok(body)) => {
                    bytes += body.len();
                    batch.push(body);
                }
            }
        }
        (!batch.is_empty()).then_some(Ok(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(sizes: &[usize]) -> Vec<usize> {
        let bodies = sizes.iter().map(|size| Ok("x".repeat(*size)));
        Batches { bodies, next: None }
            .map(|batch| batch.unwrap().len())
            .collect()
    }

    #[test]
    fn a_batch_is_never_larger_than_sqs_takes() {
        assert_eq!(batches(&[1; 25]), [10, 10, 5]);
        assert_eq!(batches(&[600_000, 600_000, 100]), [1, 2]);
        assert_eq!(
            batches(&[2_000_000]),
            [1],
            "what is too large alone is for the queue to refuse"
        );
        assert_eq!(batches(&[]), Vec::<usize>::new());
    }
}
