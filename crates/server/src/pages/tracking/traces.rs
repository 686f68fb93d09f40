//! What did applications do with questions? Their traces, and of one its spans over time.

use std::collections::{HashMap, HashSet};

use axum::{extract::Path, response::Response};
use maud::{Markup, PreEscaped, html};
use serde_json::{Value, json};

use super::{
    super::{
        frame::{Frame, Nav},
        ui::{ago, badge, clip, empty, lasted, path},
    },
    absent, next_page,
    views::{Experiments, OneTrace, TraceInfo, Traces},
};
use crate::reply::Refusal;

/// Traces of one page.
const SHOWN: u32 = 100;
/// Experiments that are looked through when none is named.
const EXPERIMENTS_MAX: u32 = 100;
/// Characters of what went in and came out, in a list.
const PREVIEW_CHARS: usize = 110;
/// Spans that are drawn.
const SPANS_MAX: usize = 1000;
/// How deep spans are drawn inside each other.
const DEPTH_MAX: usize = 40;
/// Characters of one value of a span.
const VALUE_CHARS: usize = 20_000;
/// The run that a trace belongs to, in its metadata, and the tag with its name.
const RUN: &str = "mlflow.sourceRun";
const NAME: &str = "mlflow.traceName";
/// Values of a span that have a place of their own.
const INPUTS: &str = "mlflow.spanInputs";
const OUTPUTS: &str = "mlflow.spanOutputs";
const KIND: &str = "mlflow.spanType";

/// `GET /traces`, of one experiment when `?experiment=` names it
pub(crate) async fn list(frame: Frame) -> Response {
    let body = overview(&frame).await;
    frame.answer("Traces", Nav::Traces, body)
}

/// `GET /traces/{id}`
pub(crate) async fn one(Path(id): Path<String>, frame: Frame) -> Response {
    let body = trace(&frame, &id).await;
    frame.answer(&format!("Trace {}", clip(&id, 40)), Nav::Traces, body)
}

async fn overview(frame: &Frame) -> Result<Markup, Refusal> {
    let (experiment, filter) = (frame.param("experiment"), frame.param("filter"));
    let ids = match experiment {
        Some(id) => vec![id.to_owned()],
        None => newest_experiments(frame).await?,
    };
    let place = |id: &String| json!({ "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": { "experiment_id": id } });
    let fields = json!({
        "locations": ids.iter().map(place).collect::<Vec<_>>(),
        "filter": filter,
        "max_results": SHOWN,
        "order_by": ["timestamp_ms DESC"],
        "page_token": frame.param("page"),
    });
    let asked = frame.mlflow::<Traces>("POST", "3.0/mlflow/traces/search", fields).await;
    let (found, refusal) = match asked {
        Ok(None) => return Ok(absent("Traces")),
        Ok(Some(found)) => (found, None),
        // A filter that cannot be read is told beside the field it was typed into.
        Err(refusal) if filter.is_some() => (Traces::default(), Some(refusal)),
        Err(refusal) => return Err(refusal),
    };
    Ok(html! {
        header.head {
            div {
                h1 { "Traces" }
                p.sub { "What applications recorded of their work: questions, the steps they took, answers."
                    @if let Some(id) = experiment { " Of " a href={ "/experiments/" (path(id)) } { "experiment " (clip(id, 40)) } "; " a href="/traces" { "all" } } }
            }
        }
        div.runs-tools {
            form method="get" action="/traces" role="search" {
                @if let Some(id) = experiment { input type="hidden" name="experiment" value=(id); }
                input type="search" name="filter" value=[filter] data-slash aria-label="Filter traces" spellcheck="false"
                    placeholder="trace.status = 'ERROR' AND trace.name ILIKE '%agent%'";
                button type="submit" { "Filter" }
            }
        }
        @if let Some(refusal) = &refusal { p.refusal.bad-text role="alert" { (refusal.failure.chain()) } }
        @if found.traces.is_empty() && (filter.is_some() || experiment.is_some()) {
            @if refusal.is_none() { (empty("No such trace", "No trace fits.", None)) }
        } @else if found.traces.is_empty() {
            (empty("No traces yet", "An application that traces with MLflow, or sends spans by OTLP, is recorded here.", Some("mlflow.openai.autolog()")))
        } @else { (table(&found.traces)) }
        (next_page("/traces", &[("filter", filter), ("experiment", experiment)], &found.next_page_token))
    })
}

