//! How are points, parameters and tags logged? One by one or many at once. A call is refused before
//! anything of it is stored; sent again it changes nothing.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sextant_lineage::Reader;

use super::{
    Answer, Fault, Fields, Mlflow, Refusal,
    inputs::{DATASET_DIGEST_CHARS_MAX, DATASET_NAME_CHARS_MAX},
    models::MODEL_ID_CHARS_MAX,
    names::{at_most, check_key},
    point::{About, Point},
    refusal::{invalid, missing},
    runs::{Run, put_tag, run_field},
};

const METRICS_MAX: usize = 1000;
const PARAMS_MAX: usize = 100;
const TAGS_MAX: usize = 100;
const ALL_MAX: usize = 1000;
const PARAM_CHARS_MAX: usize = 6000;
pub(super) const TAG_CHARS_MAX: usize = 8000;

impl Mlflow {
    /// The run of a call that writes.
    fn run_to_write(&self, reader: &Reader, fields: &Fields<'_>) -> Result<Run, Refusal> {
        self.run(reader, run_field(fields)?)?.active()
    }

    pub(super) fn log_metric(&self, fields: Fields<'_>) -> Answer {
        run_field(&fields)?;
        let point = point_of(&fields, "name")?;
        let reader = self.store().read()?;
        let run = self.run_to_write(&reader, &fields)?;
        known_models(&reader, std::slice::from_ref(&point))?;
        self.0.metrics.append(run.key()?, &[point])?;
        Ok(json!({}))
    }

    pub(super) fn log_parameter(&self, fields: Fields<'_>) -> Answer {
        run_field(&fields)?;
        let key = fields.need("key")?;
        let value = fields.text("value")?.unwrap_or_default();
        check_key(key, "key", "Param key")?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        let run = self.run_to_write(&reader, &fields)?;
        let new = [(key.to_owned(), value.to_owned())];
        if let Some((key, old, new)) = self.changed_params(&reader, &run, &new)?.pop() {
            return Err(invalid(format!(
                "Changing param values is not allowed. Param with key='{key}' was already logged with \
                 value='{old}' for run ID='{}'. Attempted logging new value '{new}'.",
                run.id
            )));
        }
        self.put(&run, &new, &[])
    }

    pub(super) fn set_tag(&self, fields: Fields<'_>) -> Answer {
        run_field(&fields)?;
        let key = fields.need("key")?;
        let value = fields.text("value")?.unwrap_or_default();
        check_key(key, "key", "key")?;
        let _turn = self.turn();
        let run = self.run_to_write(&self.store().read()?, &fields)?;
        self.put(&run, &[], &[(key.to_owned(), value.to_owned())])
    }

    pub(super) fn delete_tag(&self, fields: Fields<'_>) -> Answer {
        run_field(&fields)?;
        let key = fields.need("key")?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        let run = self.run_to_write(&reader, &fields)?;
        let at = [(&run.id).into(), key.into()];
        if reader.query("SELECT 1 FROM mlflow_tags WHERE run = ?1 AND key = ?2", &at)?.is_empty() {
            return Err(missing(format!("No tag with name: {key} in run with id {}", run.id)));
        }
        let mut act = self.act(format!("untag run {}", run.id));
        act.execute("DELETE FROM mlflow_tags WHERE run = ?1 AND key = ?2", at.to_vec());
        act.commit()?;
        Ok(json!({}))
    }

    pub(super) fn log_batch(&self, fields: Fields<'_>) -> Answer {
        run_field(&fields)?;
        let (metrics, params, tags) =
            (fields.objects("metrics")?, fields.objects("params")?, fields.objects("tags")?);
        bounded(metrics.len(), METRICS_MAX, "metrics")?;
        bounded(params.len(), PARAMS_MAX, "params")?;
        bounded(tags.len(), TAGS_MAX, "tags")?;
        bounded(metrics.len() + params.len() + tags.len(), ALL_MAX, "metrics, params, and tags")?;
        let mut points = Vec::with_capacity(metrics.len());
        for (index, object) in metrics.into_iter().enumerate() {
            let within = format!("metrics[{index}].");
            let fields = Fields::inside(object, &within);
            points.push(point_of(&fields, &format!("{within}name"))?);
        }
        let params = entries(&params, "params", "Param key")?;
        let tags = entries(&tags, "tags", "Tag key")?;
        once_each(&params)?;
        let _turn = (!params.is_empty() || !tags.is_empty()).then(|| self.turn());
        let reader = self.store().read()?;
        let run = self.run_to_write(&reader, &fields)?;
        known_models(&reader, &points)?;
        let changed = self.changed_params(&reader, &run, &params)?;
        if !changed.is_empty() {
            let told: Vec<String> = changed
                .iter()
                .map(|(key, old, new)| {
                    format!("{{'key': '{key}', 'old_value': '{old}', 'new_value': '{new}'}}")
                })
                .collect();
            return Err(invalid(format!(
                "Changing param values is not allowed. Params were already logged='[{}]' for run \
                 ID='{}'.",
                told.join(", "),
                run.id
            )));
        }
        self.0.metrics.append(run.key()?, &points)?;
        self.put(&run, &params, &tags)
    }

