//! How does what clients of MLflow log join the chain? A run and a logged model are artifacts from when
//! something first refers to them: a model that was finalised, a version that was registered, a dataset
//! of ours, somebody who asks `why`. What changed since then makes a new artifact in place of the old.
//!
//! A run comes from its code, its datasets and the models it read; a logged model from its run. A dataset
//! that is not ours, and data or a run that nobody named, is a hole.

use serde_json::{Map, Value, json};
use sextant_core::{ArtifactKind, Digest, EdgeKind, Name, canonical_json};
use sextant_lineage::{Act, Expect, Reader};

use super::{
    Fault, Mlflow, MlflowError, Refusal,
    inputs::{Used, used_by},
    models::files::files_below,
    runs::Run,
};

/// Fewer digits of a digest than this name nothing.
const DIGITS_MIN: usize = 12;
/// Digests in one text that are looked up.
const NAMED_MAX: usize = 8;
/// The kinds that a dataset of ours may be.
const DATA: &[ArtifactKind] = &[
    ArtifactKind::DatasetSnapshot,
    ArtifactKind::TableVersion,
    ArtifactKind::SourceBatch,
    ArtifactKind::DocVersion,
    ArtifactKind::EvalSet,
    ArtifactKind::IndexSnapshot,
    ArtifactKind::Export,
];
/// Tags that say which code ran, and in which environment.
const CODE_TAGS: &[&str] = &["mlflow.source.", "mlflow.git.", "mlflow.project.entryPoint"];
const ENVIRONMENT_TAGS: &[&str] = &["mlflow.docker.", "mlflow.project."];

/// The version of ours that one of these texts names by its digest: `pairs@sha256:…`.
pub(super) fn version_named(reader: &Reader, texts: &[&str]) -> Result<Option<Digest>, Refusal> {
    let named = texts.iter().flat_map(|text| text.split("sha256:").skip(1).take(NAMED_MAX));
    for rest in named {
        let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        if end < DIGITS_MIN {
            continue;
        }
        let found = reader.artifacts_with_prefix(&rest[..end], 2)?;
        if let [artifact] = found.as_slice()
            && DATA.contains(&artifact.kind)
        {
            return Ok(Some(artifact.digest));
        }
    }
    Ok(None)
}

/// Whether clients of MLflow call a run or a model so: `runs:/ID`, `models:/NAME/VERSION`,
/// `models:/NAME@ALIAS`, `models:/ID`, the same of `prompts:/`, or the id of a logged model.
pub fn is_named(text: &str) -> bool {
    let schemes = ["runs:/", "models:/", "prompts:/"];
    schemes.iter().any(|scheme| text.starts_with(scheme)) || is_model_id(text)
}

