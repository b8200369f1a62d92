//! Removes old snapshots from a table.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use iceberg::Catalog;
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};

use crate::error::Error;
use crate::table::write_hint;

/// Removes the snapshots that were committed before `before`, except the newest `keep` of each
/// branch, the current one, and those that a branch or a tag names. Their files stay until
/// [`crate::maintenance::orphans`] removes them. Returns the number of removed snapshots and the
/// table.
///
/// The commit fails if another one comes between the choice of the snapshots and the catalog's
/// swap; it then starts over, a few times. The table's properties, which hold the committed
/// offsets, stay as they are.
///
/// # Errors
/// The catalog or the storage failed, or the table's property `gc.enabled` is false.
pub async fn expire(
    catalog: &Arc<dyn Catalog>,
    table: &Table,
    before: DateTime<Utc>,
    keep: usize,
) -> Result<(usize, Table), Error> {
    let before = before.timestamp_millis();
    let ids = |table: &Table| -> BTreeSet<i64> {
        let snapshots = table.metadata().snapshots();
        snapshots.map(|snapshot| snapshot.snapshot_id()).collect()
    };
    let found = ids(table);
    let mut snapshots = table.metadata().snapshots();
    let is_due = snapshots.any(|snapshot| snapshot.timestamp_ms() < before);
    if !is_due || found.len() <= keep {
        return Ok((0, table.clone()));
    }
    let transaction = Transaction::new(table);
    let action = transaction
        .expire_snapshots()
        .expire_older_than_ms(before)
        .retain_last(keep.max(1));
    let expired = action.apply(transaction)?.commit(catalog.as_ref()).await?;
    if let Err(error) = write_hint(&expired).await {
        tracing::warn!(
            table = table.identifier().to_string(),
            "cannot write the version hint, so DuckDB reads an earlier snapshot: {error}"
        );
    }
    let removed = found.difference(&ids(&expired)).count();
    Ok((removed, expired))
}
