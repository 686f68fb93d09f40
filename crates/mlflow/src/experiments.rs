//! Which experiments are there? An experiment is a name for runs that are compared.

use serde_json::{Map, Value, json};
use sextant_lineage::{Cell, Reader, Row};

use super::{
    Answer, Call, Fault, Fields, Mlflow, Refusal,
    names::{at_most, check_key},
    refusal::{exists, invalid, missing},
    search::{Page, experiments},
};
use crate::{
    MlflowError,
    call::{change, look},
};

const NAME_CHARS_MAX: usize = 500;
const TAG_CHARS_MAX: usize = 20_000;
const TAGS_MAX: usize = 1000;
const PAGE_MAX: i64 = 50_000;
pub(super) const COLUMNS: &str = "id, name, artifact_location, stage, created, updated";

/// An experiment as the catalog has it.
pub(super) struct Experiment {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) location: String,
    pub(super) stage: String,
    created: i64,
    updated: i64,
}

impl Experiment {
    fn of(row: &Row) -> Result<Self, Refusal> {
        Ok(Self {
            id: row.int(0)?,
            name: row.text(1)?.to_owned(),
            location: row.text(2)?.to_owned(),
            stage: row.text(3)?.to_owned(),
            created: row.int(4)?,
            updated: row.int(5)?,
        })
    }

    fn shown(&self, reader: &Reader) -> Answer {
        let sql =
            "SELECT key, value FROM mlflow_experiment_tags WHERE experiment = ?1 ORDER BY key";
        let tags = pairs(&reader.query(sql, &[self.id.into()])?)?;
        let mut shown = json!({
            "experiment_id": self.id.to_string(),
            "name": self.name,
            "artifact_location": self.location,
            "lifecycle_stage": self.stage,
            "last_update_time": self.updated,
            "creation_time": self.created,
            "workspace": "default",
        });
        if !tags.is_empty() {
            shown["tags"] = Value::Array(tags);
        }
        Ok(shown)
    }

    /// Refuses what only an active experiment takes.
    pub(super) fn active(self) -> Result<Self, Refusal> {
        if self.stage == "active" {
            return Ok(self);
        }
        let Self { id, stage, .. } = self;
        Err(invalid(format!(
            "The experiment {id} must be in the 'active' state. Current state is {stage}."
        )))
    }
}

/// Rows of key and value, as clients see them.
pub(super) fn pairs(rows: &[Row]) -> Result<Vec<Value>, Refusal> {
    rows.iter().map(|row| Ok(json!({ "key": row.text(0)?, "value": row.text(1)? }))).collect()
}

/// The keys and values of a list of tags, each key once.
pub(super) fn tags_of(objects: &[&Map<String, Value>]) -> Result<Vec<(String, String)>, Refusal> {
    if objects.len() > TAGS_MAX {
        return Err(invalid(format!("at most {TAGS_MAX} tags are set at once")));
    }
    let mut tags: Vec<(String, String)> = Vec::new();
    for object in objects {
        let fields = Fields::new(object);
        let key = fields.text("key")?.unwrap_or_default();
        let value = fields.text("value")?.unwrap_or_default();
        if tags.iter().any(|(known, _)| known == key) {
            return Err(invalid(format!("the tag '{key}' is given twice")));
        }
        tags.push((key.to_owned(), value.to_owned()));
    }
    Ok(tags)
}

/// The calls of this file.
pub(super) const CALLS: &[Call] = &[
    change("POST", "2.0/mlflow/experiments/create", Mlflow::create_experiment),
    look("GET", "2.0/mlflow/experiments/get", Mlflow::get_experiment),
    look("GET", "2.0/mlflow/experiments/get-by-name", Mlflow::get_experiment_by_name),
    look("POST", "2.0/mlflow/experiments/search", Mlflow::search_experiments),
    look("GET", "2.0/mlflow/experiments/search", Mlflow::search_experiments),
    change("POST", "2.0/mlflow/experiments/update", Mlflow::update_experiment),
    change("POST", "2.0/mlflow/experiments/delete", Mlflow::delete_experiment),
    change("POST", "2.0/mlflow/experiments/restore", Mlflow::restore_experiment),
    change("POST", "2.0/mlflow/experiments/set-experiment-tag", Mlflow::set_experiment_tag),
    change("POST", "2.0/mlflow/experiments/delete-experiment-tag", Mlflow::delete_experiment_tag),
];

