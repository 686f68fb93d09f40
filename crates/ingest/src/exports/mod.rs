//! How do rows get into a warehouse? `exports/*.toml`: a table of the project, written through an
//! ADBC driver. An export is stale when its table has a new version, and its act says which version
//! was written where.
//!
//! With `append` each version is written once: its id is put into the table `sextant_exports` of the
//! warehouse in the same transaction as the rows, and looked for before they are written. A build
//! that was stopped between that commit and its own record finds it there.

mod write;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use sextant_core::{Digest, Failure};
use sextant_data::DataEngine;
use sextant_lineage::Act;
use sextant_project::{
    About, Asset, AssetFile, AssetId, AssetKind, BuildContext, Built, Refresh, SecretRef,
    parse_asset_toml, recipe_digest,
};

use crate::{
    error::DataError,
    sources::adbc::{OptionText, warehouse::Reach},
};

/// Changes when the same version would be written in another way.
const FORMAT: u32 = 1;

/// A table that is written into a warehouse.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportConfig {
    /// The model whose table is written, by its name, or a source as `sources/NAME`.
    pub from: String,
    /// The driver's library, relative to the project or absolute. It is loaded into this process.
    pub driver: String,
    /// The name of the driver's entry point, when it is not the usual one.
    #[serde(default)]
    pub entrypoint: Option<String>,
    /// What the driver is told, such as `uri`. Nothing secret.
    #[serde(default)]
    pub options: BTreeMap<String, OptionText>,
    /// What the driver is told that is secret: where each is kept.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretRef>,
    /// The table that is written.
    pub table: String,
    /// The schema that the table is in, when it is not the usual one.
    #[serde(default)]
    pub schema: Option<String>,
    /// What happens with the rows that are there.
    #[serde(default)]
    pub mode: ExportMode,
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

/// What happens with the rows that the table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportMode {
    /// The table is made anew with the rows of the version.
    #[default]
    Replace,
    /// The rows of each version are added once. The table is made when it is not there.
    Append,
}

/// Reads `exports/*.toml`.
#[derive(Debug, Clone)]
pub struct ExportKind {
    engine: DataEngine,
}

impl ExportKind {
    /// A kind that reads the tables of this engine.
    pub const fn new(engine: DataEngine) -> Self {
        Self { engine }
    }
}

impl AssetKind for ExportKind {
    fn noun(&self) -> &'static str {
        "export"
    }

    fn folder(&self) -> &'static str {
        "exports"
    }

    fn accepts(&self, extension: &str) -> bool {
        extension == "toml"
    }

    fn schema(&self) -> Option<Value> {
        serde_json::to_value(schemars::schema_for!(ExportConfig)).ok()
    }

    fn load(&self, file: &AssetFile) -> Result<Vec<Arc<dyn Asset>>, Failure> {
        let config: ExportConfig = parse_asset_toml(file)?;
        let refuse = |message: String, fix: String| DataError::Config {
            place: file.place(None, None),
            message,
            fix,
        };
        let id = AssetId::of(self.folder(), &file.stem());
        let id = id.map_err(|message| refuse(message, "rename the file".to_owned()))?;
        // As in other files a bare name is a model's; a source is named with its folder.
        let from = match config.from.split_once('/') {
            Some(_) => config.from.parse::<AssetId>(),
            None => AssetId::of("models", &config.from),
        };
        let from = from.map_err(|message| {
            refuse(message, "write from = \"NAME\" or from = \"sources/NAME\"".to_owned())
        })?;
        let reach = Reach {
            root: file.root.clone(),
            driver: config.driver.clone(),
            entrypoint: config.entrypoint.clone(),
            options: config.options.clone(),
            secrets: config.secrets.clone(),
        };
        reach.check().map_err(|(message, fix)| refuse(message, fix))?;
        let about = About {
            description: config.description.clone(),
            owner: config.owner.clone(),
            tags: config.tags.clone(),
        };
        let (engine, file) = (self.engine.clone(), file.path.clone());
        Ok(vec![Arc::new(ExportAsset { engine, id, from, about, file, reach, config })])
    }
}

struct ExportAsset {
    engine: DataEngine,
    id: AssetId,
    from: AssetId,
    about: About,
    file: PathBuf,
    reach: Reach,
    config: ExportConfig,
}

impl Asset for ExportAsset {
    fn id(&self) -> &AssetId {
        &self.id
    }

    fn noun(&self) -> &'static str {
        "export"
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn file(&self) -> &Path {
        &self.file
    }

    fn inputs(&self) -> Vec<AssetId> {
        vec![self.from.clone()]
    }

    fn guards(&self) -> Option<AssetId> {
        None
    }

    fn refresh(&self) -> Refresh {
        Refresh::Auto
    }

    /// How the warehouse is reached is not part of it: passwords change.
    fn recipe(&self) -> Result<Digest, Failure> {
        Ok(recipe_digest(&json!({
            "kind": "export",
            "version": FORMAT,
            "from": self.from,
            "driver": self.reach.library(),
            "schema": self.config.schema,
            "table": self.config.table,
            "mode": format!("{:?}", self.config.mode),
        })))
    }

    fn outside(&self) -> Result<Option<Digest>, Failure> {
        Ok(None)
    }

    fn build(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built, Failure> {
        Ok(self.write(context, act)?)
    }
}
