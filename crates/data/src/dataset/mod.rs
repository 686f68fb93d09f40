//! How does a table become a dataset? `datasets/*.toml`: a named snapshot of one table version,
//! split by a seeded hash, stored row by row as bytes that need nothing else to be read again.

mod snapshot;
mod split;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use sextant_core::{Digest, Failure};
use sextant_lineage::Act;
use sextant_project::{
    About, Asset, AssetFile, AssetId, AssetKind, BuildContext, Built, Refresh, parse_asset_toml,
    recipe_digest,
};

use crate::{
    DataEngine,
    error::{DataError, Result},
};
pub use snapshot::{DatasetSnapshot, SplitBlob, read_dataset, read_manifest};
pub(crate) use split::Splits;

/// Changes when the same rows would make another snapshot.
const FORMAT: u32 = 1;

/// A dataset.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// The model whose table it is taken from.
    pub from: String,
    /// The splits and the share of each; the shares add up to 1.
    #[serde(default = "whole")]
    pub split: BTreeMap<String, f64>,
    /// Decides which row falls into which split.
    #[serde(default)]
    pub seed: u64,
    /// Rows with the same value in this column fall into the same split.
    #[serde(default)]
    pub group_by: Option<String>,
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

fn whole() -> BTreeMap<String, f64> {
    BTreeMap::from([("train".to_owned(), 1.0)])
}

/// Reads `datasets/*.toml`.
#[derive(Debug, Clone)]
pub struct DatasetKind {
    engine: DataEngine,
}

impl DatasetKind {
    /// A kind whose tables are read by this engine.
    pub const fn new(engine: DataEngine) -> Self {
        Self { engine }
    }
}

impl AssetKind for DatasetKind {
    fn noun(&self) -> &'static str {
        "dataset"
    }

    fn folder(&self) -> &'static str {
        "datasets"
    }

    fn accepts(&self, extension: &str) -> bool {
        extension == "toml"
    }

    fn schema(&self) -> Option<Value> {
        serde_json::to_value(schemars::schema_for!(DatasetConfig)).ok()
    }

    fn load(&self, file: &AssetFile) -> Result<Vec<Arc<dyn Asset>>, Failure> {
        let config: DatasetConfig = parse_asset_toml(file)?;
        let refuse = |key: &str, message: String, fix: &str| DataError::Config {
            place: file.place(line_of(&file.text, key), None),
            message,
            fix: fix.to_owned(),
        };
        let id = AssetId::of(self.folder(), &file.stem())
            .map_err(|message| refuse("", message, "rename the file"))?;
        let from = AssetId::of("models", &config.from)
            .map_err(|message| refuse("from", message, "write the name of a model"))?;
        let splits = Splits::new(&config.split, config.seed).map_err(|message| {
            refuse("split", message, "write { train = 0.9, validation = 0.1 }")
        })?;
        let about = About {
            description: config.description.clone(),
            owner: config.owner.clone(),
            tags: config.tags.clone(),
        };
        Ok(vec![Arc::new(DatasetAsset {
            engine: self.engine.clone(),
            id,
            about,
            file: file.path.clone(),
            from,
            splits,
            config,
        })])
    }
}

/// The first line that begins with this key.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let is_key =
        |line: &str| !key.is_empty() && line.trim_start().trim_start_matches('[').starts_with(key);
    text.lines().position(is_key).map(|index| index + 1)
}

pub(crate) struct DatasetAsset {
    engine: DataEngine,
    id: AssetId,
    about: About,
    file: std::path::PathBuf,
    from: AssetId,
    splits: Splits,
    config: DatasetConfig,
}

impl Asset for DatasetAsset {
    fn id(&self) -> &AssetId {
        &self.id
    }

    fn noun(&self) -> &'static str {
        "dataset"
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

    fn recipe(&self) -> Result<Digest, Failure> {
        Ok(recipe_digest(&json!({
            "kind": "dataset",
            "format": FORMAT,
            "from": self.from,
            "split": self.config.split,
            "seed": self.config.seed,
            "group_by": self.config.group_by,
        })))
    }

    fn outside(&self) -> Result<Option<Digest>, Failure> {
        Ok(None)
    }

    fn build(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built, Failure> {
        let input = context.input(&self.from)?;
        snapshot::build(self, input, act).map_err(Failure::from)
    }
}
