//! Which models were logged? A logged model has an id and a name, the run that made it, parameters and
//! tags, the latest metric of each dataset it was measured on, and files below an address of its own.

pub(crate) mod files;
mod legacy;
mod params;
mod schema;

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use sextant_core::ActivityId;
use sextant_lineage::{Reader, Row};

use super::{
    Answer, Call, Fields, Mlflow, Opened, Refusal,
    call::{change, look, open},
    experiments::{experiment_id, pairs},
    metrics::run_id,
    names::at_most,
    refusal::{invalid, missing},
    runs::{invented_name, shown_value},
    search::{Page, Scope, logged_models},
};
pub(super) use schema::MIGRATIONS;

/// Characters of the id of a logged model.
pub(super) const MODEL_ID_CHARS_MAX: usize = 36;
const NAME_CHARS_MAX: usize = 500;
const RUN_ID_CHARS_MAX: usize = 32;
const PAGE: i64 = 100;
const PAGE_MAX: i64 = 50_000;
const BAD_IN_NAMES: &[char] = &['/', ':', '.', '%', '"', '\''];
/// In the order of their numbers, which begin with zero.
const STATES: &[&str] = &[
    "LOGGED_MODEL_STATUS_UNSPECIFIED",
    "LOGGED_MODEL_PENDING",
    "LOGGED_MODEL_READY",
    "LOGGED_MODEL_UPLOAD_FAILED",
];
const PENDING: i64 = 1;
const READY: i64 = 2;
const COLUMNS: &str =
    "id, experiment, name, type, source_run, status, artifact_uri, created, updated";

/// The calls of this file, of `params` and of `legacy`.
pub(super) const CALLS: &[Call] = &[
    change("POST", "2.0/mlflow/logged-models", Mlflow::create_logged_model),
    look("POST", "2.0/mlflow/logged-models/search", Mlflow::search_logged_models),
    look("GET", "2.0/mlflow/logged-models/{model_id}", Mlflow::get_logged_model),
    change("PATCH", "2.0/mlflow/logged-models/{model_id}", Mlflow::finalize_logged_model),
    change("DELETE", "2.0/mlflow/logged-models/{model_id}", Mlflow::delete_logged_model),
    change("PATCH", "2.0/mlflow/logged-models/{model_id}/tags", Mlflow::tag_logged_model),
    change("DELETE", "2.0/mlflow/logged-models/{model_id}/tags/{key}", Mlflow::untag_logged_model),
    change("POST", "2.0/mlflow/logged-models/{model_id}/params", Mlflow::log_model_params),
    look(
        "GET",
        "2.0/mlflow/logged-models/{model_id}/artifacts/directories",
        Mlflow::list_model_files,
    ),
    open("2.0/mlflow/logged-models/{model_id}/artifacts/files", Mlflow::get_model_file),
    change("POST", "2.0/mlflow/runs/log-model", Mlflow::log_model),
];

/// A logged model as the catalog has it.
pub(super) struct LoggedModel {
    pub(super) id: String,
    pub(super) experiment: i64,
    pub(super) name: String,
    pub(super) kind: String,
    /// The run that made it; empty when none was named.
    pub(super) source_run: String,
    status: i64,
    pub(super) artifact_uri: String,
    created: i64,
    updated: i64,
}

impl LoggedModel {
    fn of(row: &Row) -> Result<Self, Refusal> {
        Ok(Self {
            id: row.text(0)?.to_owned(),
            experiment: row.int(1)?,
            name: row.text(2)?.to_owned(),
            kind: row.text(3)?.to_owned(),
            source_run: row.text(4)?.to_owned(),
            status: row.int(5)?,
            artifact_uri: row.text(6)?.to_owned(),
            created: row.int(7)?,
            updated: row.int(8)?,
        })
    }

