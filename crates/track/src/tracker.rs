//! How are runs opened, fed, closed and found? [`Tracker`] is this layer's one door.

use std::{collections::BTreeMap, sync::OnceLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sextant_core::{ActivityId, ActivityKind, Digest, Timestamp};
use sextant_lineage::{Act, Cell, Log, Reader, Store};

use crate::{
    BestCheckpoint, CheckpointRow, Curves, Direction, MetricPoint, MetricSummary, RunStatus,
    TrackError, decode_points, encode_points,
    rows::{COLUMNS, MIGRATIONS, RunRow, run_from_row},
    summary::{best_checkpoint, curves, main_metric, summaries},
};

/// Most runs of one list.
const RUNS_LISTED_MAX: i64 = 1_000;
/// Most points of one log record.
const POINTS_PER_RECORD: usize = 4_096;

/// What a run starts with.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// The run to go on with: the same id, one attempt more. Unknown ids open a new run.
    pub resume: Option<ActivityId>,
    /// The asset that is built.
    pub asset: String,
    /// The activity of the build.
    pub activity: ActivityId,
    /// The parameters.
    pub params: Value,
    /// The machine.
    pub machine: Value,
    /// The code.
    pub code: Value,
    /// The seed.
    pub seed: Option<i64>,
    /// The dataset snapshot.
    pub dataset: Option<Digest>,
    /// The digest of recipe and inputs.
    pub recipe: Option<Digest>,
}

/// What a run ends with.
#[derive(Debug, Clone, PartialEq)]
pub struct Finish {
    /// Finished, failed or killed.
    pub status: RunStatus,
    /// The error, when it failed.
    pub error: Option<String>,
    /// The model version, when it made one.
    pub model: Option<Digest>,
    /// The checkpoints it kept.
    pub checkpoints: Vec<CheckpointRow>,
}

/// One run of a list.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// Its id.
    pub id: ActivityId,
    /// The asset.
    pub asset: String,
    /// Its state.
    pub status: RunStatus,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How long it took, or has taken so far.
    pub seconds: f64,
    /// How often it was started: 1 without a kill.
    pub attempts: i64,
    /// The parameters.
    pub params: Value,
    /// The last value of each metric.
    pub metrics: BTreeMap<String, f64>,
    /// The best checkpoint by its main metric.
    pub best: Option<BestCheckpoint>,
    /// The dataset snapshot.
    pub dataset: Option<Digest>,
    /// The last checkpoint that it kept.
    pub checkpoint: Option<Digest>,
    /// The model version.
    pub model: Option<Digest>,
    /// The seed.
    pub seed: Option<i64>,
    /// The error.
    pub error: Option<String>,
}

/// All that is known of a run.
#[derive(Debug, Clone, Serialize)]
pub struct RunDetail {
    /// What a list shows.
    #[serde(flatten)]
    pub run: RunSummary,
    /// The curve of each metric.
    pub curves: Curves,
    /// The machine.
    pub machine: Value,
    /// The code.
    pub code: Value,
    /// The digest of recipe and inputs.
    pub recipe: Option<Digest>,
    /// The activity of the last build.
    pub activity: ActivityId,
    /// The checkpoints that it kept, oldest first.
    pub checkpoints: Vec<CheckpointRow>,
}

/// The run that made the best checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BestRun {
    /// The run.
    pub run: ActivityId,
    /// Its asset.
    pub asset: String,
    /// What it was judged by, with the value and the checkpoint.
    #[serde(flatten)]
    pub best: BestCheckpoint,
    /// Which way is better.
    pub direction: Direction,
    /// How many runs were compared.
    pub compared: usize,
}

/// In which order runs are listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SortRuns {
    /// The newest first.
    #[default]
    Newest,
    /// By asset, the newest first.
    Asset,
    /// By duration, the longest first.
    Seconds,
    /// By a metric's last value, the best first; runs without it last.
    Metric(String),
}

/// Kept with a finished run, so that a list reads no points.
#[derive(Serialize, Deserialize)]
struct Kept {
    metrics: BTreeMap<String, MetricSummary>,
    best: Option<BestCheckpoint>,
}

