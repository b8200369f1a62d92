//! The demo's lake: how far it is committed, what it holds, and how to ask it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, TimestampMicrosecondType};
use connector_common::Connector;
use futures_util::TryStreamExt;
use iceberg::{Catalog, TableIdent};
use lake_sink::{offsets, schema};
use local_stack::files::Files;

use crate::expectation::Fingerprint;

/// The table of facts.
pub struct Lake {
    catalog: Arc<dyn Catalog>,
    table: TableIdent,
    topic: String,
}

/// The facts of the table.
pub struct Contents {
    /// Number of rows. An event that came twice has two rows of each fact.
    pub rows: u64,
    /// The sums over the facts, each once.
    pub distinct: Fingerprint,
}

impl Lake {
    /// Opens the catalog that the lake sink of a stack writes to.
    ///
    /// # Errors
    /// The catalog's database can't be reached.
    pub async fn open(files: &Files) -> anyhow::Result<Self> {
        let connector: Connector<lake_sink::Config> =
            Connector::load("lake", &files.lake, Some(&files.secrets))?;
        let config = connector.config;
        let namespace = schema::namespace(&config.namespace)?;
        Ok(Self {
            catalog: lake_sink::catalog::open(&config).await?,
            table: TableIdent::new(namespace, config.table().to_owned()),
            topic: connector.meta.topic.name,
        })
    }

    /// The number of records that the sink has committed, over all partitions.
    ///
    /// # Errors
    /// The catalog or the metadata can't be read.
    pub async fn committed(&self) -> anyhow::Result<i64> {
        let table = self.catalog.load_table(&self.table).await?;
        Ok(offsets::committed(&table, &self.topic).values().sum())
    }

    /// Reads all facts.
    ///
    /// # Errors
    /// The catalog or a file can't be read.
    pub async fn contents(&self) -> anyhow::Result<Contents> {
        let table = self.catalog.load_table(&self.table).await?;
        let columns = ["event_time", "fact_hash", "item_ordinal"];
        let scan = table.scan().select(columns).build()?;
        let mut batches = scan.to_arrow().await?;
        let mut contents = Contents {
            rows: 0,
            distinct: Fingerprint::default(),
        };
        let mut seen = HashSet::new();
        while let Some(batch) = batches.try_next().await? {
            let column = |name: &str| {
                let column = batch.column_by_name(name);
                column.with_context(|| format!("a file of {} has no {name}", self.table))
            };
            let hashes = column("fact_hash")?.as_string::<i32>().iter().flatten();
            let ordinals = column("item_ordinal")?.as_primitive::<Int32Type>();
            let times = column("event_time")?.as_primitive::<TimestampMicrosecondType>();
            let facts = times.values().iter().zip(hashes).zip(ordinals.values());
            for ((time, hash), ordinal) in facts {
                contents.rows += 1;
                let hash = u128::from_str_radix(hash, 16)
                    .with_context(|| format!("`{hash}` in {} is not a hash", self.table))?;
                if seen.insert((*time, hash)) {
                    contents.distinct.facts += 1;
                    contents.distinct.events += u64::from(*ordinal <= 1);
                    contents.distinct.hashes ^= hash;
                }
            }
        }
        Ok(contents)
    }
}

/// Shell commands that ask the tables in `folder`. They need no catalog, which is gone with the
/// demo's database.
pub fn commands(folder: &Path) -> String {
    let facts = folder.join("shop/facts").display().to_string();
    format!(
        r#"python3 -m venv lake-venv && . lake-venv/bin/activate
pip install duckdb==1.5.5
python3 - <<'END'
import duckdb
duckdb.sql("INSTALL iceberg; LOAD iceberg")
print(duckdb.sql("""
    SELECT event_name, count(DISTINCT fact_hash) AS facts
    FROM iceberg_scan('{facts}')
    GROUP BY event_name ORDER BY facts DESC
"""))
END"#,
        facts = facts.replace('\'', "''")
    )
}
