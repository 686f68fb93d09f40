//! In which stage is a version? MLflow calls stages old and has aliases in their place; clients use
//! both.

use serde_json::json;
use sextant_lineage::Reader;

use super::{
    super::{Answer, Fault, Fields, Mlflow, Refusal, refusal::invalid},
    name_of, version_of,
    versions::{Latest, Version},
};

const STAGES: &[&str] = &["None", "Staging", "Production", "Archived"];
/// The stages in which a version is used.
const USED: &[&str] = &["Staging", "Production"];

/// The stage that a word means, whatever its case.
fn stage_of(word: &str) -> Result<&'static str, Refusal> {
    let known = STAGES.iter().find(|stage| stage.eq_ignore_ascii_case(word));
    known.copied().ok_or_else(|| {
        invalid(format!(
            "Invalid Model Version stage: {word}. Value must be one of {}.",
            STAGES.join(", ")
        ))
    })
}

impl Mlflow {
    pub(super) fn latest_versions(&self, fields: Fields<'_>) -> Answer {
        let name = name_of(&fields)?;
        let words = fields.texts("stages")?;
        let reader = self.store().read()?;
        self.registered(&reader, name)?;
        let stages: Result<Vec<&str>, Refusal> = words.into_iter().map(stage_of).collect();
        let stages = Some(stages?).filter(|stages| !stages.is_empty());
        let mut found = self.latest(&reader, &[name], Latest::AsMade)?;
        found.retain(|one| {
            stages.as_ref().is_none_or(|stages| stages.contains(&one.stage.as_str()))
        });
        let shown = self.shown_versions(&reader, &found, true)?;
        Ok(if shown.is_empty() { json!({}) } else { json!({ "model_versions": shown }) })
    }

    /// The latest of all versions, or of those in a stage.
    pub(super) fn newest(
        &self,
        reader: &Reader,
        name: &str,
        stage: Option<&str>,
    ) -> Result<Option<Version>, Refusal> {
        let stage = stage.map(stage_of).transpose()?;
        let mut found = self.latest(reader, &[name], Latest::AsMade)?;
        found.retain(|one| stage.is_none_or(|stage| one.stage == stage));
        Ok(found.into_iter().max_by_key(|one| one.version))
    }

    pub(super) fn move_version(&self, fields: Fields<'_>) -> Answer {
        let word = fields.need("stage")?;
        let archives = fields.flag("archive_existing_versions")?.unwrap_or_default();
        let (name, version) = version_of(&fields)?;
        let stage = stage_of(word)?;
        if archives && !USED.contains(&stage) {
            let message = format!(
                "Model version transition cannot archive existing model versions because '{word}' is not \
                 an Active stage. Valid stages are ['Staging', 'Production']"
            );
            return Err(Refusal { fault: Fault::Internal, message });
        }
        let turn = self.turn();
        self.version(&self.store().read()?, name, version)?;
        let now = self.now();
        let mut act = self.act(format!("move version {version} of model {name} to {stage}"));
        if archives {
            act.execute(
                "UPDATE mlflow_versions SET stage = 'Archived', updated = ?4
                 WHERE name = ?1 AND version <> ?2 AND stage = ?3",
                vec![name.into(), version.into(), stage.into(), now.into()],
            );
        }
        act.execute(
            "UPDATE mlflow_versions SET stage = ?3, updated = ?4 WHERE name = ?1 AND version = ?2",
            vec![name.into(), version.into(), stage.into(), now.into()],
        );
        act.execute(
            "UPDATE mlflow_registered SET updated = ?2 WHERE name = ?1",
            vec![name.into(), now.into()],
        );
        act.commit()?;
        drop(turn);
        self.shown_version(name, version)
    }
}