    fn info(&self, tags: Vec<Value>) -> Value {
        let status = usize::try_from(self.status).ok().and_then(|at| STATES.get(at));
        let mut info = json!({
            "model_id": self.id,
            "experiment_id": self.experiment.to_string(),
            "name": self.name,
            "creation_timestamp_ms": self.created,
            "last_updated_timestamp_ms": self.updated,
            "artifact_uri": self.artifact_uri,
            "status": status,
            "model_type": self.kind,
            "source_run_id": self.source_run,
        });
        if !tags.is_empty() {
            info["tags"] = Value::Array(tags);
        }
        info
    }
}

pub(super) fn no_model(id: &str) -> Refusal {
    missing(format!("Logged model with ID '{id}' not found."))
}

impl Mlflow {
    /// The logged model with this id, also one that was deleted.
    pub(super) fn logged_model(&self, reader: &Reader, id: &str) -> Result<LoggedModel, Refusal> {
        let sql = format!("SELECT {COLUMNS} FROM mlflow_logged_models WHERE id = ?1");
        let rows = reader.query(&sql, &[id.into()])?;
        LoggedModel::of(rows.first().ok_or_else(|| no_model(id))?)
    }

    /// A file of a model, as MLflow's pages ask for it.
    fn get_model_file(&self, fields: Fields<'_>) -> Result<Opened, Refusal> {
        let path = fields.need("artifact_file_path")?;
        let model = self.logged_model(&self.store().read()?, fields.place("model_id"))?;
        self.file_at(&model.artifact_uri, path)
    }

