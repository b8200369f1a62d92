//! `etl send`: sends the lines of a file to a queue.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, ensure};
use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use futures_util::stream::{self, StreamExt};
use sqs_source::sqs::error_text;

use crate::arguments::Queue;
use crate::progress::Bar;

/// The [limits] of one SendMessageBatch.
///
/// [limits]:
/// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
const BATCH_MESSAGES: usize = 10;
const BATCH_BYTES: usize = 1 << 20;
/// Requests in flight at once.
const MAX_REQUESTS: usize = 8;
/// Attempts to send an entry that the queue fails to accept.
const MAX_ATTEMPTS: u32 = 5;

#[derive(clap::Args)]
pub struct Args {
    /// The file, one message body a line; `-` is standard input
    #[arg(value_name = "FILE.jsonl")]
    file: PathBuf,
    #[command(flatten)]
    queue: Queue,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let queue_url = args.queue.url()?;
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let bar = Bar::counter("sent");
    let sent = send_all(
        &Client::new(&config),
        queue_url,
        bodies(&args.file)?,
        |batch, _| {
            bar.add(batch.len() as u64);
        },
    )
    .await?;
    bar.finish();
    outln!("{sent} messages sent to {queue_url}");
    Ok(ExitCode::SUCCESS)
}

/// The lines of the file at `path`, or of standard input for `-`. Skips empty lines, because SQS
/// refuses empty messages.
///
/// # Errors
/// Fails if the file can't be opened. A line that can't be read or isn't UTF-8 is an error of its
/// own.
pub fn bodies(
    path: &Path,
) -> anyhow::Result<Box<dyn Iterator<Item = anyhow::Result<String>> + Send>> {
    let shown = path.display().to_string();
    let reader: Box<dyn BufRead + Send> = if path.as_os_str() == "-" {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        Box::new(BufReader::new(
            File::open(path).with_context(|| format!("cannot open {shown}"))?,
        ))
    };
    let lines = reader.lines().zip(1_u64..).map(move |(line, number)| {
        line.with_context(|| format!("{shown}, line {number}: cannot be read"))
    });
    Ok(Box::new(lines.filter(
        |line| !matches!(line, Ok(text) if text.is_empty()),
    )))
}

/// Sends every body. Calls `on_sent` for those that the queue accepted, with the time before the
/// request in microseconds of Unix time. Returns their number.
///
/// # Errors
/// Fails if the queue refuses a body or is unreachable. Bodies passed to `on_sent` are in the
/// queue.
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
        .buffered(MAX_REQUESTS);
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
    for _ in 0..MAX_ATTEMPTS {
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
            .map_err(|error| anyhow!("cannot send to {queue_url}: {}", error_text(&error)))?;
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
                    .context("the queue returned the id of a message that was not sent")?,
            );
        }
        if failed.is_empty() {
            return Ok(());
        }
        waiting = failed;
    }
    Err(anyhow!(
        "{queue_url} did not accept {} messages in {MAX_ATTEMPTS} attempts",
        waiting.len()
    ))
}

fn now_micros() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Bodies in batches as large as SQS accepts.
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
    fn a_batch_is_within_the_limits() {
        assert_eq!(batches(&[1; 25]), [10, 10, 5]);
        assert_eq!(batches(&[600_000, 600_000, 100]), [1, 2]);
        assert_eq!(
            batches(&[2_000_000]),
            [1],
            "a body that is too large is sent alone, for the queue to refuse"
        );
        assert_eq!(batches(&[]), Vec::<usize>::new());
    }
}
