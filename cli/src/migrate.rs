//! `etl migrate`: creates or updates the tables, as the sink does when it starts.

use std::process::ExitCode;

use crate::tables;

#[derive(clap::Args)]
pub struct Args {
    /// The database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: String,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut client = tables::connect(&args.database_url).await?;
    let report = postgres_sink::migrate(&mut client).await?;
    for name in &report.applied {
        println!("applied {name}");
    }
    println!("the schema is at version {}", report.version);
    Ok(ExitCode::SUCCESS)
}