    fn create_logged_model(&self, fields: Fields<'_>) -> Answer {
        let experiment = fields.need("experiment_id")?;
        let text = |name: &str| Ok::<&str, Refusal>(fields.text(name)?.unwrap_or_default());
        let (name, kind, run) = (text("name")?, text("model_type")?, text("source_run_id")?);
        check_name(name)?;
        at_most(kind, NAME_CHARS_MAX, "model_type")?;
        at_most(run, RUN_ID_CHARS_MAX, "source_run_id")?;
        let params = params::entries(&fields, "params")?;
        let tags = params::entries(&fields, "tags")?;
        params::once_each(&params)?;
        let _turn = self.turn();
        let experiment = self.experiment(&self.store().read()?, experiment)?.active()?;
        let key = *ActivityId::new().as_raw();
        let id = format!("m-{}", run_id(&key));
        let location = experiment.location.trim_end_matches('/');
        let mut act = self.act(format!("create logged model {id}"));
        act.execute(
            "INSERT INTO mlflow_logged_models
                 (id, experiment, name, type, source_run, status, stage, artifact_uri, created, updated)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'active', ?7, ?8, ?8)",
            vec![
                (&id).into(),
                experiment.id.into(),
                if name.is_empty() { invented_name(&key) } else { name.to_owned() }.into(),
                kind.into(),
                run.into(),
                PENDING.into(),
                format!("{location}/models/{id}/artifacts").into(),
                self.now().into(),
            ],
        );
        params::put(&mut act, "mlflow_model_params", &id, &params);
        params::put(&mut act, "mlflow_model_tags", &id, &tags);
        act.commit()?;
        self.shown_logged_model(&id)
    }

    fn get_logged_model(&self, fields: Fields<'_>) -> Answer {
        let id = fields.place("model_id");
        let with_deleted = fields.text("allow_deleted").ok().flatten();
        let with_deleted = with_deleted.is_some_and(|word| word.eq_ignore_ascii_case("true"));
        self.0.metrics.write_down()?;
        if !with_deleted {
            self.not_deleted(&self.store().read()?, id)?;
        }
        self.shown_logged_model(id)
    }

    /// A logged model that was not deleted.
    fn not_deleted(&self, reader: &Reader, id: &str) -> Result<LoggedModel, Refusal> {
        let sql = "SELECT 1 FROM mlflow_logged_models WHERE id = ?1 AND stage = 'active'";
        match reader.query(sql, &[id.into()])?.is_empty() {
            true => Err(no_model(id)),
            false => self.logged_model(reader, id),
        }
    }

    fn shown_logged_model(&self, id: &str) -> Answer {
        let reader = self.store().read()?;
        let model = self.logged_model(&reader, id)?;
        Ok(json!({ "model": shown(&reader, &[model])?.pop() }))
    }

    fn finalize_logged_model(&self, fields: Fields<'_>) -> Answer {
        let id = fields.need("model_id")?;
        let status = status_of(&fields)?;
        let _turn = self.turn();
        let model = self.logged_model(&self.store().read()?, id)?;
        let mut act = self.act(format!("finalize logged model {id}"));
        act.execute(
            "UPDATE mlflow_logged_models SET status = ?2, updated = ?3 WHERE id = ?1",
            vec![(&model.id).into(), status.into(), self.now().into()],
        );
        if status == READY {
            self.model_node(&mut act, id)?;
        }
        act.commit()?;
        self.0.metrics.write_down()?;
        self.shown_logged_model(id)
    }

    fn delete_logged_model(&self, fields: Fields<'_>) -> Answer {
        let id = fields.place("model_id");
        let _turn = self.turn();
        let model = self.logged_model(&self.store().read()?, id)?;
        let mut act = self.act(format!("delete logged model {id}"));
        act.execute(
            "UPDATE mlflow_logged_models SET stage = 'deleted', updated = ?2 WHERE id = ?1",
            vec![model.id.into(), self.now().into()],
        );
        act.commit()?;
        Ok(json!({}))
    }

    fn search_logged_models(&self, fields: Fields<'_>) -> Answer {
        let experiments = fields.texts("experiment_ids")?;
        if experiments.is_empty() {
            return Err(fields.absent("experiment_ids"));
        }
        let experiments: Result<Vec<i64>, Refusal> =
            experiments.into_iter().map(experiment_id).collect();
        let size = match fields.int("max_results")? {
            None | Some(0) => PAGE,
            Some(_) => fields.page_size(PAGE, PAGE_MAX)?,
        };
        let mut scopes = Vec::new();
        for dataset in fields.objects("datasets")? {
            let scope = Scope::of(&Fields::new(dataset))?;
            scopes.push(scope.ok_or_else(|| {
                invalid("`dataset_name` in the `datasets` clause must be specified.")
            })?);
        }
        let mut query = logged_models(fields.text("filter")?.unwrap_or_default(), &scopes)?;
        query.order_models(&fields.objects("order_by")?)?;
        query.within(&experiments?)?;
        let page = Page::of(fields.text("page_token")?, size)?;
        self.0.metrics.write_down()?;
        let reader = self.store().read()?;
        let rows = query.run(&reader, COLUMNS, "mlflow_logged_models x", &page)?;
        let found: Result<Vec<LoggedModel>, Refusal> =
            rows.iter().take(page.size()).map(LoggedModel::of).collect();
        let shown = shown(&reader, &found?)?;
        Ok(page.answer("models", shown, rows.len()))
    }

    fn list_model_files(&self, fields: Fields<'_>) -> Answer {
        let folder = fields.text("artifact_directory_path")?.unwrap_or_default();
        if folder.starts_with('/') || folder.split('/').any(|part| part == "..") {
            return Err(invalid("Invalid path"));
        }
        let reader = self.store().read()?;
        let model = self.not_deleted(&reader, fields.place("model_id"))?;
        let folder = folder.trim_end_matches('/');
        let mut shown = Vec::new();
        for file in files::files_in(&reader, &model.artifact_uri, folder)? {
            shown.push(match file.bytes {
                Some(bytes) => json!({ "path": file.path, "is_dir": false, "file_size": bytes }),
                None => json!({ "path": file.path, "is_dir": true }),
            });
        }
        let mut answer = json!({ "root_uri": model.artifact_uri });
        if !shown.is_empty() {
            answer["files"] = Value::Array(shown);
        }
        Ok(answer)
    }
}

