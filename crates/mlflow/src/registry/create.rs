//! How is a version made? Its source is checked, it takes the next number of its model, and it becomes
//! a node of the chain: of what it was made from, `why` can tell.

use serde_json::{Value, json};
use sextant_core::{ArtifactKind, Digest};
use sextant_lineage::{Act, Reader};

use super::{
    super::{Answer, Fault, Fields, Mlflow, Refusal},
    check_name,
    sources::{Origin, check_placeholder, note_version},
    tags::{TEXT_TAG, Tags, check_tag, is_prompt, put, tag, tags_of, told},
    words,
};
use crate::{names::at_most, webhooks::Event};

const SOURCE_CHARS_MAX: usize = 8000;

/// A version that is to be made.
struct New<'a> {
    name: &'a str,
    version: i64,
    origin: &'a Origin,
    tags: &'a Tags,
    created: i64,
}

impl New<'_> {
    /// What it comes from: another version, a logged model, or a run of this server.
    fn origin_node(&self, mlflow: &Mlflow, act: &mut Act) -> Result<Option<Digest>, Refusal> {
        let run = self.origin.run.as_deref().filter(|run| !run.is_empty());
        let found = match (self.origin.node, &self.origin.model, run) {
            (Some(node), ..) => return Ok(Some(node)),
            (None, Some(model), _) => mlflow.model_node(act, model),
            (None, None, Some(run)) => mlflow.run_node(act, run),
            (None, None, None) => return Ok(None),
        };
        match found {
            // A run may be one of another server.
            Err(refusal) if refusal.fault == Fault::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    /// Puts the version into the chain. The text of a prompt is kept by its digest.
    fn node(&self, mlflow: &Mlflow, act: &mut Act) -> Result<Digest, Refusal> {
        let from: Vec<Digest> = self.origin_node(mlflow, act)?.into_iter().collect();
        let mut body = json!({
            "name": self.name,
            "version": self.version,
            "source": self.origin.source,
            "location": self.origin.location,
            "run": self.origin.run,
            "logged_model": self.origin.model,
            "created": self.created,
        });
        if !is_prompt(self.tags) {
            return Ok(act.manifest(ArtifactKind::ModelVersion, &body, &from)?);
        }
        if let Some(text) = tag(self.tags, TEXT_TAG) {
            body["text"] = act.blob(text.as_bytes())?.to_string().into();
        }
        Ok(act.manifest(ArtifactKind::PromptVersion, &body, &from)?)
    }
}

impl New<'_> {
    /// What webhooks are told of it.
    fn told(&self, description: &str) -> (Event, Value) {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let prompt = is_prompt(self.tags);
        let mut data = json!({
            "name": self.name,
            "version": self.version.to_string(),
            "tags": told(self.tags, prompt),
            "description": some(description),
        });
        if prompt {
            data["template"] = json!(tag(self.tags, TEXT_TAG));
            return (Event::new("prompt_version", "created"), data);
        }
        data["source"] = self.origin.source.as_str().into();
        data["run_id"] = json!(self.origin.run.as_deref().and_then(some));
        (Event::new("model_version", "created"), data)
    }
}

impl Mlflow {
    pub(super) fn create_version(&self, fields: Fields<'_>) -> Answer {
        let (name, source) = (fields.need("name")?, fields.need("source")?);
        at_most(source, SOURCE_CHARS_MAX, "source")?;
        let run_link = words(&fields, "run_link")?.unwrap_or_default();
        let description = words(&fields, "description")?.unwrap_or_default();
        let tags = tags_of(&fields)?;
        let (run, model) = (fields.text("run_id")?, fields.text("model_id")?);
        let turn = self.turn();
        let reader = self.store().read()?;
        let origin = match is_prompt(&tags) {
            true => {
                check_placeholder(source)?;
                Origin::of_prompt(source, run)
            }
            false => self.origin(&reader, source, run, model)?,
        };
        check_name(name)?;
        for (key, value) in &tags {
            check_tag(key, value)?;
        }
        self.registered(&reader, name)?;
        let (version, now) = (next(&reader, name)?, self.now());
        let mut act = self.act(format!("register version {version} of model {name}"));
        let new = New { name, version, origin: &origin, tags: &tags, created: now };
        let node = new.node(self, &mut act)?;
        act.execute(
            "INSERT INTO mlflow_versions (name, version, created, updated, description, stage,
                 source, location, run, run_link, model, node)
             VALUES (?1, ?2, ?3, ?3, ?4, 'None', ?5, ?6, ?7, ?8, ?9, ?10)",
            vec![
                name.into(),
                version.into(),
                now.into(),
                description.into(),
                (&origin.source).into(),
                (&origin.location).into(),
                origin.run.as_deref().into(),
                run_link.into(),
                origin.model.as_deref().into(),
                node.into(),
            ],
        );
        act.execute(
            "UPDATE mlflow_registered SET updated = ?2 WHERE name = ?1",
            vec![name.into(), now.into()],
        );
        for (key, value) in &tags {
            put(&mut act, name, Some(version), key, value);
        }
        if let Some(model) = &origin.model {
            note_version(&mut act, &reader, model, name, version)?;
        }
        let (event, data) = new.told(description);
        self.announce(&reader, &mut act, event, &data)?;
        act.commit()?;
        drop(turn);
        self.shown_version(name, version)
    }
}

/// The number of the next version of a model; that of a deleted one is not given again.
fn next(reader: &Reader, name: &str) -> Result<i64, Refusal> {
    let sql = "SELECT COALESCE(MAX(version), 0) FROM mlflow_versions WHERE name = ?1";
    let newest = reader.query(sql, &[name.into()])?;
    Ok(newest.first().map_or(Ok(0), |row| row.int(0))? + 1)
}
