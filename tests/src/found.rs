//! The rows that the tables hold.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use tokio_postgres::{Client, NoTls};

use crate::direct::{self, COLUMNS, Place, Row};

/// Connects to the database at `url`.
///
/// # Errors
/// The server's own.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .context("connect to the database")?;
    tokio::spawn(connection);
    Ok(client)
}

/// Every fact of the table, by its place. Two rows of one place are an error.
///
/// # Errors
/// A doubled fact, or the server's own.
pub async fn rows(client: &Client) -> anyhow::Result<BTreeMap<Place, Row>> {
    let query = format!(
        "SELECT event_id, item_ordinal, {} FROM product_interactions",
        COLUMNS.join(", ")
    );
    let mut rows = BTreeMap::new();
    for row in client.query(&query, &[]).await? {
        let place: Place = (row.get(0), row.get(1));
        let columns = (2..row.len()).map(|column| row.get(column)).collect();
        let doubled = rows.insert(place.clone(), columns);
        ensure!(
            doubled.is_none(),
            "the fact {place:?} is in the table twice"
        );
    }
    Ok(rows)
}

/// The number of rejected events.
///
/// # Errors
/// The server's own.
pub async fn rejected(client: &Client) -> anyhow::Result<usize> {
    let row = client
        .query_one("SELECT count(*) FROM rejected_events", &[])
        .await?;
    Ok(usize::try_from(row.get::<_, i64>(0))?)
}

/// Compares the tables with what the direct computation over `bodies` gives, row by row.
///
/// # Errors
/// The first difference, with both sides.
pub async fn ensure_equal(client: &Client, bodies: &[String]) -> anyhow::Result<()> {
    let (expected, unreadable) = direct::rows(bodies);
    let found = rows(client).await?;
    for (place, row) in &expected {
        let there = found
            .get(place)
            .with_context(|| format!("the fact {place:?} is missing"))?;
        ensure!(
            there == row,
            "the fact {place:?} is\n  {there:?}, should be\n  {row:?}"
        );
    }
    if let Some(extra) = found.keys().find(|place| !expected.contains_key(*place)) {
        anyhow::bail!("the fact {extra:?} should not be there");
    }
    let rejected = rejected(client).await?;
    ensure!(
        rejected == unreadable,
        "{rejected} rejected events, should be {unreadable}"
    );
    Ok(())
}
