//! Metadata objects on disk: one file each, in Fluvio's encoding, replaced atomically.

use std::fs;
use std::io::{self, Cursor};
use std::marker::PhantomData;
use std::path::PathBuf;

use anyhow::Context;
use fluvio_protocol::api::Request;
use fluvio_protocol::{Decoder, Encoder, Version};
use fluvio_sc_schema::objects::ObjectApiCreateRequest;

use crate::data_dir::{Durability, is_temporary, replace_file, sync_dir};

/// The version of the encoding. Each file starts with its version.
const VERSION: Version = ObjectApiCreateRequest::DEFAULT_API_VERSION;

/// A folder with the objects of one kind.
#[derive(Debug)]
pub(crate) struct ObjectDir<S> {
    path: PathBuf,
    kind: PhantomData<fn() -> S>,
}

impl<S: Encoder + Decoder> ObjectDir<S> {
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            kind: PhantomData,
        }
    }

    /// Reads all objects.
    pub fn load(&self) -> anyhow::Result<Vec<(String, S)>> {
        let context = || format!("can't read {}", self.path.display());
        let mut objects = Vec::new();
        for entry in fs::read_dir(&self.path).with_context(context)? {
            let path = entry.with_context(context)?.path();
            if is_temporary(&path) {
                fs::remove_file(&path).with_context(context)?;
                continue;
            }
            let object = fs::read(&path)
                .and_then(decode)
                .with_context(|| format!("can't read {}; restore or delete it", path.display()))?;
            objects.push(object);
        }
        Ok(objects)
    }

    /// Writes or replaces an object.
    pub fn put(&self, name: &str, spec: &S) -> io::Result<()> {
        let mut bytes = Vec::new();
        VERSION.encode(&mut bytes, VERSION)?;
        name.to_owned().encode(&mut bytes, VERSION)?;
        spec.encode(&mut bytes, VERSION)?;
        replace_file(&self.file(name), &bytes, Durability::PowerCut)
    }

    /// Removes an object.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.file(name))?;
        sync_dir(&self.path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(file_name(name))
    }
}

fn decode<S: Decoder>(bytes: Vec<u8>) -> io::Result<(String, S)> {
    let mut bytes = Cursor::new(bytes);
    let version = Version::decode_from(&mut bytes, VERSION)?;
    let name = String::decode_from(&mut bytes, version)?;
    let spec = S::decode_from(&mut bytes, version)?;
    Ok((name, spec))
}

/// Returns a safe file name for any object name: a SmartModule may be called `group/name@1.0.0`,
/// and Fluvio accepts a topic with an empty name.
fn file_name(name: &str) -> String {
    if name.is_empty() {
        return "%".to_owned();
    }
    let mut escaped = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => escaped.push(byte.into()),
            b'.' if at > 0 && !name.ends_with(".tmp") => escaped.push('.'),
            _ => escaped.push_str(&format!("%{byte:02x}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn no_name_leaves_the_folder_or_looks_temporary() {
        assert_eq!(file_name("flatten-items"), "flatten-items");
        assert_eq!(file_name("jolt-infinyon-0.4.1"), "jolt-infinyon-0.4.1");
        assert_eq!(file_name("../../etc/passwd"), "%2e.%2f..%2fetc%2fpasswd");
        assert_eq!(file_name(".."), "%2e.");
        assert_eq!(file_name("a.tmp"), "a%2etmp");
        assert_ne!(file_name("A"), file_name("a"));
        assert_eq!(file_name(""), "%");
    }
}
