//! The node's folder on disk: who may use it, what lies where, and files that change as a whole.
//!
//! ```text
//! DATA/lock                     held by the running node
//! DATA/topics/NAME              a topic's specification
//! DATA/smartmodules/NAME        a SmartModule's specification, the WebAssembly included
//! DATA/consumer-offsets.json    how far the consumers with an id have come
//! DATA/logs/TOPIC-PARTITION/    the records
//! ```

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The node's folder, locked against a second node for as long as this lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// The operating system lets go of the lock when the process ends, however it does.
    lock: File,
}

impl DataDir {
    /// Creates the folder if need be and takes its lock.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("can't use the data folder {}", path.display());
        fs::create_dir_all(path).with_context(context)?;
        let lock = File::create(path.join("lock")).with_context(context)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "the data folder {} is in use by another node; stop that one or name another folder",
                path.display()
            ),
            Err(TryLockError::Error(err)) => return Err(err).with_context(context),
        }
        let dir = Self {
            path: path.to_owned(),
            lock,
        };
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
    /// Closing the file would not do: a child process being started holds it, too, for a moment.
    fn drop(&mut self) {
        if let Err(err) = self.lock.unlock() {
            tracing::warn!(%err, "can't unlock the data folder");
        }
    }
}

/// How much a replaced file has to withstand.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Durability {
    /// The process being killed.
    Kill,
    /// A power cut, too.
    PowerCut,
}

/// Replaces a file as a whole: after a crash it has the old content or the new.
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

/// Whether a file is what a crash has left of [`replace_file`].
pub(crate) fn is_temporary(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("tmp"))
}

/// Makes created, renamed and removed files of a folder withstand a power cut.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    // The folder of a bare file name is the empty path.
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path)?.sync_all()
}
