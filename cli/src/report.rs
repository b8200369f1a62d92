//! `etl report`: the numbers of some days, as one page or on the terminal.

mod breakdown;
mod catalogue;
mod charts;
mod days;
pub mod figures;
mod format;
mod markup;
mod numbers;
mod page;
mod sentence;
pub mod serve;
mod summary;
mod table;
mod tables;
mod terminal;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::NaiveDate;
use tokio_postgres::Client;

use crate::arguments::Database;
use crate::printer;
use crate::report::figures::{Limits, Wanted};
use crate::report::serve::Address;

/// Marks a file as a report; it is near the start of `page/page.html`.
const MARK: &str = "<meta name=\"generator\" content=\"etl report\">";
/// The bytes of a file in which the mark is searched.
const START: u64 = 1024;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: Database,
    /// The first day [default: 27 days before the last]
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<NaiveDate>,
    /// The last day, included [default: the last one with facts]
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<NaiveDate>,
    /// Days of this time zone, such as America/Mexico_City [default: the reporting time zone]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// The file to write; replaces an earlier report, but no other file; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
    /// Serve the page at this address instead, refreshed and with a strip of arriving events; a
    /// port alone is on 127.0.0.1, port 0 is any free one
    #[arg(long, value_name = "[HOST:]PORT", conflicts_with_all = ["from", "to", "time_zone", "out", "terminal"])]
    serve: Option<Address>,
    /// Print the main tables instead of writing a page
    #[arg(long, conflicts_with = "out")]
    terminal: bool,
    #[command(flatten)]
    limits: Limits,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(address) = args.serve {
        return serve::run(address, args.database.url()?, args.limits).await;
    }
    let is_stdout = args.out == Path::new("-");
    if !args.terminal && !is_stdout {
        // Fails before the queries, which can take minutes.
        ensure_ours(&args.out)?;
    }
    let client = args.database.connect().await?;
    let wanted = Wanted {
        from: args.from,
        to: args.to,
        time_zone: args.time_zone.unwrap_or_default(),
        limits: args.limits,
    };
    let figures = figures::read(&client, &wanted).await?;
    if args.terminal {
        printer::out(format_args!("{}", terminal::render(&figures)));
    } else if is_stdout {
        print(&page::file(&figures))?;
    } else {
        let path = replace(&args.out, &page::file(&figures))?;
        outln!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a page to standard output. A closed pipe, as of `| head`, is not an error.
fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes the page of the days since `from`, by default of the newest four weeks, to `path`, and
/// returns its absolute path.
///
/// # Errors
/// Fails if there are no facts, a query fails, or the file can't be written.
pub async fn write(
    client: &Client,
    path: &Path,
    from: Option<NaiveDate>,
) -> anyhow::Result<PathBuf> {
    ensure_ours(path)?;
    let wanted = Wanted {
        from,
        ..Wanted::default()
    };
    let figures = figures::read(client, &wanted).await?;
    replace(path, &page::file(&figures))
}

/// Replaces the file at `path` by a page, whole or not at all, and returns its absolute path.
fn replace(path: &Path, page: &str) -> anyhow::Result<PathBuf> {
    ensure_ours(path)?;
    // Replaces the target of a link, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = path
        .file_name()
        .with_context(|| format!("{} does not name a file", path.display()))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(beside);
    let written = put(&beside, page).and_then(|()| fs::rename(&beside, &path));
    if let Err(error) = written {
        // May fail because the file was not created; the error below is the one to report.
        drop(fs::remove_file(&beside));
        return Err(error).with_context(|| format!("cannot write {}", path.display()));
    }
    Ok(fs::canonicalize(&path).unwrap_or(path))
}

/// Fails if `path` holds a file that is not a report, or its folder does not exist.
fn ensure_ours(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    if !folder.as_os_str().is_empty() && !folder.is_dir() {
        bail!("the folder {} does not exist", folder.display());
    }
    let reading = || format!("cannot read {}", path.display());
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(reading),
        Ok(found) if found.is_file() => {}
        Ok(_) => bail!(
            "{} is not a file; name one with --out, or - for standard output",
            path.display()
        ),
    }
    let file = File::open(path).with_context(reading)?;
    let mut start = Vec::new();
    file.take(START).read_to_end(&mut start)?;
    if !start.is_empty() && !String::from_utf8_lossy(&start).contains(MARK) {
        bail!(
            "{} exists and is not a report; name another file with --out",
            path.display()
        );
    }
    Ok(())
}

fn put(path: &Path, page: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(page.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_begins_with_the_mark() {
        let page = include_str!("report/page/page.html");
        assert!(page.find(MARK).unwrap() < 512);
    }
}
