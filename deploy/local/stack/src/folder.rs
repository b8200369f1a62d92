//! The folder of a run: data, files and logs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

/// Where a run keeps everything.
#[derive(Debug)]
pub(crate) enum Folder {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Folder {
    pub(crate) fn new(kept: Option<&Path>) -> anyhow::Result<Self> {
        match kept {
            None => {
                let folder = tempfile::Builder::new().prefix("etl-").tempdir()?;
                // PostgreSQL may run as another user and has to reach its folder in here.
                std::fs::set_permissions(
                    folder.path(),
                    std::os::unix::fs::PermissionsExt::from_mode(0o755),
                )?;
                Ok(Self::Temporary(folder))
            }
            Some(path) => {
                std::fs::create_dir_all(path)
                    .with_context(|| format!("cannot make {}", path.display()))?;
                Ok(Self::Kept(path.canonicalize()?))
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }
}
