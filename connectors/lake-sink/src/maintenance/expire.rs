//! Removes old snapshots from a table.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use iceberg::Catalog;
use iceberg::spec::SnapshotRef;
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};

use crate::catalog::Planned;
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
    let ids = |table: &Table| -> BTreeSet<i64> {
        let snapshots = table.metadata().snapshots();
        snapshots.map(|snapshot| snapshot.snapshot_id()).collect()
    };
    let found = ids(table);
    let Some(transaction) = transaction(table, before, keep)? else {
        return Ok((0, table.clone()));
    };
    let expired = transaction.commit(catalog.as_ref()).await?;
    if let Err(error) = write_hint(&expired).await {
        tracing::warn!(
            table = table.identifier().to_string(),
            "cannot write the version hint, so DuckDB reads an earlier snapshot: {error}"
        );
    }
    let removed = found.difference(&ids(&expired)).count();
    Ok((removed, expired))
}

/// The snapshots that [`expire`] would remove, the oldest first. Changes nothing.
///
/// # Errors
/// As [`expire`].
pub async fn plan(
    catalog: &Arc<dyn Catalog>,
    table: &Table,
    before: DateTime<Utc>,
    keep: usize,
) -> Result<Vec<SnapshotRef>, Error> {
    let Some(transaction) = transaction(table, before, keep)? else {
        return Ok(Vec::new());
    };
    let planned = Planned::new(catalog);
    transaction.commit(&planned).await?;
    let removed = planned.removed();
    let snapshots = table.metadata().snapshots();
    let snapshots = snapshots.filter(|snapshot| removed.contains(&snapshot.snapshot_id()));
    let mut snapshots: Vec<SnapshotRef> = snapshots.cloned().collect();
    snapshots.sort_by_key(|snapshot| snapshot.timestamp_ms());
    Ok(snapshots)
}

/// The transaction that removes the snapshots; `None` if there are none to remove.
fn transaction(
    table: &Table,
    before: DateTime<Utc>,
    keep: usize,
) -> Result<Option<Transaction>, Error> {
    let before = before.timestamp_millis();
    let mut snapshots = table.metadata().snapshots();
    let is_due = snapshots.any(|snapshot| snapshot.timestamp_ms() < before);
    if !is_due || table.metadata().snapshots().len() <= keep {
        return Ok(None);
    }
    let transaction = Transaction::new(table);
    let action = transaction
        .expire_snapshots()
        .expire_older_than_ms(before)
        .retain_last(keep.max(1));
    Ok(Some(action.apply(transaction)?))
}
