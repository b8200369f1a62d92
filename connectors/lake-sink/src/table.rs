//! A table of the lake: opened, created or evolved at the start, and committed to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use connector_common::{Backoff, Health, Stop};
use iceberg::spec::DataFile;
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};
use iceberg::{Catalog, ErrorKind, NamespaceIdent, TableIdent};
use sink_common::LastRecord;
use tokio::time::Instant;
use uuid::Uuid;

use crate::catalog::Fenced;
use crate::error::{Error, Offsets};
use crate::offsets;
use crate::schema::Definition;

/// The pauses after a failed commit.
const RETRY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];
/// The time that a commit may go on failing. Then its files are given up, so that no file is
/// committed that `etl lake orphans` takes for an orphan.
pub(crate) const COMMIT_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// The time that a commit may go on failing after a stop was requested.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The file with the name of the newest metadata.
pub(crate) const VERSION_HINT: &str = "version-hint.text";
/// The property of a snapshot's summary with the id of the commit that made it.
const COMMIT: &str = "etl.commit";
/// The properties of a table that is created.
const PROPERTIES: [(&str, &str); 3] = [
    ("write.format.default", "parquet"),
    ("write.parquet.compression-codec", "zstd"),
    ("write.metadata.previous-versions-max", "60"),
];

/// A table, and the topic whose offsets it has.
#[derive(Debug)]
pub struct LakeTable {
    catalog: Arc<dyn Catalog>,
    topic: String,
    definition: &'static Definition,
    table: Table,
    commit_timeout: Duration,
}

/// The move of a partition's offset in a commit.
#[derive(Clone, Debug)]
pub struct Move {
    /// The committed offset; `None` if the partition was never read.
    pub from: Option<i64>,
    /// The offset behind the records of the commit.
    pub to: i64,
    /// The last of these records.
    pub last: Option<LastRecord>,
}

/// The moves of a commit by partition.
pub type Moves = HashMap<u32, Move>;

impl LakeTable {
    /// Opens a table. Creates it and its namespace if they are missing, and adds missing columns.
    ///
    /// # Errors
    /// The catalog or the storage failed, or the table is incompatible with the definition.
    pub async fn open(
        catalog: Arc<dyn Catalog>,
        namespace: &NamespaceIdent,
        name: &str,
        definition: &'static Definition,
        topic: &str,
    ) -> Result<Self, Error> {
        let id = TableIdent::new(namespace.clone(), name.to_owned());
        let table = match catalog.load_table(&id).await {
            Err(error) if is_missing(&error) => create(&catalog, &id, definition).await?,
            loaded => loaded?,
        };
        let table = evolve(&catalog, table, definition).await?;
        Ok(Self {
            catalog,
            topic: topic.to_owned(),
            definition,
            table,
            commit_timeout: COMMIT_TIMEOUT,
        })
    }

