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
use indicatif::HumanCount;
use sqs_source::sqs::error_text;

use crate::arguments::Queue;
use crate::display::counted;
use crate::progress::Bar;

/// The [limits] of one SendMessageBatch.
///
/// [limits]:
/// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
const BATCH_MESSAGES: usize = 10;
/// Bytes of one message, and of all messages in one batch.
const MAX_BYTES: usize = 1 << 20;
/// Requests in flight at once.
const MAX_REQUESTS: usize = 8;
/// Attempts to send an entry that the queue fails to accept.
const MAX_ATTEMPTS: u32 = 5;
/// Lines that were not sent and are named.
const MAX_NAMED: usize = 10;

#[derive(clap::Args)]
pub struct Args {
    /// The file, one message body a line; `-` is standard input
    #[arg(value_name = "FILE.jsonl")]
    file: PathBuf,
    #[command(flatten)]
    queue: Queue,
}

/// A line of a file, or a generated message.
pub struct Line {
    /// Its number, from 1 on.
    pub number: u64,
    /// The message's body.
    pub body: String,
}

/// The reason that SQS never takes a line.
#[derive(Debug, thiserror::Error)]
pub enum Unsendable {
    /// It is too large.
    #[error(
        "line {line} has {} bytes; SQS takes up to {}",
        HumanCount(*.bytes as u64),
        HumanCount(MAX_BYTES as u64)
    )]
    TooLarge {
        /// The number of the line.
        line: u64,
        /// Its size.
        bytes: usize,
    },
    /// It has a character that XML 1.0 does not have.
    #[error("line {line} has the character U+{:04X}, which SQS refuses", u32::from(*.character))]
    Character {
        /// The number of the line.
        line: u64,
        /// The first such character.
        character: char,
    },
}

impl Line {
    fn check(&self) -> Result<(), Unsendable> {
        let (line, bytes) = (self.number, self.body.len());
        if bytes > MAX_BYTES {
            return Err(Unsendable::TooLarge { line, bytes });
        }
        match self.body.chars().find(|character| !is_sendable(*character)) {
            Some(character) => Err(Unsendable::Character { line, character }),
            None => Ok(()),
        }
    }
}

/// True for the [characters] that a message may have.
///
/// [characters]:
/// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
fn is_sendable(character: char) -> bool {
    matches!(
        character,
        '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..
    )
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let queue_url = args.queue.url()?;
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let bar = Bar::counter("sent");
    let mut left_out = LeftOut::default();
    let lines = lines(&args.file)?.filter(|line| match line {
        Err(error) if error.is::<Unsendable>() => {
            left_out.add(error.to_string());
            false
        }
        _ => true,
    });
    let sent = send_all(&Client::new(&config), queue_url, lines, |batch, _| {
        bar.add(batch.len() as u64);
    })
    .await;
    bar.finish();
    let sent = sent?;
    if left_out.count == 0 {
        outln!("{} sent to {queue_url}", counted(sent, "message"));
        return Ok(ExitCode::SUCCESS);
    }
    Err(anyhow!(left_out.message(sent)))
}

/// Lines that were not sent, since SQS never takes them.
#[derive(Default)]
struct LeftOut {
    /// The reasons of the first.
    reasons: Vec<String>,
    count: u64,
}

impl LeftOut {
    fn add(&mut self, reason: String) {
        if self.reasons.len() < MAX_NAMED {
            self.reasons.push(reason);
        }
        self.count += 1;
    }

    /// The error, after `sent` other lines were sent.
    fn message(&self, sent: u64) -> String {
        let mut text = self.reasons.join("\n");
        let more = self.count - self.reasons.len() as u64;
        if more > 0 {
            text += &format!("\n{} more like these", counted(more, "line"));
        }
        match sent {
            0 => text + ". Nothing was sent.",
            1 => text + ". The other message was sent; sending it again adds no facts.",
            sent => format!(
                "{text}. The other {} messages were sent; sending them again adds no facts.",
                HumanCount(sent)
            ),
        }
    }
}

/// The lines of the file at `path`, or of standard input for `-`. Skips empty lines, because SQS
/// refuses empty messages.
///
/// # Errors
/// Fails if the file can't be opened. A line that can't be read, isn't UTF-8, or is [`Unsendable`]
/// is an error of its own.
pub fn lines(path: &Path) -> anyhow::Result<Box<dyn Iterator<Item = anyhow::Result<Line>> + Send>> {
    let shown = path.display().to_string();
    let reader: Box<dyn BufRead + Send> = if path.as_os_str() == "-" {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        Box::new(BufReader::new(
            File::open(path).with_context(|| format!("cannot open {shown}"))?,
        ))
    };
    let lines = reader.lines().zip(1_u64..).map(move |(body, number)| {
        let body = body.with_context(|| format!("{shown}, line {number}: cannot be read"))?;
        let line = Line { number, body };
        line.check()?;
        Ok(line)
    });
    Ok(Box::new(lines.filter(
        |line| !matches!(line, Ok(line) if line.body.is_empty()),
    )))
}

