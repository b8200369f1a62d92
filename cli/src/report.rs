//! `etl report`: what the tables say about some days, as one page for people or on the terminal.

mod catalogue;
mod charts;
mod days;
mod file;
mod format;
mod html;
mod markup;
mod positions;
mod read;
mod sections;
mod summary;
mod table;
mod terminal;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::anyhow;
use chrono::NaiveDate;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::report::read::{Figures, Wanted};
use crate::tables;

const MIN_IMPRESSIONS: i64 = 20;
const MIN_VIEWERS: i64 = 10;
const TIMEOUT: &str = "15min";

#[derive(clap::Args)]
pub struct Args {
    /// The database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: String,
    /// The first day (UTC) [default: 27 days before the last]
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<NaiveDate>,
    /// The last day (UTC), which is included [default: the last one with facts]
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<NaiveDate>,
    /// The page to write; an earlier report there is replaced, any other file is not; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
    /// Print the main tables instead of writing a page
    #[arg(long, conflicts_with = "out")]
    terminal: bool,
    /// Leave out lists that showed fewer products than this: their rates are chance
    #[arg(long, value_name = "N", default_value_t = MIN_IMPRESSIONS)]
    min_impressions: i64,
    /// Leave out products that fewer people than this viewed
    #[arg(long, value_name = "N", default_value_t = MIN_VIEWERS)]
    min_viewers: i64,
    /// How long a query may take, as PostgreSQL writes it; 0 is forever
    #[arg(long, value_name = "TIME", default_value = TIMEOUT)]
    timeout: String,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let is_stdout = args.out == Path::new("-");
    if !args.terminal && !is_stdout {
        // Before minutes of reading, not after.
        file::ensure_ours(&args.out)?;
    }
    let client = tables::connect(&args.database_url).await?;
    let wanted = Wanted {
        from: args.from,
        to: args.to,
        min_impressions: args.min_impressions,
        min_viewers: args.min_viewers,
        timeout: args.timeout,
    };
    let figures = figures(&client, &wanted).await?;
    if args.terminal {
        print(&terminal::render(&figures))?;
    } else if is_stdout {
        print(&html::render(&figures))?;
    } else {
        let path = file::write(&args.out, &html::render(&figures))?;
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// To standard output, where `| head` may have seen enough.
fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes the page of the newest days to `path`, and says where that is.
///
/// # Errors
/// No facts are there, the server's own, or the file can't be written.
pub async fn write(client: &Client, path: &Path) -> anyhow::Result<PathBuf> {
    file::ensure_ours(path)?;
    let wanted = Wanted {
        from: None,
        to: None,
        min_impressions: MIN_IMPRESSIONS,
        min_viewers: MIN_VIEWERS,
        timeout: TIMEOUT.to_owned(),
    };
    let figures = figures(client, &wanted).await?;
    file::write(path, &html::render(&figures))
}

/// Reads, and says what to do where that fails for a reason that somebody can remove.
async fn figures(client: &Client, wanted: &Wanted) -> anyhow::Result<Figures> {
    let error = match read::read(client, wanted).await {
        Ok(figures) => return Ok(figures),
        Err(error) => error,
    };
    let Some(server) = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>())
        .and_then(tokio_postgres::Error::as_db_error)
    else {
        return Err(error);
    };
    let said = server.message();
    let code = server.code();
    let missing = [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::UNDEFINED_COLUMN,
        SqlState::INVALID_SCHEMA_NAME,
    ];
    Err(if missing.contains(code) {
        anyhow!(
            "{said}: the tables are not in this database, are older than this `etl`, or are not for this user to see; \
             `etl migrate` creates and updates them"
        )
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        anyhow!(
            "{said}: reports are for members of etl_reader; have the owner of the tables run `GRANT etl_reader TO …` for this user"
        )
    } else if *code == SqlState::QUERY_CANCELED {
        anyhow!(
            "{said}: give it longer than --timeout {}, or fewer days with --from and --to",
            wanted.timeout
        )
    } else if *code == SqlState::INVALID_PARAMETER_VALUE {
        anyhow!("--timeout {}: {said}", wanted.timeout)
    } else {
        error
    })
}