async fn newest_experiments(frame: &Frame) -> Result<Vec<String>, Refusal> {
    let fields = json!({ "max_results": EXPERIMENTS_MAX, "order_by": ["last_update_time DESC"] });
    let found =
        frame.mlflow::<Experiments>("POST", "2.0/mlflow/experiments/search", fields).await?;
    let experiments = found.unwrap_or_default().experiments;
    Ok(experiments.into_iter().map(|experiment| experiment.experiment_id).collect())
}

fn table(traces: &[TraceInfo]) -> Markup {
    html! {
        div.table-wrap {
            table #traces {
                thead { tr { th scope="col" { "Trace" } th scope="col" { "State" } th scope="col" { "When" } th.num scope="col" { "Took" } th scope="col" { "Asked" } th scope="col" { "Answered" } } }
                tbody {
                    @for trace in traces {
                        tr {
                            td { a.strong href={ "/traces/" (path(&trace.trace_id)) } { (clip(name(trace), 60)) } }
                            td { (state(trace)) }
                            td { (ago(trace.request_time)) }
                            td.num { (took(trace)) }
                            td { (clip(&trace.request_preview, PREVIEW_CHARS)) }
                            td { (clip(&trace.response_preview, PREVIEW_CHARS)) }
                        }
                    }
                }
            }
        }
    }
}

/// The name of a trace, or else its id.
fn name(trace: &TraceInfo) -> &str {
    trace.tags.get(NAME).filter(|name| !name.is_empty()).unwrap_or(&trace.trace_id)
}

fn state(trace: &TraceInfo) -> Markup {
    badge(&trace.state.to_lowercase().replace('_', " "))
}

fn took(trace: &TraceInfo) -> String {
    let seconds = trace.execution_duration.strip_suffix('s').and_then(|text| text.parse().ok());
    seconds.map(lasted).unwrap_or_default()
}

async fn trace(frame: &Frame, id: &str) -> Result<Markup, Refusal> {
    let fields = json!({ "trace_id": id, "allow_partial": "true" });
    let whole = frame.mlflow::<OneTrace>("GET", "3.0/mlflow/traces/get", fields).await;
    let (trace, missing) = match whole {
        Ok(None) => return Ok(absent("Traces")),
        Ok(Some(found)) => (found.trace, None),
        // What is told of a trace may be here while its spans are elsewhere.
        Err(refusal) => {
            let path = format!("3.0/mlflow/traces/{id}");
            match frame.mlflow::<OneTrace>("GET", &path, json!({})).await {
                Ok(Some(found)) => (found.trace, Some(refusal)),
                _ => return Err(refusal),
            }
        }
    };
    let info = &trace.trace_info;
    let experiment = info.trace_location["mlflow_experiment"]["experiment_id"].as_str();
    Ok(html! {
        header.head {
            div {
                p.crumbs { a href="/traces" { "Traces" } @if let Some(id) = experiment { " / " a href={ "/traces?experiment=" (path(id)) } { "experiment " (clip(id, 40)) } } }
                h1 { (clip(name(info), 120)) " " (state(info)) }
                p.sub { (ago(info.request_time)) " · took " (took(info)) " · " code.copy data-copy=(info.trace_id) { (clip(&info.trace_id, 60)) } }
            }
        }
        div.columns {
            section { div.section-head { h2 { "Asked" } } p.wide-value { (clip(&info.request_preview, 2000)) } }
            section { div.section-head { h2 { "Answered" } } p.wide-value { (clip(&info.response_preview, 2000)) } }
        }
        section {
            div.section-head { h2 { "Spans " span.count { (trace.spans.len()) } } }
            @match &missing {
                Some(refusal) => p.quiet.pad { (refusal.failure.chain()) },
                None if trace.spans.is_empty() => p.quiet.pad { "It has no spans yet." },
                None => (waterfall(&trace.spans)),
            }
        }
        (assessments(&info.assessments))
        (told(info, experiment))
    })
}

fn told(info: &TraceInfo, experiment: Option<&str>) -> Markup {
    html! {
        section {
            div.section-head { h2 { "Tags and metadata" } }
            dl.facts {
                @if let (Some(run), Some(experiment)) = (info.trace_metadata.get(RUN), experiment) {
                    div { dt { "run" } dd { a href={ "/experiments/" (path(experiment)) "/runs/" (path(run)) } { (clip(run, 40)) } } }
                }
                @for (key, value) in info.tags.iter().chain(&info.trace_metadata).filter(|(_, value)| !value.is_empty()) {
                    div { dt { (clip(key, 120)) } dd.wide-value { (clip(value, 600)) } }
                }
            }
        }
    }
}

