//! How does a point become durable, and what is the latest value of a metric?
//!
//! A point is acknowledged when the log has it. Beside the log, the latest, least and greatest value of
//! each metric, and the latest of each logged model, are kept in memory and go to the catalog when
//! somebody asks for them, or when there are many. The catalog says up to which record of the log it knows; what came later is read again at
//! the start. Both steps may be repeated: they take a maximum.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use sextant_core::ActivityKind;
use sextant_lineage::{Act, Log, Store};

use super::point::{About, Point, decode, decode_of, encode};
use crate::MlflowError;

/// So many changed metrics are kept in memory at most.
const MARKS_MAX: usize = 20_000;

/// The id of a run, as the log has it.
pub(super) type RunKey = [u8; 16];

#[derive(Debug)]
pub(super) struct Metrics {
    store: Store,
    log: Log,
    /// Shared while a point goes to the log and is marked; whoever writes the marks down has it alone,
    /// so that they never lack a point that is in the log.
    gate: RwLock<()>,
    marks: Mutex<Marks>,
}

/// What the catalog does not know yet.
#[derive(Debug, Default)]
struct Marks {
    /// Of each metric of each run.
    runs: HashMap<(RunKey, String), Mark>,
    /// The latest point about each logged model, by the dataset it was measured on.
    models: HashMap<(RunKey, String, Arc<About>), Point>,
}

impl Marks {
    fn add(&mut self, run: RunKey, point: &Point) {
        add(&mut self.runs, (run, point.key.clone()), Mark::of(point));
        if !point.about.model.is_empty() {
            let at = (run, point.key.clone(), Arc::clone(&point.about));
            keep_later(&mut self.models, at, point.clone());
        }
    }

    fn len(&self) -> usize {
        self.runs.len() + self.models.len()
    }
}

/// What is known of a metric since it was last written down.
#[derive(Debug, Clone, PartialEq)]
struct Mark {
    latest: Point,
    /// Of all values that are numbers.
    range: Option<(f64, f64)>,
}

impl Mark {
    fn of(point: &Point) -> Self {
        let value = point.value;
        let range = (!value.is_nan()).then_some((value, value));
        Self { latest: point.clone(), range }
    }

    fn add(&mut self, other: Self) {
        if other.latest.rank().partial_cmp(&self.latest.rank()) == Some(std::cmp::Ordering::Greater)
        {
            self.latest = other.latest;
        }
        self.range = match (self.range, other.range) {
            (Some((least, greatest)), Some((low, high))) => {
                Some((least.min(low), greatest.max(high)))
            }
            (one, other) => one.or(other),
        };
    }
}

impl Metrics {
    /// Opens the log, and marks what the catalog does not know.
    pub(super) fn open(store: &Store) -> Result<Self, MlflowError> {
        let log = store.log("points")?;
        let rows = store.read()?.query("SELECT reached FROM mlflow_points", &[])?;
        let reached = rows.first().map_or(Ok(0), |row| row.int(0))?.max(0).cast_unsigned();
        // A log that was put back from a copy may be shorter than what the catalog knows of.
        let reached = if reached > log.len() { 0 } else { reached };
        let metrics =
            Self { store: store.clone(), log, gate: RwLock::default(), marks: Mutex::default() };
        let mut failed = None;
        metrics.log.scan(reached, &mut |_, run, payload| {
            match decode(payload) {
                Ok(points) => metrics.mark(run, &points),
                Err(error) => failed = Some(error),
            }
            failed.is_none()
        })?;
        failed.map_or(Ok(metrics), |error| Err(error.into()))
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, run: RunKey, points: &[Point]) {
        let mut marks = self.marks();
        points.iter().for_each(|point| marks.add(run, point));
    }

    /// Adds points to a run; they are durable when this returns.
    pub(super) fn append(&self, run: RunKey, points: &[Point]) -> Result<(), MlflowError> {
        if points.is_empty() {
            return Ok(());
        }
        let many = {
            let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
            self.log.append(run, &encode(points))?;
            self.mark(run, points);
            self.marks().len() >= MARKS_MAX
        };
        // The points are acknowledged by the log; what cannot be written down now stays marked.
        if many {
            let _ = self.write_down();
        }
        Ok(())
    }

    /// Brings the catalog up to date.
    pub(super) fn write_down(&self) -> Result<(), MlflowError> {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let marks = std::mem::take(&mut *self.marks());
        if marks.len() == 0 {
            return Ok(());
        }
        let written = self.put(&marks);
        if written.is_err() {
            let mut kept = self.marks();
            for (at, mark) in marks.runs {
                add(&mut kept.runs, at, mark);
            }
            for (at, point) in marks.models {
                keep_later(&mut kept.models, at, point);
            }
        }
        written
    }

