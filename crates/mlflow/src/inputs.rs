//! What did a run read, and which models did it make? Datasets and logged models are its inputs, logged
//! models its outputs. A dataset of ours is linked to its version in the chain.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use sextant_core::Digest;
use sextant_lineage::{Act, Reader};

use super::{
    Answer, Call, Fault, Fields, Mlflow, Refusal,
    call::{change, look},
    chain::version_named,
    experiments::{experiment_id, pairs},
    models::{MODEL_ID_CHARS_MAX, no_model},
    names::at_most,
    refusal::invalid,
    runs::{Run, run_field},
};

const DATASETS_MAX: usize = 1000;
const MODELS_MAX: usize = 1000;
const TAGS_MAX: usize = 100;
pub(super) const DATASET_NAME_CHARS_MAX: usize = 500;
pub(super) const DATASET_DIGEST_CHARS_MAX: usize = 36;
const SOURCE_CHARS_MAX: usize = 65_535;
const SCHEMA_CHARS_MAX: usize = 1_048_575;
const PROFILE_CHARS_MAX: usize = 16_777_215;
const TAG_KEY_CHARS_MAX: usize = 255;
const TAG_VALUE_CHARS_MAX: usize = 500;
const EXPERIMENTS_MAX: usize = 20;
const SUMMARIES_MAX: i64 = 1000;
/// The tag that says what a dataset was used for.
const CONTEXT: &str = "mlflow.data.context";

/// The calls of this file. The stock client asks for datasets at a path that lacks a slash.
pub(super) const CALLS: &[Call] = &[
    change("POST", "2.0/mlflow/runs/log-inputs", Mlflow::log_inputs),
    change("POST", "2.0/mlflow/runs/outputs", Mlflow::log_outputs),
    look("POST", "2.0/mlflow/experiments/search-datasets", Mlflow::search_datasets),
    look("POST", "2.0mlflow/experiments/search-datasets", Mlflow::search_datasets),
];

/// A dataset as the call names it.
struct Dataset<'a> {
    name: &'a str,
    digest: &'a str,
    source_type: &'a str,
    source: &'a str,
    schema: Option<&'a str>,
    profile: Option<&'a str>,
    tags: Vec<(&'a str, &'a str)>,
}

impl<'a> Dataset<'a> {
    fn of(input: &'a Map<String, Value>) -> Result<Self, Refusal> {
        let input = Fields::new(input);
        let dataset = input.object("dataset")?;
        let text = |name: &str, most: usize| {
            let text = match dataset {
                Some(dataset) => Fields::new(dataset).text(name)?,
                None => None,
            };
            at_most(text.unwrap_or_default(), most, name)?;
            Ok::<Option<&'a str>, Refusal>(text)
        };
        let mut tags: Vec<(&str, &str)> = Vec::new();
        for tag in input.objects("tags")? {
            let tag = Fields::new(tag);
            let key = tag.text("key")?.unwrap_or_default();
            let value = tag.text("value")?.unwrap_or_default();
            at_most(key, TAG_KEY_CHARS_MAX, "key")?;
            at_most(value, TAG_VALUE_CHARS_MAX, "value")?;
            tags.push((key, value));
        }
        bounded(tags.len(), TAGS_MAX, "tags of a dataset")?;
        Ok(Self {
            name: text("name", DATASET_NAME_CHARS_MAX)?.unwrap_or_default(),
            digest: text("digest", DATASET_DIGEST_CHARS_MAX)?.unwrap_or_default(),
            source_type: text("source_type", DATASET_NAME_CHARS_MAX)?.unwrap_or_default(),
            source: text("source", SOURCE_CHARS_MAX)?.unwrap_or_default(),
            schema: text("schema", SCHEMA_CHARS_MAX)?,
            profile: text("profile", PROFILE_CHARS_MAX)?,
            tags,
        })
    }

    /// Adds it to the inputs of a run.
    fn put(&self, act: &mut Act, run: &Run, version: Option<Digest>) {
        let named = |values: &mut Vec<_>| {
            values.extend([
                run.experiment.into(),
                self.name.into(),
                self.digest.into(),
                self.source_type.into(),
                self.source.into(),
            ]);
        };
        let mut values = Vec::new();
        named(&mut values);
        values.extend([self.schema.into(), self.profile.into()]);
        act.execute(
            "INSERT INTO mlflow_datasets
                 (experiment, name, digest, source_type, source, schema, profile)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
            values,
        );
        let mut values = Vec::new();
        named(&mut values);
        values.extend([(&run.id).into(), version.into()]);
        act.execute(
            "INSERT INTO mlflow_inputs (run, dataset, artifact)
             SELECT ?6, id, ?7 FROM mlflow_datasets WHERE experiment = ?1 AND name = ?2
             AND digest = ?3 AND source_type = ?4 AND source = ?5",
            values,
        );
        for (key, value) in &self.tags {
            act.execute(
                "INSERT INTO mlflow_input_tags (input, key, value)
                 SELECT MAX(id), ?2, ?3 FROM mlflow_inputs WHERE run = ?1
                 ON CONFLICT (input, key) DO NOTHING",
                vec![(&run.id).into(), (*key).into(), (*value).into()],
            );
        }
    }
}