fn assessments(list: &[Value]) -> Markup {
    html! {
        @if !list.is_empty() {
            section {
                div.section-head { h2 { "What people and judges said " span.count { (list.len()) } } }
                dl.facts {
                    @for one in list {
                        @let said = ["feedback", "expectation", "issue"].iter().find_map(|kind| one.get(*kind));
                        div {
                            dt { (clip(one["assessment_name"].as_str().unwrap_or_default(), 120)) }
                            dd.wide-value {
                                strong { (clip(&said.map(words).unwrap_or_default(), 400)) } " "
                                (clip(one["rationale"].as_str().unwrap_or_default(), 1000)) " "
                                span.quiet { (clip(one["source"]["source_type"].as_str().unwrap_or_default(), 40)) " " (clip(one["source"]["source_id"].as_str().unwrap_or_default(), 80)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What an assessment says.
fn words(said: &Value) -> String {
    match said.get("value").unwrap_or(said) {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A span as it is drawn.
struct Span<'a> {
    shown: &'a Value,
    attributes: HashMap<String, Value>,
    began: u64,
    ended: u64,
    depth: usize,
}

impl<'a> Span<'a> {
    fn of(shown: &'a Value, depth: usize) -> Self {
        let time = |name: &str| {
            let text = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
            shown.get(name).and_then(|value| value.as_u64().or_else(|| text(value)))
        };
        let began = time("start_time_unix_nano").unwrap_or_default();
        let pairs = shown["attributes"].as_array().into_iter().flatten();
        let attributes = pairs
            .filter_map(|pair| Some((pair["key"].as_str()?.to_owned(), plain(&pair["value"], 0))))
            .collect();
        let ended = time("end_time_unix_nano").unwrap_or(began).max(began);
        Self { shown, attributes, began, ended, depth }
    }

    fn failed(&self) -> bool {
        self.shown["status"]["code"] == "STATUS_CODE_ERROR"
    }
}

/// A value as JSON, from the way OTLP writes it.
fn plain(value: &Value, depth: usize) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|map| map.iter().next()) else {
        return Value::Null;
    };
    let items = || inner["values"].as_array().into_iter().flatten();
    match kind.as_str() {
        _ if depth > DEPTH_MAX => Value::String("…".to_owned()),
        "array_value" => items().map(|item| plain(item, depth + 1)).collect(),
        "kvlist_value" => {
            let pair = |pair: &Value| {
                Some((pair["key"].as_str()?.to_owned(), plain(&pair["value"], depth + 1)))
            };
            Value::Object(items().filter_map(pair).collect())
        }
        _ => inner.clone(),
    }
}

/// The spans in the order in which they are drawn: each before those inside it, by their beginnings. What
/// names an unknown parent is drawn like a root.
fn in_order(spans: &[Value]) -> Vec<Span<'_>> {
    let id = |span: &Value| span["span_id"].as_str().unwrap_or_default().to_owned();
    let known: HashSet<String> = spans.iter().map(id).collect();
    let mut inside: HashMap<String, Vec<&Value>> = HashMap::new();
    for span in spans {
        let parent = span["parent_span_id"].as_str().filter(|parent| known.contains(*parent));
        inside.entry(parent.unwrap_or_default().to_owned()).or_default().push(span);
    }
    for children in inside.values_mut() {
        children.sort_by_key(|span| Span::of(span, 0).began);
        children.reverse();
    }
    let roots = inside.remove("").unwrap_or_default();
    let mut waiting: Vec<(&Value, usize)> = roots.into_iter().map(|span| (span, 0)).collect();
    let mut drawn = Vec::new();
    while let Some((span, depth)) = waiting.pop() {
        drawn.push(Span::of(span, depth.min(DEPTH_MAX)));
        let children = inside.remove(&id(span)).unwrap_or_default();
        waiting.extend(children.into_iter().map(|child| (child, depth + 1)));
    }
    // Those that are in no tree, because they name each other.
    drawn.extend(inside.into_values().flatten().map(|span| Span::of(span, 0)));
    drawn
}

fn waterfall(spans: &[Value]) -> Markup {
    let spans = in_order(spans);
    let began = spans.iter().map(|span| span.began).min().unwrap_or_default();
    let ended = spans.iter().map(|span| span.ended).max().unwrap_or_default();
    html! {
        div.spans {
            @for span in spans.iter().take(SPANS_MAX) {
                details.bad[span.failed()] {
                    summary {
                        span.span-name {
                            (room(span.depth)) strong { (clip(span.shown["name"].as_str().unwrap_or_default(), 120)) }
                            @if let Some(kind) = span.attributes.get(KIND).and_then(Value::as_str) { " " span.quiet { (clip(kind, 40).to_lowercase()) } }
                        }
                        (bar(span, began, ended))
                        span.took { (lasted((span.ended - span.began) as f64 / 1e9)) @if span.failed() { " failed" } }
                    }
                    (inner(span))
                }
            }
            @if spans.len() > SPANS_MAX { p.quiet.pad { "and " (spans.len() - SPANS_MAX) " more" } }
        }
    }
}

/// Room before the name of a span that is inside others.
fn room(depth: usize) -> Markup {
    PreEscaped(format!("<svg width=\"{}\" height=\"10\" aria-hidden=\"true\"></svg>", depth * 14))
}

/// When a span went on, of the time of the whole trace.
fn bar(span: &Span<'_>, began: u64, ended: u64) -> Markup {
    let whole = ended.saturating_sub(began).max(1) as f64;
    let part = |from: u64, to: u64| to.saturating_sub(from) as f64 / whole * 100.0;
    let (left, width) = (part(began, span.began), part(span.began, span.ended).max(0.4));
    let left = left.min(100.0 - width);
    PreEscaped(format!(
        "<svg class=\"waterfall\" aria-hidden=\"true\"><line x1=\"0\" x2=\"100%\" y1=\"7\" y2=\"7\"/>\
         <rect x=\"{left:.3}%\" width=\"{width:.3}%\" y=\"2\" height=\"10\" rx=\"3\"/></svg>"
    ))
}

fn inner(span: &Span<'_>) -> Markup {
    let mut others: Vec<(&String, &Value)> = span
        .attributes
        .iter()
        .filter(|(key, _)| ![INPUTS, OUTPUTS, KIND].contains(&key.as_str()))
        .collect();
    others.sort_by_key(|(key, _)| key.as_str());
    let message = span.shown["status"]["message"].as_str().unwrap_or_default();
    html! {
        div.span-facts {
            @if !message.is_empty() { p.bad-text { (clip(message, 2000)) } }
            @for (word, key) in [("In", INPUTS), ("Out", OUTPUTS)] {
                @if let Some(value) = span.attributes.get(key) { h2 { (word) } pre { (pretty(value)) } }
            }
            @for event in span.shown["events"].as_array().into_iter().flatten().take(50) {
                h2 { (clip(event["name"].as_str().unwrap_or_default(), 120)) }
                pre { @for pair in event["attributes"].as_array().into_iter().flatten().take(50) { (clip(pair["key"].as_str().unwrap_or_default(), 120)) ": " (pretty(&plain(&pair["value"], 0))) "\n" } }
            }
            dl.facts {
                @for (key, value) in others { div { dt { (clip(key, 120)) } dd.wide-value { (clip(&pretty(value), 2000)) } } }
            }
        }
    }
}

fn pretty(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    clip(&text, VALUE_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_drawn_inside_each_other_and_none_twice() {
        let span = |id: &str, parent: &str, began: u64| json!({ "span_id": id, "parent_span_id": parent, "name": id, "start_time_unix_nano": began });
        // One names a parent that is not there; one names itself and is in no tree.
        let spans = [
            span("late", "root", 5),
            span("early", "root", 2),
            span("inner", "early", 3),
            span("root", "", 1),
            span("lost", "nobody", 9),
            span("egg", "egg", 1),
        ];
        let drawn = in_order(&spans);
        let names =
            drawn.iter().map(|span| (span.shown["name"].as_str().unwrap_or(""), span.depth));
        let expected =
            [("root", 0), ("early", 1), ("inner", 2), ("late", 1), ("lost", 0), ("egg", 0)];
        assert_eq!(names.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn values_are_read_as_otlp_writes_them() {
        let value = json!({ "kvlist_value": { "values": [
            { "key": "a", "value": { "array_value": { "values": [{ "int_value": 1 }, {}] } } },
        ] } });
        assert_eq!(plain(&value, 0), json!({ "a": [1, null] }));
    }
}
