//! Files in a table's folder that the table does not refer to.
//!
//! A crash leaves files that were never committed, and an expired snapshot those that only it had.
//! A file is an orphan if no snapshot that the table still has refers to it, nor its metadata, and
//! if it is older than an age. Files of a commit under way are not in the table yet, so the age
//! protects them:
//!
//! - The files are listed before the table is loaded. One that is committed meanwhile is in it.
//! - A sink begins a file at most `commit-interval` before the commit, and gives it up if the
//!   commit fails for [`COMMIT_TIMEOUT`]. A round that fails gives up its files, too: the next one
//!   reads the records again. So no file is committed that is older than [`min_age`].
//! - The age counts back from the table's newest snapshot, or from now if that is earlier. While
//!   nothing is committed, as when the catalog or the only sink is away, no file becomes an orphan,
//!   whatever the clocks say.
//!
//! Another table's files are not orphans either. A table that was renamed keeps its folder, and the
//! sink makes its new table in the same one; so no folder is searched that another table of the
//! catalog has, or has a part of.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::spec::ManifestFile;
use iceberg::table::Table;
use iceberg::{Catalog, NamespaceIdent, TableIdent};

use crate::catalog;
use crate::config::Config;
use crate::error::Error;
use crate::maintenance::listing::{self, Listed};
use crate::maintenance::{Lake, contents};
use crate::table::{COMMIT_TIMEOUT, VERSION_HINT, is_missing, write_hint};

/// The least age of an orphan, if commits come more often.
const MIN_AGE: TimeDelta = TimeDelta::hours(1);
/// The files that are read, and those that are deleted, at once.
const AT_ONCE: usize = 8;

/// The least age of an orphan of a table to which sinks commit this often. Rejected events are
/// committed before the facts, so a file can wait for two commits.
#[must_use]
pub fn min_age(commit_interval: Duration) -> TimeDelta {
    let longest = commit_interval.saturating_add(COMMIT_TIMEOUT * 2);
    let longest = TimeDelta::from_std(longest).unwrap_or(TimeDelta::MAX);
    longest.max(MIN_AGE)
}

/// The orphans of a table.
#[derive(Debug)]
pub struct Orphans {
    table: Table,
    /// The files, in the order of their locations.
    pub files: Vec<Listed>,
    /// The number of files that are too young to tell.
    pub young: usize,
    /// The time before which orphans were written; `None` if the table has no snapshot.
    pub before: Option<DateTime<Utc>>,
}

impl Orphans {
    /// Finds the orphans of a table that are older than `age`, of at least [`min_age`].
    ///
    /// # Errors
    /// The catalog or the storage failed, none of the table's files is in its folder, or another
    /// table of the catalog has files there.
    pub async fn find(
        lake: &Lake,
        table: &TableIdent,
        config: &Config,
        age: TimeDelta,
    ) -> Result<Self, Error> {
        let folder = lake.load(table).await?.metadata().location().to_owned();
        ensure_alone(lake.catalog().as_ref(), config, table, &folder).await?;
        let listed = listing::list(&folder, &config.s3()).await?;
        let table = lake.load(table).await?;
        let before = table.metadata().current_snapshot().and_then(|snapshot| {
            let newest = snapshot.timestamp().ok()?.min(Utc::now());
            newest.checked_sub_signed(age.max(min_age(config.commit_interval)))
        });
        let referenced = referenced(&table).await?;
        let found = listed
            .iter()
            .any(|file| referenced.contains(listing::key(&file.location)));
        if !found && !listed.is_empty() {
            return Err(Error::Elsewhere {
                table: table.identifier().to_string(),
                location: folder,
                files: referenced.len(),
            });
        }
        let mut files = listed;
        files.retain(|file| !referenced.contains(listing::key(&file.location)));
        let unreferenced = files.len();
        files.retain(|file| before.is_some_and(|before| file.modified < before));
        files.sort_by(|one, next| one.location.cmp(&next.location));
        Ok(Self {
            young: unreferenced - files.len(),
            files,
            before,
            table,
        })
    }

    /// Deletes the files. Calls `deleted` after each of them.
    ///
    /// # Errors
    /// The storage failed. The other files may be deleted.
    pub async fn delete(&self, deleted: impl Fn()) -> Result<(), Error> {
        // An older hint names metadata whose snapshots may be expired.
        write_hint(&self.table).await?;
        let files = self.table.file_io();
        stream::iter(&self.files)
            .map(|file| files.delete(&file.location))
            .buffer_unordered(AT_ONCE)
            .try_for_each(|()| {
                deleted();
                std::future::ready(Ok(()))
            })
            .await?;
        Ok(())
    }
}

