//! `etl lake verify`: compares the lake with PostgreSQL, or raw records with the committed offsets.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, NaiveDate, Utc};
use lake_sink::batch::Content;
use lake_sink::maintenance::contents::Contents;
use lake_sink::maintenance::positions::Positions;
use lake_sink::offsets;
use serde_json::json;
use tokio_postgres::Client;

use crate::arguments::Database;
use crate::display::{self, counted};
use crate::lake::Opened;
use crate::lake::comparison::{Difference, SESSION, Sides, compare, next_day};
use crate::printer;
use crate::progress::Bar;

/// Gaps of a partition that are listed.
const MAX_GAPS: usize = 5;
const HISTORY: &str = "SELECT since, until FROM analytics.history";

#[derive(clap::Args)]
pub struct Args {
    /// The first day (UTC) [default: the first with facts]
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<NaiveDate>,
    /// The last day (UTC) [default: the last with facts]
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<NaiveDate>,
    /// The sink that writes PostgreSQL [default: the one that is furthest in each partition]
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    #[command(flatten)]
    database: Database,
    /// Print JSON: {"verdict", "days": [{"day", "in_lake", "in_postgres", …}], …}
    #[arg(long)]
    json: bool,
}

/// The sums over all days, and the days that differ.
#[derive(Default)]
struct Compared {
    days: usize,
    facts: u64,
    repeated: u64,
    removed: u64,
    pending: u64,
    of_other_topics: u64,
    /// Days whose partition PostgreSQL does not have any more.
    retired: Vec<NaiveDate>,
    faults: Vec<(NaiveDate, Difference)>,
}

