//! Of what are webhooks told? Of events in the registry: an entity and what was done to it, with the data
//! that MLflow sends along.

use serde_json::{Value, json};

use super::super::{Fields, Refusal, refusal::invalid};

/// Entities in the order of their numbers, which begin with one, each with what can be done to it.
const ENTITIES: &[(&str, &[&str])] = &[
    ("registered_model", &["created"]),
    ("model_version", &["created"]),
    ("model_version_tag", &["deleted", "set"]),
    ("model_version_alias", &["created", "deleted"]),
    ("prompt", &["created"]),
    ("prompt_version", &["created"]),
    ("prompt_tag", &["deleted", "set"]),
    ("prompt_version_tag", &["deleted", "set"]),
    ("prompt_alias", &["created", "deleted"]),
    ("budget_policy", &["exceeded"]),
];
/// The same of actions.
const ACTIONS: &[&str] = &["created", "updated", "deleted", "set", "exceeded"];

/// Something that happened to an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(super) entity: &'static str,
    pub(super) action: &'static str,
}

impl Event {
    pub(crate) const fn new(entity: &'static str, action: &'static str) -> Self {
        Self { entity, action }
    }

    /// As it is kept: `prompt.created`.
    pub(super) fn name(self) -> String {
        format!("{}.{}", self.entity, self.action)
    }

    /// The event of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let (entity, action) = name.split_once('.')?;
        let (entity, actions) = ENTITIES.iter().find(|(known, _)| *known == entity)?;
        Some(Self { entity, action: actions.iter().find(|known| **known == action)? })
    }

    /// The event that a call names, by words or numbers.
    pub(super) fn of(fields: &Fields<'_>) -> Result<Self, Refusal> {
        let entities: Vec<&'static str> = ENTITIES.iter().map(|(entity, _)| *entity).collect();
        let entity = one_of(fields, "entity", &entities)?;
        let action = one_of(fields, "action", ACTIONS)?;
        let actions =
            ENTITIES.iter().find(|(known, _)| *known == entity).map(|(_, actions)| *actions);
        if actions.is_some_and(|actions| actions.contains(&action)) {
            return Ok(Self { entity, action });
        }
        let valid: Vec<String> =
            actions.unwrap_or_default().iter().map(|action| format!("'{action}'")).collect();
        Err(invalid(format!(
            "Invalid action '{action}' for entity '{entity}'. Valid actions are: [{}]",
            valid.join(", ")
        )))
    }

    pub(super) fn shown(self) -> Value {
        json!({ "entity": self.entity.to_uppercase(), "action": self.action.to_uppercase() })
    }

    /// What a webhook gets of it.
    pub(super) fn body(self, at: &str, data: &Value) -> Value {
        json!({ "entity": self.entity, "action": self.action, "timestamp": at, "data": data })
    }

    /// Data that was made up, to try a webhook.
    pub(super) fn example(self) -> Value {
        let is_prompt = self.entity.starts_with("prompt");
        let what = if is_prompt { "prompt" } else { "model" };
        let mut data = json!({ "name": format!("example_{what}") });
        let mut put = |key: &str, value: Value| data[key] = value;
        let (key, value) = (json!("example_key"), json!("example_value"));
        let tags = json!({ "example_key": "example_value" });
        match (self.entity, self.action) {
            ("registered_model" | "prompt", _) => {
                put("tags", tags);
                let what = if is_prompt { "prompt" } else { "registered model" };
                put("description", format!("An example {what}").into());
            }
            ("model_version" | "prompt_version", _) => {
                put("version", "1".into());
                if is_prompt {
                    put("template", "Hello {{name}}!".into());
                } else {
                    put("source", "models:/123".into());
                    put("run_id", "abcd1234abcd5678".into());
                }
                put("tags", tags);
                put("description", format!("An example {what} version").into());
            }
            ("model_version_alias" | "prompt_alias", action) => {
                put("alias", "example_alias".into());
                if action == "created" {
                    put("version", "1".into());
                }
            }
            ("budget_policy", _) => return budget(),
            (entity, action) => {
                if entity != "prompt_tag" {
                    put("version", "1".into());
                }
                put("key", key);
                if action == "set" {
                    put("value", value);
                }
            }
        }
        data
    }
}

/// The made-up data of an event that never happens here: budgets are of MLflow's gateway.
fn budget() -> Value {
    json!({
        "budget_policy_id": "bp-abc123", "budget_unit": "USD", "budget_amount": 100.0,
        "current_spend": 105.5, "duration_unit": "MONTHS", "duration_value": 1,
        "target_scope": "ENDPOINT", "workspace": "default", "target_value": "ep-abc123",
        "window_start": 1_704_067_200_000_i64,
    })
}

/// The word of a list that a field names, by itself in capitals or by its number.
fn one_of(
    fields: &Fields<'_>,
    name: &str,
    words: &[&'static str],
) -> Result<&'static str, Refusal> {
    let number = fields.int(name).ok().flatten();
    let by_number = number.and_then(|number| words.get(usize::try_from(number - 1).ok()?));
    if let Some(word) = by_number {
        return Ok(word);
    }
    let word = fields.need(name)?;
    let known = words.iter().find(|known| known.to_uppercase() == word);
    known.copied().ok_or_else(|| fields.wrong(name, &word.into()))
}
