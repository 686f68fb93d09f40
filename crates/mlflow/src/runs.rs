//! Which runs are there? A run has a name, a state, parameters that never change, tags that may, and
//! metrics that grow.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use sextant_core::ActivityId;
use sextant_lineage::{Act, Reader, Row};

use super::{
    Answer, Call, Fields, Mlflow, Refusal,
    batch::{TAG_CHARS_MAX, cut},
    call::{change, look},
    experiments::{experiment_id, pairs, tags_of},
    inputs::shown_by_run,
    metrics::{RunKey, run_id, run_key},
    names::{at_most, check_key},
    point::Point,
    refusal::{invalid, missing},
    search::{Page, runs},
};

const PAGE_MAX: i64 = 50_000;
/// Names of runs and of who began them.
const WORDS_CHARS_MAX: usize = 8000;
const PAGE_PAST: i64 = PAGE_MAX + 1;
const PAGE: i64 = 1000;
/// The tag that holds a run's name.
pub(super) const NAME_TAG: &str = "mlflow.runName";
/// In the order of their numbers, which begin with one.
const STATES: &[&str] = &["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"];
pub(super) const COLUMNS: &str =
    "id, experiment, name, user, status, started, ended, stage, artifact_uri";

/// A run as the catalog has it.
pub(super) struct Run {
    pub(super) id: String,
    pub(super) experiment: i64,
    pub(super) name: String,
    user: String,
    status: String,
    started: Option<i64>,
    ended: Option<i64>,
    stage: String,
    pub(super) artifact_uri: String,
}

impl Run {
    pub(super) fn of(row: &Row) -> Result<Self, Refusal> {
        Ok(Self {
            id: row.text(0)?.to_owned(),
            experiment: row.int(1)?,
            name: row.text(2)?.to_owned(),
            user: row.text(3)?.to_owned(),
            status: row.text(4)?.to_owned(),
            started: row.opt_int(5)?,
            ended: row.opt_int(6)?,
            stage: row.text(7)?.to_owned(),
            artifact_uri: row.text(8)?.to_owned(),
        })
    }

    pub(super) fn info(&self) -> Value {
        let mut info = json!({
            "run_uuid": self.id,
            "run_id": self.id,
            "experiment_id": self.experiment.to_string(),
            "run_name": self.name,
            "user_id": self.user,
            "status": self.status,
            "artifact_uri": self.artifact_uri,
            "lifecycle_stage": self.stage,
        });
        for (name, time) in [("start_time", self.started), ("end_time", self.ended)] {
            if let Some(time) = time {
                info[name] = time.into();
            }
        }
        info
    }

    /// Refuses what only an active run takes.
    pub(super) fn active(self) -> Result<Self, Refusal> {
        if self.stage == "active" {
            return Ok(self);
        }
        let Self { id, stage, .. } = self;
        Err(invalid(format!(
            "The run {id} must be in the 'active' state. Current state is {stage}."
        )))
    }

    /// Its key in the log.
    pub(super) fn key(&self) -> Result<RunKey, Refusal> {
        run_key(&self.id).ok_or_else(|| no_run(&self.id))
    }
}

pub(super) fn no_run(id: &str) -> Refusal {
    missing(format!("Run with id={id} not found"))
}

/// A value as clients read it: what JSON has no number for is a word.
pub(super) fn shown_value(value: f64) -> Value {
    if value.is_nan() { json!("NaN") } else { json!(value) }
}

pub(super) fn shown_point(point: &Point) -> Value {
    json!({
        "key": point.key,
        "value": shown_value(point.value),
        "timestamp": point.timestamp,
        "step": point.step,
    })
}

/// The words of a field that is called by its old name too.
pub(super) fn run_field<'a>(fields: &Fields<'a>) -> Result<&'a str, Refusal> {
    let id = fields.text("run_id")?.filter(|id| !id.is_empty());
    let old = fields.text("run_uuid")?.filter(|id| !id.is_empty());
    id.or(old).ok_or_else(|| fields.absent("run_id"))
}

