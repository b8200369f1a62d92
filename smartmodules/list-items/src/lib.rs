//! The SmartModule `list-items`: an `array_map` that turns each event into one record for each
//! fact, for people who use `fluvio consume`. A rejection becomes a record `{"rejected":{…}}`.
//!
//! Programs that resume at an offset must use `flatten-items`: a Fluvio consumer computes offsets
//! by counting the records that it receives, and this module changes their number.

use fact_model::{Envelope, Rejection};
use serde::Serialize;
use smartmodule_guest::batch::Records;

smartmodule_guest::export!(
    array_map,
    smartmodule_guest::batch::Flattener::new(crate::put)
);

/// Adds each fact and each rejection as a JSON record.
pub fn put(envelope: &Envelope<'_>, records: &mut Records<'_>) {
    for fact in &envelope.facts {
        records.put(|value| fact.write_json(value));
    }
    for rejected in &envelope.rejected {
        // Writing to a `Vec` can't fail.
        records.put(|value| {
            serde_json::to_writer(value, &Rejected { rejected }).unwrap_or_default();
        });
    }
}

/// A rejection, which its only key distinguishes from a fact.
#[derive(Serialize)]
struct Rejected<'a> {
    rejected: &'a Rejection<'a>,
}
