//! The SmartModule `raw-events`: a 1:1 `map` that returns each record as it is, byte for byte.
//!
//! Fluvio 0.18.1 cuts a response without a SmartModule at its limit of bytes, in the middle of a
//! batch, and its clients skip the records that were cut off. For a stream with a SmartModule the
//! SPU reads whole batches, so the clients get every record.

smartmodule_guest::export!(map, smartmodule_guest::batch::Copier::default());
