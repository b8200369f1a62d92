//! `etl partitions drop --archived`: drops partitions of which the lake has every fact.
//!
//! First all facts of the partitions are compared with the lake, one by one and a day at a time.
//! That may take long and locks nothing. If the lake lacks one, or has it in older versions only,
//! nothing is dropped.
//!
//! Then each partition is dropped in a transaction of its own. It locks the partition against
//! changes, and compares the number and a hash of each day's facts and versions with those that were
//! proven: a fact that was added or updated meanwhile makes them differ, and then the partition is
//! compared again. From the lock to the end of the transaction no fact can be changed. The lock is one
//! of the partition alone, so a sink waits only if it writes facts of these days.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use chrono::NaiveDate;
use lake_sink::batch::Content;
use lake_sink::maintenance::contents::Contents;
use lake_sink::maintenance::facts::Digest;
use tokio_postgres::Client;

use super::{Partition, old};
use crate::display::{self, counted};
use crate::lake::Opened;
use crate::lake::comparison::{SESSION, digests, prove, snapshot};
use crate::progress::Bar;

/// The attempts to drop a partition whose facts change.
const ATTEMPTS: u32 = 3;
/// The days (UTC) with facts.
const DAYS: &str = "\
    WITH RECURSIVE days AS ( \
        SELECT (min(event_time) AT TIME ZONE 'UTC')::date AS day FROM {table} \
        UNION ALL \
        SELECT (SELECT (min(f.event_time) AT TIME ZONE 'UTC')::date FROM {table} f \
                WHERE f.event_time >= (d.day + 1)::timestamp AT TIME ZONE 'UTC') \
        FROM days d WHERE d.day IS NOT NULL) \
    SELECT day FROM days WHERE day IS NOT NULL";

/// The lake that has to have the facts.
#[derive(clap::Args)]
pub struct Archive {
    /// Drop only what the lake has: every fact is looked up in it first
    #[arg(long, requires = "lake_config")]
    archived: bool,
    /// The file of the sink that writes the lake, for --archived
    #[arg(long, value_name = "FILE", requires = "archived")]
    lake_config: Option<PathBuf>,
    /// The secrets of that file, `NAME=value` lines [default: the environment]
    #[arg(long, value_name = "FILE", requires = "archived")]
    secrets: Option<PathBuf>,
}

impl Archive {
    /// True with `--archived`.
    pub fn is_wanted(&self) -> bool {
        self.archived
    }
}

/// The facts of a partition that were compared.
#[derive(Default)]
struct Proof {
    /// The digests of its days.
    days: HashMap<NaiveDate, Digest>,
    /// The days of which the lake lacks facts, with the numbers of those that are missing and of
    /// those that are older in the lake.
    missing: Vec<(NaiveDate, u64, u64)>,
}

pub async fn drop(
    client: &mut Client,
    age: &str,
    archive: &Archive,
    is_dry: bool,
) -> anyhow::Result<ExitCode> {
    let config = archive.lake_config.as_deref();
    let config = config.context("--archived needs --lake-config FILE, the lake sink's file")?;
    let opened = Opened::new(config, archive.secrets.as_deref()).await?;
    ensure!(
        opened.connector.config.content == Content::Facts,
        "{} writes raw records, which can't be compared with facts; name the file of a sink with \
         `content: facts`",
        config.display()
    );
    client.batch_execute(SESSION).await?;
    let partitions = old(client, age).await?;
    let mut proofs = Vec::new();
    let mut is_missing = false;
    for partition in partitions {
        let proof = partition.prove(client, &opened).await?;
        is_missing |= !proof.missing.is_empty();
        proofs.push((partition, proof));
    }
    if is_missing {
        print_missing(proofs.iter().map(|(partition, proof)| (partition, proof)));
        outln!("Nothing was dropped.");
        return Ok(ExitCode::FAILURE);
    }
    let count = |dropped: usize| counted(dropped as u64, "partition");
    if is_dry {
        for (partition, proof) in &proofs {
            let facts: i64 = proof.days.values().map(|day| day.count).sum();
            outln!("{}", partition.would("drop", facts));
        }
        outln!(
            "{} would be dropped; nothing was changed",
            count(proofs.len())
        );
        return Ok(ExitCode::SUCCESS);
    }
    let mut dropped = 0;
    for (partition, proof) in proofs {
        if !partition.drop(client, &opened, proof).await? {
            outln!("{} dropped", count(dropped));
            return Ok(ExitCode::FAILURE);
        }
        dropped += 1;
    }
    outln!("{} dropped", count(dropped));
    Ok(ExitCode::SUCCESS)
}

