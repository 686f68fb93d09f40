#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, sync::Mutex};

use sextant_core::{Cancel, Silent};
use sextant_lineage::{OpenOptions, Store};
use sextant_project::InputVersion;

use super::*;
use crate::{Point, materialise};

/// Counts to `steps`; its weights are the sum of what it counted, so a resumed job must end with
/// the same. Fails before step `fail_at`, once.
#[derive(Default)]
struct Counter {
    fail_at: Mutex<Option<u64>>,
    began_at: Mutex<Vec<u64>>,
}

impl Trainer for Counter {
    fn validate_spec(&self, spec: &Value) -> Result<Value, Failure> {
        if spec.pointer("/train/steps").is_none() {
            return Err(
                ComputeError::NoModel { reason: "`architecture` needs steps".into() }.into()
            );
        }
        Ok(spec.clone())
    }

    fn train(&self, job: TrainJob<'_>) -> Result<Trained, Failure> {
        let steps = job.spec["train"]["steps"].as_u64().unwrap();
        let read = |dir: &Path| std::fs::read_to_string(dir.join("sum")).unwrap().parse().unwrap();
        let from = job.resume.map_or(0, crate::Checkpoint::step);
        let mut sum: u64 = job.resume.map_or(0, |checkpoint| read(&checkpoint.dir));
        self.began_at.lock().unwrap().push(from);
        for step in from + 1..=steps {
            if *self.fail_at.lock().unwrap() == Some(step) {
                *self.fail_at.lock().unwrap() = None;
                return Err(job.stopped(step - 1));
            }
            sum += step;
            job.metrics(step, &[("loss", 1.0 / step as f64)])?;
            if step % 2 == 0 {
                job.checkpoint(step, &mut |dir| {
                    std::fs::write(dir.join("sum"), sum.to_string()).unwrap();
                    Ok(())
                })?;
            }
        }
        let model_dir = job.work.join("model");
        std::fs::create_dir(&model_dir).unwrap();
        std::fs::write(model_dir.join("model.safetensors"), sum.to_string()).unwrap();
        std::fs::write(model_dir.join("config.json"), "{}").unwrap();
        Ok(Trained { model_dir, steps, dim: Some(8), facts: json!({"pooling": "mean"}) })
    }
}

#[derive(Default)]
struct Sink {
    started: Mutex<Vec<RunStart>>,
    points: Mutex<Vec<Point>>,
    ends: Mutex<Vec<RunEnd>>,
}

impl RunSink for Sink {
    fn start(&self, start: RunStart) -> Result<ActivityId, Failure> {
        let id = start.resume.unwrap_or_default();
        self.started.lock().unwrap().push(start);
        Ok(id)
    }

    fn points(&self, _run: ActivityId, points: &[Point]) -> Result<(), Failure> {
        self.points.lock().unwrap().extend_from_slice(points);
        Ok(())
    }

    fn finish(&self, _act: &mut Act, _run: ActivityId, end: RunEnd) -> Result<(), Failure> {
        self.ends.lock().unwrap().push(end);
        Ok(())
    }

    fn abandon(&self, _run: ActivityId, end: RunEnd) -> Result<(), Failure> {
        self.ends.lock().unwrap().push(end);
        Ok(())
    }
}

struct World {
    dir: tempfile::TempDir,
    store: Store,
    trainer: Arc<Counter>,
    sink: Arc<Sink>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join(".sextant"), OpenOptions::default()).unwrap();
        Self { dir, store, trainer: Arc::default(), sink: Arc::default() }
    }

    fn load(&self, text: &str) -> Result<Arc<dyn Asset>, Failure> {
        let kind = TrainKind::new(self.trainer.clone(), self.sink.clone());
        let path = "train/embedder.toml".into();
        let root = self.dir.path().to_owned();
        kind.load(&AssetFile { root, path, text: text.to_owned() })
            .map(|mut assets| assets.remove(0))
    }

    fn build(&self) -> Result<Built, Failure> {
        let asset = self.load(SPEC)?;
        let mut act = self.store.begin(ActivityKind::Snapshot, "a dataset");
        act.opaque("rows");
        let dataset =
            act.manifest(ArtifactKind::DatasetSnapshot, &json!({"rows": 3}), &[]).unwrap();
        act.commit().unwrap();
        let id: AssetId = "datasets/pairs".parse().unwrap();
        let version = InputVersion { asset: id.clone(), version: dataset, meta: Value::Null };
        let inputs = BTreeMap::from([(id, version)]);
        let context = BuildContext {
            store: &self.store,
            root: self.dir.path(),
            asset: asset.id(),
            inputs: &inputs,
            previous: None,
            events: &Silent,
            cancel: &Cancel::new(),
        };
        let mut act = self.store.begin(ActivityKind::Train, "train");
        act.used(dataset);
        let built = asset.build(&context, &mut act)?;
        act.commit()?;
        Ok(built)
    }
}

const SPEC: &str = "dataset='pairs'\narchitecture='counter'\nrefresh='manual'\n[train]\nsteps=7\n";

#[test]
fn a_killed_job_goes_on_to_the_same_model() {
    let whole = World::new();
    let expected = whole.build().unwrap();
    let world = World::new();
    *world.trainer.fail_at.lock().unwrap() = Some(6);
    assert_eq!(world.build().unwrap_err().code().number, 4304);
    let built = world.build().unwrap();
    assert_eq!(built.version, expected.version);
    assert_eq!(*world.trainer.began_at.lock().unwrap(), [0, 4]);
    let started = world.sink.started.lock().unwrap();
    assert_eq!(started[0].resume, None);
    assert!(started[1].resume.is_some());
    let ends = world.sink.ends.lock().unwrap();
    assert_eq!(ends[0].status, RunStatus::Failed);
    assert_eq!(ends[1].checkpoints.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [4, 6]);
    assert!(world.sink.points.lock().unwrap().len() >= 8);
}

#[test]
fn the_model_is_a_folder_that_can_be_laid_out_again() {
    let world = World::new();
    let built = world.build().unwrap();
    let dir = world.store.dir().join(built.meta["dir"].as_str().unwrap());
    assert_eq!(std::fs::read_to_string(dir.join("model.safetensors")).unwrap(), "28");
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(materialise(&world.store, &built.version).unwrap(), dir);
    assert_eq!(std::fs::read_to_string(dir.join("config.json")).unwrap(), "{}");
    assert_eq!(built.meta["dim"], 8);
}

#[test]
fn a_second_build_trains_nothing_again() {
    let world = World::new();
    let one = world.build().unwrap();
    let two = world.build().unwrap();
    assert_eq!(one.version, two.version);
    assert_eq!(*world.trainer.began_at.lock().unwrap(), [0, 6]);
}

#[test]
fn a_refused_spec_names_its_line() {
    let world = World::new();
    let failure = world.load("dataset='pairs'\narchitecture='x'\n").err().unwrap();
    assert_eq!(failure.place().unwrap().to_string(), "train/embedder.toml:2");
    assert!(world.load(&format!("{SPEC}\n[surprise]\n")).is_err());
    assert_eq!(world.load(SPEC).unwrap().refresh(), Refresh::Manual);
}
