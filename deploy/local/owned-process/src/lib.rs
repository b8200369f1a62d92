//! Child processes that do not outlive their owner.
//!
//! The product on one machine starts half a dozen processes. None may remain, whether the owner
//! finishes, fails, panics, gets Ctrl-C or is killed with `kill -9`. A child has its own process
//! group, so Ctrl-C in the terminal reaches only the owner, which stops its children in order.
//! [`files`] are the files that owner and children share.

pub mod files;

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

pub use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::process::{Child, ChildStdout, Command};

/// A running child. Dropping it sends the stop signal without waiting; [`OwnedProcess::stop`]
/// waits.
#[derive(Debug)]
pub struct OwnedProcess {
    name: String,
    child: Child,
    stop_with: Signal,
}

impl OwnedProcess {
    /// Starts `command`. `stop_with` is the signal that stops the program cleanly. On Linux the
    /// kernel also sends it when the owner dies.
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

    /// Returns the process's name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the process id; `None` once the process's end was observed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Takes the process's standard output, if the command has a pipe for it.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits for the process to end.
    ///
    /// # Errors
    /// The operating system can't wait for it.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Returns the exit status if the process has ended.
    ///
    /// # Errors
    /// The operating system can't query it.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends a signal, unless the process has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid
            && let Err(error) = kill(Pid::from_raw(pid), signal)
        {
            tracing::debug!(name = self.name, %error, "{signal} not delivered");
        }
    }

    /// Sends the stop signal, and kills the process if it hasn't ended after `timeout`.
    ///
    /// # Errors
    /// The operating system can't stop or wait for it.
    pub async fn stop(mut self, timeout: Duration) -> io::Result<ExitStatus> {
        self.signal(self.stop_with);
        match tokio::time::timeout(timeout, self.child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                tracing::warn!(
                    name = self.name,
                    "did not stop within {timeout:?}; killing it"
                );
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
    reason = "only pre_exec can set a child's parent-death signal"
)]
fn die_with_owner(command: &mut Command, signal: Signal) {
    let owner = nix::unistd::getpid();
    // SAFETY: between fork and exec it makes only the async-signal-safe calls prctl and getppid and
    // allocates nothing.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(signal)?;
            // The owner may have died before the signal was set.
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
