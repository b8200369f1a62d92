//! `etl replay`: moves a sink's committed offset back, so that it reads records again. Facts are
//! identified by their hashes: existing ones stay unchanged; lost ones, and those that only a newer
//! SmartModule reads, are added.

use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use tokio_postgres::Client;
use warehouse::Source;
use warehouse::locks::{AdvisoryLocks, Lock};

use crate::arguments::{self, Database, TopicName};
use crate::display::counted;
use crate::topic::Topic;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    topic: TopicName,
    /// The partition
    #[arg(long, value_name = "NUMBER")]
    partition: u32,
    /// The first record to read again: its offset or its time, such as 2026-11-24T18:00:00Z
    #[arg(long, value_name = "OFFSET|TIME")]
    from: From,
    /// The sink [default: the only one that reads the partition]
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Print the change without making it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    database: Database,
}

#[derive(Clone, Copy, Debug)]
enum From {
    Offset(i64),
    Time(DateTime<Utc>),
}

impl std::str::FromStr for From {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Ok(offset) = text.parse() {
            ensure!(offset >= 0, "an offset is 0 or more");
            return Ok(Self::Offset(offset));
        }
        let time = DateTime::parse_from_rfc3339(text)
            .ok()
            .context("neither an offset nor a time such as 2026-11-24T18:00:00Z")?;
        Ok(Self::Time(time.to_utc()))
    }
}

/// Moves the offset. Fails if a sink is writing the partition; with `--dry-run` it says so.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let number = i32::try_from(args.partition)?;
    let name = &args.topic.topic;
    let client = args.database.connect().await?;
    let (sink, committed) = committed(&client, &args, number).await?;
    let topic = Topic::connect(name).await?;
    topic.check(args.partition)?;
    let begin = topic.start(args.partition).await?;
    let to = match args.from {
        From::Offset(offset) => offset,
        From::Time(time) => topic.offset_at(args.partition, time).await?,
    };
    if to < begin {
        bail!(
            "partition {number} of `{name}` begins at offset {begin}; earlier records are removed"
        );
    }
    if to > committed {
        bail!(
            "the sink `{sink}` has committed offset {committed}: moving to {to} would skip records"
        );
    }
    let source = Source {
        sink,
        topic: name.clone(),
        partition: number,
    };
    // Held until the end, so that no sink starts at the old offset meanwhile.
    let locks = AdvisoryLocks::new(arguments::database(args.database.url()?)?);
    let writing = match locks.take(&source).await? {
        Lock::HeldBy(holder) => Some(format!(
            "the sink `{}` is writing partition {number} ({holder}) and would overwrite the \
             offset. Stop the sink first.",
            source.sink
        )),
        Lock::Held => None,
    };
    match &writing {
        Some(writing) if !args.dry_run => bail!("{writing}"),
        _ if args.dry_run => {}
        _ => move_back(&client, &source, committed, to).await?,
    }
    outln!(
        "{} partition {number} of `{}`: from offset {committed} back to {to}; the sink `{}` reads \
         {} again when it starts",
        if args.dry_run { "would move" } else { "moved" },
        source.topic,
        source.sink,
        counted((committed - to).unsigned_abs(), "record")
    );
    if let Some(writing) = writing {
        outln!("{writing}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn move_back(
    client: &Client,
    source: &Source,
    committed: i64,
    to: i64,
) -> anyhow::Result<()> {
    let moved = client
        .execute(
            "UPDATE sink_offsets SET next_offset = $1, updated_at = now() \
             WHERE sink = $2 AND topic = $3 AND partition = $4 AND next_offset = $5",
            &[
                &to,
                &source.sink,
                &source.topic,
                &source.partition,
                &committed,
            ],
        )
        .await?;
    if moved != 1 {
        bail!("the committed offset has just changed; nothing was moved, run this again");
    }
    Ok(())
}

/// The name of the sink and its committed offset.
async fn committed(client: &Client, args: &Args, partition: i32) -> anyhow::Result<(String, i64)> {
    let rows = client
        .query(
            "SELECT sink, next_offset FROM sink_offsets \
             WHERE topic = $1 AND partition = $2 AND ($3::text IS NULL OR sink = $3) ORDER BY sink",
            &[&args.topic.topic, &partition, &args.sink],
        )
        .await?;
    match rows.as_slice() {
        [row] => Ok((row.get(0), row.get(1))),
        [] => bail!(
            "no sink{} has committed an offset for partition {partition} of `{}`; it reads the \
             topic from its start",
            args.sink
                .as_ref()
                .map(|name| format!(" `{name}`"))
                .unwrap_or_default(),
            args.topic.topic
        ),
        many => {
            let names: Vec<String> = many.iter().map(|row| row.get(0)).collect();
            bail!(
                "several sinks read this partition: {}; name one with --sink",
                names.join(", ")
            )
        }
    }
}
