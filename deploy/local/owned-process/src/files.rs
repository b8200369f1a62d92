//! Files that only their owner reads, in folders that only their owner changes.
//!
//! Whoever may change a folder can put a link in the place of a file. A program of root that writes
//! there would overwrite any file of the machine.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{ELOOP, O_NOFOLLOW};
use nix::unistd::{getegid, geteuid};

const PRIVATE_FOLDER: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;
const STICKY: u32 = 0o1000;

/// Creates the folder if it is missing, for this user alone. Returns its absolute path without
/// links.
///
/// # Errors
/// Another user may change the folder, or for root also one of the folders above it.
pub fn private_folder(path: &Path) -> io::Result<PathBuf> {
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_FOLDER)
        .create(path)?;
    let path = path.canonicalize()?;
    let own = geteuid().as_raw();
    let found = path.metadata()?;
    if found.uid() != own {
        return Err(refused(format!(
            "it belongs to another user (uid {}), who could put links in the place of its files; \
             name a folder of your own, or run this as that user",
            found.uid()
        )));
    }
    if others_write(&found) {
        return Err(refused(format!(
            "other users may write to it and could put links in the place of its files; \
             run chmod go-w {}, or name another folder",
            path.display()
        )));
    }
    let above = path.ancestors().skip(1).filter(|_| geteuid().is_root());
    for folder in above {
        let found = folder.metadata()?;
        let is_shared = others_write(&found) && found.mode() & STICKY == 0;
        if found.uid() != own || is_shared {
            return Err(refused(format!(
                "other users may change {} above it (uid {}, mode {:o}) and could put links in its \
                 place; name a folder that only root may change",
                folder.display(),
                found.uid(),
                found.mode() & 0o7777
            )));
        }
    }
    Ok(path)
}

/// Creates or empties a file that only this user reads.
///
/// # Errors
/// The file is a link, or can't be written.
pub fn create(path: &Path) -> io::Result<File> {
    open(OpenOptions::new().write(true).truncate(true), path)
}

/// Opens a file that only this user reads, to append to it. Creates it if it is missing.
///
/// # Errors
/// The file is a link, or can't be written.
pub fn append(path: &Path) -> io::Result<File> {
    open(OpenOptions::new().append(true), path)
}

fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let opened = options
        .create(true)
        .mode(PRIVATE_FILE)
        .custom_flags(O_NOFOLLOW)
        .open(path);
    match opened {
        Ok(file) => {
            // The file may have been there with more rights.
            file.set_permissions(Permissions::from_mode(PRIVATE_FILE))?;
            Ok(file)
        }
        Err(error) if error.raw_os_error() == Some(ELOOP) => {
            Err(refused("it is a link, which is not followed; remove it"))
        }
        Err(error) => Err(error),
    }
}

/// Returns true if others than the owner may write. The group of this user counts as the owner: on
/// many systems each user has a group of its own.
fn others_write(found: &Metadata) -> bool {
    let by_group = found.mode() & 0o020 != 0 && found.gid() != getegid().as_raw();
    by_group || found.mode() & 0o002 != 0
}

fn refused(reason: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, reason.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn files_are_private_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = private_folder(&folder.path().join("a/b")).unwrap();
        assert_eq!(mode(&path), 0o700);

        let victim = path.join("victim");
        fs::write(&victim, "precious").unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o644)).unwrap();
        let link = path.join("log");
        symlink(&victim, &link).unwrap();
        for opened in [create(&link), append(&link)] {
            let error = opened.unwrap_err().to_string();
            assert!(error.contains("it is a link"), "{error}");
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");

        append(&victim).unwrap().write_all(b"!").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious!");
        assert_eq!(mode(&victim), 0o600);
        create(&victim).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "");
    }

    #[test]
    fn a_folder_that_others_may_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |path: &Path| private_folder(path).unwrap_err().to_string();
        let shared = folder.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
        assert!(refusal(&shared).contains("chmod go-w"));
        // Only root gives folders away.
        if !geteuid().is_root() {
            return;
        }
        private_folder(&shared.join("own")).unwrap();
        fs::set_permissions(&shared, Permissions::from_mode(0o777)).unwrap();
        assert!(refusal(&shared.join("own")).contains("other users may change"));
        fs::set_permissions(&shared, Permissions::from_mode(0o755)).unwrap();
        private_folder(&shared.join("own")).unwrap();
        chown(&shared, Some(65_534), None).unwrap();
        assert!(refusal(&shared).contains("belongs to another user (uid 65534)"));
        assert!(refusal(&shared.join("own")).contains("other users may change"));
    }
}
