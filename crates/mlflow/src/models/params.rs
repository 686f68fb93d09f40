//! Which parameters and tags has a logged model? Parameters never change; tags may, and may go.

use serde_json::json;
use sextant_lineage::Act;

use super::super::{
    Answer, Fault, Fields, Mlflow, Refusal,
    batch::cut,
    names::at_most,
    refusal::{invalid, missing},
};

/// Entries of one call.
const ENTRIES_MAX: usize = 1000;
const KEY_CHARS_MAX: usize = 255;
const VALUE_CHARS_MAX: usize = 65_535;
/// Of a value in a refusal.
const VALUE_CHARS_TOLD: usize = 250;

type Entries = Vec<(String, String)>;

/// The keys and values of a list.
pub(super) fn entries(fields: &Fields<'_>, list: &str) -> Result<Entries, Refusal> {
    let objects = fields.objects(list)?;
    if objects.len() > ENTRIES_MAX {
        return Err(invalid(format!("at most {ENTRIES_MAX} {list} are set at once")));
    }
    let mut entries = Vec::with_capacity(objects.len());
    for object in objects {
        let fields = Fields::new(object);
        let key = fields.text("key")?.unwrap_or_default();
        let value = fields.text("value")?.unwrap_or_default();
        at_most(key, KEY_CHARS_MAX, "key")?;
        at_most(value, VALUE_CHARS_MAX, "value")?;
        entries.push((key.to_owned(), value.to_owned()));
    }
    Ok(entries)
}

/// Refuses a key with two values.
pub(super) fn once_each(params: &[(String, String)]) -> Result<(), Refusal> {
    for (index, (key, value)) in params.iter().enumerate() {
        let twice = params.iter().take(index).any(|(known, _)| known == key);
        if twice {
            return Err(changed(key, value));
        }
    }
    Ok(())
}

fn changed(key: &str, value: &str) -> Refusal {
    let value = cut(value, VALUE_CHARS_TOLD);
    let message = format!(
        "Changing param values is not allowed. Param with key='{key}' has a value already; attempted to \
         log '{value}'."
    );
    Refusal { fault: Fault::BadRequest, message }
}

/// Sets entries of a logged model.
pub(super) fn put(act: &mut Act, table: &str, model: &str, entries: &[(String, String)]) {
    for (key, value) in entries {
        act.execute(
            &format!(
                "INSERT INTO {table} (model, key, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (model, key) DO UPDATE SET value = excluded.value"
            ),
            vec![model.into(), key.into(), value.into()],
        );
    }
}

impl Mlflow {
    pub(super) fn tag_logged_model(&self, fields: Fields<'_>) -> Answer {
        let id = fields.place("model_id");
        let tags = entries(&fields, "tags")?;
        let _turn = self.turn();
        let model = self.logged_model(&self.store().read()?, id)?;
        if tags.is_empty() {
            return Ok(json!({}));
        }
        let mut act = self.act(format!("tag logged model {id}"));
        put(&mut act, "mlflow_model_tags", &model.id, &tags);
        act.commit()?;
        Ok(json!({}))
    }

    pub(super) fn untag_logged_model(&self, fields: Fields<'_>) -> Answer {
        let (id, key) = (fields.place("model_id"), fields.place("key"));
        let _turn = self.turn();
        let reader = self.store().read()?;
        let model = self.logged_model(&reader, id)?;
        let at = [model.id.into(), key.into()];
        let known = "SELECT 1 FROM mlflow_model_tags WHERE model = ?1 AND key = ?2";
        if reader.query(known, &at)?.is_empty() {
            return Err(missing(format!(
                "No tag with key '{key}' found for model with ID '{id}'."
            )));
        }
        let mut act = self.act(format!("untag logged model {id}"));
        act.execute("DELETE FROM mlflow_model_tags WHERE model = ?1 AND key = ?2", at.to_vec());
        act.commit()?;
        Ok(json!({}))
    }

    pub(super) fn log_model_params(&self, fields: Fields<'_>) -> Answer {
        let id = fields.need("model_id")?;
        let params = entries(&fields, "params")?;
        once_each(&params)?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        let model = self.logged_model(&reader, id)?;
        let mut new = Vec::new();
        for (key, value) in params {
            let sql = "SELECT value FROM mlflow_model_params WHERE model = ?1 AND key = ?2";
            let rows = reader.query(sql, &[(&model.id).into(), (&key).into()])?;
            match rows.first().map(|row| row.text(0)).transpose()? {
                None => new.push((key, value)),
                Some(known) if known == value => {}
                Some(_) => return Err(changed(&key, &value)),
            }
        }
        if new.is_empty() {
            return Ok(json!({}));
        }
        let mut act = self.act(format!("log parameters of logged model {id}"));
        put(&mut act, "mlflow_model_params", &model.id, &new);
        act.commit()?;
        Ok(json!({}))
    }
}
