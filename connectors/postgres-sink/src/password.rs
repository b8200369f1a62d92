//! The password for a new connection: in the URL, or asked for each time.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Where the password comes from.
#[derive(Debug)]
pub(crate) enum Password {
    /// It is in the URL, or none is needed.
    InUrl,
    /// The first line of a file.
    File(PathBuf),
    /// The first line that a shell command puts out.
    Command(String),
}

impl Password {
    /// The password for one connection; `None` where the URL has it.
    ///
    /// # Errors
    /// Why there is none, without what a command may have put out of it.
    pub(crate) async fn ask(&self, limit: Duration) -> Result<Option<Vec<u8>>, String> {
        let output = match self {
            Self::InUrl => return Ok(None),
            Self::File(path) => tokio::fs::read(path).await.map_err(|error| {
                format!("`password-file` {} can't be read: {error}", path.display())
            })?,
            Self::Command(command) => run(command, limit).await?,
        };
        let line = output
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let password = line.strip_suffix(b"\r").unwrap_or(line);
        if password.is_empty() {
            return Err("`password-file` or `password-command` gives an empty password".to_owned());
        }
        Ok(Some(password.to_vec()))
    }
}

async fn run(command: &str, limit: Duration) -> Result<Vec<u8>, String> {
    let running = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(limit, running).await {
        Ok(output) => {
            output.map_err(|error| format!("`password-command` can't be run: {error}"))?
        }
        Err(_) => return Err(format!("`password-command` has not ended after {limit:?}")),
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "`password-command` failed ({}): {}",
        output.status,
        words.trim()
    ))
}