/// A dataset that a run used, as the chain sees it.
pub(super) struct Used {
    pub(super) name: String,
    pub(super) digest: String,
    pub(super) source_type: String,
    /// Its version in the chain, when it is one of ours.
    pub(super) version: Option<Digest>,
}

impl Mlflow {
    fn log_inputs(&self, fields: Fields<'_>) -> Answer {
        let id = run_field(&fields)?;
        let (datasets, models) = (fields.objects("datasets")?, fields.objects("models")?);
        bounded(datasets.len(), DATASETS_MAX, "datasets")?;
        let datasets: Vec<Dataset<'_>> =
            datasets.into_iter().map(Dataset::of).collect::<Result<_, _>>()?;
        let models = model_ids(&models)?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        let run = self.run(&reader, id)?.active()?;
        let mut used = used_by(&reader, &run.id)?;
        let mut act = self.act(format!("log inputs of run {id}"));
        let (before, mut ours) = (used.len(), false);
        for dataset in &datasets {
            let known = |used: &Used| used.name == dataset.name && used.digest == dataset.digest;
            if used.iter().any(known) {
                continue;
            }
            let version = version_named(&reader, &[dataset.source, dataset.digest])?;
            ours |= version.is_some();
            dataset.put(&mut act, &run, version);
            used.push(Used {
                name: dataset.name.to_owned(),
                digest: dataset.digest.to_owned(),
                source_type: dataset.source_type.to_owned(),
                version,
            });
        }
        let known = self.models_of(&reader, &run.id, "input")?;
        let new: Vec<_> = models.into_iter().filter(|(id, _)| !known.contains_key(*id)).collect();
        if used.len() == before && new.is_empty() {
            return Ok(json!({}));
        }
        for (model, _) in new {
            self.put_model(&mut act, &reader, &run, "input", (model, 0))?;
        }
        if ours {
            self.run_node_with(&mut act, &reader, &run, &used)?;
        }
        act.commit()?;
        Ok(json!({}))
    }

    fn log_outputs(&self, fields: Fields<'_>) -> Answer {
        let id = run_field(&fields)?;
        let models = fields.objects("models")?;
        if models.is_empty() {
            return Err(fields.absent("models"));
        }
        let models = model_ids(&models)?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        let run = self.run(&reader, id)?.active()?;
        let known = self.models_of(&reader, &run.id, "output")?;
        let mut new = Vec::new();
        for (model, step) in models {
            match known.get(model) {
                None => new.push((model, step)),
                Some(same) if *same == step => {}
                Some(other) => {
                    let message = format!(
                        "Logged model with ID '{model}' is an output of run {id} at step {other} already."
                    );
                    return Err(Refusal { fault: Fault::BadRequest, message });
                }
            }
        }
        if new.is_empty() {
            return Ok(json!({}));
        }
        let mut act = self.act(format!("log outputs of run {id}"));
        for model in new {
            self.put_model(&mut act, &reader, &run, "output", model)?;
        }
        act.commit()?;
        Ok(json!({}))
    }

    fn put_model(
        &self,
        act: &mut Act,
        reader: &Reader,
        run: &Run,
        role: &str,
        (model, step): (&str, i64),
    ) -> Result<(), Refusal> {
        let model = self.logged_model(reader, model)?;
        act.execute(
            "INSERT INTO mlflow_run_models (run, role, model, step) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (run, role, model) DO NOTHING",
            vec![(&run.id).into(), role.into(), model.id.into(), step.into()],
        );
        Ok(())
    }

    /// The logged models that a run has in this role, with their steps.
    pub(super) fn models_of(
        &self,
        reader: &Reader,
        run: &str,
        role: &str,
    ) -> Result<HashMap<String, i64>, Refusal> {
        let sql = "SELECT model, step FROM mlflow_run_models WHERE run = ?1 AND role = ?2";
        let rows = reader.query(sql, &[run.into(), role.into()])?;
        rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.int(1)?))).collect()
    }

    fn search_datasets(&self, fields: Fields<'_>) -> Answer {
        let named = fields.texts("experiment_ids")?;
        if named.is_empty() {
            return Err(invalid("SearchDatasets request must specify at least one experiment_id."));
        }
        if named.len() > EXPERIMENTS_MAX {
            return Err(invalid(format!(
                "SearchDatasets request cannot specify more than {EXPERIMENTS_MAX} experiment_ids. \
                 Received {} experiment_ids.",
                named.len()
            )));
        }
        let ids: Result<Vec<i64>, Refusal> = named.into_iter().map(experiment_id).collect();
        let sql = "SELECT DISTINCT d.experiment, d.name, d.digest, t.value FROM mlflow_datasets d
                   JOIN mlflow_inputs i ON i.dataset = d.id
                   LEFT JOIN mlflow_input_tags t ON t.input = i.id AND t.key = ?2
                   WHERE d.experiment IN (SELECT value FROM json_each(?1))
                   ORDER BY d.experiment, d.name, d.digest, t.value LIMIT ?3";
        let values = [json!(ids?).to_string().into(), CONTEXT.into(), SUMMARIES_MAX.into()];
        let mut shown = Vec::new();
        for row in &self.store().read()?.query(sql, &values)? {
            let mut summary = json!({
                "experiment_id": row.int(0)?.to_string(),
                "name": row.text(1)?,
                "digest": row.text(2)?,
            });
            if let Some(context) = row.opt_text(3)? {
                summary["context"] = context.into();
            }
            shown.push(summary);
        }
        Ok(if shown.is_empty() { json!({}) } else { json!({ "dataset_summaries": shown }) })
    }
}

