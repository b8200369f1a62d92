//! The tables of the lake: read without an engine, and compared with those of PostgreSQL.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use end_to_end::{cli, lake};
use lake_sink::maintenance::facts::FactRow;
use lake_sink::offsets;
use serde_json::Value;
use tokio_postgres::Client;

/// The files of the lake sink, by which `etl lake` and this program find its tables.
#[derive(Clone, Debug)]
pub struct LakeFiles {
    pub config: PathBuf,
    pub secrets: PathBuf,
}

impl LakeFiles {
    /// Removes all snapshots but the newest.
    ///
    /// # Errors
    /// `etl lake expire` fails.
    pub async fn expire(&self) -> anyhow::Result<()> {
        let arguments = ["expire", "--older-than", "0s", "--keep", "1"];
        self.etl(&arguments).await.map(drop)
    }

    /// Runs `etl lake` and returns its output.
    async fn etl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = cli::command()?;
        command.arg("lake").args(arguments);
        command.arg("--config").arg(&self.config);
        command.arg("--secrets").arg(&self.secrets);
        let (code, output) = cli::output(&mut command).await?;
        ensure!(
            code == Some(0),
            "etl lake {arguments:?} ends with {code:?}:\n{output}"
        );
        Ok(output)
    }
}

/// The open tables.
pub struct Tables {
    files: LakeFiles,
    tables: lake::Tables,
}

impl Tables {
    /// Connects to the catalog.
    ///
    /// # Errors
    /// It can't be reached.
    pub async fn open(files: LakeFiles) -> anyhow::Result<Self> {
        let tables = lake::Tables::open(&files.config, &files.secrets).await?;
        Ok(Self { files, tables })
    }

    /// Returns the number of records that the lake sink has committed.
    ///
    /// # Errors
    /// The catalog does not answer.
    pub async fn committed(&self) -> anyhow::Result<i64> {
        let table = self.tables.lake.rows().await?;
        Ok(offsets::committed(&table, &self.tables.topic)
            .values()
            .sum())
    }

    /// Compares the lake with the tables of the database at `url`, once both sinks have committed
    /// all records: it has the same `facts`, and no row twice.
    ///
    /// # Errors
    /// Fails with the first difference.
    pub async fn ensure_equal(
        &self,
        client: &Client,
        url: &str,
        facts: usize,
    ) -> anyhow::Result<()> {
        let output = self
            .files
            .etl(&["verify", "--json", "--database-url", url])
            .await?;
        let json = output.find('{').zip(output.rfind('}'));
        let json = json.and_then(|(start, end)| output.get(start..=end));
        let verified: Value = serde_json::from_str(json.unwrap_or_default())
            .with_context(|| format!("etl lake verify printed:\n{output}"))?;
        for (key, expected) in [("facts_in_lake", facts), ("pending_facts", 0)] {
            let found = verified.get(key).and_then(Value::as_u64);
            ensure!(
                found == u64::try_from(expected).ok(),
                "{key} should be {expected}: {verified}"
            );
        }
        self.ensure_facts_once().await?;
        self.ensure_rejected(client).await
    }

    /// A producer's repeat of a fact is another record; the same record has a fact once.
    async fn ensure_facts_once(&self) -> anyhow::Result<()> {
        let mut places = HashSet::new();
        let once = |row: FactRow| {
            let is_new = places.insert((row.partition, row.offset, row.id));
            ensure!(is_new, "twice in the lake: {row:?}");
            Ok(())
        };
        self.tables.each_row(once).await
    }

    /// Compares the rejected events. Each of the load is a whole record; if SQS delivers one again,
    /// PostgreSQL keeps the first record and the lake has both.
    async fn ensure_rejected(&self, client: &Client) -> anyhow::Result<()> {
        let found = self.tables.rejected().await?;
        for (partition, positions) in &found {
            let repeated = positions.repeated;
            ensure!(
                repeated == 0,
                "{repeated} rejected events of partition {partition} are in the lake twice"
            );
        }
        let query = "SELECT source_partition, source_offset FROM rejected_events";
        for row in client.query(query, &[]).await? {
            let (partition, offset): (i32, i64) = (row.get(0), row.get(1));
            let positions = found.get(&partition);
            let is_there = positions.is_some_and(|positions| positions.has(offset));
            ensure!(
                is_there,
                "the event rejected at offset {offset} of partition {partition} is not in the lake"
            );
        }
        Ok(())
    }
}
