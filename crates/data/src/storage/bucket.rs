//! How is a bucket opened? With what the project's files say, in one way for tables and for sources.

use std::{path::Path, sync::Arc, time::Duration};

use deltalake_core::logstore::object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig, aws::AmazonS3Builder,
};
use sextant_core::Failure;
use sextant_project::{
    SecretRef,
    config::{S3_SCHEME, S3Config, TablesPlace, process_environment},
};

use super::fault::StoreFault;
use crate::DataError;

/// How long one request may take, and how long a request is tried again.
const REQUEST_SECONDS: u64 = 60;
const RETRY_SECONDS: u64 = 60;
/// How often a request is tried again.
const RETRIES_MAX: usize = 5;

/// Tables that are not in the data folder.
#[derive(Debug, Clone)]
pub struct TablesAt {
    /// Their address, without a slash at its end: `s3://BUCKET/PREFIX`.
    pub(crate) url: String,
    /// The whole bucket.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Whether a store is taken that cannot refuse to write over a file.
    pub(crate) single_writer: bool,
}

impl TablesAt {
    /// Tables in the bucket that `sextant.toml` names. Nothing is asked of it yet.
    ///
    /// # Errors
    /// When a credential is missing or the address cannot be one.
    pub fn bucket(place: &TablesPlace, root: &Path) -> Result<Self, Failure> {
        let name = place.url.strip_prefix(S3_SCHEME).unwrap_or(&place.url);
        let name = name.split('/').next().unwrap_or(name);
        let store = open_bucket(name, &place.s3, root)?;
        Ok(Self { single_writer: place.single_writer, ..Self::over(store, place.url.clone()) })
    }

    /// Tables in a bucket that is open already, at an address without a slash at its end.
    pub fn over(store: Arc<dyn ObjectStore>, url: String) -> Self {
        Self { url, store, single_writer: false }
    }
}

/// Opens a bucket of S3 or of a store that speaks its protocol. Nothing is asked of it yet.
///
/// # Errors
/// When a credential is missing or the address cannot be one.
pub fn open_bucket(
    name: &str,
    s3: &S3Config,
    root: &Path,
) -> Result<Arc<dyn ObjectStore>, Failure> {
    let secret = |reference: &SecretRef| reference.resolve(root, &process_environment);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(name)
        .with_region(&s3.region)
        .with_access_key_id(secret(&s3.access_key_id)?.reveal())
        .with_secret_access_key(secret(&s3.secret_access_key)?.reveal())
        .with_client_options(
            ClientOptions::new()
                .with_timeout(Duration::from_secs(REQUEST_SECONDS))
                .with_allow_http(s3.endpoint.is_some()),
        )
        .with_retry(RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: RETRIES_MAX,
            retry_timeout: Duration::from_secs(RETRY_SECONDS),
        });
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let store = builder.build().map_err(|source| StoreFault::Unreachable {
        url: format!("{S3_SCHEME}{name}"),
        reason: source.to_string(),
    });
    Ok(Arc::new(store.map_err(DataError::from)?))
}