    /// The parameters that a run has with another value: key, its value, the new one.
    fn changed_params(
        &self,
        reader: &Reader,
        run: &Run,
        new: &[(String, String)],
    ) -> Result<Vec<(String, String, String)>, Refusal> {
        let mut changed = Vec::new();
        for (key, value) in new {
            let sql = "SELECT value FROM mlflow_params WHERE run = ?1 AND key = ?2";
            for row in reader.query(sql, &[(&run.id).into(), key.into()])? {
                if row.text(0)? != cut(value, PARAM_CHARS_MAX) {
                    changed.push((key.clone(), row.text(0)?.to_owned(), value.clone()));
                }
            }
        }
        Ok(changed)
    }

    fn put(&self, run: &Run, params: &[(String, String)], tags: &[(String, String)]) -> Answer {
        if params.is_empty() && tags.is_empty() {
            return Ok(json!({}));
        }
        let mut act = self.act(format!("log to run {}", run.id));
        for (key, value) in params {
            let value = cut(value, PARAM_CHARS_MAX);
            act.execute(
                "INSERT INTO mlflow_params (run, key, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (run, key) DO NOTHING",
                vec![(&run.id).into(), key.into(), value.into()],
            );
        }
        for (key, value) in tags {
            put_tag(&mut act, &run.id, key, cut(value, TAG_CHARS_MAX));
        }
        act.commit()?;
        Ok(json!({}))
    }
}

/// A value as it is kept: what is longer is cut off, as MLflow does it.
pub(super) fn cut(value: &str, chars: usize) -> &str {
    value.char_indices().nth(chars).map_or(value, |(end, _)| &value[..end])
}

fn point_of(fields: &Fields<'_>, place: &str) -> Result<Point, Refusal> {
    let key = fields.need("key")?;
    let value = fields.need_real("value")?;
    let timestamp = fields.int("timestamp")?.ok_or_else(|| fields.absent("timestamp"))?;
    let step = fields.int("step")?.unwrap_or_default();
    check_key(key, place, "Metric name")?;
    let value = if value.is_nan() { value } else { value.clamp(-f64::MAX, f64::MAX) };
    let about = |name: &str, most: usize| {
        let text = fields.text(name)?.unwrap_or_default();
        at_most(text, most, name)?;
        Ok::<String, Refusal>(text.to_owned())
    };
    let about = About {
        model: about("model_id", MODEL_ID_CHARS_MAX)?,
        dataset: about("dataset_name", DATASET_NAME_CHARS_MAX)?,
        digest: about("dataset_digest", DATASET_DIGEST_CHARS_MAX)?,
    };
    Ok(Point { key: key.to_owned(), value, timestamp, step, about: Arc::new(about) })
}

/// Refuses points about logged models that there are not.
fn known_models(reader: &Reader, points: &[Point]) -> Result<(), Refusal> {
    let mut named: Vec<&str> = points.iter().map(|point| point.about.model.as_str()).collect();
    named.sort_unstable();
    named.dedup();
    for model in named.into_iter().filter(|model| !model.is_empty()) {
        let sql = "SELECT 1 FROM mlflow_logged_models WHERE id = ?1";
        if reader.query(sql, &[model.into()])?.is_empty() {
            let message = format!("Logged model with ID '{model}' not found.");
            return Err(Refusal { fault: Fault::BadRequest, message });
        }
    }
    Ok(())
}

/// Keys and values of a list of a batch.
fn entries(
    objects: &[&Map<String, Value>],
    list: &str,
    what: &str,
) -> Result<Vec<(String, String)>, Refusal> {
    let mut entries = Vec::with_capacity(objects.len());
    for (index, object) in objects.iter().enumerate() {
        let within = format!("{list}[{index}].");
        let fields = Fields::inside(object, &within);
        let key = fields.need("key")?;
        check_key(key, &format!("{within}key"), what)?;
        entries.push((key.to_owned(), fields.text("value")?.unwrap_or_default().to_owned()));
    }
    Ok(entries)
}

fn bounded(count: usize, most: usize, what: &str) -> Result<(), Refusal> {
    if count <= most {
        return Ok(());
    }
    Err(invalid(format!(
        "A batch logging request can contain at most {most} {what}. Got {count} {what}. Please split up \
         {what} across multiple requests and try again."
    )))
}

fn once_each(params: &[(String, String)]) -> Result<(), Refusal> {
    let mut seen: Vec<&str> = Vec::new();
    let mut twice: Vec<String> = Vec::new();
    for (key, _) in params {
        if seen.contains(&key.as_str()) && !twice.contains(&format!("'{key}'")) {
            twice.push(format!("'{key}'"));
        }
        seen.push(key);
    }
    if twice.is_empty() {
        return Ok(());
    }
    Err(invalid(format!(
        "Duplicate parameter keys have been submitted: [{}]. Please ensure the request contains only one \
         param value per param key.",
        twice.join(", ")
    )))
}
