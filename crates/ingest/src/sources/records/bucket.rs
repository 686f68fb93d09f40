//! How is a bucket read as if it were a folder? Its objects below a prefix are the files. An object
//! is the same as long as its size, its time and its etag are.

use std::{path::Path, sync::Arc};

use deltalake_core::logstore::object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt as _, path::Path as Key,
};
use futures::TryStreamExt as _;
use sextant_core::{Digest, limits};
use sextant_data::{open_bucket, scan::Found};
use sextant_project::config::{S3_SCHEME, S3Config};

use super::{Globs, RecordsConfig};
use crate::{
    Ingest,
    error::{DataError, Result},
};

/// The objects of a bucket below a prefix.
pub(super) struct Bucket {
    name: String,
    prefix: Option<Key>,
    s3: S3Config,
    root: std::path::PathBuf,
    max_file_bytes: u64,
}

impl Bucket {
    /// The bucket that a source names; `None` when it names a folder.
    pub(super) fn of(config: &RecordsConfig, root: &Path) -> Option<Result<Self, String>> {
        let Some(rest) = config.path.strip_prefix(S3_SCHEME) else {
            return config
                .s3
                .as_ref()
                .map(|_| Err("[s3] is for a path that begins with s3://".to_owned()));
        };
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if name.is_empty() {
            return Some(Err("the path names no bucket".to_owned()));
        }
        let s3 = config.s3.clone().unwrap_or_default();
        let prefix = Some(Key::from(prefix)).filter(|prefix| !prefix.as_ref().is_empty());
        Some(Ok(Self {
            name: name.to_owned(),
            prefix,
            s3,
            root: root.to_owned(),
            max_file_bytes: config.max_file_bytes,
        }))
    }

    fn open(&self) -> Result<Arc<dyn ObjectStore>> {
        let opened = open_bucket(&self.name, &self.s3, &self.root);
        opened.map_err(|failure| self.unreadable("", failure))
    }

    fn unreadable(&self, path: &str, error: impl std::fmt::Display) -> DataError {
        let path = format!("{S3_SCHEME}{}/{path}", self.name);
        DataError::SourceFile {
            path: path.into(),
            source: std::io::Error::other(error.to_string()),
        }
    }

    /// The objects that are there right now, by their path behind the prefix.
    pub(super) fn files(&self, engine: &Ingest, globs: &Globs) -> Result<Vec<Found>> {
        let (store, prefix) = (self.open()?, self.prefix.clone());
        let listed = engine.block(None, async move {
            let list = store.list(prefix.as_ref());
            Ok(list.try_collect::<Vec<ObjectMeta>>().await.map_err(|error| error.to_string()))
        })?;
        let objects = listed.map_err(|error| self.unreadable("", error))?;
        if objects.len() > limits::SOURCE_FILES_MAX {
            return Err(DataError::TooLarge {
                what: format!("{S3_SCHEME}{}", self.name),
                size: format!("{} objects", objects.len()),
                limit: format!("{} objects", limits::SOURCE_FILES_MAX),
            });
        }
        let mut found = Vec::new();
        for object in objects {
            let path = self.behind_prefix(&object.location);
            if !globs.takes(&path) {
                continue;
            }
            if object.size > self.max_file_bytes {
                return Err(DataError::TooLarge {
                    what: format!("{S3_SCHEME}{}/{}", self.name, object.location),
                    size: format!("{} bytes", object.size),
                    limit: format!("{} bytes", self.max_file_bytes),
                });
            }
            found.push(Found {
                path,
                bytes: object.size.cast_signed(),
                mtime_ns: object.last_modified.timestamp_micros().saturating_mul(1000),
                inode: identity(&object),
            });
        }
        found.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(found)
    }

    fn behind_prefix(&self, key: &Key) -> String {
        let whole = key.as_ref();
        let prefix = self.prefix.as_ref().map_or("", Key::as_ref);
        whole.strip_prefix(prefix).unwrap_or(whole).trim_start_matches('/').to_owned()
    }

    /// Reads an object whole.
    pub(super) fn read(&self, engine: &Ingest, file: &Found) -> Result<Vec<u8>> {
        let prefix = self.prefix.as_ref().map_or("", Key::as_ref);
        let key = Key::from(format!("{prefix}/{}", file.path));
        let store = self.open()?;
        let read = engine.block(None, async move {
            let read = async { store.get(&key).await?.bytes().await };
            Ok(read.await.map_err(|error| error.to_string()))
        })?;
        let bytes = read.map_err(|error| self.unreadable(&file.path, error))?;
        if bytes.len() as u64 > self.max_file_bytes {
            return Err(DataError::TooLarge {
                what: format!("{S3_SCHEME}{}/{}", self.name, file.path),
                size: format!("{} bytes", bytes.len()),
                limit: format!("{} bytes", self.max_file_bytes),
            });
        }
        Ok(bytes.to_vec())
    }
}

/// A number that is another one when the object is another one.
fn identity(object: &ObjectMeta) -> i64 {
    let tag = object.e_tag.as_deref().or(object.version.as_deref()).unwrap_or_default();
    let mut first = [0; 8];
    first.copy_from_slice(&Digest::of(tag).as_raw()[..8]);
    i64::from_le_bytes(first)
}
