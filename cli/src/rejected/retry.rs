//! `etl rejected retry`: rejected events sent through the flattener again, after a fix.

use std::process::ExitCode;

use postgres_sink::retry::{Retried, Retry};

use crate::parameters::Parameters;
use crate::tables;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    selected: super::Selected,
    /// Only show what would become of them
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    parameters: Parameters,
}

/// Exit code 1 when any of them stays.
pub async fn run(url: &str, args: Args) -> anyhow::Result<ExitCode> {
    let options = args.parameters.options()?;
    let selection = args.selected.deliberate()?;
    let database = tables::database(url)?;
    let mut retry = Retry::new(database, options);
    let retried = retry.run(&selection, !args.dry_run).await?;
    print(&retried, args.dry_run);
    let all = retried.still.is_empty() && retried.refused.is_empty();
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(retried: &Retried, is_dry: bool) {
    let Retried {
        gone,
        still,
        refused,
        written,
    } = retried;
    if is_dry {
        println!("{gone} rejected events would become facts");
    } else {
        println!(
            "{gone} rejected events became facts: {} inserted, {} there already",
            written.inserted, written.duplicates
        );
    }
    for (reason, count) in still {
        println!("{count} still rejected: {reason}");
    }
    for (id, why) in refused {
        println!("{id} refused by PostgreSQL: {why}");
    }
}
