//! The Fluvio profile that leads clients to the node.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;

use crate::data_dir::{Durability, replace_file};

/// Writes a profile file with the one profile `local`, in place of what the file was.
pub(crate) fn write(path: &Path, sc_addr: SocketAddr) -> anyhow::Result<()> {
    let context = || format!("can't write the Fluvio profile {}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(context)?;
    }
    let profile = format!(
        r#"version = "2.0"
current_profile = "local"

[profile.local]
cluster = "local"

[cluster.local]
endpoint = "{sc_addr}"
use_spu_local_address = false

[cluster.local.tls]
tls_policy = "disabled"
"#
    );
    replace_file(path, profile.as_bytes(), Durability::Kill).with_context(context)
}
