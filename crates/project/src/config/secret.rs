//! How does a project file name a secret without holding it? By reference: [`SecretRef`].

use std::{collections::BTreeMap, fmt, path::Path, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use sextant_core::Failure;

use super::expand::Lookup;
use crate::ConfigError;

/// The words by which a literal secret is recognised among the errors of the TOML reader.
pub(super) const REFUSAL: &str = "a secret must be a reference";
/// Most bytes a secret file may have.
const SECRET_BYTES_MAX: usize = 64 << 10;

/// Where a secret is kept: `{ env = "NAME" }` or `{ file = "path" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretRef {
    /// In an environment variable.
    Env(String),
    /// In a file, relative to the project or absolute.
    File(PathBuf),
}

/// A secret's value: never printed, never serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl SecretRef {
    /// Fetches the value, without the line break at its end.
    ///
    /// # Errors
    /// When the variable or the file is missing or empty. The value is never part of the error.
    pub fn resolve(&self, root: &Path, lookup: Lookup<'_>) -> Result<Secret, Failure> {
        let value = match self {
            Self::Env(name) => lookup(name),
            Self::File(path) => std::fs::read_to_string(root.join(path)).ok(),
        };
        value
            .map(|value| value.trim_end_matches(['\r', '\n']).to_owned())
            .filter(|value| !value.is_empty() && value.len() <= SECRET_BYTES_MAX)
            .map(Secret)
            .ok_or_else(|| ConfigError::SecretMissing { reference: self.to_string() }.into())
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "in the environment variable {name}"),
            Self::File(path) => write!(f, "in the file {}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Reference(BTreeMap<String, String>),
            Other(de::IgnoredAny),
        }
        let refuse = || de::Error::custom(format!("{REFUSAL}: {{ env = \"NAME\" }}"));
        let Written::Reference(map) = Written::deserialize(deserializer)? else {
            return Err(refuse());
        };
        match map.iter().map(|(key, value)| (key.as_str(), value)).collect::<Vec<_>>()[..] {
            [("env", name)] => Ok(Self::Env(name.clone())),
            [("file", path)] => Ok(Self::File(path.into())),
            _ => Err(de::Error::custom(
                "expected { env = \"NAME\" } or { file = \"path\" }, and nothing else",
            )),
        }
    }
}
