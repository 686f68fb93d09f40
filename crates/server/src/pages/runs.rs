//! Which runs were there, which made the best checkpoint, and how did each learn?

use axum::{extract::Path, response::Response};
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::{
    frame::{Frame, Nav, failure},
    statics,
    ui::{ago, badge, clip, empty, facts, figure, flat, id_link, lasted, path, say, short, show},
    views::{Champion, Run, Runs},
};
use crate::reply::Refusal;

/// Metrics with a column of their own; a run's page has all.
const METRICS_SHOWN: usize = 4;

/// `GET /runs`
pub(crate) async fn list(frame: Frame) -> Response {
    let body = table(&frame).await;
    frame.answer("Runs", Nav::Runs, body)
}

/// `GET /runs/{id}`
pub(crate) async fn run(Path(id): Path<String>, frame: Frame) -> Response {
    let body = one(&frame, &id).await;
    frame.answer(&format!("Run {}", short(&id)), Nav::Runs, body)
}

async fn table(frame: &Frame) -> Result<Markup, Refusal> {
    let Runs { runs } = frame.op(json!({ "op": "runs" })).await?;
    let Champion { run: id, best } = frame.op(json!({ "op": "best" })).await.unwrap_or_default();
    let best =
        runs.iter().find(|run| run.id == id).map(|run| Run { best: Some(best), ..run.clone() });
    let best = best.as_ref();
    Ok(html! {
        header.head {
            div { h1 { "Runs" } p.sub { (runs.len()) @if runs.len() == 1 { " training run" } @else { " training runs" } ". Those of MLflow's clients are among the " a href="/experiments" { "experiments" } "." } }
            @if !runs.is_empty() {
                input.search type="search" placeholder="Filter" aria-label="Filter runs" data-filter="runs" data-slash;
            }
        }
        @if runs.is_empty() {
            (empty("No runs yet", "Building a training asset starts a run; its parameters, curves, data and checkpoints are recorded by themselves.", Some("sextant build train/embedder")))
        } @else {
            @if let Some(run) = best { (champion(run)) }
            (run_table(&runs, best))
        }
    })
}

fn champion(run: &Run) -> Markup {
    let Some(best) = &run.best else { return html! {} };
    html! {
        article.card.champion {
            div.card-top {
                span { "Best checkpoint" }
                a.strong href={ "/runs/" (path(&run.id)) } { (run.asset) " " (short(&run.id)) }
            }
            p.big { (best.value.map(figure).unwrap_or_default()) " " span.quiet { (best.metric) " at step " (say(&best.step)) } }
            p { (id_link(&best.checkpoint)) }
        }
    }
}

fn run_table(runs: &[Run], best: Option<&Run>) -> Markup {
    let metrics = columns(runs);
    let is_best = |run: &Run| best.is_some_and(|best| best.id == run.id);
    html! {
        div.table-wrap {
            table #runs data-sortable {
                thead { tr {
                    th scope="col" { "Run" } th scope="col" { "Status" } th scope="col" { "Started" }
                    th.num scope="col" { "Took" }
                    @for metric in &metrics { th.num scope="col" { (metric.replace('_', " ")) } }
                    th scope="col" { "Dataset" } th scope="col" { "Checkpoint" }
                } }
                tbody {
                    @for run in runs {
                        tr.best[is_best(run)] {
                            td { a.strong href={ "/runs/" (path(&run.id)) } { (short(&run.id)) } " " span.quiet { (run.asset) }
                                @if is_best(run) { " " span.tag { "best" } } }
                            td { (badge(&run.status)) }
                            td data-sort=(run.started_at.0.map_or(0, |at| at.as_second())) { (ago(run.started_at)) }
                            td.num data-sort=[run.seconds] { (run.seconds.map(lasted).unwrap_or_default()) }
                            @for metric in &metrics {
                                @let value = run.metrics.get(*metric).cloned().unwrap_or_default();
                                td.num data-sort=(say(&value)) { (say(&last(&value))) }
                            }
                            td { (id_link(&run.dataset)) }
                            td { (id_link(&run.checkpoint)) }
                        }
                    }
                }
            }
        }
    }
}

/// The metrics that say most: those of validation, then losses, then others.
fn columns(runs: &[Run]) -> Vec<&String> {
    let mut metrics: Vec<&String> = Vec::new();
    for key in runs.iter().flat_map(|run| run.metrics.keys()) {
        if !metrics.contains(&key) {
            metrics.push(key);
        }
    }
    metrics.sort_by_key(|name| (!name.starts_with("val"), !name.contains("loss")));
    metrics.truncate(METRICS_SHOWN);
    metrics
}

/// The last value of a metric: a number, or an object that has it under `last`.
fn last(value: &Value) -> Value {
    value.get("last").unwrap_or(value).clone()
}

