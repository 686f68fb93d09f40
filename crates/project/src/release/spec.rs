//! What does `releases/*.toml` say? The agent that is released and the rules of its gate.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sextant_core::Failure;

use crate::{AssetFile, AssetId, ConfigError, GraphError, config::line_of_key, parse_asset_toml};

/// `releases/<name>.toml`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseSpec {
    /// The release's name: the file's name.
    #[serde(skip_deserializing, default)]
    #[schemars(skip)]
    pub name: String,
    /// The agent that is released: `agents/<agent>.toml`.
    pub agent: String,
    /// Whether every build creates, gates and promotes. Default false.
    #[serde(default)]
    pub auto: bool,
    /// One line about it.
    #[serde(default)]
    pub description: String,
    /// The rules that must hold before it can be promoted.
    #[serde(default)]
    pub gate: Vec<Rule>,
}

/// The rules of a release.
pub type Gate = Vec<Rule>;

/// `[[gate]]`: one rule about one figure of the evaluation report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The figure, such as `retrieval.hybrid.ndcg@10`.
    pub metric: String,
    /// It must be at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// It must be at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// It must be greater than this other figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub than: Option<String>,
    /// With `than`: being equal is enough. Default false.
    #[serde(default)]
    pub allow_equal: bool,
}

impl ReleaseSpec {
    /// Reads a release file.
    ///
    /// # Errors
    /// With the place in the file.
    pub fn from_file(file: &AssetFile) -> Result<Self, Failure> {
        let mut spec: Self = parse_asset_toml(file)?;
        spec.name = file.stem();
        if let Err(message) = AssetId::of("releases", &spec.name) {
            return Err(GraphError::BadName { place: file.place(None, None), message }.into());
        }
        for rule in &spec.gate {
            if rule.min.is_none() && rule.max.is_none() && rule.than.is_none() {
                let place = file.place(line_of_key(&file.text, "gate"), None);
                let message = format!("rule on {} needs min, max or than", rule.metric);
                return Err(ConfigError::BadValue { place, message }.into());
            }
        }
        Ok(spec)
    }

    /// The agent's asset.
    ///
    /// # Errors
    /// When the name cannot be an asset's name.
    pub fn agent_asset(&self) -> Result<AssetId, Failure> {
        AssetId::of("agents", &self.agent).map_err(|message| {
            let file = format!("releases/{}.toml", self.name).into();
            let place = sextant_core::Place { file, line: None, column: None };
            ConfigError::BadValue { place, message }.into()
        })
    }
}
