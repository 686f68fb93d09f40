//! How is a model built? `train/*.toml` names a dataset and an architecture; the build trains from
//! the last checkpoint, tracks the run, and stores the model and the checkpoints it kept.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sextant_core::{ActivityId, ActivityKind, ArtifactKind, Digest, Failure};
use sextant_lineage::Act;
use sextant_project::{
    About, Asset, AssetFile, AssetId, AssetKind, BuildContext, Built, Refresh, recipe_digest,
};

use crate::{
    CheckpointStore, ComputeError, JobFolder, ModelManifest, RunEnd, RunSink, RunStart, RunStatus,
    TrainJob, Trained, Trainer, code_facts,
    facts::machine_facts,
    job::PointBuffer,
    model::{lay_out, manifest_digest, store_files},
};

/// Version of what a training job stores.
const FORMAT: u32 = 1;
/// Checkpoints that stay.
const CHECKPOINTS_KEPT: usize = 2;

/// Whether a change of the dataset alone trains again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RefreshSpec {
    /// Whenever the recipe or the dataset changed.
    #[default]
    Auto,
    /// When it was never trained, when its recipe changed, or when it is named in the selector.
    Manual,
}

/// What `train/*.toml` may say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// One line for lists and pages.
    #[serde(default)]
    pub description: String,
    /// Who answers for it.
    #[serde(default)]
    pub owner: String,
    /// Words to select by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What it learns from: the name of a file in `datasets/`.
    pub dataset: String,
    /// What is trained, such as `encoder`.
    pub architecture: String,
    /// When it is trained again.
    #[serde(default)]
    refresh: RefreshSpec,
    /// The shape of the model; which keys there are is up to the architecture.
    #[serde(default)]
    pub model: Map<String, Value>,
    /// How it is trained; which keys there are is up to the architecture.
    #[serde(default)]
    pub train: Map<String, Value>,
}

/// Reads `train/*.toml`; trains and tracks through ports.
#[derive(Clone)]
pub struct TrainKind {
    trainer: Arc<dyn Trainer>,
    runs: Arc<dyn RunSink>,
}

impl TrainKind {
    /// With the ports that train and track.
    pub fn new(trainer: Arc<dyn Trainer>, runs: Arc<dyn RunSink>) -> Self {
        Self { trainer, runs }
    }
}

impl AssetKind for TrainKind {
    fn noun(&self) -> &'static str {
        "train"
    }

    fn folder(&self) -> &'static str {
        "train"
    }

    fn accepts(&self, extension: &str) -> bool {
        extension == "toml"
    }

    fn schema(&self) -> Option<Value> {
        serde_json::to_value(schemars::schema_for!(TrainSpec)).ok()
    }

    fn load(&self, file: &AssetFile) -> Result<Vec<Arc<dyn Asset>>, Failure> {
        let spec: TrainSpec = sextant_project::parse_asset_toml(file)?;
        let raw = json!({
            "architecture": spec.architecture, "model": spec.model, "train": spec.train,
        });
        let resolved = self
            .trainer
            .validate_spec(&raw)
            .map_err(|failure| ComputeError::refused(place_of(file, &failure.chain()), &failure))?;
        let id = |folder: &str, stem: &str| {
            let stem = stem.strip_prefix(folder).and_then(|s| s.strip_prefix('/')).unwrap_or(stem);
            AssetId::of(folder, stem).map_err(|reason| ComputeError::Spec {
                place: place_of(file, "`dataset`"),
                reason,
                hint: None,
            })
        };
        Ok(vec![Arc::new(TrainAsset {
            id: id("train", &file.stem())?,
            dataset: id("datasets", &spec.dataset)?,
            about: About { description: spec.description, owner: spec.owner, tags: spec.tags },
            file: file.path.clone(),
            refresh: match spec.refresh {
                RefreshSpec::Auto => Refresh::Auto,
                RefreshSpec::Manual => Refresh::Manual,
            },
            architecture: spec.architecture,
            spec: resolved,
            trainer: Arc::clone(&self.trainer),
            runs: Arc::clone(&self.runs),
        })])
    }
}

/// The line of the key that a message names in backticks.
fn place_of(file: &AssetFile, message: &str) -> sextant_core::Place {
    let named = message.split('`').skip(1).step_by(2).find_map(|key| {
        let leaf = key.rsplit('.').next().unwrap_or(key);
        file.text.lines().position(|line| {
            let rest = line.trim_start().strip_prefix(leaf);
            rest.is_some_and(|rest| rest.trim_start().starts_with('='))
        })
    });
    file.place(named.map(|index| index + 1), None)
}

struct TrainAsset {
    id: AssetId,
    about: About,
    file: PathBuf,
    dataset: AssetId,
    refresh: Refresh,
    architecture: String,
    spec: Value,
    trainer: Arc<dyn Trainer>,
    runs: Arc<dyn RunSink>,
}

impl TrainAsset {
    fn open_run(
        &self,
        context: &BuildContext<'_>,
        act: &Act,
        folder: &JobFolder,
        dataset: Digest,
    ) -> Result<ActivityId, Failure> {
        let run = self.runs.start(RunStart {
            resume: folder.run(),
            asset: self.id.to_string(),
            activity: act.id(),
            params: self.spec.clone(),
            machine: json!(machine_facts()),
            code: json!(code_facts(context.root)),
            seed: self.spec.pointer("/train/seed").and_then(Value::as_i64),
            dataset,
            recipe: folder.key(),
        })?;
        folder.remember_run(run)?;
        Ok(run)
    }

