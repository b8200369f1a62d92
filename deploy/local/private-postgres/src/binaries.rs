//! Where `initdb` and `postgres` are.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::download;

/// Folders with a folder for each version in them, and what follows the version.
const VERSIONED: [(&str, &str, &str); 4] = [
    ("/usr/lib/postgresql", "", "bin"),          // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                   // PostgreSQL's packages for Red Hat
    ("/opt/homebrew/opt", "postgresql@", "bin"), // Homebrew on Apple silicon
    ("/usr/local/opt", "postgresql@", "bin"),    // Homebrew on Intel
];

/// The folder that holds both programs.
pub(crate) struct Binaries(PathBuf);

impl Binaries {
    /// Looks on `PATH`, then in the usual places, the newest version first; where there is none,
    /// brings one.
    pub(crate) async fn find() -> anyhow::Result<Self> {
        let on_path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&on_path)
            .chain(usual_places())
            .find(|folder| holds_server(folder));
        match found {
            Some(folder) => Ok(Self(folder)),
            None => download::programs().await.map(Self).context(
                "no PostgreSQL server on this machine (looked for `initdb` and `postgres` on PATH and in the usual places), \
                 and none can be brought; install it: `apt-get install postgresql` (Debian, Ubuntu), \
                 `dnf install postgresql-server` (Fedora), `brew install postgresql@17` (macOS), \
                 or name a database of your own with --database-url",
            ),
        }
    }

    /// Those of a folder.
    pub(crate) fn of(folder: &Path) -> anyhow::Result<Self> {
        anyhow::ensure!(
            holds_server(folder),
            "no `initdb` and `postgres` in {}",
            folder.display()
        );
        Ok(Self(folder.to_owned()))
    }

    pub(crate) fn initdb(&self) -> PathBuf {
        self.0.join("initdb")
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.0.join("postgres")
    }
}

fn usual_places() -> impl Iterator<Item = PathBuf> {
    VERSIONED
        .into_iter()
        .flat_map(|(root, prefix, bin)| newest_first(Path::new(root), prefix, bin))
        .chain([PathBuf::from("/usr/local/pgsql/bin")])
}

fn newest_first(root: &Path, prefix: &str, bin: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let version = entry
                .file_name()
                .to_str()?
                .strip_prefix(prefix)?
                .parse()
                .ok()?;
            Some((version, entry.path().join(bin)))
        })
        .collect();
    versions.sort_by(|(left, _), (right, _)| right.cmp(left));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

fn holds_server(folder: &Path) -> bool {
    folder.join("initdb").is_file() && folder.join("postgres").is_file()
}