/// Keeps runs and their metrics. Clones share the store.
#[derive(Clone)]
pub struct Tracker {
    store: Store,
    points: Log,
}

impl Tracker {
    /// Opens the tracker and makes its tables when they are not there.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn open(store: &Store) -> Result<Self, TrackError> {
        store.migrate("track", MIGRATIONS)?;
        Ok(Self { store: store.clone(), points: store.log("metrics")? })
    }

    /// Opens a run, or the one to go on with, and says its id.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn start_run(&self, new: NewRun) -> Result<ActivityId, TrackError> {
        let known = new.resume.filter(|id| self.row(*id).is_ok());
        let id = known.unwrap_or_default();
        let mut act = self.store.begin(ActivityKind::Train, format!("open run of {}", new.asset));
        act.note("run", id);
        if known.is_some() {
            act.execute(
                "UPDATE track_runs SET status = 'running', owner = ?2, ended_at = NULL, error = NULL,
                 attempts = attempts + 1, activity = ?3, summary = NULL WHERE id = ?1",
                vec![id.into(), owner().into(), new.activity.into()],
            );
        } else {
            act.execute(
                "INSERT INTO track_runs (id, asset, status, owner, started_at, params, machine, code,
                 seed, dataset, recipe, activity)
                 VALUES (?1, ?2, 'running', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                vec![
                    id.into(),
                    new.asset.into(),
                    owner().into(),
                    self.store.now().into(),
                    (&new.params).into(),
                    (&new.machine).into(),
                    (&new.code).into(),
                    new.seed.into(),
                    new.dataset.into(),
                    new.recipe.into(),
                    new.activity.into(),
                ],
            );
        }
        act.commit()?;
        Ok(id)
    }

    /// Adds points; they are durable when this returns.
    ///
    /// # Errors
    /// When a name is not one of a metric, or the log refuses.
    pub fn append(&self, run: ActivityId, points: &[MetricPoint]) -> Result<(), TrackError> {
        let records = points
            .chunks(POINTS_PER_RECORD)
            .map(|chunk| Ok((*run.as_raw(), encode_points(chunk)?)))
            .collect::<Result<Vec<_>, TrackError>>()?;
        if !records.is_empty() {
            self.points.append_many(records)?;
        }
        Ok(())
    }

    /// Closes a run in the transaction of another act: the one that makes its model visible.
    ///
    /// # Errors
    /// When its points cannot be read.
    pub fn finish_in(
        &self,
        act: &mut Act,
        run: ActivityId,
        finish: &Finish,
    ) -> Result<(), TrackError> {
        let curves = self.curves(run)?;
        let kept = kept(&curves, &finish.checkpoints);
        let summary = serde_json::to_value(kept)
            .map_err(|error| TrackError::Stored { what: "run", reason: error.to_string() })?;
        act.execute(
            "UPDATE track_runs SET status = ?2, ended_at = ?3, error = ?4, model = ?5, summary = ?6
             WHERE id = ?1",
            vec![
                run.into(),
                finish.status.as_str().into(),
                self.store.now().into(),
                finish.error.clone().into(),
                finish.model.into(),
                (&summary).into(),
            ],
        );
        act.execute("DELETE FROM track_checkpoints WHERE run = ?1", vec![run.into()]);
        for row in &finish.checkpoints {
            act.execute(
                "INSERT INTO track_checkpoints (run, step, checkpoint) VALUES (?1, ?2, ?3)",
                vec![run.into(), step_cell(row.step), row.checkpoint.into()],
            );
        }
        Ok(())
    }

    /// Closes a run in a transaction of its own.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn finish(&self, run: ActivityId, finish: &Finish) -> Result<(), TrackError> {
        let word = finish.status.as_str();
        let mut act = self.store.begin(ActivityKind::Train, format!("close run: {word}"));
        act.note("run", run);
        self.finish_in(&mut act, run, finish)?;
        act.commit()?;
        Ok(())
    }

    /// The runs, at most 1,000 of the newest, in this order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn list(&self, sort: &SortRuns) -> Result<Vec<RunSummary>, TrackError> {
        let reader = self.store.read()?;
        let sql =
            format!("SELECT {COLUMNS} FROM track_runs ORDER BY started_at DESC, id DESC LIMIT ?1");
        let mut runs = reader
            .query(&sql, &[RUNS_LISTED_MAX.into()])?
            .iter()
            .map(|row| self.summary(&reader, run_from_row(row, owner())?))
            .collect::<Result<Vec<_>, TrackError>>()?;
        match sort {
            SortRuns::Newest => {}
            SortRuns::Asset => runs.sort_by(|a, b| a.asset.cmp(&b.asset)),
            SortRuns::Seconds => runs.sort_by(|a, b| b.seconds.total_cmp(&a.seconds)),
            SortRuns::Metric(metric) => sort_by_metric(&mut runs, metric),
        }
        Ok(runs)
    }

    /// All that is known of the run with this id, or with the only id that begins so.
    ///
    /// # Errors
    /// When there is none, or its points cannot be read.
    pub fn get(&self, id: &str) -> Result<RunDetail, TrackError> {
        let row = self.find(id)?;
        let reader = self.store.read()?;
        let checkpoints = checkpoints(&reader, row.id)?;
        let curves = self.curves(row.id)?;
        let (machine, code) = (row.machine.clone(), row.code.clone());
        let (recipe, activity) = (row.recipe, row.activity);
        let run = self.summary(&reader, row)?;
        Ok(RunDetail { run, curves, machine, code, recipe, activity, checkpoints })
    }

    /// The curve of each metric.
    ///
    /// # Errors
    /// When the points cannot be read.
    pub fn curves(&self, run: ActivityId) -> Result<Curves, TrackError> {
        let mut points = Vec::new();
        for record in self.points.get_all(run.as_raw())? {
            points.extend(decode_points(&record)?);
        }
        Ok(curves(points))
    }

    /// Which run made the best checkpoint? Without a metric, each run is judged by the main metric
    /// of the newest run; without a direction, by the metric's name.
    ///
    /// # Errors
    /// When no run has measured it.
    pub fn best(
        &self,
        metric: Option<&str>,
        asset: Option<&str>,
        direction: Option<Direction>,
    ) -> Result<BestRun, TrackError> {
        let runs = self.list(&SortRuns::Newest)?;
        let runs: Vec<_> =
            runs.into_iter().filter(|run| asset.is_none_or(|asset| run.asset == asset)).collect();
        let metric = match metric {
            Some(metric) => metric.to_owned(),
            None => runs
                .iter()
                .find_map(|run| main_metric(run.metrics.keys()))
                .map(str::to_owned)
                .ok_or_else(|| TrackError::NoMetric("loss".into()))?,
        };
        let direction = direction.unwrap_or_else(|| Direction::of(&metric));
        let reader = self.store.read()?;
        let mut best: Option<(usize, BestCheckpoint)> = None;
        let mut compared = 0;
        for (index, run) in runs.iter().enumerate() {
            if !run.metrics.contains_key(&metric) {
                continue;
            }
            let kept = checkpoints(&reader, run.id)?;
            let curves = self.curves(run.id)?;
            let Some(found) = best_checkpoint(&curves, &kept, &metric, direction) else { continue };
            compared += 1;
            // A value with a checkpoint beats one without: it can be served.
            let better = best.as_ref().is_none_or(|(_, known)| {
                match (found.checkpoint.is_some(), known.checkpoint.is_some()) {
                    (true, false) => true,
                    (false, true) => false,
                    _ => direction.better(found.value, known.value),
                }
            });
            if better {
                best = Some((index, found));
            }
        }
        let (index, best) = best.ok_or(TrackError::NoMetric(metric))?;
        let run = &runs[index];
        Ok(BestRun { run: run.id, asset: run.asset.clone(), best, direction, compared })
    }

    /// The run that kept this checkpoint.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn run_of_checkpoint(&self, checkpoint: &Digest) -> Result<Option<String>, TrackError> {
        let sql =
            "SELECT run FROM track_checkpoints WHERE checkpoint = ?1 ORDER BY run DESC LIMIT 1";
        let rows = self.store.read()?.query(sql, &[checkpoint.into()])?;
        Ok(rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()?)
    }

    fn row(&self, id: ActivityId) -> Result<RunRow, TrackError> {
        self.find(&id.to_string())
    }

    fn find(&self, id: &str) -> Result<RunRow, TrackError> {
        let plain = id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') && !id.is_empty();
        let sql = format!("SELECT {COLUMNS} FROM track_runs WHERE id LIKE ?1 LIMIT 2");
        let none = || TrackError::NoRun(id.chars().take(80).collect());
        if !plain {
            return Err(none());
        }
        let rows = self.store.read()?.query(&sql, &[format!("{id}%").into()])?;
        match rows.as_slice() {
            [row] => run_from_row(row, owner()),
            _ => Err(none()),
        }
    }

    fn summary(&self, reader: &Reader, row: RunRow) -> Result<RunSummary, TrackError> {
        let checkpoints = checkpoints(reader, row.id)?;
        let kept = match row.summary.clone().map(serde_json::from_value::<Kept>) {
            Some(Ok(kept)) => kept,
            _ => kept(&self.curves(row.id)?, &checkpoints),
        };
        let end = row.ended_at.unwrap_or_else(|| self.store.now());
        let seconds = (end.micros() - row.started_at.micros()).max(0) as f64 / 1e6;
        Ok(RunSummary {
            id: row.id,
            asset: row.asset,
            status: row.status,
            started_at: row.started_at,
            ended_at: row.ended_at,
            seconds,
            attempts: row.attempts,
            params: row.params,
            metrics: kept.metrics.into_iter().map(|(name, short)| (name, short.last)).collect(),
            best: kept.best,
            dataset: row.dataset,
            checkpoint: checkpoints.last().map(|row| row.checkpoint),
            model: row.model,
            seed: row.seed,
            error: row.error,
        })
    }
}

