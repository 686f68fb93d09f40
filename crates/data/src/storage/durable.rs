//! Are the files of a Delta table on the disk before its commit says so? The local object store of
//! the table crates never calls fsync; [`Durable`] does, for every file and folder it writes, so
//! that a commit that survived a power loss never names a file that did not.

use std::{
    fmt,
    io::{Error, Write as _},
    path::PathBuf,
    sync::Arc,
};

use deltalake_core::{
    ObjectMeta, Path,
    logstore::object_store::{
        self, CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload,
        ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
        UploadPart, local::LocalFileSystem,
    },
};
use futures::stream::BoxStream;

/// The local file system with fsync.
#[derive(Debug, Clone)]
pub(crate) struct Durable(Arc<LocalFileSystem>);

impl Durable {
    pub(crate) fn new() -> Self {
        Self(Arc::new(LocalFileSystem::new()))
    }
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Durable({})", self.0)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Durable {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let create = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return self.0.put_opts(location, payload, options).await,
        };
        let target = self.0.path_to_filesystem(location)?;
        blocking(location, move || write_synced(&target, &payload, create)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let target = self.0.path_to_filesystem(location)?;
        let upload = self.0.put_multipart_opts(location, options).await?;
        Ok(Box::new(SyncedUpload { upload, location: location.clone(), target }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let mode = match options.mode {
            CopyMode::Create => PutMode::Create,
            CopyMode::Overwrite => PutMode::Overwrite,
        };
        let bytes = self.0.get_opts(from, GetOptions::default()).await?.bytes().await?;
        self.put_opts(to, bytes.into(), mode.into()).await.map(drop)
    }
}

#[derive(Debug)]
struct SyncedUpload {
    upload: Box<dyn MultipartUpload>,
    location: Path,
    target: PathBuf,
}

#[async_trait::async_trait]
impl MultipartUpload for SyncedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.upload.complete().await?;
        let target = self.target.clone();
        blocking(&self.location, move || {
            std::fs::File::open(&target)?.sync_all()?;
            sync_parents(&target)
        })
        .await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

/// Temporary file, fsync, link or rename, fsync of the folders.
fn write_synced(target: &std::path::Path, payload: &PutPayload, create: bool) -> Result<(), Error> {
    let folder = target.parent().unwrap_or_else(|| std::path::Path::new("/"));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(folder)?;
    for part in payload {
        file.write_all(part)?;
    }
    file.as_file().sync_all()?;
    let persisted = if create { file.persist_noclobber(target) } else { file.persist(target) };
    persisted.map_err(|error| error.error)?;
    sync_parents(target)
}

/// The folder that holds the file and the one above: a new table makes both.
fn sync_parents(target: &std::path::Path) -> Result<(), Error> {
    for folder in target.ancestors().skip(1).take(3) {
        sextant_lineage::sync_folder(folder)?;
    }
    Ok(())
}

async fn blocking(
    location: &Path,
    work: impl FnOnce() -> Result<(), Error> + Send + 'static,
) -> Result<()> {
    let path = location.to_string();
    let done = tokio::task::spawn_blocking(work).await;
    let outcome = done.unwrap_or_else(|error| Err(Error::other(error)));
    outcome.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            object_store::Error::AlreadyExists { path, source: Box::new(error) }
        }
        _ => object_store::Error::Generic { store: "durable local", source: Box::new(error) },
    })
}
