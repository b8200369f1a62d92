//! `etl lake compact`: days with many small files, and the statements that rewrite them.

use std::process::ExitCode;

use anyhow::ensure;
use chrono::{NaiveDate, Utc};
use lake_sink::batch::Content;
use lake_sink::maintenance::contents::Contents;

use crate::display;
use crate::lake::{Opened, statements};

/// A file is small if it has less than this part of `target-file-size`.
pub const SMALL_PART: u64 = 4;
/// The number of small files from which a day is worth compacting.
pub const MIN_FILES: u64 = 8;

#[derive(clap::Args)]
pub struct Args {
    /// The number of small files from which a day is worth compacting
    #[arg(long, value_name = "NUMBER", default_value_t = MIN_FILES,
          value_parser = clap::value_parser!(u64).range(2..))]
    min_files: u64,
    /// Show the statements that remove a producer's repeats, for all days before today
    #[arg(long, conflicts_with = "min_files")]
    repeats: bool,
}

pub async fn run(args: &Args, opened: &Opened) -> anyhow::Result<ExitCode> {
    let config = &opened.connector.config;
    let small = config.target_file_size.as_u64() / SMALL_PART;
    let shown = |bytes: u64| display::size(i64::try_from(bytes).unwrap_or(i64::MAX));
    let today = Utc::now().date_naive();
    if args.repeats {
        return repeats(opened, today).await;
    }
    let mut found_any = false;
    for (id, definition) in opened.lake.tables() {
        let table = opened.lake.load(id).await?;
        let contents = Contents::read(&table, small).await?;
        let mut rows = display::table();
        rows.set_header(["day", "files", "small", "average size", "rows"]);
        let mut days: Vec<NaiveDate> = Vec::new();
        for (day, files) in &contents.days {
            if files.small < args.min_files || *day >= today {
                continue;
            }
            days.push(*day);
            rows.add_row([
                day.to_string(),
                files.files.to_string(),
                files.small.to_string(),
                shown(files.bytes.checked_div(files.files).unwrap_or_default()),
                files.rows.to_string(),
            ]);
        }
        if days.is_empty() {
            outln!(
                "{id}: no day before today has {} files or more of less than {}.",
                args.min_files,
                shown(small)
            );
            continue;
        }
        found_any = true;
        display::align_numbers(&mut rows);
        outln!(
            "{id}: these days have {} files or more of less than {}, which makes queries slow. \
             Today is left out, since the sink adds to it.\n{rows}\n",
            args.min_files,
            shown(small)
        );
        outln!(
            "{}",
            statements::compaction(&table, definition, &days, config)
        );
        if config.content == Content::Facts && id.name() == config.table() {
            outln!("{}", statements::repeats(&table, definition, &days, config));
        }
    }
    if found_any {
        print_end(opened);
    }
    Ok(ExitCode::SUCCESS)
}

async fn repeats(opened: &Opened, today: NaiveDate) -> anyhow::Result<ExitCode> {
    let config = &opened.connector.config;
    ensure!(
        config.content == Content::Facts,
        "raw records have no repeats: each is in the table once"
    );
    let table = opened.lake.rows().await?;
    let contents = Contents::read(&table, 0).await?;
    let days = contents.days.keys().filter(|day| **day < today);
    let days: Vec<NaiveDate> = days.copied().collect();
    ensure!(
        !days.is_empty(),
        "{} has no rows of a day before today",
        table.identifier()
    );
    let definition = config.content.definition();
    outln!("{}", statements::repeats(&table, definition, &days, config));
    print_end(opened);
    Ok(ExitCode::SUCCESS)
}

fn print_end(opened: &Opened) {
    outln!(
        "Then remove the snapshots with the old files:\n  etl lake expire {options}\n  etl lake \
         orphans {options} --delete",
        options = opened.options
    );
}
