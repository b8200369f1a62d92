//! `etl rejected`: lists, shows, retries and purges rejected events, and sets records aside.

use std::borrow::Cow;
use std::process::ExitCode;

use anyhow::{anyhow, ensure};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use fact_model::Rejection;
use tokio_postgres::Client;
use warehouse::OnConflict;
use warehouse::retry::{Retried, Retry, Selection};
use warehouse::source::set_aside;

use crate::arguments::{self, Database, Parameters, TopicName};
use crate::display::counted;
use crate::{display, place};

/// The longest payload and detail shown in a list, in characters.
const MAX_TEXT: i32 = 60;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: Database,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Count rejected events by reason, with the newest of each
    List(Selected),
    /// Show a rejected event with its source, reason and payload
    Show {
        /// Its number, as shown by `list`
        id: i64,
    },
    /// Flatten rejected events again; a row is deleted when its facts are in the tables
    Retry(RetryArgs),
    /// Delete rejected events with their payload
    Purge(PurgeArgs),
    /// Have the sink set aside a record that the cluster can't transform, as a rejected event
    Skip(SkipArgs),
}

#[derive(clap::Args)]
struct SkipArgs {
    #[command(flatten)]
    topic: TopicName,
    /// The partition
    #[arg(long, value_name = "NUMBER")]
    partition: i32,
    /// The offset of the record
    #[arg(long, value_name = "OFFSET")]
    offset: i64,
    /// The sink [default: all that read the partition]
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

#[derive(clap::Args)]
struct RetryArgs {
    #[command(flatten)]
    selected: Selected,
    /// Only show the results; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace stored facts of older versions, as a sink with `on-conflict: update` does
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    parameters: Parameters,
}

#[derive(clap::Args)]
struct PurgeArgs {
    #[command(flatten)]
    selected: Selected,
    /// Only count the events by reason; delete nothing
    #[arg(long)]
    dry_run: bool,
}

/// The selected rejected events, which meet all conditions.
#[derive(clap::Args)]
struct Selected {
    /// With this reason; may be given several times
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,
    /// With this number; may be given several times
    #[arg(long, value_name = "NUMBER")]
    id: Vec<i64>,
    /// From this topic
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// First seen longer ago than this, as PostgreSQL writes intervals: `30days`, `12 hours`
    #[arg(long, value_name = "AGE", value_parser = arguments::age)]
    older_than: Option<String>,
    /// All rejected events
    #[arg(long, conflicts_with_all = ["reason", "id", "topic", "older_than"])]
    all: bool,
}

impl Selected {
    fn selection(&self) -> Selection {
        let some = |all: &[String]| (!all.is_empty()).then(|| all.to_vec());
        Selection {
            ids: (!self.id.is_empty()).then(|| self.id.clone()),
            reasons: some(&self.reason),
            topic: self.topic.clone(),
            older_than: self.older_than.clone(),
        }
    }