/// The calls of this file and of `batch`.
pub(super) const CALLS: &[Call] = &[
    change("POST", "2.0/mlflow/runs/create", Mlflow::create_run),
    look("GET", "2.0/mlflow/runs/get", Mlflow::get_run),
    change("POST", "2.0/mlflow/runs/update", Mlflow::update_run),
    change("POST", "2.0/mlflow/runs/delete", Mlflow::delete_run),
    change("POST", "2.0/mlflow/runs/restore", Mlflow::restore_run),
    look("POST", "2.0/mlflow/runs/search", Mlflow::search_runs),
    change("POST", "2.0/mlflow/runs/log-metric", Mlflow::log_metric),
    change("POST", "2.0/mlflow/runs/log-parameter", Mlflow::log_parameter),
    change("POST", "2.0/mlflow/runs/set-tag", Mlflow::set_tag),
    change("POST", "2.0/mlflow/runs/delete-tag", Mlflow::delete_tag),
    change("POST", "2.0/mlflow/runs/log-batch", Mlflow::log_batch),
];

impl Mlflow {
    /// The run with this id.
    pub(super) fn run(&self, reader: &Reader, id: &str) -> Result<Run, Refusal> {
        let sql = format!("SELECT {COLUMNS} FROM mlflow_runs WHERE id = ?1");
        let rows = reader.query(&sql, &[id.into()])?;
        Run::of(rows.first().ok_or_else(|| no_run(id))?)
    }

    pub(super) fn create_run(&self, fields: Fields<'_>) -> Answer {
        let experiment = fields.need("experiment_id")?;
        experiment_id(experiment)?;
        let started = fields.int("start_time")?.unwrap_or_default();
        let user = fields.text("user_id")?.unwrap_or_default();
        at_most(user, WORDS_CHARS_MAX, "user_id")?;
        at_most(fields.text("run_name")?.unwrap_or_default(), WORDS_CHARS_MAX, "run_name")?;
        let mut tags = tags_of(&fields.objects("tags")?)?;
        for (key, _) in &tags {
            check_key(key, "key", "Tag key")?;
        }
        let tagged = tags.iter().find(|(key, _)| key == NAME_TAG).map(|(_, value)| value.clone());
        let named = fields.text("run_name")?.filter(|name| !name.is_empty()).map(str::to_owned);
        if let (Some(name), Some(tag)) = (&named, &tagged)
            && name != tag
        {
            return Err(invalid(format!(
                "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different \
                 values (run_name='{name}', mlflow.runName='{tag}')."
            )));
        }
        let _turn = self.turn();
        let reader = self.store().read()?;
        let experiment = self.experiment(&reader, experiment)?.active()?;
        let activity = ActivityId::new();
        let id = run_id(activity.as_raw());
        let name = named.or(tagged).unwrap_or_else(|| invented_name(activity.as_raw()));
        if !tags.iter().any(|(key, _)| key == NAME_TAG) {
            tags.push((NAME_TAG.to_owned(), name.clone()));
        }
        let uri = format!("{}/{id}/artifacts", experiment.location.trim_end_matches('/'));
        let mut act = self.act(format!("create run {id}"));
        act.execute(
            "INSERT INTO mlflow_runs
                 (id, experiment, name, user, status, started, stage, artifact_uri)
             VALUES (?1, ?2, ?3, ?4, 'RUNNING', ?5, 'active', ?6)",
            vec![
                (&id).into(),
                experiment.id.into(),
                name.into(),
                user.into(),
                started.into(),
                uri.into(),
            ],
        );
        for (key, value) in &tags {
            put_tag(&mut act, &id, key, cut(value, TAG_CHARS_MAX));
        }
        act.commit()?;
        let reader = self.store().read()?;
        let run = self.run(&reader, &id)?;
        let mut shown = self.shown_runs(&reader, vec![run])?.pop().unwrap_or_default();
        if let Some(shown) = shown.as_object_mut() {
            shown.remove("outputs");
        }
        Ok(json!({ "run": shown }))
    }

