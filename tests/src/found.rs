//! The actual rows of the tables.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use tokio_postgres::{Client, NoTls};

use crate::direct::{self, COLUMNS, Key, Row};

/// Connects to the database at `url`.
///
/// # Errors
/// Fails if the server does.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .context("connect to the database")?;
    tokio::spawn(connection);
    Ok(client)
}

/// Every fact of the table by its key.
///
/// # Errors
/// Fails if two rows have the same key, or the server does.
pub async fn rows(client: &Client) -> anyhow::Result<BTreeMap<Key, Row>> {
    rows_where(client, "true").await
}

/// Every fact that fulfils `condition`, by its key.
async fn rows_where(client: &Client, condition: &str) -> anyhow::Result<BTreeMap<Key, Row>> {
    let query = format!(
        "SELECT event_id, item_ordinal, {} FROM product_interactions WHERE {condition}",
        COLUMNS.join(", ")
    );
    let mut rows = BTreeMap::new();
    for row in client.query(&query, &[]).await? {
        let key: Key = (row.get(0), row.get(1));
        let columns = (2..row.len()).map(|column| row.get(column)).collect();
        let doubled = rows.insert(key.clone(), columns);
        ensure!(doubled.is_none(), "the fact {key:?} is in the table twice");
    }
    Ok(rows)
}

/// The number of rejected events.
///
/// # Errors
/// Fails if the server does.
pub async fn rejected(client: &Client) -> anyhow::Result<usize> {
    let row = client
        .query_one("SELECT count(*) FROM rejected_events", &[])
        .await?;
    Ok(usize::try_from(row.get::<_, i64>(0))?)
}

/// Compares the tables with the expected rows of `bodies`.
///
/// # Errors
/// Fails with the first difference.
pub async fn ensure_equal(client: &Client, bodies: &[String]) -> anyhow::Result<()> {
    let Compared { unreadable, .. } = ensure_facts_equal(client, "true", bodies).await?;
    ensure_rejected(client, unreadable).await
}

/// Compares the number of rejected events with that of the unreadable bodies.
///
/// # Errors
/// Fails if they differ.
pub async fn ensure_rejected(client: &Client, unreadable: usize) -> anyhow::Result<()> {
    let rejected = rejected(client).await?;
    ensure!(
        rejected == unreadable,
        "{rejected} rejected events, should be {unreadable}"
    );
    Ok(())
}

/// The numbers of a comparison.
pub struct Compared {
    /// The facts, which are equal.
    pub facts: usize,
    /// The unreadable bodies, which were not compared.
    pub unreadable: usize,
}

/// Compares the facts that fulfil `condition` with the expected ones of `bodies`.
///
/// # Errors
/// Fails with the first difference.
pub async fn ensure_facts_equal(
    client: &Client,
    condition: &str,
    bodies: &[String],
) -> anyhow::Result<Compared> {
    let (expected, unreadable) = direct::rows(bodies);
    let found = rows_where(client, condition).await?;
    for (key, row) in &expected {
        let there = found
            .get(key)
            .with_context(|| format!("the fact {key:?} is missing"))?;
        ensure!(
            there == row,
            "the fact {key:?} is\n  {there:?}, should be\n  {row:?}"
        );
    }
    if let Some(extra) = found.keys().find(|key| !expected.contains_key(*key)) {
        anyhow::bail!("the fact {extra:?} should not be there");
    }
    Ok(Compared {
        facts: expected.len(),
        unreadable,
    })
}