/// Sends every line. Calls `on_sent` for those that the queue accepted, with the time before the
/// request in microseconds of Unix time. Returns their number.
///
/// # Errors
/// Fails if the queue refuses a line or is unreachable. Lines passed to `on_sent` are in the
/// queue.
pub async fn send_all(
    client: &Client,
    queue_url: &str,
    lines: impl Iterator<Item = anyhow::Result<Line>> + Send,
    mut on_sent: impl FnMut(&[Line], u64),
) -> anyhow::Result<u64> {
    let mut answers = stream::iter(Batches { lines, next: None })
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

async fn send_batch(client: &Client, queue_url: &str, batch: &[Line]) -> anyhow::Result<()> {
    let mut waiting: Vec<usize> = (0..batch.len()).collect();
    for _ in 0..MAX_ATTEMPTS {
        let entries = waiting
            .iter()
            .filter_map(|&index| {
                let body = &batch.get(index)?.body;
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
            .map_err(|error| {
                let lines = numbers(batch);
                anyhow!("cannot send {lines} to {queue_url}: {}", error_text(&error))
            })?;
        let mut failed = Vec::new();
        for entry in &answer.failed {
            let of = |index: usize| batch.get(index).map(|line| (index, line.number));
            let (index, number) = entry
                .id
                .parse()
                .ok()
                .and_then(of)
                .context("the queue returned the id of a message that was not sent")?;
            ensure!(
                !entry.sender_fault,
                "{queue_url} refuses line {number}: {} {}",
                entry.code,
                entry.message.as_deref().unwrap_or_default()
            );
            failed.push(index);
        }
        if failed.is_empty() {
            return Ok(());
        }
        waiting = failed;
    }
    Err(anyhow!(
        "{queue_url} did not accept {} in {MAX_ATTEMPTS} attempts",
        counted(waiting.len() as u64, "message")
    ))
}

/// The numbers of the first and the last line of a batch.
fn numbers(batch: &[Line]) -> String {
    match batch {
        [] => "nothing".to_owned(),
        [line] => format!("line {}", line.number),
        [first, .., last] => format!("lines {} to {}", first.number, last.number),
    }
}

fn now_micros() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Lines in batches as large as SQS accepts.
struct Batches<I> {
    lines: I,
    next: Option<anyhow::Result<Line>>,
}

impl<I: Iterator<Item = anyhow::Result<Line>>> Iterator for Batches<I> {
    type Item = anyhow::Result<Vec<Line>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut batch: Vec<Line> = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_MESSAGES {
            match self.next.take().or_else(|| self.lines.next()) {
                None => break,
                Some(Err(error)) if batch.is_empty() => return Some(Err(error)),
                Some(Ok(line)) if bytes + line.body.len() <= MAX_BYTES || batch.is_empty() => {
                    bytes += line.body.len();
                    batch.push(line);
                }
                later => {
                    self.next = later;
                    break;
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
        let lines = sizes.iter().zip(1..).map(|(size, number)| {
            let body = "x".repeat(*size);
            Ok(Line { number, body })
        });
        Batches { lines, next: None }
            .map(|batch| batch.unwrap().len())
            .collect()
    }

    #[test]
    fn a_batch_is_within_the_limits() {
        assert_eq!(batches(&[1; 25]), [10, 10, 5]);
        assert_eq!(batches(&[600_000, 600_000, 100]), [1, 2]);
        assert_eq!(batches(&[]), Vec::<usize>::new());
    }

    #[test]
    fn lines_before_an_unreadable_one_are_sent() {
        let body = "x".to_owned();
        let lines = [Ok(Line { number: 1, body }), Err(anyhow!("unreadable"))];
        let mut batches = Batches {
            lines: lines.into_iter(),
            next: None,
        };
        assert_eq!(batches.next().unwrap().unwrap().len(), 1);
        assert!(batches.next().unwrap().is_err());
        assert!(batches.next().is_none());
    }

    #[test]
    fn a_line_that_sqs_never_takes_is_named() {
        let check = |body: String| Line { number: 2, body }.check();
        check("x".repeat(1 << 20)).unwrap();
        check("ü\t\u{fffd}\u{10ffff}".to_owned()).unwrap();
        let large = check("x".repeat(1_100_009)).unwrap_err().to_string();
        assert_eq!(
            large,
            "line 2 has 1,100,009 bytes; SQS takes up to 1,048,576"
        );
        let control = check("a\u{1b}[31m".to_owned()).unwrap_err().to_string();
        assert_eq!(
            control,
            "line 2 has the character U+001B, which SQS refuses"
        );
        let mut left_out = LeftOut::default();
        left_out.add(large);
        assert_eq!(
            left_out.message(3),
            "line 2 has 1,100,009 bytes; SQS takes up to 1,048,576. The other 3 messages were \
             sent; sending them again adds no facts."
        );
        for _ in 0..11 {
            left_out.add(control.clone());
        }
        let many = left_out.message(0);
        assert!(
            many.ends_with("\n2 lines more like these. Nothing was sent."),
            "{many}"
        );
    }
}