    fn train(
        &self,
        context: &BuildContext<'_>,
        folder: &JobFolder,
        checkpoints: &CheckpointStore,
        run: ActivityId,
    ) -> Result<Trained, Failure> {
        let resume = checkpoints.latest()?;
        if let Some(from) = &resume {
            context.events.info(format!("{}: goes on from step {}", self.id, from.step()));
        }
        let points = PointBuffer::new(&*self.runs, run);
        let work = folder.scratch()?;
        let result = self.trainer.train(TrainJob {
            spec: &self.spec,
            dataset: context.input(&self.dataset)?,
            inputs: context.inputs,
            store: context.store,
            work: &work,
            resume: resume.as_ref(),
            cancel: context.cancel,
            context,
            checkpoints,
            points: &points,
            told: RefCell::new(None),
            started: Instant::now(),
        });
        // What was measured is worth keeping even when training failed; its own error comes first.
        let flushed = points.flush();
        let trained = result?;
        flushed?;
        Ok(trained)
    }

    /// Stores the model and the kept checkpoints through the act.
    fn store(
        &self,
        context: &BuildContext<'_>,
        act: &mut Act,
        checkpoints: &CheckpointStore,
        run: ActivityId,
        trained: &Trained,
    ) -> Result<Built, Failure> {
        let dataset = context.input(&self.dataset)?.version;
        let mut kept = Vec::new();
        for checkpoint in checkpoints.all()? {
            store_files(act, &checkpoint.dir, &checkpoint.manifest.files)?;
            let digest =
                act.manifest(ArtifactKind::Checkpoint, &checkpoint.manifest, &[dataset])?;
            kept.push((checkpoint.step(), digest));
        }
        let manifest = ModelManifest::of(
            &trained.model_dir,
            &self.architecture,
            trained.dim,
            trained.steps,
            trained.facts.clone(),
        )?;
        store_files(act, &trained.model_dir, &manifest.files)?;
        let mut parents = vec![dataset];
        parents.extend(kept.last().map(|(_, digest)| *digest));
        let version = act.manifest(ArtifactKind::ModelVersion, &manifest, &parents)?;
        debug_assert_eq!(version, manifest_digest(&manifest));
        let from = trained.model_dir.clone();
        let dir = lay_out(context.store, &version, &manifest, &|name, _| {
            let path = from.join(name);
            Ok(std::fs::read(&path).map_err(ComputeError::io("read", &path))?)
        })?;
        act.kind(ActivityKind::Train);
        act.note("run", run);
        act.note("steps", trained.steps);
        let end = RunEnd {
            status: RunStatus::Finished,
            error: None,
            model: Some(version),
            checkpoints: kept.clone(),
        };
        self.runs.finish(act, run, end)?;
        let bytes: u64 = manifest.files.values().map(|fact| fact.size).sum();
        let size = format!("{:.1} MB", bytes as f64 / 1e6);
        let dim = trained.dim.map(|dim| format!(", {dim} dimensions")).unwrap_or_default();
        let relative = dir.strip_prefix(context.store.dir()).unwrap_or(&dir).to_owned();
        Ok(Built {
            version,
            meta: json!({
                "model": version,
                "architecture": self.architecture,
                "dir": relative,
                "dim": trained.dim,
                "steps": trained.steps,
                "run": run,
                "dataset": dataset,
                "checkpoint": kept.last().map(|(_, digest)| digest),
            }),
            summary: format!("{} steps, {size}{dim}", trained.steps),
        })
    }
}

impl Asset for TrainAsset {
    fn id(&self) -> &AssetId {
        &self.id
    }

    fn noun(&self) -> &'static str {
        "train"
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn file(&self) -> &Path {
        &self.file
    }

    fn inputs(&self) -> Vec<AssetId> {
        vec![self.dataset.clone()]
    }

    fn guards(&self) -> Option<AssetId> {
        None
    }

    fn refresh(&self) -> Refresh {
        self.refresh
    }

    fn recipe(&self) -> Result<Digest, Failure> {
        Ok(recipe_digest(&json!({
            "kind": "train", "format": FORMAT, "architecture": self.architecture,
            "spec": self.spec, "dataset": self.dataset,
        })))
    }

    fn outside(&self) -> Result<Option<Digest>, Failure> {
        Ok(None)
    }

    fn build(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built, Failure> {
        let dataset = context.input(&self.dataset)?.version;
        let key = recipe_digest(&json!({"recipe": self.recipe()?, "dataset": dataset}));
        let folder = JobFolder::open(context.store, &self.id, key)?;
        let checkpoints = folder.checkpoints(CHECKPOINTS_KEPT)?;
        let run = self.open_run(context, act, &folder, dataset)?;
        let built = self
            .train(context, &folder, &checkpoints, run)
            .and_then(|trained| self.store(context, act, &checkpoints, run, &trained));
        match built {
            Ok(built) => {
                folder.forget_others()?;
                Ok(built)
            }
            Err(failure) => {
                let cancelled = context.cancel.is_cancelled();
                let status = if cancelled { RunStatus::Killed } else { RunStatus::Failed };
                let error = (!cancelled).then(|| failure.chain());
                let end = RunEnd { status, error, model: None, checkpoints: Vec::new() };
                // The first failure is what the user must see; a run that cannot be closed is
                // shown as interrupted anyway.
                if let Err(second) = self.runs.abandon(run, end) {
                    context.events.warn(format!("{}: the run stays open: {second}", self.id));
                }
                Err(failure)
            }
        }
    }
}

#[cfg(test)]
#[path = "kind_tests.rs"]
mod tests;