async fn one(frame: &Frame, id: &str) -> Result<Markup, Refusal> {
    let run: Run = frame.op(json!({ "op": "run", "id": id })).await?;
    let Runs { runs } = frame.op(json!({ "op": "runs" })).await?;
    let other: Option<Result<Run, Refusal>> = match frame.param("compare") {
        Some(other) => Some(frame.op(json!({ "op": "run", "id": other })).await),
        None => None,
    };
    let compared = other.as_ref().and_then(|run| run.as_ref().ok());
    Ok(html! {
        header.head {
            div {
                p.crumbs { a href="/runs" { "Runs" } " / " a href={ "/assets/" (path(&run.asset)) } { (run.asset) } }
                h1 { "Run " (short(&run.id)) " " (badge(&run.status)) }
                p.sub { (ago(run.started_at)) @if let Some(seconds) = run.seconds { " · took " (lasted(seconds)) } }
            }
            (compare_form(&run, &runs, frame.param("compare")))
        }
        @if let Some(Err(refusal)) = &other { (failure(refusal)) }
        (curves(&run, compared))
        div.columns {
            section { div.section-head { h2 { "Made from" } } (origins(&run)) }
            section { div.section-head { h2 { "Parameters" } } (parameters(&run, compared)) }
        }
        div.columns {
            section { div.section-head { h2 { "Machine" } } (facts(&run.machine)) }
            section { div.section-head { h2 { "Code" } } (facts(&run.code)) }
        }
        (checkpoints(&run))
    })
}

fn compare_form(run: &Run, runs: &[Run], with: Option<&str>) -> Markup {
    html! {
        @if runs.iter().any(|other| other.id != run.id) {
            form.inline method="get" action={ "/runs/" (path(&run.id)) } {
                label { "Compare with "
                    select name="compare" data-submit {
                        option value="" { "nothing" }
                        @for other in runs.iter().filter(|other| other.id != run.id) {
                            option value=(other.id) selected[with == Some(other.id.as_str())] {
                                (short(&other.id)) " · " (other.asset)
                            }
                        }
                    }
                }
                button type="submit" { "Compare" }
            }
        }
    }
}

fn curves(run: &Run, other: Option<&Run>) -> Markup {
    let mut series = vec![json!({ "label": short(&run.id), "curves": run.curves })];
    series.extend(other.map(|other| json!({ "label": short(&other.id), "curves": other.curves })));
    html! {
        section {
            div.section-head {
                h2 { "Curves" }
                @if !run.curves.is_empty() {
                    div.tools {
                        label { "Smoothing " input type="range" min="0" max="0.98" step="0.02" value="0" data-smooth; output data-smooth-value { "0" } }
                        label { input type="checkbox" data-log; " log scale" }
                        label { "Against " select data-axis { option value="step" { "step" } option value="time" { "time" } } }
                        button type="button" data-reset { "Reset zoom" }
                    }
                }
            }
            @if run.curves.is_empty() { p.quiet.pad { "This run has no curves." } }
            @else {
                div.curves data-series=(Value::from(series)) {
                    noscript { p.quiet { "The curves are drawn by a script." } }
                }
                script type="module" src=(statics::address("curves.js")) {}
            }
        }
    }
}

fn origins(run: &Run) -> Markup {
    html! {
        dl.facts {
            div { dt { "dataset" } dd { (id_link(&run.dataset)) } }
            div { dt { "checkpoint" } dd { (id_link(&run.checkpoint)) } }
            div { dt { "seed" } dd { (say(&run.seed)) } }
            @if let Some(best) = &run.best {
                div { dt { "best" } dd { (best.metric) " " strong { (best.value.map(figure).unwrap_or_default()) } " at step " (say(&best.step)) } }
            }
            div { dt { "run" } dd { code.copy data-copy=(run.id) { (run.id) } } }
        }
    }
}

fn parameters(run: &Run, other: Option<&Run>) -> Markup {
    let none = Map::new();
    let of = |run: &Run| flat(&run.params).as_object().cloned().unwrap_or_else(|| none.clone());
    let (ours, theirs) = (of(run), other.map(of));
    html! {
        dl.facts {
            @for (key, value) in &ours {
                @let before = theirs.as_ref().map(|theirs| theirs.get(key).cloned().unwrap_or_default());
                @let moved = before.as_ref().is_some_and(|before| before != value);
                div.moved[moved] {
                    dt { (key.replace('_', " ")) }
                    dd { (show(value)) @if let (true, Some(before)) = (moved, before) { " " span.quiet { "against " (say(&before)) } } }
                }
            }
        }
    }
}

fn checkpoints(run: &Run) -> Markup {
    html! {
        @if !run.checkpoints.is_empty() {
            section {
                div.section-head { h2 { "Checkpoints " span.count { (run.checkpoints.len()) } } }
                ul.plain {
                    @for checkpoint in &run.checkpoints {
                        li {
                            @match checkpoint {
                                Value::String(digest) => (id_link(digest)),
                                Value::Object(map) => {
                                    @for (key, value) in map { span.pair { span.quiet { (key) } " " (show(value)) } }
                                },
                                other => (clip(&say(other), 200)),
                            }
                        }
                    }
                }
            }
        }
    }
}
