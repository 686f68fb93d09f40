//! What do these pages read out of the answers of calls? Everything may be missing.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A key with its value: a parameter or a tag.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pair {
    pub key: String,
    pub value: String,
}

/// Pairs by key, from a list of them.
fn pairs<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let list = Vec::<Pair>::deserialize(from)?;
    Ok(list.into_iter().map(|pair| (pair.key, pair.value)).collect())
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Experiment {
    pub experiment_id: String,
    pub name: String,
    pub artifact_location: String,
    pub lifecycle_stage: String,
    pub creation_time: i64,
    pub last_update_time: i64,
    #[serde(deserialize_with = "pairs")]
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OneExperiment {
    pub experiment: Experiment,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Experiments {
    pub experiments: Vec<Experiment>,
    pub next_page_token: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Count {
    pub experiment_id: String,
    pub runs: u64,
    pub last_start_time: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    pub counts: Vec<Count>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metric {
    pub key: String,
    /// A number, or `NaN`.
    pub value: Value,
    pub timestamp: i64,
    pub step: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunInfo {
    pub run_id: String,
    pub run_name: String,
    pub experiment_id: String,
    pub status: String,
    pub user_id: String,
    pub artifact_uri: String,
    pub lifecycle_stage: String,
    pub start_time: i64,
    pub end_time: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunData {
    pub metrics: Vec<Metric>,
    #[serde(deserialize_with = "pairs")]
    pub params: BTreeMap<String, String>,
    #[serde(deserialize_with = "pairs")]
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Dataset {
    pub name: String,
    pub digest: String,
    pub source_type: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct DatasetInput {
    pub dataset: Dataset,
    #[serde(deserialize_with = "pairs")]
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ModelInput {
    pub model_id: String,
    pub step: Option<i64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunInputs {
    pub dataset_inputs: Vec<DatasetInput>,
    pub model_inputs: Vec<ModelInput>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunOutputs {
    pub model_outputs: Vec<ModelInput>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Run {
    pub info: RunInfo,
    pub data: RunData,
    pub inputs: RunInputs,
    pub outputs: RunOutputs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OneRun {
    pub run: Run,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Alias {
    pub alias: String,
    pub version: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Version {
    pub name: String,
    pub version: String,
    pub current_stage: String,
    pub description: String,
    pub source: String,
    pub run_id: String,
    pub status: String,
    pub creation_timestamp: i64,
    pub aliases: Vec<String>,
    #[serde(deserialize_with = "pairs")]
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Model {
    pub name: String,
    pub description: String,
    pub creation_timestamp: i64,
    pub last_updated_timestamp: i64,
    pub latest_versions: Vec<Version>,
    pub aliases: Vec<Alias>,
    #[serde(deserialize_with = "pairs")]
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Models {
    pub registered_models: Vec<Model>,
    pub next_page_token: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OneModel {
    pub registered_model: Model,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Versions {
    pub model_versions: Vec<Version>,
    pub next_page_token: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct TraceInfo {
    pub trace_id: String,
    pub state: String,
    /// RFC 3339.
    pub request_time: super::super::views::When,
    /// `1.5s`.
    pub execution_duration: String,
    pub request_preview: String,
    pub response_preview: String,
    pub trace_location: Value,
    pub tags: BTreeMap<String, String>,
    pub trace_metadata: BTreeMap<String, String>,
    pub assessments: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Traces {
    pub traces: Vec<TraceInfo>,
    pub next_page_token: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Trace {
    pub trace_info: TraceInfo,
    pub spans: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OneTrace {
    pub trace: Trace,
}
