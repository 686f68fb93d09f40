//! What did an application do with a question? A trace is the record of one: its spans, what went in and
//! came out, tags, and what people and judges said of it.
//!
//! Spans arrive by OTLP, and what is told of a trace as a whole by calls of MLflow; either may be first.

mod assess;
mod assessment;
mod bodies;
mod delete;
mod dialects;
mod filter;
mod info;
mod ingest;
mod label;
mod old;
mod order;
mod otlp;
mod pattern;
mod preview;
mod read;
mod schema;
mod search;
mod side;
mod span;
mod start;
#[cfg(test)]
mod tests;
mod text;
mod usage;

use super::{
    Call, Mlflow, Refusal,
    call::{change, look},
    refusal::missing,
};

pub(super) use bodies::Bodies;
pub use otlp::{SpansBody, SpansRefused};
pub(super) use schema::MIGRATIONS;

/// Characters of the name of a trace or an assessment.
const ID_CHARS_MAX: usize = 50;
/// The tag that holds a trace's name.
const NAME: &str = "mlflow.traceName";
/// The tag that says where the spans are, and what it says of those that are here.
const SPANS_AT: &str = "mlflow.trace.spansLocation";
const SPANS_HERE: &str = "TRACKING_STORE";
/// Metadata: that the trace was told of as a whole; the run it belongs to; the session.
const FINAL: &str = "mlflow.trace.infoFinalized";
const RUN: &str = "mlflow.sourceRun";
const SESSION: &str = "mlflow.trace.session";
/// Metadata: tokens and costs; the user; sizes and the number of the spans.
const TOKENS: &str = "mlflow.trace.tokenUsage";
const COSTS: &str = "mlflow.trace.cost";
const USER: &str = "mlflow.trace.user";
const SIZES: &str = "mlflow.trace.sizeStats";

/// The calls of this module. Those with a word where others have a value come first.
pub(super) const CALLS: &[Call] = &[
    look("GET", "3.0/mlflow/traces/get", Mlflow::get_trace),
    look("GET", "3.0/mlflow/traces/batchGet", Mlflow::get_traces),
    look("POST", "3.0/mlflow/traces/batchGetInfos", Mlflow::get_trace_infos),
    look("POST", "3.0/mlflow/traces/search", Mlflow::search_traces),
    change("POST", "3.0/mlflow/traces/delete-traces", Mlflow::delete_traces),
    change("POST", "2.0/mlflow/traces/delete-traces", Mlflow::delete_traces),
    change("POST", "3.0/mlflow/traces/link-to-run", Mlflow::link_traces_to_run),
    change("POST", "2.0/mlflow/traces/link-to-run", Mlflow::link_traces_to_run),
    change("POST", "3.0/mlflow/traces/link-prompts", Mlflow::link_prompts_to_trace),
    change("POST", "2.0/mlflow/traces/link-prompts", Mlflow::link_prompts_to_trace),
    change("POST", "3.0/mlflow/traces", Mlflow::start_trace),
    look("GET", "3.0/mlflow/traces/{trace_id}", Mlflow::get_trace_info),
    change("PATCH", "3.0/mlflow/traces/{trace_id}/tags", Mlflow::set_trace_tag),
    change("DELETE", "3.0/mlflow/traces/{trace_id}/tags", Mlflow::delete_trace_tag),
    change("PATCH", "2.0/mlflow/traces/{trace_id}/tags", Mlflow::set_trace_tag),
    change("DELETE", "2.0/mlflow/traces/{trace_id}/tags", Mlflow::delete_trace_tag),
    change("POST", "3.0/mlflow/traces/{trace_id}/assessments", Mlflow::create_assessment),
    look("GET", "3.0/mlflow/traces/{trace_id}/assessments/{id}", Mlflow::get_assessment),
    change("PATCH", "3.0/mlflow/traces/{trace_id}/assessments/{id}", Mlflow::update_assessment),
    change("DELETE", "3.0/mlflow/traces/{trace_id}/assessments/{id}", Mlflow::delete_assessment),
    change("POST", "2.0/mlflow/traces", Mlflow::start_old_trace),
    change("PATCH", "2.0/mlflow/traces/{trace_id}", Mlflow::end_old_trace),
    look("GET", "2.0/mlflow/traces/{trace_id}/info", Mlflow::get_old_trace),
    look("GET", "2.0/mlflow/traces", Mlflow::search_old_traces),
];

fn no_trace(id: &str) -> Refusal {
    missing(format!("Trace with ID '{id}' not found."))
}
