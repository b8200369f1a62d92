//! `etl lake expire`: removes old snapshots.

use std::process::ExitCode;

use anyhow::Context as _;
use chrono::{TimeDelta, Utc};
use iceberg::spec::SnapshotRef;
use iceberg::table::Table;
use lake_sink::maintenance::expire::{expire, plan};

use crate::display::counted;
use crate::lake::{Opened, age};

#[derive(clap::Args)]
pub struct Args {
    /// The least age of a snapshot: `7d`, `12h`. Queries that still read it fail once its files are
    /// deleted
    #[arg(long, value_name = "AGE", default_value = "7d", value_parser = age)]
    older_than: TimeDelta,
    /// The number of the newest snapshots to keep, whatever their age
    #[arg(long, value_name = "NUMBER", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..))]
    keep: u32,
    /// List the snapshots that would be removed; remove none
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(args: &Args, opened: &Opened) -> anyhow::Result<ExitCode> {
    let before = Utc::now().checked_sub_signed(args.older_than);
    let before = before.context("--older-than is too long")?;
    let mut removed_any = false;
    for (id, _) in opened.lake.tables() {
        let table = opened.lake.load(id).await?;
        let catalog = opened.lake.catalog();
        if args.dry_run {
            let expired = plan(catalog, &table, before, args.keep as usize).await?;
            print_plan(&table, &expired);
            continue;
        }
        let (removed, table) = expire(catalog, &table, before, args.keep as usize)
            .await
            .with_context(|| format!("the snapshots of {id} are as they were; run it again"))?;
        removed_any |= removed > 0;
        outln!(
            "{id}: {} removed, {} kept",
            counted(removed as u64, "snapshot"),
            table.metadata().snapshots().len()
        );
    }
    if removed_any {
        outln!("Their files stay until `etl lake orphans --delete` finds them old enough.");
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists the snapshots that would be removed.
fn print_plan(table: &Table, expired: &[SnapshotRef]) {
    let (id, all) = (table.identifier(), table.metadata().snapshots().len());
    for snapshot in expired {
        let time = snapshot.timestamp().map_or_else(
            |_| "an unknown time".to_owned(),
            |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        );
        outln!(
            "{id}: would remove snapshot {} of {time}",
            snapshot.snapshot_id()
        );
    }
    outln!(
        "{id}: {} would be removed, {} kept; nothing was changed",
        counted(expired.len() as u64, "snapshot"),
        all.saturating_sub(expired.len())
    );
}
