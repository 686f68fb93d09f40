//! Are the rows of a table what we promised? `models/schema.yml` in the format of dbt: each model
//! with tests makes one asset `checks/<model>` that guards the model.

mod run;
mod yaml;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;
use serde_json::{Value, json};
use sextant_core::{Digest, Failure};
use sextant_lineage::Act;
use sextant_project::{
    About, Asset, AssetFile, AssetId, AssetKind, BuildContext, Built, Refresh, recipe_digest,
};

use crate::{DataEngine, error::Result};

/// Changes when the same checks would make another report.
const FORMAT: u32 = 1;

/// What one check demands of the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub(crate) enum Rule {
    NotNull { column: String },
    Unique { column: String },
    AcceptedValues { column: String, values: Vec<String> },
    Relationships { column: String, to: AssetId, field: String },
    RowCount { min: Option<u64>, max: Option<u64> },
}

impl Rule {
    pub(crate) fn column(&self) -> Option<&str> {
        match self {
            Self::NotNull { column }
            | Self::Unique { column }
            | Self::AcceptedValues { column, .. }
            | Self::Relationships { column, .. } => Some(column),
            Self::RowCount { .. } => None,
        }
    }
}

/// What a failing check does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// It is reported.
    Warn,
    /// What depends on the table is not built.
    Error,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) severity: Severity,
    #[serde(flatten)]
    pub(crate) rule: Rule,
    #[serde(skip)]
    pub(crate) line: Option<usize>,
}

/// Reads `models/*.yml`.
#[derive(Debug, Clone)]
pub struct ChecksKind {
    engine: DataEngine,
}

impl ChecksKind {
    /// A kind whose tables are read by this engine.
    pub const fn new(engine: DataEngine) -> Self {
        Self { engine }
    }
}

impl AssetKind for ChecksKind {
    fn noun(&self) -> &'static str {
        "checks"
    }

    fn folder(&self) -> &'static str {
        "models"
    }

    fn accepts(&self, extension: &str) -> bool {
        matches!(extension, "yml" | "yaml")
    }

    fn schema(&self) -> Option<Value> {
        None
    }

    fn load(&self, file: &AssetFile) -> Result<Vec<Arc<dyn Asset>>, Failure> {
        let models = yaml::parse(file)?;
        let assets = models.into_iter().filter(|model| !model.checks.is_empty()).map(|model| {
            Arc::new(ChecksAsset {
                engine: self.engine.clone(),
                id: model.id,
                model: model.model,
                about: About { description: model.description, ..About::default() },
                file: file.path.clone(),
                checks: model.checks,
            }) as Arc<dyn Asset>
        });
        Ok(assets.collect())
    }
}

pub(crate) struct ChecksAsset {
    engine: DataEngine,
    id: AssetId,
    model: AssetId,
    about: About,
    file: PathBuf,
    checks: Vec<Check>,
}

impl Asset for ChecksAsset {
    fn id(&self) -> &AssetId {
        &self.id
    }

    fn noun(&self) -> &'static str {
        "checks"
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn file(&self) -> &Path {
        &self.file
    }

    fn inputs(&self) -> Vec<AssetId> {
        let mut inputs = std::collections::BTreeSet::from([self.model.clone()]);
        inputs.extend(self.checks.iter().filter_map(|check| match &check.rule {
            Rule::Relationships { to, .. } => Some(to.clone()),
            _ => None,
        }));
        inputs.into_iter().collect()
    }

    fn guards(&self) -> Option<AssetId> {
        Some(self.model.clone())
    }

    fn refresh(&self) -> Refresh {
        Refresh::Auto
    }

    fn recipe(&self) -> Result<Digest, Failure> {
        Ok(recipe_digest(&json!({ "kind": "checks", "format": FORMAT, "checks": self.checks })))
    }

    fn outside(&self) -> Result<Option<Digest>, Failure> {
        Ok(None)
    }

    fn build(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built, Failure> {
        run::build(self, context, act)
    }
}

impl DataEngine {
    /// The newest report of a checks asset, with the stored failing rows of each check.
    ///
    /// # Errors
    /// When the checks never ran, or the report's bytes are not there.
    pub fn check_failures(&self, asset: &AssetId) -> Result<Value> {
        run::failures(self.store(), asset)
    }
}
