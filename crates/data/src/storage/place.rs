//! Where is the table of an asset, and which files has it? One folder of files for each, in the data
//! folder or in a bucket.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use datafusion::execution::object_store::ObjectStoreUrl;
use deltalake_core::{
    DeltaTableError, Path, ensure_table_uri,
    logstore::{
        LogStoreRef, StorageConfig, default_logstore,
        object_store::{Error, ObjectStore, ObjectStoreExt as _},
    },
};
use futures::TryStreamExt as _;
use sextant_core::{Digest, DigestHasher};
use sextant_project::AssetId;

use super::{claim::child, durable::Durable};
use crate::error::{DataError, Result};

/// The folder of a table's log.
const LOG: &str = "_delta_log";

/// Where the tables are.
#[derive(Debug)]
pub(crate) struct Tables {
    at: At,
    /// The whole file system, or the whole bucket.
    files: Arc<dyn ObjectStore>,
}

#[derive(Debug)]
enum At {
    Folder(PathBuf),
    Bucket { url: String, prefix: Path, keeps_apart: bool },
}

/// One file of a table.
#[derive(Debug, Clone)]
pub(crate) struct TableFile {
    /// Relative to the table's folder.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// Since when it is as it is; `None` when nobody can say.
    pub(crate) age: Option<Duration>,
}

/// A table's folder name: the asset's id without its slash.
pub(crate) fn folder_of(asset: &AssetId) -> String {
    asset.as_str().replace('/', "-")
}

impl Tables {
    pub(crate) fn in_folder(folder: PathBuf) -> Self {
        Self { at: At::Folder(folder), files: Arc::new(Durable::new()) }
    }

    pub(crate) fn in_bucket(
        files: Arc<dyn ObjectStore>,
        url: String,
        prefix: Path,
        keeps_apart: bool,
    ) -> Self {
        Self { at: At::Bucket { url, prefix, keeps_apart }, files }
    }

    /// Where the tables are, for people, and whether several writers may work on them.
    pub(crate) fn described(&self) -> (String, bool) {
        match &self.at {
            At::Folder(_) => ("in the data folder".to_owned(), true),
            At::Bucket { url, keeps_apart, .. } => (url.clone(), *keeps_apart),
        }
    }

    /// Where a table is: its folder relative to the data folder, or its address.
    pub(crate) fn path(&self, asset: &AssetId) -> String {
        let folder = folder_of(asset);
        match &self.at {
            At::Folder(_) => format!("tables/{folder}"),
            At::Bucket { url, .. } => format!("{url}/{folder}"),
        }
    }

    /// The log of a table, read and written through these files.
    pub(crate) fn log(
        &self,
        asset: &AssetId,
        files: Arc<dyn ObjectStore>,
    ) -> Result<LogStoreRef, DeltaTableError> {
        let location = match &self.at {
            At::Folder(folder) => {
                ensure_table_uri(folder.join(folder_of(asset)).to_string_lossy())?
            }
            At::Bucket { url, .. } => {
                let address = format!("{url}/{}/", folder_of(asset));
                let parsed = address.parse();
                parsed.map_err(|_| DeltaTableError::InvalidTableLocation(address))?
            }
        };
        let config = StorageConfig::default();
        let below = config.decorate_store(Arc::clone(&files), &location)?;
        Ok(default_logstore(Arc::new(below), files, &location, &config))
    }

    /// By what sessions know all files.
    pub(crate) fn object_store_url(&self) -> Result<ObjectStoreUrl> {
        match &self.at {
            At::Folder(_) => Ok(ObjectStoreUrl::local_filesystem()),
            At::Bucket { url, .. } => {
                let after = url.find("://").map_or(0, |at| at + 3);
                let end = url[after..].find('/').map_or(url.len(), |at| after + at);
                ObjectStoreUrl::parse(&url[..end]).map_err(DataError::engine)
            }
        }
    }

