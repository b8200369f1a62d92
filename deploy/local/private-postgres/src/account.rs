//! The user that PostgreSQL runs as: it refuses to be root.

use std::path::Path;

use anyhow::{Context, bail};
use nix::unistd::{Gid, Uid, User, geteuid};
use tokio::process::Command;

/// Users that a root owner may hand the server to, in this order.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Who runs the server's processes.
pub(crate) enum Account {
    /// The owner itself.
    Own,
    /// Somebody unprivileged in place of root.
    Other(Uid, Gid),
}

impl Account {
    pub(crate) fn to_run_as() -> anyhow::Result<Self> {
        if !geteuid().is_root() {
            return Ok(Self::Own);
        }
        for name in UNPRIVILEGED {
            if let Some(user) =
                User::from_name(name).with_context(|| format!("cannot look up the user {name}"))?
            {
                return Ok(Self::Other(user.uid, user.gid));
            }
        }
        bail!(
            "PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`; make one or run this as another user"
        );
    }

    pub(crate) fn apply(&self, command: &mut Command) {
        if let Self::Other(uid, gid) = self {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
    }

    pub(crate) fn give(&self, path: &Path) -> anyhow::Result<()> {
        if let Self::Other(uid, gid) = self {
            std::os::unix::fs::chown(path, Some(uid.as_raw()), Some(gid.as_raw()))
                .with_context(|| format!("cannot give {} to the server's user", path.display()))?;
        }
        Ok(())
    }
}
