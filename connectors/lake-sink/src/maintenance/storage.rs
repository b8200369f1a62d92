//! The storage below the warehouse: whether it takes files, and still has those of a table.

use std::collections::HashSet;

use iceberg::TableIdent;
use iceberg::table::Table;
use uuid::Uuid;

use crate::config::Config;
use crate::error::Error;
use crate::maintenance::{Lake, contents, listing};
use crate::storage;

/// The files of a table's current snapshot that the storage does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Their locations, in order.
    pub files: Vec<String>,
    /// The number of files outside of the table's folder, which were not looked for.
    pub elsewhere: usize,
}

impl Missing {
    /// Compares the files with a list of the table's folder.
    ///
    /// # Errors
    /// The catalog or the storage failed, or the folder can't be listed.
    pub async fn find(lake: &Lake, table: &TableIdent, config: &Config) -> Result<Self, Error> {
        let before = lake.load(table).await?;
        let mut files = files(&before).await?;
        if files.is_empty() {
            return Ok(Self::default());
        }
        let folder = before.metadata().location().trim_end_matches('/');
        let inside = format!("{}/", listing::key(folder));
        let all = files.len();
        files.retain(|file| listing::key(file).starts_with(&inside));
        let elsewhere = all - files.len();
        let listed = listing::list(folder, &config.s3()).await?;
        let listed: HashSet<&str> = listed
            .iter()
            .map(|file| listing::key(&file.location))
            .collect();
        files.retain(|file| !listed.contains(listing::key(file)));
        if !files.is_empty() {
            // A compaction may have replaced them meanwhile.
            let now = self::files(&lake.load(table).await?).await?;
            files.retain(|file| now.contains(file));
        }
        let mut files: Vec<String> = files.into_iter().collect();
        files.sort_unstable();
        Ok(Self { files, elsewhere })
    }
}

/// The files with rows, and those that delete rows, of the current snapshot.
async fn files(table: &Table) -> Result<HashSet<String>, Error> {
    let Some(snapshot) = table.metadata().current_snapshot() else {
        return Ok(HashSet::new());
    };
    let list = table.manifest_list_reader(snapshot).load().await?;
    let mut files = HashSet::new();
    contents::each_file(table, list.consume_entries(), |file| {
        files.insert(file.to_owned());
    })
    .await?;
    Ok(files)
}

/// Writes a file below the warehouse, reads it and deletes it.
///
/// # Errors
/// The storage refuses one of them. A file that can't be read or deleted stays.
pub async fn probe(config: &Config) -> Result<(), Error> {
    let files = storage::open(&config.warehouse, &config.s3()).await;
    let folder = config.warehouse.trim_end_matches('/');
    let location = format!("{folder}/etl-doctor-{}", Uuid::new_v4());
    files.new_output(&location)?.write("probe".into()).await?;
    files.new_input(&location)?.read().await?;
    files.delete(&location).await?;
    Ok(())
}