/// Fails if another table of the catalog has its folder in `folder`, which is that of `table`, or
/// around it.
async fn ensure_alone(
    catalog: &dyn Catalog,
    config: &Config,
    table: &TableIdent,
    folder: &str,
) -> Result<(), Error> {
    let mut namespaces: Vec<NamespaceIdent> = catalog.list_namespaces(None).await?;
    while let Some(namespace) = namespaces.pop() {
        namespaces.extend(catalog.list_namespaces(Some(&namespace)).await?);
        let others = match catalog.list_tables(&namespace).await {
            // One that has only namespaces below it, or was dropped meanwhile.
            Err(error) if is_missing(&error) => continue,
            listed => listed?,
        };
        for other in others.into_iter().filter(|other| other != table) {
            let location = match catalog.load_table(&other).await {
                Err(error) if is_missing(&error) => continue,
                Err(error) => match catalog::folder(config, &other).await {
                    Ok(Some(folder)) => folder,
                    _ => {
                        return Err(Error::Unknown {
                            table: other.to_string(),
                            source: Box::new(error),
                        });
                    }
                },
                Ok(loaded) => loaded.metadata().location().to_owned(),
            };
            if overlap(folder, &location) {
                return Err(Error::Shared {
                    table: table.to_string(),
                    folder: folder.to_owned(),
                    other: other.to_string(),
                    location,
                });
            }
        }
    }
    Ok(())
}

/// Returns true if the folders are the same, or one is inside of the other.
fn overlap(one: &str, other: &str) -> bool {
    let (one, other) = (listing::key(one), listing::key(other));
    let (one, other) = (one.trim_end_matches('/'), other.trim_end_matches('/'));
    let is_inside = |outer: &str, inner: &str| {
        let rest = inner.strip_prefix(outer);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    is_inside(one, other) || is_inside(other, one)
}

/// The keys of all files that the table refers to: metadata, manifests and files of each snapshot.
async fn referenced(table: &Table) -> Result<HashSet<String>, Error> {
    let metadata = table.metadata();
    let mut referenced: HashSet<String> = HashSet::new();
    let mut add = |location: &str| {
        referenced.insert(listing::key(location).to_owned());
    };
    if let Some(location) = table.metadata_location() {
        add(location);
        let folder = location.rsplit_once('/').map_or("", |(folder, _)| folder);
        add(&format!("{folder}/{VERSION_HINT}"));
    }
    for earlier in metadata.metadata_log() {
        add(&earlier.metadata_file);
    }
    for statistics in metadata.statistics_iter() {
        add(&statistics.statistics_path);
    }
    for statistics in metadata.partition_statistics_iter() {
        add(&statistics.statistics_path);
    }
    // Snapshots share most manifests.
    let mut manifests: BTreeMap<String, ManifestFile> = BTreeMap::new();
    let mut lists = stream::iter(metadata.snapshots())
        .map(async |snapshot| table.manifest_list_reader(snapshot).load().await)
        .buffer_unordered(AT_ONCE);
    while let Some(list) = lists.try_next().await? {
        for manifest in list.consume_entries() {
            add(&manifest.manifest_path);
            manifests.insert(manifest.manifest_path.clone(), manifest);
        }
    }
    for snapshot in metadata.snapshots() {
        add(snapshot.manifest_list());
    }
    contents::each_file(table, manifests.into_values(), add).await?;
    Ok(referenced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_that_waits_for_its_commit_is_old_enough() {
        let hour = Duration::from_secs(3600);
        assert_eq!(min_age(hour / 60), TimeDelta::hours(1));
        assert_eq!(min_age(hour), TimeDelta::minutes(90));
    }

    #[test]
    fn folders_overlap_if_one_is_the_other_or_inside_of_it() {
        for other in [
            "s3a://b/shop/facts/",
            "s3://b/shop/facts/old",
            "s3://b/shop",
            "s3://b",
        ] {
            assert!(overlap("s3://b/shop/facts", other), "{other}");
            assert!(overlap(other, "s3://b/shop/facts"), "{other}");
        }
        for other in ["s3://b/shop/facts2", "s3://c/shop/facts", "s3://b/shop/f"] {
            assert!(!overlap("s3://b/shop/facts", other), "{other}");
        }
        assert!(overlap("file:///", "file:/lake/shop"));
    }
}
