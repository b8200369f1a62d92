//! Child processes that do not outlive their owner.
//!
//! Whoever tries the product on one machine starts half a dozen processes and must find none of
//! them afterwards, whatever way out was taken: done, an error, a panic, Ctrl-C, even `kill -9` of
//! the owner. A child lives in a process group of its own, so that Ctrl-C in the terminal reaches
//! the owner alone and the owner stops its children in their order.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

pub use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::process::{Child, ChildStdout, Command};

/// A running child. Dropping it asks it to stop without waiting; [`OwnedProcess::stop`] waits.
#[derive(Debug)]
pub struct OwnedProcess {
    name: String,
    child: Child,
    stop_with: Signal,
}

impl OwnedProcess {
    /// Starts `command`. `stop_with` is the signal by which this program stops in good order; the
    /// kernel sends it, too, when the owner dies (on Linux).
    ///
    /// # Errors
    /// The program can't be started.
    pub fn spawn(
        name: impl Into<String>,
        mut command: Command,
        stop_with: Signal,
    ) -> io::Result<Self> {
        command.stdin(Stdio::null()).process_group(0);
        die_with_owner(&mut command, stop_with);
        let name = name.into();
        let child = command.spawn()?;
        tracing::debug!(name, pid = child.id(), "started");
        Ok(Self {
            name,
            child,
            stop_with,
        })
    }

    /// What the process is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id; none once the end of the process was seen.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The process's standard output, once, where the command was given a pipe for it.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// The operating system's own.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// The exit status if the process has ended.
    ///
    /// # Errors
    /// The operating system's own.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends a signal; does nothing once the process has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid
            && let Err(error) = kill(Pid::from_raw(pid), signal)
        {
            tracing::debug!(name = self.name, %error, "{signal} not delivered");
        }
    }

    /// Asks the process to stop, and kills it if it has not within `grace`.
    ///
    /// # Errors
    /// The operating system's own.
    pub async fn stop(mut self, grace: Duration) -> io::Result<ExitStatus> {
        self.signal(self.stop_with);
        match tokio::time::timeout(grace, self.child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                tracing::warn!(name = self.name, "did not stop in {grace:?}; killing it");
                self.child.kill().await?;
                self.child.wait().await
            }
        }
    }
}

impl Drop for OwnedProcess {
    fn drop(&mut self) {
        self.signal(self.stop_with);
    }
}

#[cfg(target_os = "linux")]
#[allow(
    unsafe_code,
    reason = "pre_exec is the one way to set a child's parent-death signal"
)]
fn die_with_owner(command: &mut Command, signal: Signal) {
    let owner = nix::unistd::getpid();
    // SAFETY: between fork and exec only the async-signal-safe calls prctl and getppid are made,
    // and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(signal)?;
            // The owner may have died before the line above took effect.
            if nix::unistd::getppid() == owner {
                Ok(())
            } else {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_owner(_command: &mut Command, _signal: Signal) {}