    fn put(&self, marks: &Marks) -> Result<(), MlflowError> {
        const SQL: &str = "
            INSERT INTO mlflow_metrics
                (run, key, value, is_nan, timestamp, step, least, greatest)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
            ON CONFLICT (run, key) DO UPDATE SET
                value = CASE WHEN (excluded.step, excluded.timestamp, excluded.value)
                    > (step, timestamp, value) THEN excluded.value ELSE value END,
                is_nan = CASE WHEN (excluded.step, excluded.timestamp, excluded.value)
                    > (step, timestamp, value) THEN excluded.is_nan ELSE is_nan END,
                timestamp = CASE WHEN (excluded.step, excluded.timestamp, excluded.value)
                    > (step, timestamp, value) THEN excluded.timestamp ELSE timestamp END,
                step = MAX(step, excluded.step),
                least = COALESCE(MIN(least, excluded.least), least, excluded.least),
                greatest = COALESCE(MAX(greatest, excluded.greatest), greatest, excluded.greatest)";
        let reached = self.log.len();
        let mut act = self.store.begin(ActivityKind::Author, "write down the latest metrics");
        act.note("metrics", marks.len());
        for ((run, key), mark) in &marks.runs {
            let point = &mark.latest;
            act.execute(
                SQL,
                vec![
                    run_id(run).into(),
                    key.into(),
                    point.shown().into(),
                    point.value.is_nan().into(),
                    point.timestamp.into(),
                    point.step.into(),
                    mark.range.map(|(least, _)| least).into(),
                    mark.range.map(|(_, greatest)| greatest).into(),
                ],
            );
        }
        for ((run, _, about), point) in &marks.models {
            put_of_model(&mut act, run, about, point);
        }
        act.execute("UPDATE mlflow_points SET reached = ?1", vec![reached.cast_signed().into()]);
        act.commit()?;
        Ok(())
    }

    /// Every point of a metric of a run, each once, in the order in which MLflow gives them.
    pub(super) fn of_run(&self, run: &RunKey, key: &str) -> Result<Vec<Point>, MlflowError> {
        let mut points = Vec::new();
        for payload in self.log.get_all(run)? {
            points.extend(decode_of(&payload, Some(key))?);
        }
        let order = |point: &Point| (point.timestamp, point.step, point.shown());
        points.sort_by(|a, b| {
            let (first, second) = (order(a), order(b));
            let time = (first.0, first.1).cmp(&(second.0, second.1));
            let value = first.2.total_cmp(&second.2);
            time.then(value).then(a.value.is_nan().cmp(&b.value.is_nan()))
        });
        points.dedup_by(|a, b| order(a) == order(b) && a.value.is_nan() == b.value.is_nan());
        Ok(points)
    }
}

/// The later of two points about a logged model, as MLflow orders them: by time before step.
fn keep_later(
    points: &mut HashMap<(RunKey, String, Arc<About>), Point>,
    at: (RunKey, String, Arc<About>),
    point: Point,
) {
    let rank = |point: &Point| (point.timestamp, point.step, point.shown());
    match points.entry(at) {
        Entry::Occupied(mut known) if rank(&point) >= rank(known.get()) => {
            known.insert(point);
        }
        Entry::Occupied(_) => {}
        Entry::Vacant(place) => {
            place.insert(point);
        }
    }
}

fn put_of_model(act: &mut Act, run: &RunKey, about: &About, point: &Point) {
    act.execute(
        "INSERT INTO mlflow_model_metrics
             (model, key, run, dataset, digest, value, is_nan, timestamp, step)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (model, key, run, dataset, digest) DO UPDATE SET
             value = excluded.value, is_nan = excluded.is_nan,
             timestamp = excluded.timestamp, step = excluded.step
         WHERE (excluded.timestamp, excluded.step, excluded.value) >= (timestamp, step, value)",
        vec![
            (&about.model).into(),
            (&point.key).into(),
            run_id(run).into(),
            (&about.dataset).into(),
            (&about.digest).into(),
            point.shown().into(),
            point.value.is_nan().into(),
            point.timestamp.into(),
            point.step.into(),
        ],
    );
}

fn add(marks: &mut HashMap<(RunKey, String), Mark>, at: (RunKey, String), mark: Mark) {
    match marks.entry(at) {
        Entry::Occupied(mut known) => known.get_mut().add(mark),
        Entry::Vacant(place) => {
            place.insert(mark);
        }
    }
}

/// The 32 hexadecimal digits by which clients know a run.
pub(super) fn run_id(key: &RunKey) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The key of a run by its digits.
pub(super) fn run_key(id: &str) -> Option<RunKey> {
    let mut key = [0; 16];
    if id.len() != 32 || !id.is_ascii() {
        return None;
    }
    for (byte, index) in key.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(id.get(index..index + 2)?, 16).ok()?;
    }
    Some(key)
}