    /// The selection of a command that can't be undone; selecting everything needs `--all`.
    fn deliberate(&self) -> anyhow::Result<Selection> {
        let is_empty = self.reason.is_empty() && self.id.is_empty() && self.topic.is_none();
        ensure!(
            self.all || !is_empty || self.older_than.is_some(),
            "select some with --reason, --id, --topic or --older-than, or use --all"
        );
        Ok(self.selection())
    }
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { database, command } = args;
    match command {
        Command::List(selected) => list(&database.connect().await?, &selected.selection()).await,
        Command::Show { id } => show(&database.connect().await?, id).await,
        Command::Retry(args) => retry(database.url()?, &args).await,
        Command::Purge(args) => {
            let selection = args.selected.deliberate()?;
            purge(&database.connect().await?, &selection, args.dry_run).await
        }
        Command::Skip(args) => skip(&database.connect().await?, &args).await,
    }
}

async fn purge(client: &Client, selection: &Selection, is_dry: bool) -> anyhow::Result<ExitCode> {
    if is_dry {
        let query = format!(
            "SELECT reason, count(*), sum(octet_length(raw)) FROM rejected_events WHERE {} \
             GROUP BY reason ORDER BY 2 DESC, 1",
            Selection::SQL
        );
        let rows = client.query(&query, &selection.params()).await?;
        let mut all = 0;
        for row in &rows {
            let (reason, count, bytes): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
            all += count;
            outln!(
                "would purge {} of the reason {}, {} of payload",
                counted(count.unsigned_abs(), "rejected event"),
                display::line(&reason),
                display::size(bytes)
            );
        }
        outln!("{all} would be purged; nothing was changed");
    } else {
        let query = format!("DELETE FROM rejected_events WHERE {}", Selection::SQL);
        let purged = client.execute(&query, &selection.params()).await?;
        outln!("{purged} purged");
        if purged > 0 {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if let Some(unknown) = unknown_reasons(client, selection).await? {
        outln!("{unknown}");
    }
    Ok(ExitCode::SUCCESS)
}

/// A message if a selected reason is that of no rejected event.
async fn unknown_reasons(client: &Client, selection: &Selection) -> anyhow::Result<Option<String>> {
    let Some(selected) = &selection.reasons else {
        return Ok(None);
    };
    let query = "SELECT DISTINCT reason FROM rejected_events ORDER BY 1";
    let rows = client.query(query, &[]).await?;
    let reasons: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(of_no_event(selected, &reasons))
}

fn of_no_event(selected: &[String], reasons: &[String]) -> Option<String> {
    let unknown = selected.iter().filter(|reason| !reasons.contains(reason));
    let unknown: Vec<String> = unknown.map(|reason| format!("`{reason}`")).collect();
    if unknown.is_empty() || reasons.is_empty() {
        return None;
    }
    let reasons: Vec<String> = reasons.iter().map(|reason| display::line(reason)).collect();
    Some(format!(
        "no rejected event has the reason {}; the reasons are {}",
        unknown.join(" or "),
        reasons.join(", ")
    ))
}

/// The message that no rejected event is selected.
async fn none_selected(client: &Client, selection: &Selection) -> anyhow::Result<String> {
    if let Some(unknown) = unknown_reasons(client, selection).await? {
        return Ok(unknown);
    }
    let all = client
        .query_one("SELECT count(*) FROM rejected_events", &[])
        .await?;
    Ok(match all.get::<_, i64>(0) {
        0 => "there are no rejected events".to_owned(),
        all => format!(
            "no rejected event meets all conditions; there {} {}",
            if all == 1 { "is" } else { "are" },
            counted(all.unsigned_abs(), "rejected event")
        ),
    })
}

async fn skip(client: &Client, args: &SkipArgs) -> anyhow::Result<ExitCode> {
    let SkipArgs {
        topic: TopicName { topic, .. },
        partition,
        offset,
        sink,
    } = args;
    let sinks = set_aside(client, topic, *partition, *offset, sink.as_deref()).await?;
    ensure!(
        !sinks.is_empty(),
        "no sink still has to read offset {offset} of partition {partition} of `{topic}`"
    );
    outln!(
        "within half a minute the sink {} sets aside the record at offset {offset} of \
         partition {partition}, if the cluster can't transform it",
        sinks.join(", ")
    );
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, selection: &Selection) -> anyhow::Result<ExitCode> {
    let query = format!(
        "SELECT reason, count, earliest, latest, id, left(detail, $5), left(raw, $5) \
         FROM (SELECT reason, count(*), min(first_seen) AS earliest, max(first_seen) AS latest, \
                      max(id) AS id \
               FROM rejected_events WHERE {} GROUP BY reason) AS groups \
         JOIN rejected_events USING (id, reason) ORDER BY count DESC, reason",
        Selection::SQL
    );
    let mut params = selection.params().to_vec();
    params.push(&MAX_TEXT);
    let rows = client.query(&query, &params).await?;
    if rows.is_empty() {
        outln!("{}", none_selected(client, selection).await?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = display::table();
    table.set_header([
        "rejected", "reason", "first", "last", "newest", "detail", "payload",
    ]);
    for row in &rows {
        let time = |column: usize| {
            let time: DateTime<Utc> = row.get(column);
            time.format("%Y-%m-%d %H:%M").to_string()
        };
        let line = |column: usize| display::line(row.get(column));
        table.add_row([
            row.get::<_, i64>(1).to_string(),
            line(0),
            time(2),
            time(3),
            row.get::<_, i64>(4).to_string(),
            line(5),
            line(6),
        ]);
    }
    display::align_numbers(&mut table);
    outln!("{table}");
    outln!("`etl rejected show NUMBER` shows one of them, such as one of the column `newest`");
    Ok(ExitCode::SUCCESS)
}

async fn show(client: &Client, id: i64) -> anyhow::Result<ExitCode> {
    let row = client
        .query_opt("SELECT * FROM rejected_events WHERE id = $1", &[&id])
        .await?
        .ok_or_else(|| {
            anyhow!("the rejected event {id} does not exist; `etl rejected list` shows them")
        })?;
    let text = |column: &str| -> String { row.get(column) };
    let encoding: Option<String> = row.get("raw_encoding");
    let seen: DateTime<Utc> = row.get("first_seen");
    let rejection = Rejection {
        reason: Cow::Owned(text("reason")),
        detail: Cow::Owned(text("detail")),
        at: Cow::Owned(text("at_path")),
        raw: Cow::Owned(text("raw")),
        raw_encoding: encoding.map(Cow::Owned),
    };
    outln!(
        "{} at {}",
        display::line(&rejection.reason),
        display::line(&rejection.at)
    );
    outln!("  {}", display::line(&rejection.detail));
    if rejection.raw_encoding.is_none() {
        for line in place::marked(rejection.raw.as_bytes(), &rejection) {
            outln!("  {line}");
        }
    }
    outln!(
        "\ntopic {}, partition {}, offset {}, key {}, first seen {}\n",
        display::line(&text("source_topic")),
        row.get::<_, i32>("source_partition"),
        row.get::<_, i64>("source_offset"),
        display::line(&text("source_key")),
        seen.format("%Y-%m-%d %H:%M:%S UTC"),
    );
    if let Some(encoding) = &rejection.raw_encoding {
        outln!("({})", display::line(encoding));
    }
    outln!("{}", rejection.raw);
    Ok(ExitCode::SUCCESS)
}

/// Exits with 1 if any of them stays rejected.
async fn retry(url: &str, args: &RetryArgs) -> anyhow::Result<ExitCode> {
    let options = args.parameters.options()?;
    let selection = args.selected.deliberate()?;
    let on_conflict = if args.update {
        OnConflict::Update
    } else {
        OnConflict::Ignore
    };
    ensure!(
        !args.update || options.identifies_by_event_id(),
        "--update and `identity=content` exclude each other: versions of an event have its id"
    );
    let mut retry = Retry::new(arguments::database(url)?, options, on_conflict);
    let retried = retry.run(&selection, !args.dry_run).await?;
    print_retried(&retried, args.dry_run);
    let all = retried.still.is_empty() && retried.refused.is_empty();
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print_retried(retried: &Retried, is_dry: bool) {
    let Retried {
        gone,
        still,
        refused,
        written,
    } = retried;
    let events = counted(*gone, "rejected event");
    if is_dry {
        outln!("{events} would become facts");
    } else {
        outln!(
            "{events} became facts: {} inserted, {} there already",
            written.inserted,
            written.duplicates
        );
        if written.updated + written.removed > 0 {
            outln!(
                "facts of older versions: {} replaced, {} removed",
                written.updated,
                written.removed
            );
        }
    }
    for (reason, count) in still {
        outln!("{count} still rejected: {}", display::line(reason));
    }
    for (id, why) in refused {
        outln!("{id} refused by PostgreSQL: {}", display::line(why));
    }
    if !still.is_empty() || !refused.is_empty() {
        outln!(
            "`etl rejected show ID` shows the cause of one (`etl rejected list` has IDs); fix the \
             format or the plan, then retry"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_reason_is_answered_with_those_that_exist() {
        let strings = |texts: &[&str]| Vec::from_iter(texts.iter().map(ToString::to_string));
        let there = strings(&["bad-items", "not-json"]);
        assert_eq!(
            of_no_event(&strings(&["nonsense", "not-json"]), &there).as_deref(),
            Some(
                "no rejected event has the reason `nonsense`; the reasons are bad-items, not-json"
            )
        );
        assert_eq!(of_no_event(&strings(&["bad-items"]), &there), None);
        assert_eq!(of_no_event(&strings(&["nonsense"]), &[]), None);
    }
}
