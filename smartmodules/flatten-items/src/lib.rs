//! The SmartModule `flatten-items`: a 1:1 `map` that turns each event of a topic into one envelope
//! with all its facts, or the reason why there are none.
//!
//! One record in is one record out, because a consumer of Fluvio counts the records that it gets to
//! know their offsets; a module that changes their number makes it resume in the wrong place. And no
//! record makes it fail: after an error or a trap the rest of the batch would never arrive.
//!
//! It exports Fluvio's SmartModule interface itself, instead of through the `#[smartmodule]` macro: the macro
//! leaks every batch that it puts out, and most of its time goes into decoding records byte by byte.
//! What a record becomes is said in `fact-model`; here are the batches ([`batch`]) and the interface.

#[cfg(target_arch = "wasm32")]
mod abi;
pub mod batch;
mod wire;
