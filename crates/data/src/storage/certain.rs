//! Did a commit that a store was asked to make happen? A commit is a file that must not be there yet.
//! When the answer to such a request is lost, the client asks again and hears that the file is there:
//! its own. Taken for another writer's, it would be committed twice. So [`Certain`] reads what is there
//! before it believes either answer: a commit is ours when its bytes are, since each names files and
//! a number that nobody else has.
//!
//! A request that arrives late does no harm where the store knows conditions: it too is refused once
//! there is such a file. With `single_writer` nothing refuses it.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use deltalake_core::{
    ObjectMeta, Path,
    logstore::object_store::{
        CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectStore,
        ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
        Result,
    },
};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use tokio::sync::Mutex;

/// How often a write is asked for when nobody can say what became of it.
const TRIES_MAX: u32 = 6;
/// How long the first repetition waits; each later one waits that much longer.
const WAIT: Duration = Duration::from_millis(200);
/// After this long no further repetition begins.
const DOUBT_MAX: Duration = Duration::from_secs(120);

/// How often a listing is asked for whose answer breaks off; a client does not ask again by itself.
const LISTINGS_MAX: u32 = 4;

/// A store in which a new file is written by one writer, and that writer knows.
#[derive(Debug)]
pub(crate) struct Certain {
    store: Arc<dyn ObjectStore>,
    /// Held while a file is looked for and written, where the store itself cannot refuse.
    alone: Option<Mutex<()>>,
}

impl Certain {
    /// Over a store that refuses to write over a file when it is asked to.
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, alone: None }
    }

    /// Over a store that cannot: nobody else may write to it.
    pub(crate) fn of_one_writer(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, alone: Some(Mutex::new(())) }
    }

    async fn create(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let (mut tries, begun) = (1, Instant::now());
        loop {
            let answer = self.put_new(location, payload.clone(), options.clone()).await;
            let error = match answer {
                Ok(done) => return Ok(done),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => error,
            };
            match self.read(location).await {
                Ok(bytes) if bytes == Bytes::from(payload.clone()) => {
                    return Ok(PutResult { e_tag: None, version: None });
                }
                Ok(_) => return Err(taken(location, error)),
                // It is not there, or nobody can say: asking again is safe.
                Err(_) if tries < TRIES_MAX && begun.elapsed() < DOUBT_MAX => {}
                Err(_) => return Err(unknown(location, &error)),
            }
            tokio::time::sleep(WAIT * tries).await;
            tries += 1;
        }
    }

    fn listed(
        &self,
        prefix: Option<&Path>,
        after: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = Arc::clone(&self.store);
        let (prefix, after) = (prefix.cloned(), after.cloned());
        whole(async move {
            let mut tries = 1;
            loop {
                let list = match &after {
                    Some(after) => store.list_with_offset(prefix.as_ref(), after),
                    None => store.list(prefix.as_ref()),
                };
                match list.try_collect().await {
                    Err(error) if !is_final(&error) && tries < LISTINGS_MAX => {}
                    found => return found,
                }
                tokio::time::sleep(WAIT * tries).await;
                tries += 1;
            }
        })
    }

    async fn read(&self, location: &Path) -> Result<Bytes> {
        self.store.get(location).await?.bytes().await
    }

    async fn put_new(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let Some(alone) = &self.alone else {
            return self.store.put_opts(location, payload, options).await;
        };
        let _turn = alone.lock().await;
        match self.store.head(location).await {
            Ok(_) => Err(Error::AlreadyExists {
                path: location.to_string(),
                source: "it was there before".into(),
            }),
            Err(Error::NotFound { .. }) => {
                let options = PutOptions { mode: PutMode::Overwrite, ..options };
                self.store.put_opts(location, payload, options).await
            }
            Err(error) => Err(error),
        }
    }
}

/// A listing that is made whole before the first of it is handed over.
pub(super) fn whole(
    found: impl Future<Output = Result<Vec<ObjectMeta>>> + Send + 'static,
) -> BoxStream<'static, Result<ObjectMeta>> {
    futures::stream::once(found)
        .map_ok(|found| futures::stream::iter(found.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
}

/// Whether asking again could not help and nothing was written.
fn is_final(error: &Error) -> bool {
    matches!(
        error,
        Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::NotImplemented { .. }
            | Error::NotSupported { .. }
            | Error::InvalidPath { .. }
    )
}

fn taken(location: &Path, error: Error) -> Error {
    Error::AlreadyExists { path: location.to_string(), source: Box::new(error) }
}

fn unknown(location: &Path, error: &Error) -> Error {
    let text = format!("the store did not say whether it wrote {location}: {error}");
    Error::Generic { store: "bucket", source: text.into() }
}

impl fmt::Display for Certain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certain({})", self.store)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Certain {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        match options.mode {
            PutMode::Create => self.create(location, payload, options).await,
            _ => self.store.put_opts(location, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.store.get_opts(location, options).await
    }

    async fn get_ranges(
        &self,
        location: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<Bytes>> {
        self.store.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
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
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}
