//! The catalog: it names the current state of each table, and swaps it at a commit.

mod fence;
mod sql;

pub use fence::Fenced;
pub use sql::SqlCatalog;
