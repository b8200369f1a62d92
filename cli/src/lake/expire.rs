//! `etl lake expire`: removes old snapshots.

use std::process::ExitCode;

use anyhow::Context as _;
use chrono::{TimeDelta, Utc};
use lake_sink::maintenance::expire::expire;

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
}

pub async fn run(args: &Args, opened: &Opened) -> anyhow::Result<ExitCode> {
    let before = Utc::now().checked_sub_signed(args.older_than);
    let before = before.context("--older-than is too long")?;
    for (id, _) in opened.lake.tables() {
        let table = opened.lake.load(id).await?;
        let catalog = opened.lake.catalog();
        let (removed, table) = expire(catalog, &table, before, args.keep as usize)
            .await
            .with_context(|| format!("the snapshots of {id} are as they were; run it again"))?;
        outln!(
            "{id}: {removed} snapshots removed, {} kept",
            table.metadata().snapshots().len()
        );
    }
    outln!("Their files stay until `etl lake orphans --delete` finds them old enough.");
    Ok(ExitCode::SUCCESS)
}
