//! In place of `lake` in a build without the feature of that name: there is no lake to open.

use std::path::Path;

use anyhow::bail;
use local_stack::files::Files;

use crate::expectation::Fingerprint;

/// No table.
pub enum Lake {}

/// The facts of the table.
pub struct Contents {
    /// Number of rows.
    pub rows: u64,
    /// The sums over the facts.
    pub distinct: Fingerprint,
}

impl Lake {
    /// # Errors
    /// Always.
    #[expect(clippy::unused_async, reason = "as with a lake")]
    pub async fn open(_: &Files) -> anyhow::Result<Self> {
        bail!("this `etl` was built without the feature `lake`; use `make build`")
    }

    #[expect(clippy::unused_async, reason = "as with a lake")]
    pub async fn committed(&self) -> anyhow::Result<i64> {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "as with a lake")]
    pub async fn contents(&self) -> anyhow::Result<Contents> {
        match *self {}
    }
}

pub fn commands(_: &Path) -> String {
    String::new()
}