/// Logged models with their tags, parameters and metrics.
fn shown(reader: &Reader, models: &[LoggedModel]) -> Result<Vec<Value>, Refusal> {
    let ids = json!(models.iter().map(|model| &model.id).collect::<Vec<_>>()).to_string();
    let mut lists: HashMap<(&str, String), Vec<Value>> = HashMap::new();
    for (table, name) in [("mlflow_model_tags", "tags"), ("mlflow_model_params", "params")] {
        let sql = format!(
            "SELECT key, value, model FROM {table}
             WHERE model IN (SELECT value FROM json_each(?1)) ORDER BY model, key"
        );
        let rows = reader.query(&sql, &[(&ids).into()])?;
        for (row, pair) in rows.iter().zip(pairs(&rows)?) {
            lists.entry((name, row.text(2)?.to_owned())).or_default().push(pair);
        }
    }
    let sql = "SELECT model, key, value, is_nan, timestamp, step, run, dataset, digest
               FROM mlflow_model_metrics WHERE model IN (SELECT value FROM json_each(?1))
               ORDER BY model, key, timestamp, step, run";
    for row in &reader.query(sql, &[(&ids).into()])? {
        let at = ("metrics", row.text(0)?.to_owned());
        lists.entry(at).or_default().push(shown_metric(row)?);
    }
    let mut take = |name, model: &LoggedModel| lists.remove(&(name, model.id.clone()));
    let shown = models.iter().map(|model| {
        let mut data = Map::new();
        for name in ["params", "metrics"] {
            data.extend(take(name, model).map(|list| (name.to_owned(), Value::Array(list))));
        }
        json!({ "info": model.info(take("tags", model).unwrap_or_default()), "data": data })
    });
    Ok(shown.collect())
}

fn shown_metric(row: &Row) -> Answer {
    let value = if row.int(3)? == 1 { f64::NAN } else { row.real(2)? };
    let mut shown = json!({
        "key": row.text(1)?,
        "value": shown_value(value),
        "timestamp": row.int(4)?,
        "step": row.int(5)?,
        "model_id": row.text(0)?,
        "run_id": row.text(6)?,
    });
    for (name, text) in [("dataset_name", row.text(7)?), ("dataset_digest", row.text(8)?)] {
        if !text.is_empty() {
            shown[name] = text.into();
        }
    }
    Ok(shown)
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if name.contains(BAD_IN_NAMES) {
        let quote = if name.contains('\'') && !name.contains('"') { '"' } else { '\'' };
        return Err(invalid(format!(
            "Invalid model name ({quote}{name}{quote}) provided. Model name must be a non-empty string and \
             cannot contain the following characters: ('/', ':', '.', '%', '\"', \"'\")"
        )));
    }
    at_most(name, NAME_CHARS_MAX, "name")
}

/// The state that a call names, by its word or its number.
fn status_of(fields: &Fields<'_>) -> Result<i64, Refusal> {
    if let Ok(Some(number)) = fields.int("status") {
        let known = usize::try_from(number).is_ok_and(|number| number < STATES.len());
        return match known {
            true => Ok(number),
            false => Err(fields.wrong("status", &json!(number))),
        };
    }
    let word = fields.need("status")?;
    let number = STATES.iter().position(|state| *state == word);
    number
        .and_then(|number| i64::try_from(number).ok())
        .ok_or_else(|| fields.wrong("status", &json!(word)))
}

/// The number of a state by what a filter calls it, such as `READY` or `LOGGED_MODEL_READY`.
pub(super) fn state_number(word: &str) -> Option<usize> {
    STATES.iter().position(|state| {
        let short = state.trim_start_matches("LOGGED_MODEL_");
        *state == word || short == word || short.rsplit('_').next() == Some(word)
    })
}