fn print_missing<'p>(proofs: impl IntoIterator<Item = (&'p Partition, &'p Proof)>) {
    let mut table = display::table();
    table.set_header([
        "partition",
        "day",
        "facts missing in the lake",
        "facts older in the lake",
    ]);
    for (partition, proof) in proofs {
        for (day, missing, older) in &proof.missing {
            table.add_row([
                partition.name.clone(),
                day.to_string(),
                missing.to_string(),
                older.to_string(),
            ]);
        }
    }
    display::align_numbers(&mut table);
    outln!("{table}");
    outln!(
        "`etl lake verify` tells more; facts that the lake can't get, such as \
         those of before it began, are dropped without --archived only."
    );
}

impl Partition {
    /// Compares all facts with the lake as it is now.
    async fn prove(&self, client: &mut Client, opened: &Opened) -> anyhow::Result<Proof> {
        let table = opened.lake.rows().await?;
        let contents = Contents::read(&table, 0).await?;
        contents.check_dated(&table)?;
        let transaction = snapshot(client).await?;
        let query = DAYS.replace("{table}", &self.table);
        let days = transaction.query(&query, &[]).await?;
        errln!("comparing {} with {}", self.name, table.identifier());
        let bar = Bar::towards("days", days.len() as u64);
        let mut proof = Proof::default();
        for row in &days {
            let day: NaiveDate = row.get(0);
            let rows = contents.days.get(&day).map_or(0, |files| files.rows);
            let found = prove(&table, &transaction, &self.table, day, rows).await?;
            if found.missing + found.older > 0 {
                proof.missing.push((day, found.missing, found.older));
            }
            proof.days.insert(day, found.digest);
            bar.add(1);
        }
        bar.finish();
        transaction.commit().await?;
        Ok(proof)
    }

    /// Drops the partition if its facts are those of the proof. Returns false if the lake lacks one
    /// that came meanwhile.
    async fn drop(
        &self,
        client: &mut Client,
        opened: &Opened,
        mut proof: Proof,
    ) -> anyhow::Result<bool> {
        for _ in 0..ATTEMPTS {
            if self
                .drop_unchanged(client, &proof)
                .await
                .with_context(|| format!("{} was not dropped; run the command again", self.name))?
            {
                outln!("dropped {}", self.name);
                return Ok(true);
            }
            outln!("{} has changed meanwhile", self.name);
            proof = self.prove(client, opened).await?;
            if !proof.missing.is_empty() {
                print_missing([(self, &proof)]);
                return Ok(false);
            }
        }
        bail!(
            "{} changed during each of {ATTEMPTS} comparisons and was not dropped: a sink writes \
             facts of it; try again when it is done",
            self.name
        )
    }

    /// Drops the partition in a transaction if its facts have these digests.
    async fn drop_unchanged(&self, client: &mut Client, proof: &Proof) -> anyhow::Result<bool> {
        let transaction = client.transaction().await?;
        transaction
            .batch_execute(&format!(
                "SET LOCAL lock_timeout = '5s'; LOCK TABLE ONLY {} IN SHARE MODE",
                self.table
            ))
            .await?;
        let found = digests(&transaction, &self.table, self.since, self.until).await?;
        if found != proof.days {
            transaction.rollback().await?;
            return Ok(false);
        }
        transaction
            .execute(
                "SELECT analytics.keep_history($1, $2)",
                &[&self.since, &self.until],
            )
            .await?;
        transaction
            .batch_execute(&format!(
                "ALTER TABLE fact_events DETACH PARTITION {table}; DROP TABLE {table}",
                table = self.table
            ))
            .await?;
        transaction.commit().await?;
        Ok(true)
    }
}
