//! What the SmartModules `flatten-items` and `list-items` share: Fluvio's interface for SmartModules, around
//! what an event becomes.
//!
//! The interface is written out here instead of taken from Fluvio's `#[smartmodule]` macro: the macro leaks every
//! batch that it puts out, and most of its time goes into decoding records byte by byte.
//!
//! No record makes a module fail: after an error or a trap the rest of the batch would never arrive. What a record
//! becomes is said in `fact-model`; here are its [`parameters`], the batches ([`batch`]), and [`export!`], which
//! makes a crate of a few lines a SmartModule.

#[doc(hidden)]
pub mod abi;
pub mod batch;
pub mod parameters;
mod wire;
