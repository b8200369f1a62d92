//! Lists the files below a folder, of this machine or of S3.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use chrono::{DateTime, Utc};

use crate::error::{self, Error};
use crate::storage::{self, S3Settings};

/// Timeout for a page of S3's list.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A file.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its location.
    pub location: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The time when it was written.
    pub modified: DateTime<Utc>,
}

/// The files below `folder`, a location with a scheme.
pub async fn list(folder: &str, s3: &S3Settings) -> Result<Vec<Listed>, Error> {
    let failed = |source| Error::List {
        location: folder.to_owned(),
        source,
    };
    let key = key(folder).trim_end_matches('/').to_owned();
    if folder.starts_with("file:") {
        let listed = tokio::task::spawn_blocking(move || list_folder(Path::new(&key))).await?;
        return listed.map_err(|error| failed(error.into()));
    }
    list_bucket(&key, s3).await.map_err(failed)
}

/// The part of a location that tells files apart: without the scheme, which engines write
/// differently (`s3`, `s3a`, `file:` with one slash or three).
pub fn key(location: &str) -> &str {
    match location.split_once(':') {
        Some(("file", path)) => {
            let name = path.trim_start_matches('/');
            // With its first slash.
            path.get(path.len() - name.len() - usize::from(name.len() < path.len())..)
                .unwrap_or(path)
        }
        Some((_, rest)) => rest.trim_start_matches('/'),
        None => location,
    }
}

fn list_folder(folder: &Path) -> std::io::Result<Vec<Listed>> {
    let mut listed = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            // A file that was removed meanwhile is none.
            let Ok(metadata) = path.symlink_metadata() else {
                continue;
            };
            if metadata.is_dir() {
                folders.push(path);
            } else if metadata.is_file() {
                listed.push(Listed {
                    location: format!("file://{}", path.display()),
                    bytes: metadata.len(),
                    modified: metadata.modified()?.into(),
                });
            }
        }
    }
    Ok(listed)
}

async fn list_bucket(
    folder: &str,
    s3: &S3Settings,
) -> Result<Vec<Listed>, Box<dyn std::error::Error + Send + Sync>> {
    let (bucket, prefix) = folder.split_once('/').unwrap_or((folder, ""));
    let client = storage::client(s3).await;
    let mut pages = client
        .list_objects_v2()
        .bucket(bucket)
        .prefix(format!("{prefix}/"))
        .into_paginator()
        .send();
    let mut listed = Vec::new();
    loop {
        let page = tokio::time::timeout(TIMEOUT, pages.next()).await;
        let page = page.map_err(|_| format!("S3 returned no answer in {TIMEOUT:?}"))?;
        let Some(page) = page else {
            return Ok(listed);
        };
        let page = page.map_err(|error| {
            let reason = error::of_aws(&error);
            format!("{reason}; it needs s3:ListBucket on the bucket {bucket}")
        })?;
        for object in page.contents() {
            let (Some(key), Some(modified)) = (object.key(), object.last_modified()) else {
                continue;
            };
            let modified = UNIX_EPOCH + Duration::from_secs(modified.secs().try_into()?);
            listed.push(Listed {
                location: format!("s3://{bucket}/{key}"),
                bytes: object.size().unwrap_or_default().try_into()?,
                modified: modified.into(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_of_a_file_have_one_key() {
        for location in ["s3://b/t/a=1/f", "s3a://b/t/a=1/f", "s3n://b/t/a=1/f"] {
            assert_eq!(key(location), "b/t/a=1/f");
        }
        for location in ["file:///l/f", "file:/l/f", "/l/f"] {
            assert_eq!(key(location), "/l/f", "{location}");
        }
        assert_eq!(key("file:///"), "/");
    }
}
