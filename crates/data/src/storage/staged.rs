//! What would the tables be if this transaction were committed? Its statements write data files, which
//! nobody sees until a commit names them, and keep their commits in memory: [`Staged`] lays these over
//! the logs of the tables, which stay as they were when the transaction first touched them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use deltalake_core::{
    ObjectMeta, Path,
    logstore::object_store::{
        CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectStore,
        ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
        memory::InMemory,
    },
};
use futures::{TryStreamExt as _, stream::BoxStream};

use super::certain::whole;

/// How the path of a log ends.
const LOG: &str = "/_delta_log/";
/// The hint at the newest checkpoint. It may speak of versions that do not count here.
const LAST_CHECKPOINT: &str = "_last_checkpoint";
/// Digits of a version in the name of a file of a log.
const VERSION_DIGITS: usize = 20;

/// Files with the logs of some tables as a transaction sees them.
#[derive(Debug)]
pub(crate) struct Staged {
    files: Arc<dyn ObjectStore>,
    /// What the transaction wrote into logs.
    written: InMemory,
    /// The version of each table at which the transaction began, by the path of its folder; `None` for
    /// a table that was not there.
    bases: Mutex<BTreeMap<String, Option<u64>>>,
}

impl Staged {
    pub(crate) fn over(files: Arc<dyn ObjectStore>) -> Self {
        Self { files, written: InMemory::new(), bases: Mutex::default() }
    }

    fn bases(&self) -> MutexGuard<'_, BTreeMap<String, Option<u64>>> {
        self.bases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the log of the table in this folder as it is at this version, if that is not done yet.
    pub(crate) fn hold(&self, folder: &Path, version: Option<u64>) {
        self.bases().entry(folder.to_string()).or_insert(version);
    }

    /// Whether the table in this folder is one that the transaction changes.
    pub(crate) fn holds(&self, folder: &Path) -> bool {
        self.bases().contains_key(folder.as_ref())
    }

    /// The commit that the transaction wrote for a version of the table in this folder.
    pub(crate) async fn commit(&self, folder: &Path, version: u64) -> Result<Bytes> {
        let path = commit_path(folder, version);
        self.written.get(&path).await?.bytes().await
    }

    /// What is to be seen at this path: our own, the real one, or nothing.
    fn seen(&self, path: &Path) -> Seen {
        let Some((folder, file)) = path.as_ref().rsplit_once(LOG) else { return Seen::Real };
        let Some(base) = self.bases().get(folder).copied() else { return Seen::Real };
        if file == LAST_CHECKPOINT {
            return Seen::Nothing;
        }
        let version = file.get(..VERSION_DIGITS).and_then(|digits| digits.parse::<u64>().ok());
        match (version, base) {
            (Some(version), Some(base)) if version <= base => Seen::Real,
            (Some(_), _) => Seen::Own,
            (None, _) => Seen::Real,
        }
    }

    /// Of a listing what is to be seen, with our own, in order.
    async fn merged(&self, prefix: Option<&Path>, after: Option<&Path>) -> Result<Vec<ObjectMeta>> {
        let real = match after {
            Some(after) => self.files.list_with_offset(prefix, after),
            None => self.files.list(prefix),
        };
        let mut found: Vec<ObjectMeta> = real
            .try_filter(|file| futures::future::ready(self.is_real(file)))
            .try_collect()
            .await?;
        let own: Vec<ObjectMeta> = self.written.list(prefix).try_collect().await?;
        found.extend(own.into_iter().filter(|file| after.is_none_or(|at| file.location > *at)));
        found.sort_by(|one, other| one.location.cmp(&other.location));
        Ok(found)
    }

    fn is_real(&self, file: &ObjectMeta) -> bool {
        self.seen(&file.location) == Seen::Real
    }
}

/// What a path shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Real,
    Own,
    Nothing,
}

/// Where a version of the table in this folder is committed.
pub(crate) fn commit_path(folder: &Path, version: u64) -> Path {
    super::claim::child(folder, &format!("_delta_log/{version:020}.json"))
}

/// The files of a transaction, as an object store.
#[derive(Debug, Clone)]
pub(crate) struct StagedFiles(pub(crate) Arc<Staged>);

impl fmt::Display for StagedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Staged({})", self.0.files)
    }
}

impl StagedFiles {
    fn listed(
        &self,
        prefix: Option<&Path>,
        after: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (staged, prefix, after) = (Arc::clone(&self.0), prefix.cloned(), after.cloned());
        whole(async move { staged.merged(prefix.as_ref(), after.as_ref()).await })
    }
}

#[async_trait::async_trait]
impl ObjectStore for StagedFiles {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        match location.as_ref().rsplit_once(LOG) {
            Some(_) => self.0.written.put_opts(location, payload, options).await,
            None => self.0.files.put_opts(location, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        match location.as_ref().rsplit_once(LOG) {
            Some(_) => self.0.written.put_multipart_opts(location, options).await,
            None => self.0.files.put_multipart_opts(location, options).await,
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.0.seen(location) {
            Seen::Real => self.0.files.get_opts(location, options).await,
            Seen::Own => self.0.written.get_opts(location, options).await,
            Seen::Nothing => Err(Error::NotFound {
                path: location.to_string(),
                source: "not in this transaction".into(),
            }),
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut real = self.0.files.list_with_delimiter(prefix).await?;
        let own = self.0.written.list_with_delimiter(prefix).await?;
        real.objects.retain(|file| self.0.is_real(file));
        real.objects.extend(own.objects);
        real.objects.sort_by(|one, other| one.location.cmp(&other.location));
        real.common_prefixes.extend(own.common_prefixes);
        real.common_prefixes.sort();
        real.common_prefixes.dedup();
        Ok(real)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.files.copy_opts(from, to, options).await
    }
}
