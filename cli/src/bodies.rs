//! Message bodies from a file, one a line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;

/// Opens `path` (`-` is standard input). Lines without a character are passed over: SQS takes no
/// empty message.
///
/// # Errors
/// The file can't be opened. Each line that can't be read or isn't UTF-8 is an error of its own.
pub fn open(
    path: &Path,
) -> anyhow::Result<Box<dyn Iterator<Item = anyhow::Result<String>> + Send>> {
    let shown = path.display().to_string();
    let reader: Box<dyn BufRead + Send> = if path.as_os_str() == "-" {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        Box::new(BufReader::new(
            File::open(path).with_context(|| format!("cannot open {shown}"))?,
        ))
    };
    let lines = reader.lines().zip(1_u64..).map(move |(line, number)| {
        line.with_context(|| format!("{shown}, line {number}: cannot be read"))
    });
    Ok(Box::new(lines.filter(
        |line| !matches!(line, Ok(text) if text.is_empty()),
    )))
}
