//! Which run was best, at which step, and what can be served of it? A run is judged by the best value that
//! a metric ever had, not by the last one; the checkpoint is the logged model of that step.

use serde_json::{Value, json};
use sextant_core::Digest;
use sextant_lineage::Reader;
use sextant_track::Direction;

use super::{Mlflow, Refusal, metrics::run_key, point::Point, refusal::missing};

/// Versions of one model that are told.
const REGISTERED_MAX: i64 = 100;

/// The best run by one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct BestRun {
    /// The id of the run.
    pub run: String,
    /// Its name.
    pub name: String,
    /// The name of its experiment.
    pub experiment: String,
    /// The metric.
    pub metric: String,
    /// The best value of it.
    pub value: f64,
    /// The step at which it had that value, the first one when there were several.
    pub step: i64,
    /// Which way is better.
    pub direction: Direction,
    /// How many runs have the metric.
    pub compared: i64,
    /// What was kept of that step.
    pub checkpoint: Option<Checkpoint>,
    /// As what the checkpoint is registered now, such as `models:/ranker/3 @champion`.
    pub registered: Vec<String>,
}

/// A logged model of a run's step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The id of the logged model.
    pub model: String,
    /// Its name.
    pub name: String,
    /// The step at which it was logged or measured.
    pub step: i64,
    /// How it is known to belong to the best value.
    pub match_by: MatchBy,
    /// Its artifact in the chain, when it was finalised.
    pub version: Option<Digest>,
}

/// How a checkpoint is known to belong to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchBy {
    /// The value was logged as one of this model.
    Value,
    /// The model was logged at the same step.
    Step,
    /// It is the last one before that step.
    Before,
}

impl MatchBy {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Value => "measured with this value",
            Self::Step => "logged at this step",
            Self::Before => "the last one before this step",
        }
    }
}

impl BestRun {
    /// As JSON, with the fields that the best run of our own training has too.
    pub fn shown(&self) -> Value {
        let checkpoint = self.checkpoint.as_ref();
        json!({
            "run": self.run,
            "name": self.name,
            "experiment": self.experiment,
            "metric": self.metric,
            "value": self.value,
            "step": self.step,
            "direction": self.direction,
            "compared": self.compared,
            "checkpoint": checkpoint.map(|kept| &kept.model),
            "checkpoint_name": checkpoint.map(|kept| &kept.name),
            "checkpoint_step": checkpoint.map(|kept| kept.step),
            "checkpoint_is": checkpoint.map(|kept| kept.match_by.as_str()),
            "checkpoint_version": checkpoint.and_then(|kept| kept.version),
            "registered": self.registered,
        })
    }
}

impl Mlflow {
    /// The best run of all experiments or of the one with this name; none when no run has the metric.
    /// Deleted runs do not count.
    ///
    /// # Errors
    /// When there is no such experiment, or the store fails.
    pub fn best(
        &self,
        metric: &str,
        direction: Direction,
        experiment: Option<&str>,
    ) -> Result<Option<BestRun>, Refusal> {
        self.0.metrics.write_down()?;
        let reader = self.store().read()?;
        if let Some(name) = experiment {
            let sql = "SELECT 1 FROM mlflow_experiments WHERE name = ?1";
            if reader.query(sql, &[name.into()])?.is_empty() {
                return Err(missing(format!("Could not find experiment with name '{name}'")));
            }
        }
        let (column, order) = match direction {
            Direction::Min => ("least", "ASC"),
            Direction::Max => ("greatest", "DESC"),
        };
        let sql = format!(
            "SELECT x.id, x.name, e.name, COUNT(*) OVER () FROM mlflow_metrics m
             JOIN mlflow_runs x ON x.id = m.run JOIN mlflow_experiments e ON e.id = x.experiment
             WHERE m.key = ?1 AND m.{column} IS NOT NULL AND x.stage = 'active'
             AND (?2 IS NULL OR e.name = ?2) ORDER BY m.{column} {order}, x.started, x.id LIMIT 1"
        );
        let rows = reader.query(&sql, &[metric.into(), experiment.into()])?;
        let Some(row) = rows.first() else { return Ok(None) };
        let run = row.text(0)?.to_owned();
        let Some(point) = self.best_point(&run, metric, direction)? else { return Ok(None) };
        let checkpoint = self.checkpoint(&reader, &run, &point)?;
        let model = checkpoint.as_ref().map(|kept| kept.model.as_str());
        Ok(Some(BestRun {
            registered: registered_as(&reader, &run, model)?,
            name: row.text(1)?.to_owned(),
            experiment: row.text(2)?.to_owned(),
            metric: metric.to_owned(),
            value: point.value,
            step: point.step,
            direction,
            compared: row.int(3)?,
            checkpoint,
            run,
        }))
    }

