//! The SmartModule `list-items`: an `array_map` that turns each event of a topic into its facts, one record each, for
//! people who read them with `fluvio consume`. A rejection is a record `{"rejected":{…}}`.
//!
//! It is not for programs that resume where they stopped: a consumer of Fluvio counts the records that it gets to know
//! their offsets, and here their number changes. They read `flatten-items`.

use fact_model::{Envelope, Rejection};
use serde::Serialize;
use smartmodule_guest::batch::Records;

smartmodule_guest::export!(array_map, crate::put);

/// Puts out each fact and each rejection as JSON.
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

/// A rejection, told from a fact by its only key.
#[derive(Serialize)]
struct Rejected<'a> {
    rejected: &'a Rejection<'a>,
}
