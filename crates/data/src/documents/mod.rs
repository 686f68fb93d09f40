//! How does a folder of text files become a table? `sources/*.toml` with `type = "files"`: one row
//! per file, one document version per content, and only what changed is read again.

mod at;
mod build;

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use sextant_core::{Digest, Failure, limits};
use sextant_lineage::Act;
use sextant_project::{
    About, Asset, AssetFile, AssetId, BuildContext, Built, Refresh, parse_asset_toml, recipe_digest,
};

pub use self::at::{FileAt, FilesAt};
use crate::{
    DataEngine,
    error::DataError,
    scan::{self, Rules},
};

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
    pub kind: FilesType,
    /// What the files hold: text, when it is left out.
    #[serde(default)]
    pub format: TextFormat,
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

/// The type of a source of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FilesType {
    /// Text files in a folder.
    Files,
}

/// What the files of a source of text hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextFormat {
    /// UTF-8 text, such as Markdown: one row a file.
    #[default]
    Text,
}

fn everything() -> Vec<String> {
    vec!["**/*".to_owned()]
}

const fn max_file_bytes() -> u64 {
    limits::DOCUMENT_BYTES_MAX
}

/// A source of text files.
pub struct FilesAsset {
    engine: DataEngine,
    id: AssetId,
    about: About,
    file: std::path::PathBuf,
    folder: std::path::PathBuf,
    rules: Rules,
    config: FilesConfig,
}

/// The id of the asset that a source file describes.
///
/// # Errors
/// When its name cannot be one.
pub fn source_id(file: &AssetFile) -> Result<AssetId, DataError> {
    let refuse = |message: String| DataError::Config {
        place: file.place(None, None),
        message,
        fix: "rename the file".to_owned(),
    };
    AssetId::of("sources", &file.stem()).map_err(refuse)
}

impl FilesAsset {
    /// From its file.
    ///
    /// # Errors
    /// When its file is not understood.
    pub fn load(engine: &DataEngine, file: &AssetFile) -> Result<Self, Failure> {
        let config: FilesConfig = parse_asset_toml(file)?;
        let id = source_id(file)?;
        let rules = Rules::new(&config.include, &config.exclude, config.max_file_bytes);
        let rules = rules.map_err(|error| DataError::Config {
            place: file.place(None, None),
            message: format!("not a glob: {error}"),
            fix: "write globs such as `**/*.md`".to_owned(),
        })?;
        let about = About {
            description: config.description.clone(),
            owner: config.owner.clone(),
            tags: config.tags.clone(),
        };
        Ok(Self {
            engine: engine.clone(),
            id,
            about,
            file: file.path.clone(),
            folder: file.root.join(&config.path),
            rules,
            config,
        })
    }
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
