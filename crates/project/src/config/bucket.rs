//! How does a project file say how an S3 bucket is reached? In the same words wherever one is named.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;

/// How an address in a bucket begins.
pub const S3_SCHEME: &str = "s3://";

/// How a bucket is reached. Credentials are named, never written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// The address of the store; that of AWS for the region when it is left out.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The region.
    #[serde(default = "region")]
    pub region: String,
    /// Where the id of the access key is kept.
    #[serde(default = "access_key_id")]
    pub access_key_id: SecretRef,
    /// Where the secret of the access key is kept.
    #[serde(default = "secret_access_key")]
    pub secret_access_key: SecretRef,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: region(),
            access_key_id: access_key_id(),
            secret_access_key: secret_access_key(),
        }
    }
}

fn region() -> String {
    "us-east-1".to_owned()
}

fn access_key_id() -> SecretRef {
    SecretRef::Env("AWS_ACCESS_KEY_ID".to_owned())
}

fn secret_access_key() -> SecretRef {
    SecretRef::Env("AWS_SECRET_ACCESS_KEY".to_owned())
}

/// `[tables]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TablesSection {
    /// Where the tables are kept: `s3://BUCKET/PREFIX`. In the data folder when it is left out.
    pub url: Option<String>,
    /// Whether a store is taken that cannot refuse to write over a file. Then nothing else may write
    /// to these tables. Default false.
    pub single_writer: Option<bool>,
    /// How the bucket is reached.
    pub s3: Option<S3Config>,
}

/// Where the tables are kept, when that is not the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablesPlace {
    /// `s3://BUCKET` or `s3://BUCKET/PREFIX`, without a slash at its end.
    pub url: String,
    /// Whether a store is taken that cannot refuse to write over a file.
    pub single_writer: bool,
    /// How the bucket is reached.
    pub s3: S3Config,
}

/// Whether this names a bucket and, if anything, a plain prefix in it.
pub(super) fn is_bucket_url(url: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-=".contains(c))
    };
    url.strip_prefix(S3_SCHEME).is_some_and(|rest| rest.split('/').all(plain))
}