impl Mlflow {
    pub(super) fn make_default_experiment(&self) -> Result<(), MlflowError> {
        let any = self.store().read()?.query("SELECT 1 FROM mlflow_experiments LIMIT 1", &[])?;
        if !any.is_empty() {
            return Ok(());
        }
        let mut act = self.act("make the default experiment");
        let now = self.now();
        act.execute(
            "INSERT INTO mlflow_experiments (id, name, artifact_location, stage, created, updated)
             VALUES (0, 'Default', 'mlflow-artifacts:/0', 'active', ?1, ?1)",
            vec![now.into()],
        );
        act.commit()?;
        Ok(())
    }

    pub(super) fn create_experiment(&self, fields: Fields<'_>) -> Answer {
        let name = fields.need("name")?;
        at_most(name, NAME_CHARS_MAX, "name")?;
        let tags = tags_of(&fields.objects("tags")?)?;
        for (key, value) in &tags {
            check_key(key, "key", "key")?;
            at_most(value, TAG_CHARS_MAX, "value")?;
        }
        let wanted = fields.text("artifact_location")?.unwrap_or_default();
        check_location(wanted)?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        let same = "SELECT 1 FROM mlflow_experiments WHERE name = ?1";
        if !reader.query(same, &[name.into()])?.is_empty() {
            return Err(exists(format!("Experiment(name={name}) already exists.")));
        }
        let newest = reader.query("SELECT COALESCE(MAX(id), 0) FROM mlflow_experiments", &[])?;
        let id = newest.first().map_or(Ok(0), |row| row.int(0))? + 1;
        let location = match wanted {
            "" => format!("mlflow-artifacts:/{id}"),
            wanted => wanted.to_owned(),
        };
        let mut act = self.act(format!("create experiment {id}"));
        act.execute(
            "INSERT INTO mlflow_experiments (id, name, artifact_location, stage, created, updated)
             VALUES (?1, ?2, ?3, 'active', ?4, ?4)",
            vec![id.into(), name.into(), location.into(), self.now().into()],
        );
        for (key, value) in tags {
            act.execute(
                "INSERT INTO mlflow_experiment_tags (experiment, key, value) VALUES (?1, ?2, ?3)",
                vec![id.into(), key.into(), value.into()],
            );
        }
        act.commit()?;
        Ok(json!({ "experiment_id": id.to_string() }))
    }

    /// The experiment with this id.
    pub(super) fn experiment(&self, reader: &Reader, id: &str) -> Result<Experiment, Refusal> {
        let number = experiment_id(id)?;
        let sql = format!("SELECT {COLUMNS} FROM mlflow_experiments WHERE id = ?1");
        let rows = reader.query(&sql, &[number.into()])?;
        let row = rows.first().ok_or_else(|| no_experiment(id))?;
        Experiment::of(row)
    }

    pub(super) fn get_experiment(&self, fields: Fields<'_>) -> Answer {
        let reader = self.store().read()?;
        let found = self.experiment(&reader, fields.need("experiment_id")?)?;
        Ok(json!({ "experiment": found.shown(&reader)? }))
    }

    pub(super) fn get_experiment_by_name(&self, fields: Fields<'_>) -> Answer {
        let name = fields.need("experiment_name")?;
        let reader = self.store().read()?;
        let sql = format!("SELECT {COLUMNS} FROM mlflow_experiments WHERE name = ?1");
        let rows = reader.query(&sql, &[name.into()])?;
        let row = rows
            .first()
            .ok_or_else(|| missing(format!("Could not find experiment with name '{name}'")))?;
        Ok(json!({ "experiment": Experiment::of(row)?.shown(&reader)? }))
    }

    pub(super) fn search_experiments(&self, fields: Fields<'_>) -> Answer {
        let size = fields.page_size(0, PAGE_MAX)?;
        let mut query = experiments(fields.text("filter")?.unwrap_or_default())?;
        query.order_experiments(&fields.texts("order_by")?)?;
        query.stages(&fields)?;
        let page = Page::of(fields.text("page_token")?, size)?;
        let reader = self.store().read()?;
        let rows = query.run(&reader, COLUMNS, "mlflow_experiments x", &page)?;
        let mut shown = Vec::with_capacity(rows.len());
        for row in rows.iter().take(page.size()) {
            shown.push(Experiment::of(row)?.shown(&reader)?);
        }
        Ok(page.answer("experiments", shown, rows.len()))
    }

    pub(super) fn update_experiment(&self, fields: Fields<'_>) -> Answer {
        let (id, name) = (fields.need("experiment_id")?, fields.need("new_name")?);
        at_most(name, NAME_CHARS_MAX, "name")?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        let found = self.experiment(&reader, id)?;
        if found.stage != "active" {
            let message = "Cannot rename a non-active experiment.".to_owned();
            return Err(Refusal { fault: Fault::InvalidState, message });
        }
        let same = "SELECT 1 FROM mlflow_experiments WHERE name = ?1 AND id <> ?2";
        if !reader.query(same, &[name.into(), found.id.into()])?.is_empty() {
            let message = format!("Experiment(name={name}) already exists.");
            return Err(Refusal { fault: Fault::BadRequest, message });
        }
        self.change_experiment(&found, "rename", "name = ?3", name.into())
    }

