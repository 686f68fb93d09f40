//! What did one run log? Its state, metrics with their charts, parameters, tags, data, and its files.

use std::collections::BTreeMap;

use axum::{extract::Path, response::Response};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{
    super::{
        frame::{Frame, Nav},
        statics,
        ui::{ago, badge, clip, id_link, lasted, path, query, say},
    },
    absent, charts, experiments,
    views::{Experiment, Metric, OneRun, Run, RunInfo},
    when,
};
use crate::{error::ServerError, reply::Refusal};

/// Metrics of a table that are shown at once; charts find the others.
const METRICS_SHOWN: usize = 200;
/// Characters of a value.
const VALUE_CHARS: usize = 2000;
/// Tags of MLflow's own begin so.
const OWN: &str = "mlflow.";

/// `GET /experiments/{id}/runs/{run}`
pub(crate) async fn run(Path((id, run)): Path<(String, String)>, frame: Frame) -> Response {
    let body = one(&frame, &id, &run).await;
    frame.answer(&format!("Run {}", clip(&run, 12)), Nav::Experiments, body)
}

/// The run with this id; none when the server knows no runs of clients.
pub(super) async fn found(frame: &Frame, run: &str) -> Result<Option<Run>, Refusal> {
    let fields = json!({ "run_id": run });
    let found = frame.mlflow::<OneRun>("GET", "2.0/mlflow/runs/get", fields).await?;
    Ok(found.map(|found| found.run))
}

async fn one(frame: &Frame, id: &str, run: &str) -> Result<Markup, Refusal> {
    let Some(run) = found(frame, run).await? else { return Ok(absent("Run")) };
    if run.info.experiment_id != id {
        let path = format!("/experiments/{}/runs/{}", clip(id, 40), run.info.run_id);
        return Err(ServerError::NoSuchPath { path }.into());
    }
    let experiment = experiments::experiment(frame, id).await?.unwrap_or_default();
    let keys: Vec<String> = run.data.metrics.iter().map(|metric| metric.key.clone()).collect();
    let shown = [(run.info.run_id.clone(), run.info.run_name.clone())];
    Ok(html! {
        (head(&experiment, &run.info))
        div.columns {
            section { div.section-head { h2 { "Run" } } (facts(&run)) }
            section {
                div.section-head { h2 { "Parameters " span.count { (run.data.params.len()) } } }
                (values(&run.data.params, "No parameters were logged."))
            }
        }
        (charts(&shown, &keys))
        (metrics(&run.data.metrics))
        (data(&run))
        (tags(&run.data.tags))
        (files(&run.info.run_id))
    })
}

fn head(experiment: &Experiment, info: &RunInfo) -> Markup {
    let here = format!("/experiments/{}", path(&info.experiment_id));
    html! {
        header.head {
            div {
                p.crumbs { a href="/experiments" { "Experiments" } " / " a href=(here) { (clip(&experiment.name, 80)) } }
                h1 { (clip(&info.run_name, 120)) " " (state(info)) }
                p.sub { "Began " (ago(when(info.start_time))) @if let Some(seconds) = took(info) { " · took " (lasted(seconds)) } }
            }
            div.inline {
                a.button href={ "/v/runs:/" (path(&info.run_id)) } { "Why" }
                a.button href={ (here) "?runs=" (query(&info.run_id)) } { "Compare with others" }
            }
        }
    }
}

/// The state of a run as a badge.
pub(super) fn state(info: &RunInfo) -> Markup {
    let state = if info.lifecycle_stage == "deleted" { "deleted" } else { info.status.as_str() };
    badge(&state.to_lowercase())
}

/// How long a run took.
pub(super) fn took(info: &RunInfo) -> Option<f64> {
    let ended = Some(info.end_time).filter(|end| *end > 0 && info.start_time > 0)?;
    Some(ended.saturating_sub(info.start_time) as f64 / 1000.0)
}