    /// All files, of the whole file system or bucket.
    pub(crate) fn files(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.files)
    }

    /// Whether a table may be there; a folder that is missing is not made by asking.
    pub(crate) fn may_be_there(&self, asset: &AssetId) -> bool {
        match &self.at {
            At::Folder(folder) => folder.join(folder_of(asset)).is_dir(),
            At::Bucket { .. } => true,
        }
    }

    /// The table's folder among all files.
    pub(crate) fn root(&self, asset: &AssetId) -> Result<Path> {
        match &self.at {
            At::Folder(folder) => {
                let folder = std::path::absolute(folder.join(folder_of(asset)));
                Path::from_absolute_path(folder.map_err(DataError::engine)?)
                    .map_err(DataError::engine)
            }
            At::Bucket { prefix, .. } => Ok(child(prefix, &folder_of(asset))),
        }
    }

    /// The names of all folders beside each other: every table, and perhaps others.
    pub(crate) async fn folders(&self) -> Result<Vec<String>> {
        match &self.at {
            At::Folder(folder) => {
                let failed = |source| DataError::SourceFile { path: folder.clone(), source };
                let mut names = Vec::new();
                for entry in std::fs::read_dir(folder).map_err(failed)? {
                    let name = entry.map_err(failed)?.file_name();
                    names.extend(name.to_str().map(str::to_owned));
                }
                Ok(names)
            }
            At::Bucket { prefix, .. } => {
                let below = Some(prefix).filter(|prefix| !prefix.as_ref().is_empty());
                let listed = self.files.list_with_delimiter(below).await;
                let found = listed.map_err(|error| self.unreadable("list", error))?.common_prefixes;
                Ok(found.iter().filter_map(|path| path.filename().map(str::to_owned)).collect())
            }
        }
    }

    /// The highest version in a table's log, of those from one on, by the names of its files.
    pub(crate) async fn newest_commit(
        &self,
        asset: &AssetId,
        from: Option<u64>,
    ) -> Result<Option<u64>> {
        let log = child(&self.root(asset)?, LOG);
        let mut listed = match from.and_then(|from| from.checked_sub(1)) {
            Some(before) => {
                let after = child(&log, &format!("{before:020}.json"));
                self.files.list_with_offset(Some(&log), &after)
            }
            None => self.files.list(Some(&log)),
        };
        let version =
            |path: &Path| -> Option<u64> { path.filename()?.strip_suffix(".json")?.parse().ok() };
        let mut newest = None;
        while let Some(file) =
            listed.try_next().await.map_err(|error| self.unreadable("list", error))?
        {
            newest = newest.max(version(&file.location));
        }
        Ok(newest)
    }

    /// Size and digest of a file of a table.
    pub(crate) async fn digest(&self, asset: &AssetId, name: &str) -> Result<(u64, Digest)> {
        let path = child(&self.root(asset)?, name);
        let failed = |error| self.unreadable("read", error);
        let mut parts = self.files.get(&path).await.map_err(failed)?.into_stream();
        let (mut hasher, mut bytes) = (DigestHasher::new(), 0);
        while let Some(part) = parts.try_next().await.map_err(failed)? {
            bytes += part.len() as u64;
            hasher.update(&part);
        }
        Ok((bytes, hasher.finish()))
    }

    /// Every file of a table that is not part of its log.
    pub(crate) async fn data_files(&self, asset: &AssetId) -> Result<Vec<TableFile>> {
        match &self.at {
            At::Folder(folder) => {
                let folder = folder.join(folder_of(asset));
                let walk = tokio::task::spawn_blocking(move || walk(&folder));
                walk.await.map_err(DataError::engine)?
            }
            At::Bucket { .. } => self.listed(asset).await,
        }
    }

    async fn listed(&self, asset: &AssetId) -> Result<Vec<TableFile>> {
        let root = self.root(asset)?;
        let begin = format!("{root}/");
        let log = format!("{LOG}/");
        let now = SystemTime::now();
        let mut found = Vec::new();
        let mut list = self.files.list(Some(&root));
        while let Some(file) =
            list.try_next().await.map_err(|error| self.unreadable("list", error))?
        {
            let Some(name) = file.location.as_ref().strip_prefix(&begin) else { continue };
            if name.starts_with(&log) {
                continue;
            }
            let age = now.duration_since(file.last_modified.into()).ok();
            found.push(TableFile { name: name.to_owned(), bytes: file.size, age });
        }
        Ok(found)
    }

    /// Removes a file of a table; one that is gone is no error.
    pub(crate) async fn remove(&self, asset: &AssetId, name: &str) -> Result<()> {
        if let At::Folder(folder) = &self.at {
            let path = folder.join(folder_of(asset)).join(name);
            return match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    Err(DataError::Write { path, source })
                }
                _ => Ok(()),
            };
        }
        let path = child(&self.root(asset)?, name);
        match self.files.delete(&path).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.unreadable("remove a file of", error)),
        }
    }

    fn unreadable(&self, action: &'static str, error: Error) -> DataError {
        let asset = self.described().0;
        DataError::Table { action, asset, source: Box::new(DeltaTableError::from(error)) }
    }
}

/// The data files below a folder, also those that a listing of tables would not show.
fn walk(folder: &std::path::Path) -> Result<Vec<TableFile>> {
    let mut files = Vec::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    let failed = |path: &std::path::Path, error: walkdir::Error| DataError::SourceFile {
        path: path.to_owned(),
        source: error.into(),
    };
    let walk = walkdir::WalkDir::new(folder)
        .into_iter()
        .filter_entry(|entry| entry.depth() != 1 || entry.file_name() != LOG);
    for entry in walk {
        let entry = entry.map_err(|error| failed(folder, error))?;
        let Ok(name) = entry.path().strip_prefix(folder) else { continue };
        if !entry.file_type().is_file() {
            continue;
        }
        let name = name.to_string_lossy().into_owned();
        let facts = entry.metadata().map_err(|error| failed(entry.path(), error))?;
        let age = facts.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
        files.push(TableFile { name, bytes: facts.len(), age });
    }
    Ok(files)
}