    fn change_experiment(&self, found: &Experiment, what: &str, set: &str, to: Cell) -> Answer {
        let mut act = self.act(format!("{what} experiment {}", found.id));
        act.execute(
            &format!("UPDATE mlflow_experiments SET updated = ?2, {set} WHERE id = ?1"),
            vec![found.id.into(), self.now().into(), to],
        );
        act.commit()?;
        Ok(json!({}))
    }

    pub(super) fn delete_experiment(&self, fields: Fields<'_>) -> Answer {
        self.move_experiment(fields, "delete", "active", "deleted")
    }

    pub(super) fn restore_experiment(&self, fields: Fields<'_>) -> Answer {
        self.move_experiment(fields, "restore", "deleted", "active")
    }

    /// Moves an experiment and its runs from one stage to the other.
    fn move_experiment(&self, fields: Fields<'_>, what: &str, from: &str, to: &str) -> Answer {
        let id = fields.need("experiment_id")?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        let found = self.experiment(&reader, id)?;
        if found.stage != from {
            return Err(no_experiment(id));
        }
        let now = self.now();
        let mut act = self.act(format!("{what} experiment {id}"));
        act.execute(
            "UPDATE mlflow_experiments SET stage = ?2, updated = ?3 WHERE id = ?1",
            vec![found.id.into(), to.into(), now.into()],
        );
        act.execute(
            "UPDATE mlflow_runs SET stage = ?2, deleted = ?3 WHERE experiment = ?1 AND stage = ?4",
            vec![found.id.into(), to.into(), (to == "deleted").then_some(now).into(), from.into()],
        );
        act.commit()?;
        Ok(json!({}))
    }

    pub(super) fn set_experiment_tag(&self, fields: Fields<'_>) -> Answer {
        let (id, key) = (fields.need("experiment_id")?, fields.need("key")?);
        let value = fields.text("value")?.unwrap_or_default();
        check_key(key, "key", "key")?;
        at_most(value, TAG_CHARS_MAX, "value")?;
        let _turn = self.turn();
        let found = self.experiment(&self.store().read()?, id)?.active()?;
        let mut act = self.act(format!("tag experiment {id}"));
        act.execute(
            "INSERT INTO mlflow_experiment_tags (experiment, key, value) VALUES (?1, ?2, ?3)
             ON CONFLICT (experiment, key) DO UPDATE SET value = excluded.value",
            vec![found.id.into(), key.into(), value.into()],
        );
        act.commit()?;
        Ok(json!({}))
    }

    pub(super) fn delete_experiment_tag(&self, fields: Fields<'_>) -> Answer {
        let (id, key) = (fields.need("experiment_id")?, fields.need("key")?);
        let _turn = self.turn();
        let reader = self.store().read()?;
        let found = self.experiment(&reader, id)?.active()?;
        let at = [found.id.into(), key.into()];
        let known = "SELECT 1 FROM mlflow_experiment_tags WHERE experiment = ?1 AND key = ?2";
        if reader.query(known, &at)?.is_empty() {
            return Err(missing(format!("No tag with name: {key} in experiment with id {id}")));
        }
        let mut act = self.act(format!("untag experiment {id}"));
        act.execute(
            "DELETE FROM mlflow_experiment_tags WHERE experiment = ?1 AND key = ?2",
            at.to_vec(),
        );
        act.commit()?;
        Ok(json!({}))
    }
}

/// The number of an experiment.
pub(super) fn experiment_id(text: &str) -> Result<i64, Refusal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(format!(
            "Invalid experiment ID '{text}'. Experiment ID must be a valid integer."
        )));
    }
    text.parse().map_err(|_| no_experiment(text))
}

fn no_experiment(id: &str) -> Refusal {
    missing(format!("No Experiment with id={id} exists"))
}

/// Clients write to `mlflow-artifacts:` through this server; other addresses they reach by themselves.
fn check_location(location: &str) -> Result<(), Refusal> {
    if location.contains('#') || location.contains(';') {
        return Err(invalid("'artifact_location' URL can't include fragments or params."));
    }
    match location.split_once('?') {
        Some((_, query)) if query.contains("..") => Err(invalid("Invalid query string")),
        _ => Ok(()),
    }
}
