//! Which registered models are there? Made, renamed, described, searched and deleted by name.

use std::collections::HashMap;

use serde_json::{Value, json};
use sextant_lineage::{Reader, Row};

use super::{
    super::{
        Answer, Fields, Mlflow, Refusal,
        refusal::{exists, missing},
        search::{Page, registered_models},
    },
    check_name, name_of, page_size,
    schema::NAMED,
    tags::{PROMPT_TAG, check_tag, is_prompt, put, tag, tags_of, told},
    versions::Latest,
    words,
};
use crate::webhooks::Event;

const PAGE: i64 = 100;
const PAGE_MAX: i64 = 1000;
const COLUMNS: &str = "name, description, created, updated";

/// A registered model as the catalog has it.
pub(super) struct Registered {
    pub(super) name: String,
    description: String,
    created: i64,
    updated: i64,
}

impl Registered {
    fn of(row: &Row) -> Result<Self, Refusal> {
        Ok(Self {
            name: row.text(0)?.to_owned(),
            description: row.text(1)?.to_owned(),
            created: row.int(2)?,
            updated: row.int(3)?,
        })
    }

    fn shown(&self) -> Value {
        let mut shown = json!({
            "name": self.name,
            "creation_timestamp": self.created,
            "last_updated_timestamp": self.updated,
        });
        if !self.description.is_empty() {
            shown["description"] = self.description.as_str().into();
        }
        shown
    }
}

impl Mlflow {
    /// The registered model with this name.
    pub(super) fn registered(&self, reader: &Reader, name: &str) -> Result<Registered, Refusal> {
        check_name(name)?;
        let sql = format!("SELECT {COLUMNS} FROM mlflow_registered WHERE name = ?1");
        let rows = reader.query(&sql, &[name.into()])?;
        let none = || missing(format!("Registered Model with name={name} not found"));
        Registered::of(rows.first().ok_or_else(none)?)
    }

    /// The value of the tag that may make it a prompt.
    pub(super) fn prompt_tag(
        &self,
        reader: &Reader,
        name: &str,
    ) -> Result<Option<String>, Refusal> {
        let sql = "SELECT value FROM mlflow_registered_tags WHERE name = ?1 AND key = ?2";
        let rows = reader.query(sql, &[name.into(), PROMPT_TAG.into()])?;
        Ok(rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()?)
    }

    /// Whether it is a prompt.
    pub(super) fn is_prompt(&self, reader: &Reader, name: &str) -> Result<bool, Refusal> {
        let value = self.prompt_tag(reader, name)?;
        Ok(value.is_some_and(|value| value.eq_ignore_ascii_case("true")))
    }

    /// Registered models as clients see them, with what belongs to them.
    fn shown_registered(
        &self,
        reader: &Reader,
        models: &[Registered],
        latest: Latest,
    ) -> Result<Vec<Value>, Refusal> {
        let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        let list = json!(names).to_string();
        let mut lists: HashMap<(String, &str), Vec<Value>> = HashMap::new();
        for (list_name, key, value, sql) in [
            (
                "tags",
                "key",
                "value",
                "SELECT name, key, value FROM mlflow_registered_tags
                 WHERE name IN (SELECT value FROM json_each(?1)) ORDER BY name, key",
            ),
            (
                "aliases",
                "alias",
                "version",
                "SELECT name, alias, CAST(version AS TEXT) FROM mlflow_aliases
                 WHERE name IN (SELECT value FROM json_each(?1)) ORDER BY name, alias",
            ),
        ] {
            for row in reader.query(sql, &[(&list).into()])? {
                let entry = json!({ key: row.text(1)?, value: row.text(2)? });
                lists.entry((row.text(0)?.to_owned(), list_name)).or_default().push(entry);
            }
        }
        let versions = self.latest(reader, &names, latest)?;
        let shown = self.shown_versions(reader, &versions, false)?;
        for (version, shown) in versions.into_iter().zip(shown) {
            lists.entry((version.name, "latest_versions")).or_default().push(shown);
        }
        let shown = models.iter().map(|model| {
            let mut shown = model.shown();
            for list in ["latest_versions", "tags", "aliases"] {
                if let Some(entries) = lists.remove(&(model.name.clone(), list)) {
                    shown[list] = Value::Array(entries);
                }
            }
            shown
        });
        Ok(shown.collect())
    }

    fn shown_one(&self, name: &str) -> Answer {
        let reader = self.store().read()?;
        let model = self.registered(&reader, name)?;
        let shown = self.shown_registered(&reader, &[model], Latest::AsMade)?.pop();
        Ok(json!({ "registered_model": shown }))
    }

