//! The tables of a lake, read without an engine.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use connector_common::Connector;
use futures_util::TryStreamExt;
use lake_sink::catalog;
use lake_sink::maintenance::Lake;
use lake_sink::maintenance::contents::Contents;
use lake_sink::maintenance::facts::{FactId, FactRow, Facts, Slice, rows_of};
use lake_sink::maintenance::positions::Positions;

/// The tables of a lake sink.
pub struct Tables {
    /// The tables.
    pub lake: Lake,
    /// The topic that the sink reads.
    pub topic: String,
}

impl Tables {
    /// Connects to the catalog of a sink's file.
    ///
    /// # Errors
    /// It can't be reached.
    pub async fn open(config: &Path, secrets: &Path) -> anyhow::Result<Self> {
        let connector: Connector<lake_sink::Config> =
            Connector::load("lake", config, Some(secrets))?;
        let catalog = catalog::open(&connector.config).await?;
        Ok(Self {
            lake: Lake::new(catalog, &connector.config)?,
            topic: connector.meta.topic.name,
        })
    }

    /// Calls `take` with each row of the table of facts.
    ///
    /// # Errors
    /// A file can't be read, or `take` fails.
    pub async fn each_row(
        &self,
        mut take: impl FnMut(FactRow) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let table = self.lake.rows().await?;
        let contents = Contents::read(&table, 0).await?;
        contents.check_dated(&table)?;
        for (day, files) in contents.days {
            for slice in Slice::all(files.rows) {
                let facts = Facts::read(&table, day, slice).await?;
                let ids: Vec<FactId> = facts.all.iter().map(|fact| fact.id).collect();
                let mut rows = std::pin::pin!(rows_of(&table, day, &ids).await?);
                while let Some(rows) = rows.try_next().await? {
                    rows.into_iter().try_for_each(&mut take)?;
                }
            }
        }
        Ok(())
    }

    /// The offsets of the rejected events, by partition.
    ///
    /// # Errors
    /// A file can't be read.
    pub async fn rejected(&self) -> anyhow::Result<BTreeMap<i32, Positions>> {
        let (id, _) = self.lake.tables().nth(1).context("no rejected events")?;
        let table = self.lake.load(id).await?;
        Ok(Positions::read(&table, &self.topic).await?)
    }
}
