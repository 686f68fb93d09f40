//! The native trainer, for the job runner of the compute layer.

use std::{cell::RefCell, collections::BTreeMap};

use serde_json::{Value, json};
use sextant_compute::{JobProgress, TrainJob, Trained, Trainer};
use sextant_core::Failure;
use sextant_data::read_dataset;
use sextant_models::{
    HookError, ModelsError, Pair, RetrievalScore, StepReport, TrainHooks, TrainSpec, TrainState,
};

use crate::AppError;

/// The only architecture so far.
const ENCODER: &str = "encoder";

/// Trains the text embedder.
#[derive(Debug, Clone, Copy)]
pub struct EncoderTrainer;

impl Trainer for EncoderTrainer {
    fn validate_spec(&self, spec: &Value) -> Result<Value, Failure> {
        let architecture = spec["architecture"].as_str().unwrap_or_default();
        if architecture != ENCODER {
            let message =
                format!("`architecture` is `{architecture}`; this program trains `{ENCODER}`");
            return Err(AppError::BadInput(message).into());
        }
        let train = flat_spec(spec)?;
        train.validate()?;
        Ok(json!({ "architecture": ENCODER, "model": {}, "train": train }))
    }

    fn train(&self, job: TrainJob<'_>) -> Result<Trained, Failure> {
        let spec = flat_spec(job.spec)?;
        let pairs = read_pairs(&job, "train")?;
        let validation = read_pairs(&job, "validation")?;
        let from = match job.resume {
            Some(checkpoint) => Some(TrainState::load(&checkpoint.dir)?),
            None => None,
        };
        let fault = RefCell::new(None);
        let mut hooks = Hooks { job: &job, fault: &fault, step: 0 };
        let outcome = sextant_models::train(&spec, &pairs, &validation, from, &mut hooks);
        let step = hooks.step;
        if let Some(failure) = fault.into_inner() {
            return Err(failure);
        }
        let trained = outcome?;
        if !trained.finished {
            return Err(job.stopped(step));
        }
        let model_dir = job.work.join("model");
        trained.state.write_model(&model_dir)?;
        Ok(Trained {
            model_dir,
            steps: trained.state.step(),
            dim: Some(spec.hidden),
            facts: json!({ "pooling": "mean", "normalized": true, "pairs": pairs.len() }),
        })
    }
}

/// `[model]` and `[train]` as one table, the way the trainer reads it.
fn flat_spec(spec: &Value) -> Result<TrainSpec, Failure> {
    let mut flat = serde_json::Map::new();
    for part in ["model", "train"] {
        for (key, value) in spec[part].as_object().into_iter().flatten() {
            if flat.insert(key.clone(), value.clone()).is_some() {
                let message = format!("`{key}` stands in [model] and in [train]");
                return Err(AppError::BadInput(message).into());
            }
        }
    }
    serde_json::from_value(Value::Object(flat))
        .map_err(|error| AppError::BadInput(error.to_string()).into())
}

fn read_pairs(job: &TrainJob<'_>, split: &str) -> Result<Vec<Pair>, Failure> {
    let counts: BTreeMap<String, Value> =
        serde_json::from_value(job.dataset.meta["splits"].clone()).unwrap_or_default();
    if split != "train" && !counts.is_empty() && !counts.contains_key(split) {
        return Ok(Vec::new());
    }
    let rows = read_dataset(job.store, &job.dataset.version, split)?;
    rows.iter()
        .map(|row| {
            let text = |field: &str| row.get(field).and_then(Value::as_str).map(str::to_owned);
            match (text("query"), text("passage")) {
                (Some(query), Some(passage)) => Ok(Pair { query, passage }),
                _ => {
                    let message = format!("a row of split {split} has no query and passage");
                    Err(AppError::BadInput(message).into())
                }
            }
        })
        .collect()
}

/// Hands the trainer's news to the job; keeps our own failure so that it arrives whole.
struct Hooks<'a> {
    job: &'a TrainJob<'a>,
    fault: &'a RefCell<Option<Failure>>,
    step: u64,
}

impl Hooks<'_> {
    fn keep<T>(&self, result: Result<T, Failure>) -> Result<T, HookError> {
        result.map_err(|failure| {
            let text = failure.to_string();
            self.fault.replace(Some(failure));
            text.into()
        })
    }
}

impl TrainHooks for Hooks<'_> {
    fn on_step(&mut self, report: &StepReport) -> Result<(), HookError> {
        self.step = report.step;
        self.job.progress(JobProgress {
            step: report.step,
            steps: report.steps,
            loss: report.loss,
            pairs_per_second: report.pairs_per_s,
        });
        self.keep(self.job.metrics(
            report.step,
            &[
                ("loss", report.loss),
                ("learning_rate", report.learning_rate),
                ("gradient_norm", report.gradient_norm),
                ("pairs_per_s", report.pairs_per_s),
            ],
        ))
    }

    fn on_validation(&mut self, step: u64, score: &RetrievalScore) -> Result<(), HookError> {
        self.keep(self.job.metrics(
            step,
            &[("validation_mrr", score.mrr), ("validation_accuracy", score.accuracy)],
        ))
    }

    fn on_checkpoint(&mut self, state: &TrainState) -> Result<(), HookError> {
        let mut write = |dir: &std::path::Path| -> Result<(), Failure> {
            state.write(dir).map_err(|error: ModelsError| error.into())
        };
        self.keep(self.job.checkpoint(state.step(), &mut write).map(drop))
    }

    fn should_stop(&mut self) -> bool {
        self.job.cancel.is_cancelled()
    }
}
