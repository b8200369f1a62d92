//! An additional connector beside those of a stack.

use std::fs::File;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use anyhow::Context;
use local_stack::Stack;
use local_stack::artefacts::Artefacts;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// A running connector, with its files in the stack's folder. It is killed when dropped.
pub struct Connector {
    process: Child,
    log: PathBuf,
}

impl Connector {
    /// Starts the `program` with this configuration. Its files and its metrics have the `name`.
    ///
    /// # Errors
    /// The program is missing, or a file can't be written.
    pub fn start(stack: &Stack, program: &str, name: &str, config: &str) -> anyhow::Result<Self> {
        let named = |kind: &str| stack.folder().join(format!("{name}.{kind}"));
        let (file, log) = (named("yaml"), named("log"));
        std::fs::write(&file, config)?;
        let output = File::options().create(true).append(true).open(&log)?;
        let process = Command::new(Artefacts::find()?.program(program))
            .arg("--config")
            .arg(file)
            .arg("--secrets")
            .arg(stack.folder().join("secrets.txt"))
            .env("FLV_PROFILE_PATH", stack.profile())
            .env("FLUVIO_METRIC_CONNECTOR", named("sock"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { process, log })
    }

    /// Sends a signal and waits for the end. Returns the exit code; `None` after SIGKILL.
    ///
    /// # Errors
    /// The connector has ended before.
    pub async fn end_by(&mut self, signal: Signal) -> anyhow::Result<Option<i32>> {
        let pid = self.process.id().context("the connector has ended")?;
        kill(Pid::from_raw(i32::try_from(pid)?), signal)?;
        Ok(self.process.wait().await?.code())
    }

    /// The status of a connector that has ended.
    ///
    /// # Errors
    /// The system refuses to tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
