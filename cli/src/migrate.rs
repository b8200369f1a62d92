//! `etl migrate`: creates or updates the tables, as the sink does when it starts.

use std::process::ExitCode;

use crate::arguments::Database;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: Database,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut client = args.database.connect().await?;
    let report = warehouse::migrate(&mut client).await?;
    if let Some(revoked) = &report.revoked {
        outln!("everybody could create functions beside the tables; ran `{revoked}`");
    }
    for name in &report.applied {
        outln!("applied {name}");
    }
    outln!("the schema is at version {}", report.version);
    Ok(ExitCode::SUCCESS)
}
