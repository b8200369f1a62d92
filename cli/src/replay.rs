//! `etl replay`: moves a sink's stored offset back, so that it reads records again. Facts are known by their hashes, so
//! those that are there stay as they are; those that were lost, or that a newer SmartModule reads, are added.

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use chrono::{DateTime, Utc};
use postgres_sink::claims::{Claim, Claims};
use postgres_sink::writer::Source;
use tokio_postgres::Client;

use crate::tables;
use crate::topic::Topic;

#[derive(clap::Args)]
pub struct Args {
    /// The topic, in the cluster of the current Fluvio profile
    #[arg(long, value_name = "NAME", default_value = local_stack::files::TOPIC)]
    topic: String,
    /// The partition
    #[arg(long, value_name = "NUMBER")]
    partition: u32,
    /// The first record to read again: its offset, or the time it was produced (2026-11-24T18:00:00Z)
    #[arg(long, value_name = "OFFSET|TIME")]
    from: From,
    /// The sink [default: the only one that reads the partition]
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// The database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: String,
}

#[derive(Clone, Copy, Debug)]
enum From {
    Offset(i64),
    Time(DateTime<Utc>),
}

impl std::str::FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(offset) = text.parse() {
            return if offset < 0 {
                Err("an offset is 0 or more".to_owned())
            } else {
                Ok(Self::Offset(offset))
            };
        }
        DateTime::parse_from_rfc3339(text)
            .map(|time| Self::Time(time.to_utc()))
            .map_err(|_| "neither an offset nor a time such as 2026-11-24T18:00:00Z".to_owned())
    }
}

/// Moves the offset, unless a sink is writing the partition.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let number = i32::try_from(args.partition)?;
    let database = tables::database(&args.database_url)?;
    let client = tables::connect(&args.database_url).await?;
    let (sink, stored) = stored(&client, &args, number).await?;
    let topic = Topic::connect(&args.topic).await?;
    topic.check(args.partition)?;
    let begin = topic.start(args.partition).await?;
    let to = match args.from {
        From::Offset(offset) => offset,
        From::Time(time) => topic.offset_at(args.partition, time).await?,
    };
    if to < begin {
        bail!(
            "partition {number} of `{}` begins at offset {begin}; what was before it is gone",
            args.topic
        );
    }
    if to > stored {
        bail!(
            "the sink `{sink}` has come to offset {stored}: going on at {to} would leave records out"
        );
    }
    let source = Source {
        sink,
        topic: args.topic,
        partition: number,
    };
    // Held until the end, so that no sink begins at the old offset meanwhile.
    let claims = Claims::new(database);
    let claim = claims.take(&source).await;
    if let Claim::HeldBy(holder) = claim.map_err(|error| anyhow!("{error}"))? {
        bail!(
            "the sink `{}` is writing partition {number} ({holder}), and would not notice; stop it, run this, and start it again",
            source.sink
        );
    }
    if !args.dry_run {
        move_back(&client, &source, stored, to).await?;
    }
    println!(
        "{} partition {number} of `{}`: from offset {stored} back to {to}; the sink `{}` reads {} records again when it starts",
        if args.dry_run { "would move" } else { "moved" },
        source.topic,
        source.sink,
        stored - to
    );
    Ok(ExitCode::SUCCESS)
}

async fn move_back(client: &Client, source: &Source, stored: i64, to: i64) -> anyhow::Result<()> {
    let moved = client
        .execute(
            "UPDATE sink_offsets SET next_offset = $1, updated_at = now() \
             WHERE sink = $2 AND topic = $3 AND partition = $4 AND next_offset = $5",
            &[&to, &source.sink, &source.topic, &source.partition, &stored],
        )
        .await?;
    if moved != 1 {
        bail!("the stored offset has moved just now; nothing was changed, run this again");
    }
    Ok(())
}

/// The sink that is meant, and the offset stored for it.
async fn stored(client: &Client, args: &Args, partition: i32) -> anyhow::Result<(String, i64)> {
    let rows = client
        .query(
            "SELECT sink, next_offset FROM sink_offsets \
             WHERE topic = $1 AND partition = $2 AND ($3::text IS NULL OR sink = $3) ORDER BY sink",
            &[&args.topic, &partition, &args.sink],
        )
        .await?;
    match rows.as_slice() {
        [row] => Ok((row.get(0), row.get(1))),
        [] => bail!(
            "no sink{} has stored an offset for partition {partition} of `{}`; it reads the topic from its start",
            args.sink
                .as_ref()
                .map(|name| format!(" `{name}`"))
                .unwrap_or_default(),
            args.topic
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