/// The datasets that a run used, in the order in which they were logged.
pub(super) fn used_by(reader: &Reader, run: &str) -> Result<Vec<Used>, Refusal> {
    let sql = "SELECT d.name, d.digest, d.source_type, i.artifact FROM mlflow_inputs i
               JOIN mlflow_datasets d ON d.id = i.dataset WHERE i.run = ?1 ORDER BY i.id";
    let rows = reader.query(sql, &[run.into()])?;
    rows.iter()
        .map(|row| {
            Ok(Used {
                name: row.text(0)?.to_owned(),
                digest: row.text(1)?.to_owned(),
                source_type: row.text(2)?.to_owned(),
                version: row.opt_text(3)?.map(|_| row.digest(3)).transpose()?,
            })
        })
        .collect()
}

/// The inputs and outputs of runs, as clients see them, by the ids of the runs (a list in JSON).
pub(super) fn shown_by_run(
    reader: &Reader,
    ids: &str,
) -> Result<HashMap<String, (Value, Value)>, Refusal> {
    let mut shown: HashMap<String, (Value, Value)> = HashMap::new();
    let none = || (json!({}), json!({}));
    let mut tags: HashMap<i64, Vec<Value>> = HashMap::new();
    let sql = "SELECT t.key, t.value, t.input FROM mlflow_inputs i
               JOIN mlflow_input_tags t ON t.input = i.id
               WHERE i.run IN (SELECT value FROM json_each(?1)) ORDER BY t.input, t.key";
    let rows = reader.query(sql, &[ids.into()])?;
    for (row, tag) in rows.iter().zip(pairs(&rows)?) {
        tags.entry(row.int(2)?).or_default().push(tag);
    }
    let sql = "SELECT i.run, i.id, d.name, d.digest, d.source_type, d.source, d.schema, d.profile
               FROM mlflow_inputs i JOIN mlflow_datasets d ON d.id = i.dataset
               WHERE i.run IN (SELECT value FROM json_each(?1)) ORDER BY i.id";
    for row in &reader.query(sql, &[ids.into()])? {
        let mut dataset = Map::new();
        for (column, name) in
            ["name", "digest", "source_type", "source", "schema", "profile"].into_iter().enumerate()
        {
            dataset.extend(row.opt_text(column + 2)?.map(|text| (name.to_owned(), text.into())));
        }
        let mut input = json!({ "dataset": dataset });
        if let Some(tags) = tags.remove(&row.int(1)?) {
            input["tags"] = Value::Array(tags);
        }
        let of_run = shown.entry(row.text(0)?.to_owned()).or_insert_with(none);
        push(&mut of_run.0, "dataset_inputs", input);
    }
    let sql = "SELECT run, role, model, step FROM mlflow_run_models
               WHERE run IN (SELECT value FROM json_each(?1)) ORDER BY run, role, step, model";
    for row in &reader.query(sql, &[ids.into()])? {
        let (of_inputs, of_outputs) = shown.entry(row.text(0)?.to_owned()).or_insert_with(none);
        let model = row.text(2)?;
        match row.text(1)? {
            "input" => push(of_inputs, "model_inputs", json!({ "model_id": model })),
            _ => {
                let output = json!({ "model_id": model, "step": row.int(3)? });
                push(of_outputs, "model_outputs", output);
            }
        }
    }
    Ok(shown)
}

fn push(object: &mut Value, name: &str, shown: Value) {
    match object.get_mut(name).and_then(Value::as_array_mut) {
        Some(list) => list.push(shown),
        None => object[name] = json!([shown]),
    }
}

/// The ids and steps of a list of logged models, each once.
fn model_ids<'a>(models: &[&'a Map<String, Value>]) -> Result<Vec<(&'a str, i64)>, Refusal> {
    bounded(models.len(), MODELS_MAX, "models")?;
    let mut ids: Vec<(&str, i64)> = Vec::with_capacity(models.len());
    for model in models {
        let fields = Fields::new(model);
        let id = fields.text("model_id")?.unwrap_or_default();
        at_most(id, MODEL_ID_CHARS_MAX, "model_id")?;
        if id.is_empty() {
            return Err(no_model(id));
        }
        if !ids.iter().any(|(known, _)| *known == id) {
            ids.push((id, fields.int("step")?.unwrap_or_default()));
        }
    }
    Ok(ids)
}

fn bounded(count: usize, most: usize, what: &str) -> Result<(), Refusal> {
    if count <= most {
        return Ok(());
    }
    Err(invalid(format!("at most {most} {what} are logged at once, not {count}")))
}