/// Exits with 1 if a fact or a record is missing, or a fact is older in the lake.
pub async fn run(args: &Args, opened: &Opened) -> anyhow::Result<ExitCode> {
    if opened.connector.config.content == Content::Raw {
        ensure!(
            args.from.is_none() && args.to.is_none() && args.sink.is_none(),
            "raw records are compared with the offsets of the whole table; leave out --from, --to \
             and --sink"
        );
        return records(args, opened).await;
    }
    let mut client = args.database.connect().await?;
    client.batch_execute(SESSION).await?;
    let compared = facts(args, opened, &mut client).await?;
    if args.json {
        printer::json(&serde_json::to_string_pretty(&compared.json())?);
    } else {
        compared.print();
    }
    Ok(if compared.faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn facts(args: &Args, opened: &Opened, client: &mut Client) -> anyhow::Result<Compared> {
    let sides = Sides {
        topic: opened.topic(),
        sink: args.sink.as_deref(),
    };
    let table = opened.lake.rows().await?;
    let contents = Contents::read(&table, 0).await?;
    contents.check_dated(&table)?;
    let is_asked = |day: &NaiveDate| {
        args.from.is_none_or(|from| *day >= from) && args.to.is_none_or(|to| *day <= to)
    };
    let mut in_postgres = BTreeSet::new();
    let mut next = args.from.unwrap_or(NaiveDate::MIN).max(earliest());
    while let Some(day) = next_day(client, next).await?.filter(is_asked) {
        in_postgres.insert(day);
        let Some(following) = day.succ_opt() else {
            break;
        };
        next = following;
    }
    let history = history(client).await?;
    let in_lake = contents.days.keys().copied().filter(is_asked);
    let days: BTreeSet<NaiveDate> = in_lake.chain(in_postgres.iter().copied()).collect();
    let bar = Bar::towards("days", days.len() as u64);
    let mut compared = Compared::default();
    for day in days {
        if !in_postgres.contains(&day) && history.iter().any(|kept| kept.has(day)) {
            compared.retired.push(day);
            bar.add(1);
            continue;
        }
        let rows = contents.days.get(&day).map_or(0, |files| files.rows);
        let mut difference = compare(&sides, &table, client, day, rows).await?;
        bar.add(1);
        compared.days += 1;
        compared.facts += difference.in_lake;
        compared.repeated += difference.repeated;
        compared.removed += difference.removed;
        compared.pending += difference.pending;
        compared.of_other_topics += difference.of_other_topics;
        if difference.is_fault() {
            difference.named.sort();
            compared.faults.push((day, difference));
        }
    }
    bar.finish();
    Ok(compared)
}

/// The earliest day of PostgreSQL's calendar that chrono also has.
fn earliest() -> NaiveDate {
    NaiveDate::from_ymd_opt(-4712, 1, 1).unwrap_or(NaiveDate::MIN)
}

/// A time whose facts were dropped or detached.
struct Retired {
    since: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl Retired {
    fn has(&self, day: NaiveDate) -> bool {
        let midnight = crate::lake::comparison::midnight(day);
        self.since <= midnight && midnight < self.until
    }
}

async fn history(client: &Client) -> anyhow::Result<Vec<Retired>> {
    let rows = client.query(HISTORY, &[]).await;
    let rows = rows.context("cannot read analytics.history; `etl migrate` creates the tables")?;
    Ok(rows
        .iter()
        .map(|row| Retired {
            since: row.get(0),
            until: row.get(1),
        })
        .collect())
}

impl Compared {
    fn print(&self) {
        if !self.faults.is_empty() {
            let mut table = display::table();
            table.set_header([
                "day",
                "in the lake",
                "in PostgreSQL",
                "missing in the lake",
                "older in the lake",
                "missing in PostgreSQL",
            ]);
            for (day, difference) in &self.faults {
                table.add_row([
                    day.to_string(),
                    difference.in_lake.to_string(),
                    difference.in_postgres.to_string(),
                    difference.missing_in_lake.to_string(),
                    difference.older_in_lake.to_string(),
                    difference.missing_in_postgres.to_string(),
                ]);
            }
            display::align_numbers(&mut table);
            outln!("{table}");
        }
        for (day, difference) in &self.faults {
            for named in &difference.named {
                outln!("{day}: {named}");
            }
        }
        let lacks = |of: fn(&Difference) -> u64| self.faults.iter().any(|(_, day)| of(day) > 0);
        if lacks(|day| day.missing_in_lake) {
            outln!(
                "Missing in the lake: expected of events before the lake began, and of `etl \
                 rejected retry`, which writes PostgreSQL only. Else see the runbook, \"Lake and \
                 tables differ\"."
            );
        }
        if lacks(|day| day.older_in_lake) {
            outln!(
                "Older in the lake: PostgreSQL has a newer version of the event, and the lake has \
                 committed its record without it. Expected of `etl rejected retry`, which writes \
                 PostgreSQL only. Else see the runbook, \"Lake and tables differ\"."
            );
        }
        if lacks(|day| day.missing_in_postgres) {
            outln!(
                "Missing in PostgreSQL: expected after `etl erase`, and of rows that PostgreSQL \
                 refused. Else `etl replay` has its sink read the topic again; it adds no \
                 duplicates."
            );
        }
        outln!(
            "{} compared, {} in the lake.",
            counted(self.days as u64, "day"),
            counted(self.facts, "fact")
        );
        for (count, what) in [
            (
                self.repeated,
                "rows of the lake repeat a fact: the producer or the queue sent the event again; \
                 `etl lake compact --repeats` shows how to remove them",
            ),
            (
                self.pending,
                "facts are not on both sides yet, since one sink has not committed their records",
            ),
            (
                self.removed,
                "facts are of items that a newer version of the event does not have; PostgreSQL \
                 has removed them",
            ),
            (
                self.of_other_topics,
                "facts in PostgreSQL are of other topics and not in the lake",
            ),
            (
                self.retired.len() as u64,
                "days are in the lake only: PostgreSQL's partitions were dropped or detached",
            ),
        ] {
            if count > 0 {
                outln!("{count} {what}.");
            }
        }
        if self.faults.is_empty() {
            outln!("Every fact that both sinks have committed is on both sides.");
        }
    }

    fn json(&self) -> serde_json::Value {
        let days = self.faults.iter().map(|(day, difference)| {
            json!({
                "day": day,
                "in_lake": difference.in_lake,
                "in_postgres": difference.in_postgres,
                "missing_in_lake": difference.missing_in_lake,
                "older_in_lake": difference.older_in_lake,
                "missing_in_postgres": difference.missing_in_postgres,
                "examples": difference.named,
            })
        });
        json!({
            "verdict": if self.faults.is_empty() { "ok" } else { "differs" },
            "days_compared": self.days,
            "facts_in_lake": self.facts,
            "repeated_rows": self.repeated,
            "pending_facts": self.pending,
            "removed_facts": self.removed,
            "facts_of_other_topics": self.of_other_topics,
            "days_in_lake_only": self.retired,
            "days": days.collect::<Vec<_>>(),
        })
    }
}

/// Compares the rows of raw records with the committed offsets.
async fn records(args: &Args, opened: &Opened) -> anyhow::Result<ExitCode> {
    let table = opened.lake.rows().await?;
    let found = Positions::read(&table, opened.topic()).await?;
    let committed = offsets::committed(&table, opened.topic());
    let mut is_whole = true;
    let mut lines = Vec::new();
    let mut partitions = Vec::new();
    for (partition, next) in &committed {
        let none = Positions::default();
        let positions = i32::try_from(*partition).ok().and_then(|it| found.get(&it));
        let positions = positions.unwrap_or(&none);
        let gaps = positions.gaps(*next);
        let beyond = positions.end().filter(|end| end > next);
        is_whole &= gaps.is_empty() && beyond.is_none() && positions.repeated == 0;
        let listed = if positions.rows == 0 { 0 } else { MAX_GAPS };
        for gap in gaps.iter().take(listed) {
            lines.push(format!(
                "partition {partition}: no rows of the offsets {} up to {}",
                gap.start, gap.end
            ));
        }
        if let Some(end) = beyond {
            lines.push(format!(
                "partition {partition}: rows up to offset {end}, behind the committed offset {next}"
            ));
        }
        partitions.push(json!({
            "partition": partition,
            "first_offset": positions.first(),
            "next_offset": next,
            "rows": positions.rows,
            "repeated_rows": positions.repeated,
            "gaps": gaps.iter().map(|gap| [gap.start, gap.end]).collect::<Vec<_>>(),
        }));
        lines.push(match positions.first() {
            Some(first) => format!(
                "partition {partition}: {} from offset {first} up to {next}; {} an offset",
                counted(positions.rows, "row"),
                match positions.repeated {
                    1 => "1 repeats".to_owned(),
                    repeated => format!("{repeated} repeat"),
                }
            ),
            None => format!("partition {partition}: no rows before the committed offset {next}"),
        });
    }
    if args.json {
        let verdict = if is_whole { "ok" } else { "differs" };
        let all = json!({"verdict": verdict, "partitions": partitions});
        printer::json(&serde_json::to_string_pretty(&all)?);
    } else {
        for line in lines {
            outln!("{line}");
        }
        if is_whole {
            outln!("Every record before the committed offsets has one row.");
        } else {
            outln!(
                "See the runbook, \"Lake and tables differ\". Records that were deleted on purpose \
                 (`etl lake erase`) are gaps, too."
            );
        }
    }
    Ok(if is_whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
