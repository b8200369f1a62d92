//! `etl lake orphans`: files that no snapshot refers to.

use std::process::ExitCode;

use anyhow::ensure;
use chrono::TimeDelta;
use lake_sink::maintenance::orphans::{Orphans, min_age};
use serde_json::json;

use crate::display::{self, counted};
use crate::lake::{Opened, age};
use crate::printer;
use crate::progress::Bar;

#[derive(clap::Args)]
pub struct Args {
    /// The least age of a file: `3d`, `12h`, at least 1h, or `commit-interval` and half an hour if
    /// that is longer. It counts back from the table's newest snapshot. A sink gives its files up if
    /// it can't commit them for 15 minutes, so none of this age is committed. Sinks with other files
    /// that write the same table may have no longer `commit-interval`
    #[arg(long, value_name = "AGE", default_value = "3d", value_parser = age)]
    older_than: TimeDelta,
    /// Delete the files
    #[arg(long)]
    delete: bool,
    /// Print JSON: {"tables": [{"table", "files": [{"location", "bytes", "modified"}],
    /// "young_files", "deleted"}]}
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &Args, opened: &Opened) -> anyhow::Result<ExitCode> {
    let config = &opened.connector.config;
    let least = min_age(config.commit_interval);
    ensure!(
        args.older_than >= least,
        "--older-than must be {} or more: younger files can belong to a commit under way",
        display::age(least.as_seconds_f64())
    );
    let mut tables = Vec::new();
    for (table, _) in opened.lake.tables() {
        let found = Orphans::find(&opened.lake, table, config, args.older_than).await?;
        let bytes: u64 = found.files.iter().map(|file| file.bytes).sum();
        if args.delete && !found.files.is_empty() {
            let bar = Bar::towards("files", found.files.len() as u64);
            let deleted = found.delete(|| bar.add(1)).await;
            bar.finish();
            deleted?;
        }
        if args.json {
            let files = found.files.iter().map(|file| {
                json!({"location": file.location, "bytes": file.bytes, "modified": file.modified})
            });
            tables.push(json!({
                "table": table.to_string(),
                "files": files.collect::<Vec<_>>(),
                "young_files": found.young,
                "deleted": args.delete,
            }));
            continue;
        }
        for file in &found.files {
            outln!("{}", file.location);
        }
        let done = if args.delete { "deleted" } else { "found" };
        outln!(
            "{table}: {} {done}, {}{}",
            counted(found.files.len() as u64, "orphan"),
            display::size(i64::try_from(bytes).unwrap_or(i64::MAX)),
            match (found.young, found.before) {
                (0, _) => String::new(),
                (young, Some(before)) => format!(
                    "; {} without a snapshot, written after {}, can belong to a commit under way",
                    counted(young as u64, "other file"),
                    before.format("%Y-%m-%d %H:%M:%SZ")
                ),
                (young, None) => format!(
                    "; the table has no snapshot yet, so {} can belong to the first commit",
                    counted(young as u64, "file")
                ),
            }
        );
    }
    if args.json {
        printer::json(&serde_json::to_string_pretty(&json!({ "tables": tables }))?);
    } else if !args.delete {
        outln!("Nothing was deleted; --delete does.");
    }
    Ok(ExitCode::SUCCESS)
}