fn is_model_id(text: &str) -> bool {
    let digits = text.strip_prefix("m-");
    digits.is_some_and(|digits| {
        digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

impl Mlflow {
    /// The artifact of a run or a model by what clients call it; none when there is no such thing.
    ///
    /// # Errors
    /// When the store fails.
    pub fn node_named(&self, text: &str) -> Result<Option<Digest>, Refusal> {
        let _turn = self.turn();
        let mut act = self.act(format!("look up {text}"));
        let model = text.strip_prefix("models:/").unwrap_or(text);
        let found = match text.strip_prefix("runs:/") {
            Some(run) => self.run_node(&mut act, run.split('/').next().unwrap_or_default()),
            None if is_model_id(model) => self.model_node(&mut act, model),
            None => {
                let name = model.strip_prefix("prompts:/").unwrap_or(model);
                return self.version_node(name);
            }
        };
        match found {
            Ok(digest) => {
                if self.store().read()?.artifact(&digest)?.is_none() {
                    act.commit()?;
                }
                Ok(Some(digest))
            }
            Err(refusal) if refusal.fault == Fault::NotFound => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// The run as an artifact, made in this act when it is not there as it is now. Whoever calls has the
    /// turn.
    pub(crate) fn run_node(&self, act: &mut Act, run_id: &str) -> Result<Digest, Refusal> {
        let reader = self.store().read()?;
        let run = self.run(&reader, run_id)?;
        let used = used_by(&reader, &run.id)?;
        self.run_node_with(act, &reader, &run, &used)
    }

    /// As [`Self::run_node`], with datasets that may not be in the catalog yet.
    pub(super) fn run_node_with(
        &self,
        act: &mut Act,
        reader: &Reader,
        run: &Run,
        used: &[Used],
    ) -> Result<Digest, Refusal> {
        let code = code_of(reader, "mlflow_tags", &run.id)?;
        let code_digest = code.as_ref().map(digest_of).transpose()?;
        let read = self.models_read(reader, run)?;
        let body = json!({
            "kind": ArtifactKind::Run,
            "run": run.id,
            "name": run.name,
            "experiment": { "id": run.experiment.to_string(), "name": self.experiment_name(reader, run)? },
            "params": pairs_of(reader, "mlflow_params", &run.id)?,
            "code": code_digest,
            "environment": tags_with(reader, "mlflow_tags", &run.id, ENVIRONMENT_TAGS)?,
            "datasets": used.iter().map(shown_used).collect::<Vec<_>>(),
            "models": read.iter().map(|(id, _)| id).collect::<Vec<_>>(),
        });
        let digest = digest_of(&body)?;
        if reader.artifact(&digest)?.is_none() {
            let mut from = Vec::new();
            if let Some(code) = &code {
                from.push(act.manifest(ArtifactKind::Code, code, &[])?);
            }
            for dataset in used {
                from.push(dataset.version.unwrap_or_else(|| act.opaque(&foreign(dataset))));
                dataset.version.into_iter().for_each(|version| act.used(version));
            }
            from.extend(read.iter().filter_map(|(_, node)| *node));
            if used.is_empty() && read.is_empty() {
                let hole =
                    format!("what run {} ({}) read: no dataset was logged", run.name, run.id);
                from.push(act.opaque(&hole));
            }
            act.manifest(ArtifactKind::Run, &body, &from)?;
        }
        point(act, reader, &format!("mlflow/run/{}@latest", run.id), digest)?;
        Ok(digest)
    }

    /// A logged model as an artifact, made in this act when it is not there as it is now. Whoever calls
    /// has the turn.
    pub(crate) fn model_node(&self, act: &mut Act, id: &str) -> Result<Digest, Refusal> {
        let reader = self.store().read()?;
        let model = self.logged_model(&reader, id)?;
        let source = match self.run_node(act, &model.source_run) {
            Ok(run) => Some(run),
            Err(refusal) if refusal.fault == Fault::NotFound => None,
            Err(refusal) => return Err(refusal),
        };
        let files: Map<String, Value> = files_below(&reader, &model.artifact_uri)?
            .into_iter()
            .map(|file| (file.path, json!({ "digest": file.digest, "bytes": file.bytes })))
            .collect();
        // A run tells its code itself.
        let code = match source {
            Some(_) => None,
            None => code_of(&reader, "mlflow_model_tags", &model.id)?,
        };
        let body = json!({
            "kind": "logged_model",
            "model": model.id,
            "name": model.name,
            "type": model.kind,
            "params": pairs_of(&reader, "mlflow_model_params", &model.id)?,
            "run": model.source_run,
            "source": source,
            "code": code.as_ref().map(digest_of).transpose()?,
            "files": files,
        });
        let digest = digest_of(&body)?;
        if reader.artifact(&digest)?.is_none() {
            let mut from = vec![source.unwrap_or_else(|| {
                let (name, id) = (&model.name, &model.id);
                act.opaque(&format!("what made logged model {name} ({id}): no run was named"))
            })];
            if let Some(code) = &code {
                from.push(act.manifest(ArtifactKind::Code, code, &[])?);
            }
            act.manifest(ArtifactKind::ModelVersion, &body, &from)?;
        }
        point(act, &reader, &format!("mlflow/model/{}@latest", model.id), digest)?;
        Ok(digest)
    }

    /// The logged models that a run read, with their artifacts as far as they have one. Its own are no
    /// origin of it.
    fn models_read(
        &self,
        reader: &Reader,
        run: &Run,
    ) -> Result<Vec<(String, Option<Digest>)>, Refusal> {
        let mut read = Vec::new();
        for id in self.models_of(reader, &run.id, "input")?.into_keys() {
            let is_own = self.logged_model(reader, &id)?.source_run == run.id;
            let name = name_of(&format!("mlflow/model/{id}@latest"))?;
            let node = if is_own { None } else { reader.name(&name)? };
            read.push((id, node));
        }
        read.sort();
        Ok(read)
    }

    fn experiment_name(&self, reader: &Reader, run: &Run) -> Result<String, Refusal> {
        Ok(self.experiment(reader, &run.experiment.to_string())?.name)
    }
}

/// Moves the pointer to the newest artifact of a run or a model, when it is another.
fn point(act: &mut Act, reader: &Reader, name: &str, to: Digest) -> Result<(), Refusal> {
    let name = name_of(name)?;
    match reader.name(&name)? {
        Some(before) if before == to => act.used(to),
        Some(before) => {
            act.edge(to, EdgeKind::Supersedes, before);
            act.point(&name, to, Expect::Any);
        }
        None => act.point(&name, to, Expect::Any),
    }
    Ok(())
}

/// Ids are hexadecimal digits, so that every name of one is a name.
fn name_of(text: &str) -> Result<Name, Refusal> {
    let refuse = |_| Refusal { fault: Fault::Internal, message: format!("{text} is no name") };
    text.parse().map_err(refuse)
}

/// The digest that a manifest gets.
fn digest_of(body: &Value) -> Result<Digest, Refusal> {
    let stored = |error: serde_json::Error| MlflowError::Stored {
        what: "manifest",
        reason: error.to_string(),
    };
    Ok(Digest::of(canonical_json(body).map_err(stored)?))
}

/// The code that the tags of a run or a logged model name.
fn code_of(reader: &Reader, table: &str, of: &str) -> Result<Option<Value>, Refusal> {
    let tags = tags_with(reader, table, of, CODE_TAGS)?;
    let tag = |key: &str| tags.get(key).cloned().unwrap_or_default();
    Ok((!tags.is_empty()).then(|| {
        json!({
            "kind": ArtifactKind::Code,
            "name": tag("mlflow.source.name"),
            "commit": tag("mlflow.source.git.commit"),
            "tags": tags,
        })
    }))
}

/// The tags whose keys begin so, without the users in addresses.
fn tags_with(
    reader: &Reader,
    table: &str,
    of: &str,
    keys: &[&str],
) -> Result<Map<String, Value>, Refusal> {
    let mut tags = pairs_of(reader, table, of)?;
    tags.retain(|key, _| keys.iter().any(|begin| key.starts_with(begin)));
    for value in tags.values_mut() {
        if let Some(text) = value.as_str().and_then(without_user) {
            *value = text.into();
        }
    }
    Ok(tags)
}

/// An address without the user and the password before its host, when it has them.
fn without_user(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once("://")?;
    let host = rest.split('/').next().unwrap_or_default();
    let (user, _) = host.rsplit_once('@')?;
    Some(format!("{scheme}://{}", &rest[user.len() + 1..]))
}

/// Keys and values of a run or a logged model.
fn pairs_of(reader: &Reader, table: &str, of: &str) -> Result<Map<String, Value>, Refusal> {
    let column = if table.starts_with("mlflow_model_") { "model" } else { "run" };
    let sql = format!("SELECT key, value FROM {table} WHERE {column} = ?1");
    let rows = reader.query(&sql, &[of.into()])?;
    rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.into()))).collect()
}

fn shown_used(used: &Used) -> Value {
    let mut shown = json!({ "name": used.name, "digest": used.digest, "type": used.source_type });
    if let Some(version) = used.version {
        shown["version"] = json!(version);
    }
    shown
}

/// What a dataset that is not ours is called. Its source may hold a password and is not told.
fn foreign(used: &Used) -> String {
    format!("dataset {}, digest {}, source type {}", used.name, used.digest, used.source_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_users() {
        for (address, wanted) in [
            ("https://anna:secret@host/repo.git", Some("https://host/repo.git")),
            ("https://token@host:8443", Some("https://host:8443")),
            ("https://host/a@b", None),
            ("git@host:repo.git", None),
            ("train.py", None),
        ] {
            assert_eq!(without_user(address).as_deref(), wanted, "{address}");
        }
    }

    #[test]
    fn names_of_clients_are_known() {
        for (text, wanted) in [
            ("runs:/0af1/model", true),
            ("models:/ranker/3", true),
            ("models:/ranker@champion", true),
            ("m-0123456789abcdef0123456789abcdef", true),
            ("m-0123", false),
            ("models/ranker", false),
        ] {
            assert_eq!(is_named(text), wanted, "{text}");
        }
    }
}
