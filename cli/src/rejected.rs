//! `etl rejected`: what could not become facts, looked at, sent through again after a fix, or given up.

mod list;
mod retry;
mod show;

use std::process::ExitCode;

use anyhow::ensure;
use clap::Subcommand;
use postgres_sink::retry::Selection;

use crate::tables::{self, DatabaseUrl};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseUrl,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Count them by reason, with the newest of each
    List(Selected),
    /// Show one: where it came from, why it was rejected, and its payload
    Show {
        /// Its number, as `list` gives it
        id: i64,
    },
    /// Send them through the flattener again; a row goes away when its facts are in the tables
    Retry(retry::Args),
    /// Delete them, payload and all
    Purge(Selected),
}

/// Which of them; several conditions have all to be met.
#[derive(clap::Args)]
struct Selected {
    /// Those with this reason; may be given several times
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,
    /// The one with this number; may be given several times
    #[arg(long, value_name = "NUMBER")]
    id: Vec<i64>,
    /// Those from this topic
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Those that were seen first longer ago than this, as PostgreSQL writes intervals: `30days`, `12 hours`
    #[arg(long, value_name = "AGE")]
    older_than: Option<String>,
    /// All of them
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

    /// For what can't be undone: everything has to be asked for by name.
    fn deliberate(&self) -> anyhow::Result<Selection> {
        let is_empty = self.reason.is_empty() && self.id.is_empty() && self.topic.is_none();
        ensure!(
            self.all || !is_empty || self.older_than.is_some(),
            "say which: --reason, --id, --topic, --older-than, or --all"
        );
        Ok(self.selection())
    }
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let url = args.database.get()?;
    match args.command {
        Command::List(selected) => list::run(url, &selected.selection()).await,
        Command::Show { id } => show::run(url, id).await,
        Command::Retry(args) => retry::run(url, args).await,
        Command::Purge(selected) => purge(url, &selected.deliberate()?).await,
    }
}

async fn purge(url: &str, selection: &Selection) -> anyhow::Result<ExitCode> {
    let client = tables::connect(url).await?;
    let query = format!("DELETE FROM rejected_events WHERE {}", Selection::SQL);
    let purged = client.execute(&query, &selection.params()).await?;
    println!("{purged} purged");
    Ok(ExitCode::SUCCESS)
}
