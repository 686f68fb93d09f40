//! What does a training job need from others? A trainer that knows tensors, and a sink that keeps
//! runs and metrics. `app` plugs them in.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sextant_core::{ActivityId, Digest, Failure, Timestamp};
use sextant_lineage::Act;

use crate::TrainJob;

/// Trains a model of an architecture that it knows.
pub trait Trainer: Send + Sync {
    /// Checks `[model]` and `[train]` of a training file and fills in what they leave out. The
    /// result is the run's parameters and part of the recipe.
    ///
    /// # Errors
    /// When the architecture is unknown, a key is unknown, or a value makes no sense. A message
    /// that names the key in backticks gets the key's line.
    fn validate_spec(&self, spec: &Value) -> Result<Value, Failure>;

    /// Trains to the end, from `job.resume` when there is one, or until `job.cancel`. The same job
    /// gives the same bytes, resumed or not.
    ///
    /// # Errors
    /// When the data cannot be read, a checkpoint cannot be written, training diverges, or the job
    /// was cancelled (see [`TrainJob::stopped`]).
    fn train(&self, job: TrainJob<'_>) -> Result<Trained, Failure>;
}

/// What a trainer made.
#[derive(Debug, Clone)]
pub struct Trained {
    /// A folder of plain files: config.json, model.safetensors, tokenizer.json.
    pub model_dir: PathBuf,
    /// Steps done in all.
    pub steps: u64,
    /// Dimensions of its vectors, when it makes vectors.
    pub dim: Option<usize>,
    /// What else consumers need to know (parameters, pooling); part of the model's manifest, so it
    /// must be the same for the same job.
    pub facts: Value,
}

/// One value of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Which metric, such as `loss`.
    pub metric: String,
    /// After how many steps.
    pub step: u64,
    /// The value.
    pub value: f64,
    /// When.
    pub at: Timestamp,
}

/// What a run starts with.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStart {
    /// The run to go on with, when a killed attempt left one.
    pub resume: Option<ActivityId>,
    /// The asset that is built.
    pub asset: String,
    /// The activity of the build.
    pub activity: ActivityId,
    /// The parameters, all of them.
    pub params: Value,
    /// The machine.
    pub machine: Value,
    /// The code.
    pub code: Value,
    /// The seed, when the parameters name one.
    pub seed: Option<i64>,
    /// The dataset snapshot.
    pub dataset: Digest,
    /// The digest of recipe and inputs.
    pub recipe: Digest,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// To the end.
    Finished,
    /// With an error.
    Failed,
    /// Somebody stopped it.
    Killed,
}

/// What a run ends with.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEnd {
    /// How.
    pub status: RunStatus,
    /// The error, when it failed.
    pub error: Option<String>,
    /// The model version, when it finished.
    pub model: Option<Digest>,
    /// The checkpoints that were kept: step and digest, oldest first.
    pub checkpoints: Vec<(u64, Digest)>,
}

/// Keeps runs and their metrics.
pub trait RunSink: Send + Sync {
    /// Opens a run, or the one to go on with, and says its id.
    ///
    /// # Errors
    /// When it cannot be stored.
    fn start(&self, start: RunStart) -> Result<ActivityId, Failure>;

    /// Adds points; durable when it returns. A step that is told twice counts once, the later wins.
    ///
    /// # Errors
    /// When they cannot be stored.
    fn points(&self, run: ActivityId, points: &[Point]) -> Result<(), Failure>;

    /// Closes a run that finished, in the transaction that makes its model visible.
    ///
    /// # Errors
    /// When the rows cannot be written.
    fn finish(&self, act: &mut Act, run: ActivityId, end: RunEnd) -> Result<(), Failure>;

    /// Closes a run whose build fails, so that nothing of its transaction becomes visible.
    ///
    /// # Errors
    /// When it cannot be stored.
    fn abandon(&self, run: ActivityId, end: RunEnd) -> Result<(), Failure>;
}