/// This process, for as long as it lives.
fn owner() -> &'static str {
    static OWNER: OnceLock<String> = OnceLock::new();
    OWNER.get_or_init(|| ActivityId::new().to_string())
}

fn kept(curves: &Curves, checkpoints: &[CheckpointRow]) -> Kept {
    let best = main_metric(curves.keys())
        .and_then(|metric| best_checkpoint(curves, checkpoints, metric, Direction::of(metric)));
    Kept { metrics: summaries(curves), best }
}

fn checkpoints(reader: &Reader, run: ActivityId) -> Result<Vec<CheckpointRow>, TrackError> {
    let sql = "SELECT step, checkpoint FROM track_checkpoints WHERE run = ?1 ORDER BY step";
    let broken = |reason: String| TrackError::Stored { what: "checkpoint", reason };
    reader
        .query(sql, &[run.into()])?
        .iter()
        .map(|row| {
            Ok(CheckpointRow {
                step: u64::try_from(row.int(0)?).map_err(|error| broken(error.to_string()))?,
                checkpoint: row
                    .text(1)?
                    .parse()
                    .map_err(|error: sextant_core::ParseDigestError| broken(error.to_string()))?,
            })
        })
        .collect()
}

fn step_cell(step: u64) -> Cell {
    Cell::Int(i64::try_from(step).unwrap_or(i64::MAX))
}

fn sort_by_metric(runs: &mut [RunSummary], metric: &str) {
    let direction = Direction::of(metric);
    let value = |run: &RunSummary| run.metrics.get(metric).copied().unwrap_or(f64::NAN);
    runs.sort_by(|a, b| {
        let (one, two) = (value(a), value(b));
        if direction.better(one, two) {
            std::cmp::Ordering::Less
        } else if direction.better(two, one) {
            std::cmp::Ordering::Greater
        } else {
            std::cmp::Ordering::Equal
        }
    });
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