fn facts(run: &Run) -> Markup {
    let of_tag = |name: &str| run.data.tags.get(name).map_or("", String::as_str);
    let parent = of_tag("mlflow.parentRunId");
    html! {
        dl.facts {
            div { dt { "id" } dd { code.copy data-copy=(run.info.run_id) { (run.info.run_id) } } }
            div { dt { "began" } dd { (ago(when(run.info.start_time))) } }
            div { dt { "ended" } dd { (ago(when(run.info.end_time))) } }
            @for (word, value) in [("user", run.info.user_id.as_str()), ("source", of_tag("mlflow.source.name")), ("commit", of_tag("mlflow.source.git.commit")), ("files at", run.info.artifact_uri.as_str())] {
                @if !value.is_empty() { div { dt { (word) } dd { (clip(value, 400)) } } }
            }
            @if !parent.is_empty() {
                div { dt { "part of" } dd { a href={ "/experiments/" (path(&run.info.experiment_id)) "/runs/" (path(parent)) } { (clip(parent, 40)) } } }
            }
        }
    }
}

fn values(pairs: &BTreeMap<String, String>, none: &str) -> Markup {
    html! {
        @if pairs.is_empty() { p.quiet.pad { (none) } }
        @else {
            dl.facts { @for (key, value) in pairs { div { dt { (clip(key, 250)) } dd.wide-value { (clip(value, VALUE_CHARS)) } } } }
        }
    }
}

fn metrics(metrics: &[Metric]) -> Markup {
    html! {
        @if !metrics.is_empty() {
            section {
                div.section-head {
                    h2 { "Metrics " span.count { (metrics.len()) } }
                    input.search type="search" placeholder="Filter" aria-label="Filter metrics" data-filter="metrics";
                }
                div.table-wrap {
                    table #metrics data-sortable {
                        thead { tr { th scope="col" { "Metric" } th.num scope="col" { "Latest" } th.num scope="col" { "Step" } th scope="col" { "When" } } }
                        tbody {
                            @for metric in metrics.iter().take(METRICS_SHOWN) {
                                tr {
                                    td { (metric.key) }
                                    td.num data-sort=(exact(&metric.value)) title=(exact(&metric.value)) { (say(&metric.value)) }
                                    td.num { (metric.step) }
                                    td data-sort=(metric.timestamp) { (ago(when(metric.timestamp))) }
                                }
                            }
                        }
                    }
                }
                @if metrics.len() > METRICS_SHOWN { p.quiet.pad { "and " (metrics.len() - METRICS_SHOWN) " more; each has a chart above" } }
            }
        }
    }
}

/// A number with all its digits.
pub(super) fn exact(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn data(run: &Run) -> Markup {
    let (inputs, outputs) = (&run.inputs, &run.outputs);
    let none = inputs.dataset_inputs.is_empty()
        && inputs.model_inputs.is_empty()
        && outputs.model_outputs.is_empty();
    html! {
        @if !none {
            section {
                div.section-head { h2 { "Made from, and made" } }
                dl.facts {
                    @for input in &inputs.dataset_inputs {
                        div {
                            dt { "dataset" @if let Some(context) = input.tags.get("mlflow.data.context") { ", " (clip(context, 40)) } }
                            dd { (clip(&input.dataset.name, 200)) " " (digest(&input.dataset.digest)) " " span.quiet { (clip(&input.dataset.source_type, 60)) } }
                        }
                    }
                    @for (word, models) in [("model read", &inputs.model_inputs), ("model made", &outputs.model_outputs)] {
                        @for model in models {
                            div { dt { (word) } dd { a.id href={ "/v/" (path(&model.model_id)) } { (clip(&model.model_id, 80)) } @if let Some(step) = model.step { " " span.quiet { "at step " (step) } } } }
                        }
                    }
                }
            }
        }
    }
}

/// A digest of ours has a page; others are words.
fn digest(digest: &str) -> Markup {
    if digest.starts_with("sha256:") {
        return id_link(digest);
    }
    html! { code { (clip(digest, 80)) } }
}

fn tags(tags: &BTreeMap<String, String>) -> Markup {
    let (own, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        tags.clone().into_iter().partition(|(key, _)| key.starts_with(OWN));
    html! {
        section {
            div.section-head { h2 { "Tags " span.count { (others.len()) } } }
            (values(&others, "No tags were set."))
            @if !own.is_empty() { details { summary.quiet { (own.len()) " tags of MLflow's own" } (values(&own, "")) } }
        }
    }
}

fn files(run: &str) -> Markup {
    html! {
        section {
            div.section-head { h2 { "Files" } }
            div.artifacts data-artifacts=(run) {
                ul data-artifact-list { li.quiet { noscript { "The files are listed by a script." } } }
                div.artifact-preview data-artifact-preview hidden {}
            }
            script type="module" src=(statics::address("artifacts.js")) {}
        }
    }
}
