//! Sets aside a record that an operator named, since the cluster can't transform it.
//!
//! The SPU transforms whole batches, and a trap loses all output of a read. So the records from the
//! committed offset to the end of the named record's batch are read as they are in the topic, and
//! all but the named one are flattened here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use fact_model::{Arena, Options, flatten_in};
use sink_common::Partition;
use warehouse::{Batch, OnConflict, Record};

/// The stored batch that holds the record at `from`, without the records before it and without the
/// facts of the one at `named`. If there are no `options`, the transforms are more than
/// flatten-items, and all of its records are set aside.
///
/// # Errors
/// The batch can't be read.
pub(super) async fn batch(
    partition: &Partition,
    from: i64,
    named: i64,
    options: Option<&Options>,
    on_conflict: OnConflict,
) -> anyhow::Result<Batch> {
    let stored = partition.stored_batch(from).await?;
    let (base, time) = (stored.get_base_offset(), stored.get_base_timestamp());
    let mut batch = Batch::after(from).on_conflict(on_conflict);
    for (offset, record) in (base..).zip(stored.own_records()) {
        if offset < from {
            continue;
        }
        let time = time.saturating_add(record.timestamp_delta());
        let record = Record {
            offset,
            key: record.key.as_deref().cloned(),
            value: Bytes::clone(&record.value),
        };
        let envelope = match options {
            Some(options) if offset != named => flatten(options, &record.value, time),
            _ => None,
        };
        match envelope {
            Some(value) => batch.push(Record { value, ..record }),
            None if offset == named => {
                batch.set_aside(record, "an operator has set it aside".to_owned());
            }
            None => {
                let detail = format!("its batch has the record at offset {named}, which was named");
                batch.set_aside(record, detail);
            }
        }
    }
    Ok(batch.finish())
}

/// The envelope of flatten-items; `None` if it fails here, too.
fn flatten(options: &Options, value: &[u8], time: i64) -> Option<Bytes> {
    let flatten = || {
        let arena = Arena::new();
        let envelope = flatten_in(&arena, options, value, (time >= 0).then_some(time));
        serde_json::to_vec(&envelope).ok()
    };
    catch_unwind(AssertUnwindSafe(flatten))
        .ok()?
        .map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_beside_the_named_one_become_the_envelopes_of_flatten_items() {
        let body = br#"{"event_name":"view_item","timestamp":"2026-11-22T12:00:00Z","items":[{"item_id":"1"}]}"#;
        let envelope = flatten(&Options::default(), body, -1).unwrap();
        let expected = serde_json::to_vec(&fact_model::flatten(body)).unwrap();
        assert_eq!(envelope, expected);
    }
}
