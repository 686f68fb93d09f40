//! What did people and judges say of a trace? Assessments are added, read, changed and removed; one may
//! take the place of another, which comes back when it is removed.

use serde_json::json;
use sextant_core::ActivityId;
use sextant_lineage::Reader;

use super::{
    super::{
        Answer, Fields, Mlflow, Refusal,
        metrics::run_id,
        names::at_most,
        refusal::{exists, invalid, missing},
    },
    assessment::{Assessment, COLUMNS, Said, metadata_of},
    no_trace,
};

const NAME_CHARS_MAX: usize = 250;

impl Mlflow {
    pub(in super::super) fn create_assessment(&self, fields: Fields<'_>) -> Answer {
        let trace = fields.place("trace_id");
        let sent = fields.object("assessment")?.ok_or_else(|| fields.absent("assessment"))?;
        let sent = Fields::inside(sent, "assessment.");
        let new_id = || Some(format!("a-{}", run_id(ActivityId::new().as_raw())));
        let assessment = Assessment::sent(&sent, trace, self.now(), new_id)?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        if !self.has_trace(&reader, trace)? {
            return Err(no_trace(trace));
        }
        if self.assessment_if(&reader, &assessment.id)?.is_some() {
            return Err(exists(format!("there is an assessment {} already", assessment.id)));
        }
        let mut act = self.act(format!("assess trace {trace}"));
        if let Some(overridden) = &assessment.overrides {
            self.assessment(&reader, trace, overridden)?;
            act.execute(
                "UPDATE mlflow_assessments SET valid = 0 WHERE id = ?1",
                vec![overridden.into()],
            );
        }
        assessment.put(&mut act);
        act.commit()?;
        Ok(json!({ "assessment": assessment.shown() }))
    }

    pub(in super::super) fn get_assessment(&self, fields: Fields<'_>) -> Answer {
        let reader = self.store().read()?;
        let found = self.assessment(&reader, fields.place("trace_id"), fields.place("id"))?;
        Ok(json!({ "assessment": found.shown() }))
    }

    pub(in super::super) fn update_assessment(&self, fields: Fields<'_>) -> Answer {
        let sent = fields.object("assessment")?.ok_or_else(|| fields.absent("assessment"))?;
        let sent = Fields::inside(sent, "assessment.");
        let mask = fields.need("update_mask")?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        let mut found = self.assessment(&reader, fields.place("trace_id"), fields.place("id"))?;
        for part in mask.split(',').map(str::trim) {
            apply(&mut found, part, &sent)?;
        }
        found.updated = self.now();
        let mut act = self.act(format!("change assessment {}", found.id));
        found.put(&mut act);
        act.commit()?;
        Ok(json!({ "assessment": found.shown() }))
    }

    pub(in super::super) fn delete_assessment(&self, fields: Fields<'_>) -> Answer {
        let (trace, id) = (fields.place("trace_id"), fields.place("id"));
        let _turn = self.turn();
        let found = self.assessment_if(&self.store().read()?, id)?;
        // What is gone is deleted: clients repeat the call.
        let Some(found) = found.filter(|found| found.trace == trace) else { return Ok(json!({})) };
        let mut act = self.act(format!("delete assessment {id}"));
        if let Some(overridden) = found.overrides {
            act.execute(
                "UPDATE mlflow_assessments SET valid = 1 WHERE id = ?1 AND trace = ?2",
                vec![overridden.into(), trace.into()],
            );
        }
        act.execute("DELETE FROM mlflow_assessments WHERE id = ?1", vec![id.into()]);
        act.commit()?;
        Ok(json!({}))
    }

    pub(super) fn has_trace(&self, reader: &Reader, id: &str) -> Result<bool, Refusal> {
        Ok(!reader.query("SELECT 1 FROM mlflow_traces WHERE id = ?1", &[id.into()])?.is_empty())
    }

    fn assessment_if(&self, reader: &Reader, id: &str) -> Result<Option<Assessment>, Refusal> {
        let sql = format!("SELECT {COLUMNS} FROM mlflow_assessments WHERE id = ?1");
        reader.query(&sql, &[id.into()])?.first().map(Assessment::of).transpose()
    }

    fn assessment(&self, reader: &Reader, trace: &str, id: &str) -> Result<Assessment, Refusal> {
        let found = self.assessment_if(reader, id)?.filter(|found| found.trace == trace);
        if let Some(found) = found {
            return Ok(found);
        }
        if !self.has_trace(reader, trace)? {
            return Err(missing(format!("Trace with request_id '{trace}' not found")));
        }
        Err(missing(format!("Assessment with ID '{id}' not found for trace '{trace}'")))
    }
}

/// Takes over one part of what was sent.
fn apply(found: &mut Assessment, part: &str, sent: &Fields<'_>) -> Result<(), Refusal> {
    match part {
        "assessment_name" | "assessmentName" => {
            let name = sent.text("assessment_name")?.unwrap_or_default();
            at_most(name, NAME_CHARS_MAX, "assessment_name")?;
            name.clone_into(&mut found.name);
        }
        "feedback" | "expectation" => {
            let said = Said::of(sent)?.filter(|said| said.kind == part);
            let said = said.ok_or_else(|| sent.absent(part))?;
            if found.kind != said.kind {
                let (new, old) = match part {
                    "feedback" => ("feedback", "an Expectation"),
                    _ => ("expectation", "a Feedback"),
                };
                return Err(invalid(format!("Cannot update {new} value on {old} assessment.")));
            }
            (found.value, found.error) = (said.value, said.error);
        }
        "rationale" => found.rationale = sent.text("rationale")?.map(str::to_owned),
        "metadata" => found.metadata.extend(metadata_of(sent)?),
        other => {
            return Err(invalid(format!("the part '{other}' of an assessment cannot be changed")));
        }
    }
    Ok(())
}
