//! How are traces labelled and linked? With tags, with the runs they belong to, and with the prompts they
//! used.

use serde_json::json;
use sextant_lineage::Act;

use super::{
    super::{
        Answer, Fields, Mlflow, Refusal,
        batch::cut,
        names::{at_most, check_key},
        refusal::{invalid, missing},
    },
    ID_CHARS_MAX, SPANS_AT,
    info::put_tag,
    no_trace,
    start::{TAG_CHARS_MAX, check_tags},
};

const LINKS_MAX: usize = 100;
const WORDS_CHARS_MAX: usize = 500;
/// Tags that only the server sets; and one of them that may be removed.
const OURS: &[&str] = &[SPANS_AT, "mlflow.trace.archiveLocation", FAILED];
const FAILED: &str = "mlflow.trace.archivalFailure";

impl Mlflow {
    pub(in super::super) fn set_trace_tag(&self, fields: Fields<'_>) -> Answer {
        let (trace, key) = (fields.place("trace_id"), fields.need("key")?);
        let value = fields.text("value")?.unwrap_or_default();
        if OURS.contains(&key) {
            return Err(immutable(key, "set"));
        }
        check_key(key, "key", "key")?;
        check_tags(&[(key.to_owned(), value.to_owned())])?;
        let _turn = self.turn();
        if !self.has_trace(&self.store().read()?, trace)? {
            return Err(no_trace(trace));
        }
        let mut act = self.act(format!("tag trace {trace}"));
        put_tag(&mut act, trace, key, cut(value, TAG_CHARS_MAX));
        act.commit()?;
        Ok(json!({}))
    }

    pub(in super::super) fn delete_trace_tag(&self, fields: Fields<'_>) -> Answer {
        let (trace, key) = (fields.place("trace_id"), fields.need("key")?);
        if OURS.contains(&key) && key != FAILED {
            return Err(immutable(key, "deleted"));
        }
        let _turn = self.turn();
        let reader = self.store().read()?;
        let at = [trace.into(), key.into()];
        let known = "SELECT 1 FROM mlflow_trace_tags WHERE trace = ?1 AND key = ?2";
        if reader.query(known, &at)?.is_empty() {
            return Err(missing(format!(
                "No trace tag with key '{key}' for trace with ID '{trace}'"
            )));
        }
        let mut act = self.act(format!("untag trace {trace}"));
        act.execute("DELETE FROM mlflow_trace_tags WHERE trace = ?1 AND key = ?2", at.to_vec());
        act.commit()?;
        Ok(json!({}))
    }

    /// The traces may still be on their way.
    pub(in super::super) fn link_traces_to_run(&self, fields: Fields<'_>) -> Answer {
        let traces = fields.texts("trace_ids")?;
        if traces.is_empty() {
            return Err(fields.absent("trace_ids"));
        }
        let run = fields.need("run_id")?;
        at_most(run, ID_CHARS_MAX, "run_id")?;
        if traces.len() > LINKS_MAX {
            return Err(invalid(format!(
                "Cannot link more than {LINKS_MAX} traces to a run in a single request. Provided {} \
                 traces.",
                traces.len()
            )));
        }
        let mut act = self.act(format!("link traces to run {run}"));
        for trace in traces {
            at_most(trace, ID_CHARS_MAX, "trace_ids")?;
            put_link(&mut act, trace, "run", run);
        }
        act.commit()?;
        Ok(json!({}))
    }

    pub(in super::super) fn link_prompts_to_trace(&self, fields: Fields<'_>) -> Answer {
        let trace = fields.need("trace_id")?;
        let versions = fields.objects("prompt_versions")?;
        if versions.is_empty() {
            return Err(fields.absent("prompt_versions"));
        }
        if versions.len() > LINKS_MAX {
            return Err(invalid(format!("at most {LINKS_MAX} prompts are linked at once")));
        }
        let mut prompts = Vec::with_capacity(versions.len());
        for (index, version) in versions.into_iter().enumerate() {
            let within = format!("prompt_versions[{index}].");
            let version = Fields::inside(version, &within);
            let name = version.need("name")?;
            at_most(name, WORDS_CHARS_MAX, "name")?;
            let number = version.int("version")?.ok_or_else(|| version.absent("version"))?;
            prompts.push(format!("{name}/{number}"));
        }
        let _turn = self.turn();
        if !self.has_trace(&self.store().read()?, trace)? {
            return Err(no_trace(trace));
        }
        let mut act = self.act(format!("link prompts to trace {trace}"));
        for prompt in prompts {
            put_link(&mut act, trace, "prompt", &prompt);
        }
        act.commit()?;
        Ok(json!({}))
    }
}

fn immutable(key: &str, done: &str) -> Refusal {
    invalid(format!("Tag '{key}' is immutable and cannot be {done} on a trace."))
}

/// Links a trace to a run or a prompt.
pub(super) fn put_link(act: &mut Act, trace: &str, kind: &str, target: &str) {
    act.execute(
        "INSERT INTO mlflow_trace_links (trace, kind, target) VALUES (?1, ?2, ?3)
         ON CONFLICT (kind, target, trace) DO NOTHING",
        vec![trace.into(), kind.into(), target.into()],
    );
}
