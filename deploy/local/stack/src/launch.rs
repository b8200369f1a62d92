//! One part's command line: for this process to start it, and for a person to repeat it.

use std::fmt;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use owned_process::{OwnedProcess, Signal};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::part::Part;

const READY_LIMIT: Duration = Duration::from_secs(30);

/// A program, its arguments and what it needs in its environment.
#[derive(Clone, Debug)]
pub struct Launch {
    pub(crate) part: Part,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) log: PathBuf,
}

impl Launch {
    /// Starts the program; what it says on standard error is added to its log file.
    pub(crate) fn start(&self, stdout: Stdio) -> anyhow::Result<OwnedProcess> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut command = self.command();
        command.stdout(stdout).stderr(log);
        OwnedProcess::spawn(self.part.to_string(), command, Signal::SIGTERM)
            .with_context(|| format!("cannot run {}", self.program.display()))
    }

    /// The program, for who wants to watch it or to change what it gets.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let environment = self.environment.iter().map(|(name, value)| (*name, value));
        command.args(&self.arguments).envs(environment);
        command
    }

    /// Starts a program that says in one line on its standard output when it is ready, and waits for it.
    pub(crate) async fn start_and_wait(&self) -> anyhow::Result<OwnedProcess> {
        let mut process = self.start(Stdio::piped())?;
        let stdout = process
            .take_stdout()
            .with_context(|| format!("the output of {} is not captured", self.part))?;
        let mut lines = BufReader::new(stdout).lines();
        match tokio::time::timeout(READY_LIMIT, lines.next_line()).await {
            Ok(Ok(Some(ready))) => {
                tracing::debug!("{ready}");
                Ok(process)
            }
            Ok(_) => bail!("{} did not start:\n{}", self.part, self.log_tail(10)),
            Err(_) => bail!(
                "{} was not ready in {READY_LIMIT:?}:\n{}",
                self.part,
                self.log_tail(10)
            ),
        }
    }

    /// The last lines of the program's log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<&str> = log.lines().collect();
        all.get(all.len().saturating_sub(lines)..)
            .unwrap_or_default()
            .join("\n")
    }
}

/// The line for a shell that starts the program again by hand.
impl fmt::Display for Launch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(formatter, "{name}={} ", quoted(value))?;
        }
        write!(formatter, "{}", quoted(&self.program.to_string_lossy()))?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(formatter, " {}", quoted(argument)))
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_survives_a_shell() {
        let launch = Launch {
            part: Part::Source,
            program: PathBuf::from("printf"),
            arguments: vec!["%s|".to_owned(), "it's".to_owned(), "two words".to_owned()],
            environment: vec![("GREETING", "a b".to_owned())],
            log: PathBuf::new(),
        };
        let output = std::process::Command::new("sh")
            .args(["-c", &launch.to_string()])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "it's|two words|");
    }
}
