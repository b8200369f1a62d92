//! Fluvio's SmartModule interface for `flatten-items`, `list-items` and `raw-events`.
//!
//! It replaces Fluvio's `#[smartmodule]` macro, which leaks every output batch and spends most of
//! its time decoding records byte by byte.
//!
//! No record makes a module fail, because after an error or a trap the rest of the batch would be
//! lost. `fact-model` flattens records; this crate reads the [`parameters`], flattens or copies the
//! batches ([`batch`]), and [`export!`] turns a crate of a few lines into a SmartModule.

#[doc(hidden)]
pub mod abi;
pub mod batch;
pub mod parameters;
mod wire;
