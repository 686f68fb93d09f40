//! How does a folder of text files become a table? `sources/*.toml` with `type = "files"`: one row
//! per file, one document version per content, and only what changed is read again.

mod build;
mod scan;

use std::{path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use sextant_core::{Digest, Failure, limits};
use sextant_lineage::Act;
use sextant_project::{
    About, Asset, AssetFile, AssetId, AssetKind, BuildContext, Built, Refresh, parse_asset_toml,
    recipe_digest,
};

use crate::{
    DataEngine,
    error::{DataError, Result},
};
pub(crate) use scan::{Found, Rules};

/// The table that a source of files makes.
pub const DOCUMENTS: &str = "documents";

/// Changes when the same files would make another table.
const FORMAT: u32 = 1;

/// A folder of text files as a source.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesConfig {
    /// What kind of source it is: `files`.
    #[serde(rename = "type")]
    pub kind: SourceType,
    /// The folder, relative to the project.
    pub path: String,
    /// Which files are read, as globs relative to the folder.
    #[serde(default = "everything")]
    pub include: Vec<String>,
    /// Which of them are not.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// The largest file that is read; a larger one is refused by name.
    #[serde(default = "max_file_bytes")]
    pub max_file_bytes: u64,
    /// One line for lists and pages.
    #[serde(default)]
    pub description: String,
    /// Who answers for it.
    #[serde(default)]
    pub owner: String,
    /// Words to select by.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// The kinds of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceType {
    /// Text files in a folder.
    Files,
}

fn everything() -> Vec<String> {
    vec!["**/*".to_owned()]
}

const fn max_file_bytes() -> u64 {
    limits::DOCUMENT_BYTES_MAX
}

/// Reads `sources/*.toml`.
#[derive(Debug, Clone)]
pub struct FilesKind {
    engine: DataEngine,
}

impl FilesKind {
    /// A kind whose tables are written by this engine.
    pub const fn new(engine: DataEngine) -> Self {
        Self { engine }
    }
}

impl AssetKind for FilesKind {
    fn noun(&self) -> &'static str {
        "source"
    }

    fn folder(&self) -> &'static str {
        "sources"
    }

    fn accepts(&self, extension: &str) -> bool {
        extension == "toml"
    }

    fn schema(&self) -> Option<Value> {
        serde_json::to_value(schemars::schema_for!(FilesConfig)).ok()
    }

    fn load(&self, file: &AssetFile) -> Result<Vec<Arc<dyn Asset>>, Failure> {
        let config: FilesConfig = parse_asset_toml(file)?;
        let refuse = |message: String, fix: &str| DataError::Config {
            place: file.place(None, None),
            message,
            fix: fix.to_owned(),
        };
        let id = AssetId::of(self.folder(), &file.stem())
            .map_err(|message| refuse(message, "rename the file"))?;
        let rules = Rules::new(&config).map_err(|error| {
            refuse(format!("not a glob: {error}"), "write globs such as `**/*.md`")
        })?;
        let about = About {
            description: config.description.clone(),
            owner: config.owner.clone(),
            tags: config.tags.clone(),
        };
        Ok(vec![Arc::new(FilesAsset {
            engine: self.engine.clone(),
            id,
            about,
            file: file.path.clone(),
            folder: file.root.join(&config.path),
            rules,
            config,
        })])
    }
}

pub(crate) struct FilesAsset {
    engine: DataEngine,
    id: AssetId,
    about: About,
    file: std::path::PathBuf,
    folder: std::path::PathBuf,
    rules: Rules,
    config: FilesConfig,
}

impl Asset for FilesAsset {
    fn id(&self) -> &AssetId {
        &self.id
    }

    fn noun(&self) -> &'static str {
        "source"
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn file(&self) -> &Path {
        &self.file
    }

    fn inputs(&self) -> Vec<AssetId> {
        Vec::new()
    }

    fn guards(&self) -> Option<AssetId> {
        None
    }

    fn refresh(&self) -> Refresh {
        Refresh::Auto
    }

    fn recipe(&self) -> Result<Digest, Failure> {
        Ok(recipe_digest(&json!({
            "kind": "files",
            "format": FORMAT,
            "path": self.config.path,
            "include": self.config.include,
            "exclude": self.config.exclude,
            "max_file_bytes": self.config.max_file_bytes,
        })))
    }

    fn outside(&self) -> Result<Option<Digest>, Failure> {
        let found = scan::scan(&self.folder, &self.rules).map_err(Failure::from)?;
        Ok(Some(scan::fingerprint(&found)))
    }

    fn build(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built, Failure> {
        build::build(self, context, act).map_err(Failure::from)
    }
}