    /// The table as it was loaded or committed last.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The definition of its columns.
    #[must_use]
    pub fn definition(&self) -> &'static Definition {
        self.definition
    }

    /// Its name, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        self.table.identifier().to_string()
    }

    /// The committed offsets.
    #[must_use]
    pub fn offsets(&self) -> Offsets {
        offsets::committed(&self.table, &self.topic)
    }

    /// Records that the offsets belong to `cluster`.
    ///
    /// # Errors
    /// They belong to another one, or the catalog failed.
    pub async fn claim(&mut self, cluster: &str) -> Result<(), Error> {
        let found = offsets::cluster(&self.table, &self.topic);
        if found == Some(cluster) {
            return Ok(());
        }
        if let Some(found) = found
            && !self.offsets().is_empty()
        {
            return Err(Error::OtherCluster {
                topic: self.topic.clone(),
                table: self.name(),
                found: found.to_owned(),
                cluster: cluster.to_owned(),
                property: offsets::cluster_property(&self.topic),
            });
        }
        let transaction = Transaction::new(&self.table);
        let property = offsets::cluster_property(&self.topic);
        let action = transaction
            .update_table_properties()
            .set(property, cluster.to_owned());
        let claimed = action.apply(transaction)?.commit(self.catalog.as_ref());
        self.table = claimed.await?;
        Ok(())
    }

    /// Commits files and moves the offsets, if the table still has the offsets that the moves
    /// begin at. Tries again after any other error, for up to 15 minutes and until the stop.
    ///
    /// # Errors
    /// - [`Error::Fenced`]: another sink has moved the offsets. The table has no row of the files,
    ///   unless the answer to their commit got lost, and the other sink committed after it.
    /// - [`Error::Changed`]: the files don't fit the table any more.
    /// - [`Error::GivenUp`]: it failed for too long.
    /// - [`Error::Stopped`]: the stop came first. A commit whose answer got lost may be in the
    ///   table.
    pub async fn commit(
        &mut self,
        files: &[DataFile],
        moves: &Moves,
        health: &Health,
        stop: &Stop,
    ) -> Result<(), Error> {
        let mut backoff = Backoff::new(RETRY[0], RETRY[1]);
        let part = self.name();
        let id = Uuid::new_v4().to_string();
        let deadline = Instant::now() + self.commit_timeout;
        let mut give_up = std::pin::pin!(async {
            stop.requested().await;
            tokio::time::sleep(STOP_TIMEOUT).await;
        });
        loop {
            let error = match self.try_commit(files, moves, &id).await {
                Ok(table) => {
                    self.committed(table, health).await;
                    return Ok(());
                }
                Err(error) => error,
            };
            // The commit may be in the table although it failed: its answer got lost.
            let error = match self.catalog.load_table(self.table.identifier()).await {
                Ok(table) => match self.state(&table, moves, &id) {
                    State::Committed => {
                        self.committed(table, health).await;
                        return Ok(());
                    }
                    State::Fenced(error) => return Err(error),
                    State::Open if !fits(&table, &self.table) => {
                        return Err(Error::Changed { table: part });
                    }
                    State::Open => {
                        self.table = table;
                        error
                    }
                },
                // The next round creates it again.
                Err(error) if is_missing(&error) => return Err(error.into()),
                Err(error) => error,
            };
            health.troubled(&part, &error);
            if backoff.warning_due().is_some() {
                tracing::warn!(table = part, "a commit failed and is tried again: {error}");
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(deadline) => {
                    // The error of the round takes its place.
                    health.works(&part);
                    return Err(Error::GivenUp { table: part, source: Box::new(error) });
                }
                () = &mut give_up => return Err(Error::Stopped { table: part, source: Box::new(error) }),
                () = tokio::time::sleep(backoff.next_pause()) => {}
            }
        }
    }

    async fn committed(&mut self, table: Table, health: &Health) {
        health.works(&self.name());
        self.table = table;
        if let Err(error) = write_hint(&self.table).await {
            tracing::warn!(
                table = self.name(),
                "cannot write the version hint, so DuckDB reads an earlier snapshot: {error}"
            );
        }
    }

    async fn try_commit(
        &self,
        files: &[DataFile],
        moves: &Moves,
        id: &str,
    ) -> iceberg::Result<Table> {
        let summary = moves.iter().map(|(partition, moved)| {
            let property = offsets::offset_property(&self.topic, *partition);
            (property, moved.to.to_string())
        });
        let summary = summary.chain([(COMMIT.to_owned(), id.to_owned())]);
        let transaction = Transaction::new(&self.table);
        // A snapshot even without files: it makes the catalog refuse the commit if another snapshot
        // came first.
        let append = transaction
            .fast_append()
            .with_check_duplicate(false)
            .set_snapshot_properties(summary.collect())
            .add_data_files(files.iter().cloned());
        let transaction = append.apply(transaction)?;
        let mut properties = transaction.update_table_properties();
        for (partition, moved) in moves {
            let property = offsets::offset_property(&self.topic, *partition);
            properties = properties.set(property, moved.to.to_string());
            let property = offsets::last_record_property(&self.topic, *partition);
            properties = match &moved.last {
                Some(last) => properties.set(property, last.to_string()),
                None => properties.remove(property),
            };
        }
        let transaction = properties.apply(transaction)?;
        let expected = moves.iter();
        let expected = expected.map(|(partition, moved)| (*partition, moved.from));
        let fenced = Fenced {
            catalog: &self.catalog,
            topic: &self.topic,
            expected: &expected.collect(),
            definition: self.definition,
        };
        transaction.commit(&fenced).await
    }

    /// The state of the commit `id` in a table. The offsets alone do not tell whose commit moved
    /// them.
    fn state(&self, table: &Table, moves: &Moves, id: &str) -> State {
        let mut snapshots = table.metadata().snapshots();
        let is_ours = |properties: &HashMap<String, String>| {
            properties.get(COMMIT).is_some_and(|found| found == id)
        };
        if snapshots.any(|snapshot| is_ours(&snapshot.summary().additional_properties)) {
            return State::Committed;
        }
        let found = offsets::committed(table, &self.topic);
        let mut all = moves.iter();
        if all.all(|(partition, moved)| found.get(partition).copied() == moved.from) {
            return State::Open;
        }
        let expected = moves.iter();
        let expected = expected.filter_map(|(partition, moved)| Some((*partition, moved.from?)));
        State::Fenced(Error::Fenced {
            table: self.name(),
            committed: found,
            expected: expected.collect(),
        })
    }
}

