//! What must a layer implement to take part in the graph? [`AssetKind`] reads the project's files,
//! [`Asset`] says what it needs and how it is made.
//!
//! A layer never sees another layer: it sees the versions of its inputs, as digests and metadata,
//! and an open [`Act`] through which all that it makes becomes visible at once.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sextant_core::{Cancel, Digest, Events, Failure, Place, canonical_json};
use sextant_lineage::{Act, Store};

/// `<folder>/<stem>`, such as `models/sections`: unique in a project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AssetId(String);

impl AssetId {
    /// Joins a folder and a stem.
    ///
    /// # Errors
    /// When either part is empty or has a character outside `A-Z a-z 0-9 . _ -`.
    pub fn of(folder: &str, stem: &str) -> Result<Self, String> {
        format!("{folder}/{stem}").parse()
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder: `models` of `models/sections`.
    pub fn folder(&self) -> &str {
        self.0.split_once('/').map_or("", |(folder, _)| folder)
    }

    /// The stem: `sections` of `models/sections`.
    pub fn stem(&self) -> &str {
        self.0.split_once('/').map_or(self.0.as_str(), |(_, stem)| stem)
    }
}

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<AssetId> for String {
    fn from(id: AssetId) -> Self {
        id.0
    }
}

impl TryFrom<String> for AssetId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for AssetId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        match text.split_once('/') {
            Some((folder, stem)) if allowed(folder) && allowed(stem) && text.len() <= 200 => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(format!("not an asset id: `{text}` (expected folder/name)")),
        }
    }
}

/// One file of the project folder, read whole.
#[derive(Debug, Clone)]
pub struct AssetFile {
    /// The project's root folder, absolute.
    pub root: PathBuf,
    /// The file's path relative to the root.
    pub path: PathBuf,
    /// Its text, with `${VAR}` already replaced in TOML files.
    pub text: String,
}

impl AssetFile {
    /// The file's name without its last extension.
    pub fn stem(&self) -> String {
        self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// A place in this file.
    pub fn place(&self, line: Option<usize>, column: Option<usize>) -> Place {
        Place { file: self.path.clone(), line, column }
    }
}

/// What a person wrote about an asset, whatever its kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// One line for lists and pages.
    pub description: String,
    /// Who answers for it.
    pub owner: String,
    /// Words to select by.
    pub tags: Vec<String>,
}

/// When an asset is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refresh {
    /// Whenever its recipe or an input changed.
    #[default]
    Auto,
    /// When it was never made, when its recipe changed, or when it is named in the selector.
    /// A change of its inputs alone leaves it `held`.
    Manual,
}

/// One noun of one layer: knows which files describe it and reads them.
pub trait AssetKind: Send + Sync {
    /// The word shown: `source`, `model`, `checks`, `dataset`, `train`, `index`, …
    fn noun(&self) -> &'static str;

    /// The folder of the project it reads, such as `models`.
    fn folder(&self) -> &'static str;

    /// Whether this file (by its extension, without the dot) is one of its own.
    fn accepts(&self, extension: &str) -> bool;

    /// The JSON Schema of its file; `None` for files that are not TOML.
    fn schema(&self) -> Option<Value>;

    /// Reads one file into the assets that it describes.
    ///
    /// # Errors
    /// A [`Failure`] with the place in the file.
    fn load(&self, file: &AssetFile) -> Result<Vec<Arc<dyn Asset>>, Failure>;
}

/// Something a project makes.
pub trait Asset: Send + Sync {
    /// Its id.
    fn id(&self) -> &AssetId;

    /// The word shown for its kind.
    fn noun(&self) -> &'static str;

    /// What a person wrote about it.
    fn about(&self) -> &About;

    /// The file that describes it, relative to the project root.
    fn file(&self) -> &std::path::Path;

    /// The assets whose versions it reads. The graph refuses unknown ids and cycles.
    fn inputs(&self) -> Vec<AssetId>;

    /// The asset that this one guards: while this one fails, whatever reads the guarded asset is
    /// not built. `None` for everything but checks.
    fn guards(&self) -> Option<AssetId>;

    /// When it is made again.
    fn refresh(&self) -> Refresh;

    /// The digest of all that decides how it is made, apart from its inputs' versions: its own
    /// file, the files it names, its layer's format version.
    ///
    /// # Errors
    /// When a file that it names cannot be read.
    fn recipe(&self) -> Result<Digest, Failure>;

    /// A fingerprint of what it reads outside the project graph (the files of a source); `None`
    /// when it reads nothing outside. Must be cheap: it is asked at every build.
    ///
    /// # Errors
    /// When the outside cannot be reached.
    fn outside(&self) -> Result<Option<Digest>, Failure>;

    /// Makes it. All artifacts, rows and edges go through `act`, which the executor commits
    /// together with the asset's new version. Inputs are already declared as used. It must be safe
    /// to run again after a crash at any point.
    ///
    /// # Errors
    /// A [`Failure`]; nothing of the act becomes visible then.
    fn build(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built, Failure>;
}

/// The version of an input that a build reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InputVersion {
    /// The input.
    pub asset: AssetId,
    /// Its version.
    pub version: Digest,
    /// What its builder recorded in [`Built::meta`].
    pub meta: Value,
}

/// What a build sees.
pub struct BuildContext<'a> {
    /// The store, for reading.
    pub store: &'a Store,
    /// The project's root folder.
    pub root: &'a std::path::Path,
    /// The asset's id.
    pub asset: &'a AssetId,
    /// The versions of the declared inputs.
    pub inputs: &'a BTreeMap<AssetId, InputVersion>,
    /// The version this asset had before, when it had one.
    pub previous: Option<InputVersion>,
    /// Where progress and lines go. Also written to the asset's log file.
    pub events: &'a dyn Events,
    /// Asks the build to stop at its next safe point.
    pub cancel: &'a Cancel,
}

impl BuildContext<'_> {
    /// The version of a declared input.
    ///
    /// # Errors
    /// `SXT-2012` when the asset did not declare that input: a defect of its layer.
    pub fn input(&self, asset: &AssetId) -> Result<&InputVersion, Failure> {
        self.inputs.get(asset).ok_or_else(|| {
            crate::ProjectError::UndeclaredInput { asset: self.asset.clone(), input: asset.clone() }
                .into()
        })
    }

    /// Tells how far the build has come.
    pub fn progress(&self, done: u64, total: Option<u64>, detail: impl Into<String>) {
        self.events.emit(sextant_core::Event::Progress {
            step: self.asset.to_string(),
            done,
            total,
            detail: detail.into(),
        });
    }
}

/// What a build made.
#[derive(Debug, Clone)]
pub struct Built {
    /// The digest of the version: an artifact of the act, or an older one when nothing changed.
    pub version: Digest,
    /// What consumers need to read it (a table's path and Delta version, a checkpoint's digest).
    pub meta: Value,
    /// One line for the reader: counts, sizes.
    pub summary: String,
}

/// The digest of a recipe: its parts as canonical JSON.
pub fn recipe_digest(parts: &Value) -> Digest {
    Digest::of(canonical_json(parts).unwrap_or_else(|_| parts.to_string().into_bytes()))
}