    /// Runs with their data.
    pub(super) fn shown_runs(
        &self,
        reader: &Reader,
        runs: Vec<Run>,
    ) -> Result<Vec<Value>, Refusal> {
        let ids = json!(runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>()).to_string();
        let mut data: HashMap<&str, Map<String, Value>> = HashMap::new();
        let known: HashMap<&str, &str> =
            runs.iter().map(|run| (run.id.as_str(), run.id.as_str())).collect();
        for (table, name) in [("mlflow_tags", "tags"), ("mlflow_params", "params")] {
            let sql = format!(
                "SELECT key, value, run FROM {table} WHERE run IN (SELECT value FROM json_each(?1))
                 ORDER BY run, key"
            );
            let rows = reader.query(&sql, &[(&ids).into()])?;
            for (row, shown) in rows.iter().zip(pairs(&rows)?) {
                push(&mut data, &known, row.text(2)?, name, shown);
            }
        }
        let sql = "SELECT key, value, is_nan, timestamp, step, run FROM mlflow_metrics
                   WHERE run IN (SELECT value FROM json_each(?1)) ORDER BY run, key";
        for row in &reader.query(sql, &[(&ids).into()])? {
            let value = if row.int(2)? == 1 { f64::NAN } else { row.real(1)? };
            let (timestamp, step) = (row.int(3)?, row.int(4)?);
            let about = Default::default();
            let point = Point { key: row.text(0)?.to_owned(), value, timestamp, step, about };
            push(&mut data, &known, row.text(5)?, "metrics", shown_point(&point));
        }
        let mut used = shown_by_run(reader, &ids)?;
        let shown = |run: &Run| {
            let data = data.get(run.id.as_str()).cloned().unwrap_or_default();
            let none = || (json!({}), json!({}));
            let (inputs, outputs) = used.remove(&run.id).unwrap_or_else(none);
            json!({ "info": run.info(), "data": data, "inputs": inputs, "outputs": outputs })
        };
        Ok(runs.iter().map(shown).collect())
    }

    pub(super) fn get_run(&self, fields: Fields<'_>) -> Answer {
        let id = run_field(&fields)?;
        self.0.metrics.write_down()?;
        let reader = self.store().read()?;
        let run = self.run(&reader, id)?;
        let shown = self.shown_runs(&reader, vec![run])?.pop().unwrap_or_default();
        Ok(json!({ "run": shown }))
    }

    pub(super) fn search_runs(&self, fields: Fields<'_>) -> Answer {
        if let Some(size @ PAGE_PAST..) = fields.int("max_results")? {
            return Err(fields.wrong("max_results", &json!(size)));
        }
        let size = fields.page_size(PAGE, PAGE_MAX)?;
        let ids: Result<Vec<i64>, Refusal> =
            fields.texts("experiment_ids")?.into_iter().map(experiment_id).collect();
        let mut query = runs(fields.text("filter")?.unwrap_or_default())?;
        query.order_runs(&fields.texts("order_by")?)?;
        query.within(&ids?)?;
        query.view(&fields, "run_view_type")?;
        let page = Page::of(fields.text("page_token")?, size)?;
        self.0.metrics.write_down()?;
        let reader = self.store().read()?;
        let rows = query.run(&reader, COLUMNS, "mlflow_runs x", &page)?;
        let found: Result<Vec<Run>, Refusal> = rows.iter().take(page.size()).map(Run::of).collect();
        let shown = self.shown_runs(&reader, found?)?;
        Ok(page.answer("runs", shown, rows.len()))
    }

