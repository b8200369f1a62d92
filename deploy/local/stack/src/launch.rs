//! Parts that run as separate processes, and their command lines.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use owned_process::{OwnedProcess, Signal, files};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::artefacts;

const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// Lines of the log of a program that has ended.
const LOG_LINES: usize = 10;

/// A part that runs as a separate process and can be killed and restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The embedded Fluvio node.
    Node,
    /// The SQS source connector.
    Source,
    /// The PostgreSQL sink connector.
    Sink,
    /// The lake sink connector, which a stack has only on demand.
    Lake,
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Node => "fluvio-node",
            Self::Source => "sqs-source",
            Self::Sink => "postgres-sink",
            Self::Lake => "lake-sink",
        })
    }
}

impl Part {
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Node => artefacts::NODE,
            Self::Source => artefacts::SOURCE,
            Self::Sink => artefacts::SINK,
            Self::Lake => artefacts::LAKE,
        }
    }
}

/// All parts, in their starting order.
pub const PARTS: [Part; 4] = [Part::Node, Part::Source, Part::Sink, Part::Lake];

/// A program with its arguments and environment variables.
#[derive(Clone, Debug)]
pub struct Launch {
    pub(crate) part: Part,
    pub(crate) prefix: Vec<String>,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) log: PathBuf,
}

impl Launch {
    /// Starts the program. Its standard error is appended to its log file.
    pub(crate) fn start(&self, stdout: Stdio) -> anyhow::Result<OwnedProcess> {
        let log = files::append(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut command = self.command();
        command.stdout(stdout).stderr(log);
        OwnedProcess::spawn(self.part.to_string(), command, Signal::SIGTERM)
            .with_context(|| format!("cannot run {}", self.program.display()))
    }

    /// Returns the command, for callers that capture its output or change its environment.
    #[must_use]
    pub fn command(&self) -> Command {
        let words: Vec<&OsStr> = self.prefix.iter().map(OsStr::new).collect();
        let mut command = match words.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        let environment = self.environment.iter().map(|(name, value)| (*name, value));
        command.args(&self.arguments).envs(environment);
        command
    }

    /// Starts a program that prints one line on standard output when it is ready, and waits for the
    /// line.
    pub(crate) async fn start_and_wait(&self) -> anyhow::Result<OwnedProcess> {
        let mut process = self.start(Stdio::piped())?;
        let stdout = process
            .take_stdout()
            .with_context(|| format!("the output of {} is not captured", self.part))?;
        let mut lines = BufReader::new(stdout).lines();
        match tokio::time::timeout(READY_TIMEOUT, lines.next_line()).await {
            Ok(Ok(Some(ready))) => {
                tracing::debug!("{ready}");
                Ok(process)
            }
            Ok(_) => bail!("{} did not start:\n{}", self.part, self.log_tail(10)),
            Err(_) => bail!(
                "{} was not ready in {READY_TIMEOUT:?}:\n{}",
                self.part,
                self.log_tail(10)
            ),
        }
    }

    /// Returns the message that the program has ended, with the end of its log.
    #[must_use]
    pub fn ended(&self, status: ExitStatus) -> String {
        ended(self.part, status, &self.log_tail(LOG_LINES))
    }

    /// Returns the shell command that starts the program again, with its introduction.
    #[must_use]
    pub fn again(&self) -> String {
        format!("to start it again:\n  {self}")
    }

    /// Returns the last lines of the program's log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<&str> = log.lines().collect();
        all.get(all.len().saturating_sub(lines)..)
            .unwrap_or_default()
            .join("\n")
    }
}

/// The message that a part has ended.
pub(crate) fn ended(part: impl fmt::Display, status: ExitStatus, log: &str) -> String {
    format!("{part} ended ({status}); the end of its log:\n{log}")
}

/// Formats a shell command that starts the program.
impl fmt::Display for Launch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(formatter, "{name}={} ", quoted_for_shell(value))?;
        }
        for word in &self.prefix {
            write!(formatter, "{} ", quoted_for_shell(word))?;
        }
        write!(
            formatter,
            "{}",
            quoted_for_shell(&self.program.to_string_lossy())
        )?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(formatter, " {}", quoted_for_shell(argument)))
    }
}

/// A word of a shell command.
pub(crate) fn quoted_for_shell(word: &str) -> String {
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
            prefix: vec!["env".to_owned()],
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
