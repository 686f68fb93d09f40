//! How did clients say that a run has a model before there were logged models? By a tag of the run that
//! lists what `MLmodel` files say; they still do.

use serde_json::{Map, Value, json};

use super::super::{
    Answer, Fields, Mlflow,
    refusal::invalid,
    runs::{put_tag, run_field},
};

/// The tag with the list.
const TAG: &str = "mlflow.log-model.history";
const TAG_BYTES_MAX: usize = 1 << 20;
const MUST_HAVE: &[&str] = &["artifact_path", "flavors", "run_id", "utc_time_created"];
const KEPT: &[&str] = &["run_id", "utc_time_created", "artifact_path", "model_uuid"];

impl Mlflow {
    pub(super) fn log_model(&self, fields: Fields<'_>) -> Answer {
        let id = run_field(&fields)?;
        let text = fields.need("model_json")?;
        let Ok(Value::Object(model)) = serde_json::from_str::<Value>(text) else {
            return Err(invalid(format!(
                "Malformed model info. \n {text} \n is not a valid JSON."
            )));
        };
        let lacking: Vec<String> = MUST_HAVE
            .iter()
            .filter(|name| !model.contains_key(**name))
            .map(|name| format!("'{name}'"))
            .collect();
        if !lacking.is_empty() {
            let lacking = lacking.join(", ");
            return Err(invalid(format!("Model json is missing mandatory fields: {{{lacking}}}")));
        }
        let new = kept(&model);
        let _turn = self.turn();
        let reader = self.store().read()?;
        let run = self.run(&reader, id)?.active()?;
        let sql = "SELECT value FROM mlflow_tags WHERE run = ?1 AND key = ?2";
        let rows = reader.query(sql, &[(&run.id).into(), TAG.into()])?;
        let known = rows.first().map(|row| row.text(0)).transpose()?;
        let mut list: Vec<Value> = match known.map(serde_json::from_str) {
            None => Vec::new(),
            Some(Ok(list)) => list,
            Some(Err(_)) => return Err(invalid(format!("The tag {TAG} is no list."))),
        };
        if list.contains(&new) {
            return Ok(json!({}));
        }
        list.push(new);
        let list = Value::Array(list).to_string();
        if list.len() > TAG_BYTES_MAX {
            return Err(invalid(format!("the models of a run take at most {TAG_BYTES_MAX} bytes")));
        }
        let mut act = self.act(format!("log a model of run {id}"));
        put_tag(&mut act, &run.id, TAG, &list);
        act.commit()?;
        Ok(json!({}))
    }
}

/// What is kept of a model: which it is, and its flavours without their settings.
fn kept(model: &Map<String, Value>) -> Value {
    let mut kept = Map::new();
    for name in KEPT {
        kept.extend(model.get(*name).map(|value| ((*name).to_owned(), value.clone())));
    }
    let mut flavors = model.get("flavors").cloned().unwrap_or_default();
    for flavor in flavors.as_object_mut().into_iter().flat_map(Map::values_mut) {
        flavor.as_object_mut().and_then(|flavor| flavor.remove("config"));
    }
    kept.insert("flavors".to_owned(), flavors);
    Value::Object(kept)
}