    pub(super) fn update_run(&self, fields: Fields<'_>) -> Answer {
        let id = run_field(&fields)?;
        let ended = fields.int("end_time")?;
        let name = fields.text("run_name")?.filter(|name| !name.is_empty());
        let status = status_of(&fields)?;
        let _turn = self.turn();
        let run = self.run(&self.store().read()?, id)?.active()?;
        let mut act = self.act(format!("update run {id}"));
        act.execute(
            "UPDATE mlflow_runs SET status = COALESCE(?2, status), ended = COALESCE(?3, ended),
             name = COALESCE(?4, name) WHERE id = ?1",
            vec![(&run.id).into(), status.into(), ended.into(), name.into()],
        );
        if let Some(name) = name {
            put_tag(&mut act, &run.id, NAME_TAG, name);
        }
        act.commit()?;
        let run = self.run(&self.store().read()?, id)?;
        Ok(json!({ "run_info": run.info() }))
    }

    pub(super) fn delete_run(&self, fields: Fields<'_>) -> Answer {
        self.move_run(fields, "delete", "deleted")
    }

    pub(super) fn restore_run(&self, fields: Fields<'_>) -> Answer {
        self.move_run(fields, "restore", "active")
    }

    fn move_run(&self, fields: Fields<'_>, what: &str, to: &str) -> Answer {
        let id = fields.need("run_id")?;
        let _turn = self.turn();
        self.run(&self.store().read()?, id)?;
        let mut act = self.act(format!("{what} run {id}"));
        act.execute(
            "UPDATE mlflow_runs SET stage = ?2, deleted = ?3 WHERE id = ?1",
            vec![id.into(), to.into(), (to == "deleted").then(|| self.now()).into()],
        );
        act.commit()?;
        Ok(json!({}))
    }
}

/// The state that a call names, by its word or its number.
fn status_of(fields: &Fields<'_>) -> Result<Option<&'static str>, Refusal> {
    let number = fields.int("status").ok().flatten();
    let by_number = number.and_then(|number| STATES.get(usize::try_from(number - 1).ok()?));
    if let Some(status) = by_number {
        return Ok(Some(status));
    }
    let Some(word) = fields.text("status")? else { return Ok(None) };
    let known = STATES.iter().find(|status| **status == word);
    known.map(|status| Some(*status)).ok_or_else(|| fields.wrong("status", &json!(word)))
}

/// Adds an entry to the list of this name of a run.
fn push<'a>(
    data: &mut HashMap<&'a str, Map<String, Value>>,
    known: &HashMap<&str, &'a str>,
    run: &str,
    name: &str,
    shown: Value,
) {
    let Some(run) = known.get(run) else { return };
    let list = data.entry(run).or_default().entry(name).or_insert_with(|| json!([]));
    if let Value::Array(list) = list {
        list.push(shown);
    }
}

/// Sets a tag, also the one that is the run's name.
pub(super) fn put_tag(act: &mut Act, run: &str, key: &str, value: &str) {
    act.execute(
        "INSERT INTO mlflow_tags (run, key, value) VALUES (?1, ?2, ?3)
         ON CONFLICT (run, key) DO UPDATE SET value = excluded.value",
        vec![run.into(), key.into(), value.into()],
    );
    if key == NAME_TAG {
        let sql = "UPDATE mlflow_runs SET name = ?2 WHERE id = ?1";
        act.execute(sql, vec![run.into(), value.into()]);
    }
}

/// A name for a run that was given none.
pub(super) fn invented_name(key: &RunKey) -> String {
    const HOW: &[&str] = &[
        "brave", "calm", "clear", "eager", "fair", "gentle", "keen", "light", "merry", "noble",
        "plain", "quick", "quiet", "sharp", "steady", "swift",
    ];
    const WHAT: &[&str] = &[
        "anchor", "beacon", "compass", "current", "gull", "harbour", "horizon", "keel", "lantern",
        "mast", "needle", "north", "sail", "star", "tide", "wake",
    ];
    let byte = |index: usize| usize::from(key[index]);
    format!("{}-{}-{}", HOW[byte(15) % 16], WHAT[byte(14) % 16], byte(13) * 4 % 1000)
}
