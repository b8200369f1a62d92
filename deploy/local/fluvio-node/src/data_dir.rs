//! The node's data folder: its lock, its layout, and atomic replacement of files.
//!
//! ```text
//! DATA/lock                     held by the running node
//! DATA/topics/NAME              a topic's specification
//! DATA/smartmodules/NAME        a SmartModule's specification, the WebAssembly included
//! DATA/consumer-offsets.json    offsets of consumers with an id
//! DATA/logs/TOPIC-PARTITION/    the records
//! ```

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use owned_process::files;

/// The data folder, locked against a second node until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// The operating system releases the lock when the process ends.
    lock: File,
}

impl DataDir {
    /// Creates the folder if it is missing and locks it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("can't use the data folder {}", path.display());
        let path = files::private_folder(path).with_context(context)?;
        let lock = files::create(&path.join("lock")).with_context(context)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "the data folder {} is in use by another node; stop it or use another folder",
                path.display()
            ),
            Err(TryLockError::Error(err)) => return Err(err).with_context(context),
        }
        let dir = Self { path, lock };
        for folder in [dir.topics(), dir.smartmodules(), dir.logs()] {
            fs::create_dir_all(&folder)
                .with_context(|| format!("can't create {}", folder.display()))?;
        }
        Ok(dir)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn topics(&self) -> PathBuf {
        self.path.join("topics")
    }

    pub fn smartmodules(&self) -> PathBuf {
        self.path.join("smartmodules")
    }

    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    pub fn consumer_offsets(&self) -> PathBuf {
        self.path.join("consumer-offsets.json")
    }
}

impl Drop for DataDir {
    /// Unlocks explicitly: closing isn't enough while a child process that is being started
    /// inherits the file.
    fn drop(&mut self) {
        if let Err(err) = self.lock.unlock() {
            tracing::warn!(%err, "can't unlock the data folder");
        }
    }
}

/// The failure that a replaced file must survive.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Durability {
    /// A killed process.
    Kill,
    /// Also a power cut.
    PowerCut,
}

/// Replaces a file atomically: after a crash it has the old or the new content.
pub(crate) fn replace_file(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    let temporary = PathBuf::from(temporary);
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    if durability == Durability::PowerCut {
        file.sync_data()?;
    }
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) if durability == Durability::PowerCut => sync_dir(parent),
        _ => Ok(()),
    }
}

const TEMPORARY: &str = ".tmp";

/// Returns true for a file that a crash during [`replace_file`] has left.
pub(crate) fn is_temporary(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("tmp"))
}

/// Syncs a folder, so created, renamed and removed files survive a power cut.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    // The parent of a bare file name is the empty path.
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path)?.sync_all()
}