/// Writes the name of the newest metadata into a file at a known place. DuckDB reads a table without
/// a catalog then. Nothing depends on it.
pub(crate) async fn write_hint(table: &Table) -> iceberg::Result<()> {
    let location = table.metadata_location_result()?;
    let Some((folder, file)) = location.rsplit_once('/') else {
        return Ok(());
    };
    let version = file.strip_suffix(".metadata.json").unwrap_or(file);
    let hint = table
        .file_io()
        .new_output(format!("{folder}/{VERSION_HINT}"))?;
    hint.write(version.to_owned().into()).await
}

/// The state of a commit in the table.
enum State {
    Committed,
    Open,
    Fenced(Error),
}

/// Returns true if files that were written for `before` fit the table `now`.
fn fits(now: &Table, before: &Table) -> bool {
    let (now, before) = (now.metadata(), before.metadata());
    now.current_schema_id() == before.current_schema_id()
        && now.default_partition_spec_id() == before.default_partition_spec_id()
        && now.location() == before.location()
}

pub(crate) fn is_missing(error: &iceberg::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::TableNotFound | ErrorKind::NamespaceNotFound
    )
}

async fn create(
    catalog: &Arc<dyn Catalog>,
    id: &TableIdent,
    definition: &Definition,
) -> Result<Table, Error> {
    let namespace = id.namespace();
    if !catalog.namespace_exists(namespace).await? {
        match catalog.create_namespace(namespace, HashMap::new()).await {
            // Another sink created it meanwhile, or the server can't tell whether it exists.
            Err(error) if error.kind() == ErrorKind::NamespaceAlreadyExists => {}
            Err(error) if !catalog.namespace_exists(namespace).await? => return Err(error.into()),
            _ => {}
        }
    }
    let properties = PROPERTIES.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let creation = definition.creation(id.name(), properties.into())?;
    match catalog.create_table(namespace, creation).await {
        Ok(table) => {
            tracing::info!(table = %id, "created the table");
            Ok(table)
        }
        Err(error) => catalog.load_table(id).await.map_err(|_| error.into()),
    }
}

/// Adds the columns that the table lacks.
async fn evolve(
    catalog: &Arc<dyn Catalog>,
    table: Table,
    definition: &Definition,
) -> Result<Table, Error> {
    let name = table.identifier().to_string();
    let missing = definition.missing(&name, table.metadata().current_schema())?;
    let partitions = table.metadata().default_partition_spec();
    definition.check_partitions(&name, table.metadata().current_schema(), partitions)?;
    if missing.is_empty() {
        return Ok(table);
    }
    let transaction = Transaction::new(&table);
    let mut update = transaction.update_schema();
    for column in &missing {
        update = update.add_column(column.addition());
    }
    let evolved = update.apply(transaction)?.commit(catalog.as_ref()).await?;
    let names: Vec<&str> = missing.iter().map(|column| column.name).collect();
    tracing::info!(table = name, "added the columns {}", names.join(", "));
    Ok(evolved)
}

#[cfg(test)]
mod tests {
    use iceberg::CatalogBuilder as _;
    use iceberg::io::LocalFsStorageFactory;
    use iceberg::memory::{MEMORY_CATALOG_WAREHOUSE, MemoryCatalogBuilder};

    use super::*;
    use crate::schema::{FACTS, namespace};

    #[tokio::test(flavor = "multi_thread")]
    async fn the_files_of_a_commit_that_goes_on_failing_are_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let warehouse = format!("file://{}", folder.path().display());
        let catalog = MemoryCatalogBuilder::default()
            .with_storage_factory(Arc::new(LocalFsStorageFactory))
            .load(
                "memory",
                [(MEMORY_CATALOG_WAREHOUSE.to_owned(), warehouse)].into(),
            )
            .await
            .unwrap();
        let namespace = namespace("shop").unwrap();
        let mut table = LakeTable::open(Arc::new(catalog), &namespace, "facts", &FACTS, "events")
            .await
            .unwrap();
        let moves = |from: Option<i64>, to| {
            let last = None;
            Moves::from([(0, Move { from, to, last })])
        };
        let (health, (stop, _)) = (Health::default(), Stop::manual());
        table
            .commit(&[], &moves(None, 5), &health, &stop)
            .await
            .unwrap();

        // The storage does not answer any more.
        let location = table.table().metadata().location().to_owned();
        let metadata = format!("{}/metadata", location.trim_start_matches("file://"));
        std::fs::remove_dir_all(&metadata).unwrap();
        std::fs::write(&metadata, "").unwrap();
        table.commit_timeout = Duration::from_secs(2);
        let failed = table
            .commit(&[], &moves(Some(5), 9), &health, &stop)
            .await
            .unwrap_err();
        assert!(matches!(failed, Error::GivenUp { .. }), "{failed}");
        assert!(!failed.is_fatal(), "the next round reads the records again");
    }
}
