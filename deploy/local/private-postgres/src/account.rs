//! The user that PostgreSQL runs as, since it refuses to run as root.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use nix::unistd::{Gid, Uid, User, geteuid};
use tokio::process::Command;

/// Users for the server of a root owner, by preference.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The user of the server's processes.
pub(crate) enum Account {
    /// The owner's user.
    Own,
    /// An unprivileged user instead of root.
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
            "PostgreSQL does not run as root, and the users `postgres` and `nobody` don't exist; \
             create one or run this as another user"
        );
    }

    pub(crate) fn apply(&self, command: &mut Command) {
        if let Self::Other(uid, gid) = self {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
    }

    /// Lets the server's user pass the folder, without listing or changing it.
    pub(crate) fn let_in(&self, folder: &Path) -> anyhow::Result<()> {
        if let Self::Other(..) = self {
            let mode = folder.metadata()?.permissions().mode() | 0o011;
            std::fs::set_permissions(folder, Permissions::from_mode(mode)).with_context(|| {
                format!("cannot let the server's user into {}", folder.display())
            })?;
        }
        Ok(())
    }

    pub(crate) fn give(&self, path: &Path) -> anyhow::Result<()> {
        if let Self::Other(uid, gid) = self {
            std::os::unix::fs::chown(path, Some(uid.as_raw()), Some(gid.as_raw()))
                .with_context(|| format!("cannot give {} to the server's user", path.display()))?;
        }
        Ok(())
    }
}
