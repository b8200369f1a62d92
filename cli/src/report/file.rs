//! Where the page goes: whole or not at all, and never in place of a file that is no report.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Stands near the start of every report.
pub const MARK: &str = "<meta name=\"generator\" content=\"etl report\">";
const START: u64 = 1024;

/// Writes a page to `path`, and says where that is.
///
/// # Errors
/// Something else is there, or can't be written.
pub fn write(path: &Path, page: &str) -> anyhow::Result<PathBuf> {
    ensure_ours(path)?;
    // What a link points at is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = path
        .file_name()
        .with_context(|| format!("{} names no file", path.display()))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(beside);
    let written = put(&beside, page).and_then(|()| fs::rename(&beside, &path));
    if let Err(error) = written {
        // There may be none; what matters is the error that is reported.
        drop(fs::remove_file(&beside));
        return Err(error).with_context(|| format!("cannot write {}", path.display()));
    }
    Ok(fs::canonicalize(&path).unwrap_or(path))
}

/// That `path` is free, or holds a report.
///
/// # Errors
/// It holds something else, or its folder isn't there.
pub fn ensure_ours(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    if !folder.as_os_str().is_empty() && !folder.is_dir() {
        bail!("there is no folder {}", folder.display());
    }
    let reading = || format!("cannot read {}", path.display());
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(reading),
        Ok(found) if found.is_file() => {}
        Ok(_) => bail!(
            "{} is no file; name one with --out, or - for standard output",
            path.display()
        ),
    }
    let file = File::open(path).with_context(reading)?;
    let mut start = Vec::new();
    file.take(START).read_to_end(&mut start)?;
    if !start.is_empty() && !String::from_utf8_lossy(&start).contains(MARK) {
        bail!(
            "{} is there and is no report; name another file with --out",
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
