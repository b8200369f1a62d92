//! The SmartModule `flatten-items`: a 1:1 `map` that turns each event of a topic into one envelope
//! with all its facts, or the reason why there are none.
//!
//! One record in is one record out, because a consumer of Fluvio counts the records that it gets to
//! know their offsets; a module that changes their number makes it resume in the wrong place.

use fact_model::Envelope;
use smartmodule_guest::batch::Records;

smartmodule_guest::export!(map, crate::put);

/// Puts out the envelope as JSON.
pub fn put(envelope: &Envelope<'_>, records: &mut Records<'_>) {
    records.put(|value| envelope.write_json(value));
}
