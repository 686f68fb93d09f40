//! What does a trainer see while it works, and where does the job keep what must survive a kill?

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sextant_core::{ActivityId, Cancel, Digest, Failure};
use sextant_lineage::Store;
use sextant_project::{AssetId, BuildContext, InputVersion};

use crate::{
    Checkpoint, CheckpointStore, ComputeError, Point, RunSink,
    files::{remove_folder, sync_folder},
};

/// Points are handed to the sink when so many wait, …
const POINTS_WAITING_MAX: usize = 256;
/// … or when the oldest has waited this long.
const POINTS_WAIT: Duration = Duration::from_secs(1);
/// Progress is told at most this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What survives of a job between attempts, beside its checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct JobNote {
    run: ActivityId,
}

/// The working folder of one job: `<data folder>/jobs/<asset>/<recipe and inputs>/`.
#[derive(Debug)]
pub struct JobFolder {
    dir: PathBuf,
    key: Digest,
}

impl JobFolder {
    /// The folder of this asset with this recipe and these inputs.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(store: &Store, asset: &AssetId, key: Digest) -> Result<Self, Failure> {
        let dir = store.area("jobs")?.join(asset.as_str().replace('/', "-")).join(&key.hex()[..24]);
        std::fs::create_dir_all(&dir).map_err(ComputeError::io("make", &dir))?;
        Ok(Self { dir, key })
    }

    /// The digest of recipe and inputs.
    pub fn key(&self) -> Digest {
        self.key
    }

    /// The job's checkpoints.
    ///
    /// # Errors
    /// When their folder cannot be opened.
    pub fn checkpoints(&self, keep: usize) -> Result<CheckpointStore, ComputeError> {
        CheckpointStore::open(&self.dir.join("checkpoints"), self.key, keep)
    }

    /// An empty folder for what need not survive.
    pub(crate) fn scratch(&self) -> Result<PathBuf, ComputeError> {
        let dir = self.dir.join("work");
        remove_folder(&dir)?;
        std::fs::create_dir(&dir).map_err(ComputeError::io("make", &dir))?;
        Ok(dir)
    }

    /// The run that an earlier attempt opened.
    pub(crate) fn run(&self) -> Option<ActivityId> {
        let bytes = std::fs::read(self.dir.join("job.json")).ok()?;
        serde_json::from_slice::<JobNote>(&bytes).ok().map(|note| note.run)
    }

    pub(crate) fn remember_run(&self, run: ActivityId) -> Result<(), ComputeError> {
        let path = self.dir.join("job.json");
        let bytes = serde_json::to_vec(&JobNote { run }).unwrap_or_default();
        sextant_lineage::write_atomically(&path, &bytes).map_err(ComputeError::io("write", &path))
    }

    /// Removes the folders of other recipes and inputs of the same asset: they are finished with.
    pub(crate) fn forget_others(&self) -> Result<(), ComputeError> {
        let Some(parent) = self.dir.parent() else { return Ok(()) };
        for entry in std::fs::read_dir(parent).map_err(ComputeError::io("read", parent))? {
            let path = entry.map_err(ComputeError::io("read", parent))?.path();
            if path != self.dir {
                remove_folder(&path)?;
            }
        }
        sync_folder(parent)
    }
}

/// How far a trainer has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JobProgress {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// The loss now.
    pub loss: f64,
    /// Training pairs (or rows) per second.
    pub pairs_per_second: f64,
}

/// What a trainer sees.
pub struct TrainJob<'a> {
    /// The validated spec: `{architecture, model, train}`.
    pub spec: &'a Value,
    /// The dataset snapshot with what its builder recorded.
    pub dataset: &'a InputVersion,
    /// Every input by asset.
    pub inputs: &'a BTreeMap<AssetId, InputVersion>,
    /// The store, for reading.
    pub store: &'a Store,
    /// An empty folder for the trainer's own use; the model may be left in it.
    pub work: &'a Path,
    /// Where to go on from.
    pub resume: Option<&'a Checkpoint>,
    /// Raised when the job should stop at the next safe point.
    pub cancel: &'a Cancel,
    pub(crate) context: &'a BuildContext<'a>,
    pub(crate) checkpoints: &'a CheckpointStore,
    pub(crate) points: &'a PointBuffer<'a>,
    pub(crate) told: RefCell<Option<Instant>>,
    pub(crate) started: Instant,
}

impl TrainJob<'_> {
    /// Writes a checkpoint after `step` steps; it is durable and complete when this returns.
    ///
    /// # Errors
    /// What `write` says, or an error of the file system.
    pub fn checkpoint(
        &self,
        step: u64,
        write: &mut dyn FnMut(&Path) -> Result<(), Failure>,
    ) -> Result<Checkpoint, Failure> {
        self.points.flush()?;
        self.checkpoints.save(step, write)
    }

    /// Records metrics after `step` steps.
    ///
    /// # Errors
    /// When the sink cannot store them.
    pub fn metrics(&self, step: u64, values: &[(&str, f64)]) -> Result<(), Failure> {
        let at = self.store.now();
        self.points.add(values.iter().map(|(metric, value)| Point {
            metric: (*metric).to_owned(),
            step,
            value: *value,
            at,
        }))
    }

    /// Tells how far training has come: loss, pairs per second, and the time left.
    pub fn progress(&self, progress: JobProgress) {
        let now = Instant::now();
        let mut told = self.told.borrow_mut();
        let due = told.is_none_or(|last| now.duration_since(last) >= PROGRESS_EVERY);
        if !due && progress.step < progress.steps {
            return;
        }
        *told = Some(now);
        let from = self.resume.map_or(0, Checkpoint::step);
        let done = progress.step.saturating_sub(from);
        let left = progress.steps.saturating_sub(progress.step);
        let eta = if done == 0 {
            String::new()
        } else {
            let seconds = self.started.elapsed().as_secs_f64() / done as f64 * left as f64;
            format!(", {seconds:.0} s left")
        };
        let detail =
            format!("loss {:.4}, {:.0} pairs/s{eta}", progress.loss, progress.pairs_per_second);
        self.context.progress(progress.step, Some(progress.steps), detail);
    }

    /// The error of a trainer that stops because `cancel` is raised.
    pub fn stopped(&self, step: u64) -> Failure {
        ComputeError::Stopped { step }.into()
    }
}

/// Gathers points so that a metric per step does not cost an fsync per step.
pub(crate) struct PointBuffer<'a> {
    sink: &'a dyn RunSink,
    run: ActivityId,
    waiting: RefCell<(Vec<Point>, Option<Instant>)>,
}

impl<'a> PointBuffer<'a> {
    pub(crate) fn new(sink: &'a dyn RunSink, run: ActivityId) -> Self {
        Self { sink, run, waiting: RefCell::default() }
    }

    fn add(&self, points: impl Iterator<Item = Point>) -> Result<(), Failure> {
        let due = {
            let mut waiting = self.waiting.borrow_mut();
            waiting.0.extend(points);
            let since = *waiting.1.get_or_insert_with(Instant::now);
            waiting.0.len() >= POINTS_WAITING_MAX || since.elapsed() >= POINTS_WAIT
        };
        if due { self.flush() } else { Ok(()) }
    }

    pub(crate) fn flush(&self) -> Result<(), Failure> {
        let (points, _) = self.waiting.take();
        if points.is_empty() { Ok(()) } else { self.sink.points(self.run, &points) }
    }
}