    pub(super) fn create_registered(&self, fields: Fields<'_>) -> Answer {
        let name = fields.need("name")?;
        let description = words(&fields, "description")?.unwrap_or_default();
        let tags = tags_of(&fields)?;
        check_name(name)?;
        for (key, value) in &tags {
            check_tag(key, value)?;
        }
        let _turn = self.turn();
        let reader = self.store().read()?;
        if self.registered(&reader, name).is_ok() {
            let known = self.prompt_tag(&reader, name)?.is_some();
            return Err(taken(name, known, tag(&tags, PROMPT_TAG).is_some()));
        }
        let mut act = self.act(format!("register model {name}"));
        act.execute(
            "INSERT INTO mlflow_registered (name, description, created, updated)
             VALUES (?1, ?2, ?3, ?3)",
            vec![name.into(), description.into(), self.now().into()],
        );
        for (key, value) in &tags {
            put(&mut act, name, None, key, value);
        }
        let prompt = is_prompt(&tags);
        let entity = if prompt { "prompt" } else { "registered_model" };
        let data = json!({
            "name": name,
            "tags": told(&tags, prompt),
            "description": description,
        });
        self.announce(&reader, &mut act, Event::new(entity, "created"), &data)?;
        act.commit()?;
        self.shown_one(name)
    }

    pub(super) fn rename_registered(&self, fields: Fields<'_>) -> Answer {
        let (name, new) = (fields.need("name")?, fields.need("new_name")?);
        if new.trim().is_empty() {
            return Err(fields.absent("new_name"));
        }
        check_name(new)?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        self.registered(&reader, name)?;
        if new != name && self.registered(&reader, new).is_ok() {
            return Err(exists(format!("Registered Model (name={new}) already exists.")));
        }
        let mut act = self.act(format!("rename model {name} to {new}"));
        for table in NAMED {
            act.execute(
                &format!("UPDATE {table} SET name = ?2 WHERE name = ?1"),
                vec![name.into(), new.into()],
            );
        }
        for table in ["mlflow_registered", "mlflow_versions"] {
            act.execute(
                &format!("UPDATE {table} SET updated = ?2 WHERE name = ?1"),
                vec![new.into(), self.now().into()],
            );
        }
        act.commit()?;
        self.shown_one(new)
    }

    pub(super) fn update_registered(&self, fields: Fields<'_>) -> Answer {
        let name = fields.need("name")?;
        let description = words(&fields, "description")?.unwrap_or_default();
        let _turn = self.turn();
        self.registered(&self.store().read()?, name)?;
        let mut act = self.act(format!("describe model {name}"));
        act.execute(
            "UPDATE mlflow_registered SET description = ?2, updated = ?3 WHERE name = ?1",
            vec![name.into(), description.into(), self.now().into()],
        );
        act.commit()?;
        self.shown_one(name)
    }

    pub(super) fn delete_registered(&self, fields: Fields<'_>) -> Answer {
        let name = name_of(&fields)?;
        let _turn = self.turn();
        self.registered(&self.store().read()?, name)?;
        let mut act = self.act(format!("delete model {name}"));
        for table in NAMED {
            act.execute(&format!("DELETE FROM {table} WHERE name = ?1"), vec![name.into()]);
        }
        act.commit()?;
        Ok(json!({}))
    }

    pub(super) fn get_registered(&self, fields: Fields<'_>) -> Answer {
        self.shown_one(fields.need("name")?)
    }

    pub(super) fn search_registered(&self, fields: Fields<'_>) -> Answer {
        let size = page_size(&fields, PAGE, PAGE_MAX)?;
        let mut query = registered_models(fields.text("filter")?.unwrap_or_default())?;
        query.order_registered(&fields.texts("order_by")?)?;
        let page = Page::of(fields.text("page_token")?, size)?;
        let reader = self.store().read()?;
        let rows = query.run(&reader, COLUMNS, "mlflow_registered x", &page)?;
        let found: Result<Vec<Registered>, Refusal> =
            rows.iter().take(page.size()).map(Registered::of).collect();
        let shown = self.shown_registered(&reader, &found?, Latest::ByStage)?;
        Ok(page.answer("registered_models", shown, rows.len()))
    }
}

/// That a name is taken; models and prompts share their names.
fn taken(name: &str, by_prompt: bool, wants_prompt: bool) -> Refusal {
    let what = |is_prompt| if is_prompt { "Prompt" } else { "Registered Model" };
    let (old, new) = (what(by_prompt), what(wants_prompt));
    if old == new {
        return exists(format!("{new} (name={name}) already exists."));
    }
    exists(format!(
        "Tried to create a {} with name '{name}', but the name is already taken by a {}. MLflow does \
         not allow creating a model and a prompt with the same name.",
        new.to_lowercase(),
        old.to_lowercase()
    ))
}
