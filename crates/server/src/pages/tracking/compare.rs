//! In what do some runs differ? Their curves over each other, their parameters and metrics side by side.

use std::collections::{BTreeMap, BTreeSet};

use axum::{extract::Path, response::Response};
use maud::{Markup, html};
use serde_json::{Number, Value};

use super::{
    super::{
        frame::{Frame, Nav},
        ui::{ago, clip, empty, lasted, path, query, say},
    },
    absent, charts, experiments,
    run::{exact, found, state, took},
    views::Run,
    when,
};
use crate::reply::Refusal;

/// Runs beside each other.
const RUNS_MAX: usize = 50;
/// Lines of one table.
const LINES_MAX: usize = 500;
/// Characters of a value.
const VALUE_CHARS: usize = 300;

/// `GET /experiments/{id}/compare?runs=a,b`
pub(crate) async fn compare(Path(id): Path<String>, frame: Frame) -> Response {
    let body = beside(&frame, &id).await;
    frame.answer("Compare runs", Nav::Experiments, body)
}

async fn beside(frame: &Frame, id: &str) -> Result<Markup, Refusal> {
    let Some(experiment) = experiments::experiment(frame, id).await? else {
        return Ok(absent("Compare runs"));
    };
    let asked = frame.param("runs").unwrap_or_default();
    let mut runs = Vec::new();
    for run in asked.split(',').filter(|run| !run.is_empty()).take(RUNS_MAX) {
        runs.extend(found(frame, run).await?);
    }
    let here = format!("/experiments/{}", path(id));
    let only = frame.param("only") == Some("differences");
    let keys: BTreeSet<&String> =
        runs.iter().flat_map(|run| &run.data.metrics).map(|metric| &metric.key).collect();
    let keys: Vec<String> = keys.into_iter().cloned().collect();
    let named = |run: &Run| (run.info.run_id.clone(), run.info.run_name.clone());
    let named: Vec<(String, String)> = runs.iter().map(named).collect();
    Ok(html! {
        header.head {
            div {
                p.crumbs { a href="/experiments" { "Experiments" } " / " a href=(here) { (clip(&experiment.name, 80)) } }
                h1 { "Compare " (runs.len()) @if runs.len() == 1 { " run" } @else { " runs" } }
                @if asked.split(',').count() > RUNS_MAX { p.sub { "The first " (RUNS_MAX) " are shown." } }
            }
            @if !runs.is_empty() { (switch(&here, asked, only)) }
        }
        @if runs.is_empty() {
            (empty("No runs were chosen", "Mark some in the table of the experiment and press Compare.", None))
        } @else {
            (about(&runs, &here))
            (charts(&named, &keys))
            (lines("Parameters", &runs, only, params))
            (lines("Metrics", &runs, only, metrics))
            (lines("Tags", &runs, only, tags))
        }
    })
}

fn switch(here: &str, asked: &str, only: bool) -> Markup {
    let all = format!("{here}/compare?runs={}", query(asked).replace("%2C", ","));
    html! {
        @if only { a.button data-keep href=(all) { "Show all" } }
        @else { a.button data-keep href={ (all) "&only=differences" } { "Differences only" } }
    }
}

fn about(runs: &[Run], here: &str) -> Markup {
    html! {
        div.table-wrap.beside {
            table {
                thead { tr { th scope="col" { "Run" } @for run in runs { th scope="col" { a href={ (here) "/runs/" (path(&run.info.run_id)) } { (clip(&run.info.run_name, 60)) } } } } }
                tbody {
                    tr { td.quiet { "State" } @for run in runs { td { (state(&run.info)) } } }
                    tr { td.quiet { "Began" } @for run in runs { td { (ago(when(run.info.start_time))) } } }
                    tr { td.quiet { "Took" } @for run in runs { td { (took(&run.info).map(lasted).unwrap_or_default()) } } }
                }
            }
        }
    }
}

/// What one run has under each key.
type Values = BTreeMap<String, Value>;

fn params(run: &Run) -> Values {
    run.data.params.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect()
}

fn metrics(run: &Run) -> Values {
    run.data.metrics.iter().map(|metric| (metric.key.clone(), metric.value.clone())).collect()
}

/// Tags that somebody set.
fn tags(run: &Run) -> Values {
    let set = run.data.tags.iter().filter(|(key, _)| !key.starts_with("mlflow."));
    set.map(|(key, value)| (key.clone(), value.as_str().into())).collect()
}

fn lines(title: &str, runs: &[Run], only: bool, of: fn(&Run) -> Values) -> Markup {
    let columns: Vec<Values> = runs.iter().map(of).collect();
    let keys: BTreeSet<&String> = columns.iter().flat_map(BTreeMap::keys).collect();
    let differs = |key: &str| columns.iter().any(|column| column.get(key) != columns[0].get(key));
    let all = keys.len();
    let shown: Vec<&String> = keys.into_iter().filter(|key| !only || differs(key)).collect();
    html! {
        section {
            div.section-head { h2 { (title) " " span.count { (shown.len()) @if only { " of " (all) } } } }
            @if all == 0 { p.quiet.pad { "None were logged." } }
            @else if shown.is_empty() { p.quiet.pad { "They are the same in all runs." } }
            @else {
                div.table-wrap.beside {
                    table {
                        thead { tr { th scope="col" { "Key" } @for run in runs { th scope="col" { (clip(&run.info.run_name, 60)) } } } }
                        tbody {
                            @for key in shown.iter().take(LINES_MAX) {
                                tr.differs[runs.len() > 1 && differs(key)] {
                                    td { (clip(key, 250)) }
                                    @for column in &columns { (cell(column.get(*key))) }
                                }
                            }
                        }
                    }
                }
                @if shown.len() > LINES_MAX { p.quiet.pad { "and " (shown.len() - LINES_MAX) " more" } }
            }
        }
    }
}

fn cell(value: Option<&Value>) -> Markup {
    html! {
        @match value {
            None => td.quiet { "–" },
            Some(Value::Number(number)) => td title=(exact(&Value::Number(number.clone()))) { (say(&real(number))) },
            Some(value) => td { (clip(&say(value), VALUE_CHARS)) },
        }
    }
}

/// A whole number among metrics is shown like the others.
fn real(number: &Number) -> Value {
    number.as_f64().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}
