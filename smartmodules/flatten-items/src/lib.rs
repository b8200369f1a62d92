//! The SmartModule `flatten-items`: a 1:1 `map` that turns each event into one envelope with all
//! its facts and rejections.
//!
//! Each record in is one record out, because a Fluvio consumer computes offsets by counting the
//! records that it receives: with another number it would resume at a wrong offset.

use fact_model::Envelope;
use smartmodule_guest::batch::Records;

smartmodule_guest::export!(map, smartmodule_guest::batch::Flattener::new(crate::put));

/// Adds the envelope as one JSON record.
pub fn put(envelope: &Envelope<'_>, records: &mut Records<'_>) {
    records.put(|value| envelope.write_json(value));
}