    /// The first point of a run's metric that no other is better than.
    fn best_point(
        &self,
        run: &str,
        metric: &str,
        direction: Direction,
    ) -> Result<Option<Point>, Refusal> {
        let Some(key) = run_key(run) else { return Ok(None) };
        let mut points = self.0.metrics.of_run(&key, metric)?;
        points.retain(|point| !point.value.is_nan());
        points.sort_by_key(|point| (point.step, point.timestamp));
        Ok(points.into_iter().reduce(|best, next| {
            if direction.better(next.value, best.value) { next } else { best }
        }))
    }

    /// The logged model of a point: the one that it is about, else the run's last one up to its step.
    fn checkpoint(
        &self,
        reader: &Reader,
        run: &str,
        point: &Point,
    ) -> Result<Option<Checkpoint>, Refusal> {
        let sql = "SELECT k.model, l.name, k.step, k.model = ?3, n.target FROM (
                       SELECT model, step FROM mlflow_run_models WHERE run = ?1 AND role = 'output'
                       UNION SELECT model, step FROM mlflow_model_metrics WHERE run = ?1
                       UNION SELECT ?3, ?2) k
                   JOIN mlflow_logged_models l ON l.id = k.model AND l.stage = 'active'
                   LEFT JOIN names n ON n.name = 'mlflow/model/' || k.model || '@latest'
                   WHERE k.step <= ?2
                   ORDER BY k.model = ?3 DESC, k.step DESC, l.created DESC, k.model LIMIT 1";
        let at = [run.into(), point.step.into(), (&point.about.model).into()];
        let rows = reader.query(sql, &at)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let step = row.int(2)?;
        let match_by = match row.int(3)? == 1 {
            true => MatchBy::Value,
            false if step == point.step => MatchBy::Step,
            false => MatchBy::Before,
        };
        Ok(Some(Checkpoint {
            model: row.text(0)?.to_owned(),
            name: row.text(1)?.to_owned(),
            step,
            match_by,
            version: row.opt_text(4)?.map(|_| row.digest(4)).transpose()?,
        }))
    }
}

/// As which versions a logged model, or without one a run, is registered, newest first, each with its
/// aliases.
fn registered_as(reader: &Reader, run: &str, model: Option<&str>) -> Result<Vec<String>, Refusal> {
    let sql = "SELECT v.name, v.version, (
                   SELECT GROUP_CONCAT('@' || a.alias, ' ') FROM mlflow_aliases a
                   WHERE a.name = v.name AND a.version = v.version)
               FROM mlflow_versions v
               WHERE CASE WHEN ?2 IS NULL THEN v.run = ?1 ELSE v.model = ?2 END
               ORDER BY v.created DESC, v.name, v.version DESC LIMIT ?3";
    let rows = reader.query(sql, &[run.into(), model.into(), REGISTERED_MAX.into()])?;
    rows.iter()
        .map(|row| {
            let name = format!("models:/{}/{}", row.text(0)?, row.int(1)?);
            Ok(match row.opt_text(2)? {
                Some(aliases) => format!("{name} {aliases}"),
                None => name,
            })
        })
        .collect()
}
