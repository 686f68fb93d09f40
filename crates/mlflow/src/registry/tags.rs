//! Which tags has a registered model or a version? Keys and texts that anybody may change. The tag
//! that makes a registered model a prompt is one of them.

use serde_json::{Map, Value, json};
use sextant_lineage::{Act, Cell, Reader};

use super::{
    super::{Answer, Fields, Mlflow, Refusal, names::check_key, refusal::invalid},
    name_of, version_of,
};
use crate::{names::at_most, webhooks::Event};

/// What makes a registered model a prompt when it is `true`.
pub(crate) const PROMPT_TAG: &str = "mlflow.prompt.is_prompt";
/// What holds the text of a version of a prompt.
pub(super) const TEXT_TAG: &str = "mlflow.prompt.text";
/// What says whether the text of a prompt is one message or many.
const TYPE_TAG: &str = "_mlflow_prompt_type";
const TAG_CHARS_MAX: usize = 100_000;
const TAGS_MAX: usize = 1000;

/// Keys with their values, each key once.
pub(super) type Tags = Vec<(String, String)>;

/// The tags that a call gives; of a key that is given twice the last.
pub(super) fn tags_of(fields: &Fields<'_>) -> Result<Tags, Refusal> {
    let objects: Vec<&Map<String, Value>> = fields.objects("tags")?;
    if objects.len() > TAGS_MAX {
        return Err(invalid(format!("at most {TAGS_MAX} tags are set at once")));
    }
    let mut tags = Tags::new();
    for object in objects {
        let fields = Fields::new(object);
        let key = fields.text("key")?.unwrap_or_default();
        let value = fields.text("value")?.unwrap_or_default();
        match tags.iter_mut().find(|(known, _)| known == key) {
            Some((_, last)) => value.clone_into(last),
            None => tags.push((key.to_owned(), value.to_owned())),
        }
    }
    Ok(tags)
}

/// Checks a tag as it is set.
pub(super) fn check_tag(key: &str, value: &str) -> Result<(), Refusal> {
    check_key(key, "key", "key")?;
    if key == TEXT_TAG && at_most(value, TAG_CHARS_MAX, "value").is_err() {
        return Err(invalid(format!(
            "Prompt text exceeds max length of {TAG_CHARS_MAX} characters."
        )));
    }
    at_most(value, TAG_CHARS_MAX, "value")
}

/// The value of a tag.
pub(super) fn tag<'a>(tags: &'a Tags, key: &str) -> Option<&'a str> {
    tags.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}

/// Whether these tags are those of a prompt.
pub(super) fn is_prompt(tags: &Tags) -> bool {
    tag(tags, PROMPT_TAG).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Tags as webhooks are told of them: without those by which prompts are kept.
pub(super) fn told(tags: &Tags, prompt: bool) -> Value {
    let inner = |key: &str| prompt && [PROMPT_TAG, TEXT_TAG, TYPE_TAG].contains(&key);
    let told = tags.iter().filter(|(key, _)| !inner(key));
    Value::Object(told.map(|(key, value)| (key.clone(), value.as_str().into())).collect())
}

/// Sets a tag of a registered model, or of a version of it.
pub(super) fn put(act: &mut Act, name: &str, version: Option<i64>, key: &str, value: &str) {
    let mut values: Vec<Cell> = vec![name.into(), key.into(), value.into()];
    let sql = match version {
        None => {
            "INSERT INTO mlflow_registered_tags (name, key, value) VALUES (?1, ?2, ?3)
             ON CONFLICT (name, key) DO UPDATE SET value = excluded.value"
        }
        Some(version) => {
            values.push(version.into());
            "INSERT INTO mlflow_version_tags (name, key, value, version) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (name, version, key) DO UPDATE SET value = excluded.value"
        }
    };
    act.execute(sql, values);
}

impl Mlflow {
    /// What happened to a tag of a version.
    fn tag_event(
        &self,
        reader: &Reader,
        name: &str,
        action: &'static str,
    ) -> Result<Event, Refusal> {
        let prompt = self.is_prompt(reader, name)?;
        let entity = if prompt { "prompt_version_tag" } else { "model_version_tag" };
        Ok(Event::new(entity, action))
    }

    pub(super) fn tag_registered(&self, fields: Fields<'_>) -> Answer {
        let (name, key) = (fields.need("name")?, fields.need("key")?);
        let value = fields.text("value")?.unwrap_or_default();
        name_of(&fields)?;
        check_tag(key, value)?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        self.registered(&reader, name)?;
        let mut act = self.act(format!("tag model {name}"));
        put(&mut act, name, None, key, value);
        if self.is_prompt(&reader, name)? {
            let data = json!({ "name": name, "key": key, "value": value });
            self.announce(&reader, &mut act, Event::new("prompt_tag", "set"), &data)?;
        }
        act.commit()?;
        Ok(json!({}))
    }

    pub(super) fn untag_registered(&self, fields: Fields<'_>) -> Answer {
        let (name, key) = (name_of(&fields)?, fields.need("key")?);
        check_key(key, "key", "key")?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        self.registered(&reader, name)?;
        let mut act = self.act(format!("untag model {name}"));
        act.execute(
            "DELETE FROM mlflow_registered_tags WHERE name = ?1 AND key = ?2",
            vec![name.into(), key.into()],
        );
        if self.is_prompt(&reader, name)? && key != PROMPT_TAG {
            let data = json!({ "name": name, "key": key });
            self.announce(&reader, &mut act, Event::new("prompt_tag", "deleted"), &data)?;
        }
        act.commit()?;
        Ok(json!({}))
    }

    pub(super) fn tag_version(&self, fields: Fields<'_>) -> Answer {
        let key = fields.need("key")?;
        let value = fields.text("value")?.unwrap_or_default();
        let (name, version) = version_of(&fields)?;
        check_tag(key, value)?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        self.version(&reader, name, version)?;
        let mut act = self.act(format!("tag version {version} of model {name}"));
        put(&mut act, name, Some(version), key, value);
        let data =
            json!({ "name": name, "version": version.to_string(), "key": key, "value": value });
        self.announce(&reader, &mut act, self.tag_event(&reader, name, "set")?, &data)?;
        act.commit()?;
        Ok(json!({}))
    }

    pub(super) fn untag_version(&self, fields: Fields<'_>) -> Answer {
        let ((name, version), key) = (version_of(&fields)?, fields.need("key")?);
        check_key(key, "key", "key")?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        self.version(&reader, name, version)?;
        let mut act = self.act(format!("untag version {version} of model {name}"));
        act.execute(
            "DELETE FROM mlflow_version_tags WHERE name = ?1 AND version = ?2 AND key = ?3",
            vec![name.into(), version.into(), key.into()],
        );
        let data = json!({ "name": name, "version": version.to_string(), "key": key });
        self.announce(&reader, &mut act, self.tag_event(&reader, name, "deleted")?, &data)?;
        act.commit()?;
        Ok(json!({}))
    }
}
