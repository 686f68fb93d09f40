//! Which experiments are there, and which runs has one? The runs are a table that a script fills: it asks
//! only for the rows in view, and for the cells of the columns that are chosen.

use std::collections::HashMap;

use axum::{extract::Path, response::Response};
use maud::{Markup, html};
use serde_json::json;

use super::{
    super::{
        frame::{Frame, Nav},
        statics,
        ui::{ago, badge, clip, empty, path, query},
    },
    absent, anywhere, next_page, point_here,
    views::{Count, Counts, Experiment, Experiments, OneExperiment},
    when,
};
use crate::reply::Refusal;

/// Experiments of one page.
const SHOWN: u32 = 200;
/// Characters of a name in a list.
const NAME_CHARS: usize = 120;
/// The tag that holds an experiment's description.
const NOTE: &str = "mlflow.note.content";
/// What can be looked at: its word in an address, and in words.
const STAGES: &[(&str, &str)] =
    &[("ACTIVE_ONLY", "Active"), ("DELETED_ONLY", "Deleted"), ("ALL", "All")];

/// `GET /experiments`
pub(crate) async fn list(frame: Frame) -> Response {
    let body = overview(&frame).await;
    frame.answer("Experiments", Nav::Experiments, body)
}

/// `GET /experiments/{id}`
pub(crate) async fn one(Path(id): Path<String>, frame: Frame) -> Response {
    let found = experiment(&frame, &id).await;
    let title = found.as_ref().ok().and_then(Option::as_ref).map(|found| clip(&found.name, 80));
    let body = found.map(|found| match found {
        Some(found) => runs(&frame, &found),
        None => absent("Experiments"),
    });
    frame.answer(title.as_deref().unwrap_or("Experiment"), Nav::Experiments, body)
}

/// The experiment with this id; none when the server knows no experiments.
pub(super) async fn experiment(frame: &Frame, id: &str) -> Result<Option<Experiment>, Refusal> {
    let fields = json!({ "experiment_id": id });
    let found = frame.mlflow::<OneExperiment>("GET", "2.0/mlflow/experiments/get", fields).await?;
    Ok(found.map(|found| found.experiment))
}

async fn overview(frame: &Frame) -> Result<Markup, Refusal> {
    let words = frame.param("q");
    let stage = frame.param("stage").unwrap_or("ACTIVE_ONLY");
    let fields = json!({
        "max_results": SHOWN,
        "view_type": stage,
        "order_by": ["last_update_time DESC"],
        "filter": words.map(|words| format!("name ILIKE {}", anywhere(words))),
        "page_token": frame.param("page"),
    });
    let path = "2.0/mlflow/experiments/search";
    let Some(found) = frame.mlflow::<Experiments>("POST", path, fields).await? else {
        return Ok(absent("Experiments"));
    };
    let ids: Vec<&str> =
        found.experiments.iter().map(|experiment| experiment.experiment_id.as_str()).collect();
    let path = "2.0/sextant/experiments/counts";
    let counts = frame.mlflow::<Counts>("POST", path, json!({ "experiment_ids": ids })).await?;
    let counts: HashMap<String, Count> = counts
        .unwrap_or_default()
        .counts
        .into_iter()
        .map(|count| (count.experiment_id.clone(), count))
        .collect();
    let unused = counts.values().all(|count| count.runs == 0) && found.experiments.len() <= 1;
    Ok(html! {
        header.head {
            div { h1 { "Experiments" } p.sub { "What scripts log with MLflow's client. " a href="/runs" { "Runs that Sextant trained itself" } " have a page of their own." } }
            (search(words, stage))
        }
        @if found.experiments.is_empty() {
            (empty("No such experiment", "No experiment has these words in its name, or is in this state.", None))
        } @else { (table(&found.experiments, &counts)) }
        @if unused && words.is_none() {
            (empty("Nothing was logged yet", "A script that logs with MLflow logs here when its tracking address is changed, and nothing else.", Some(&point_here(frame))))
        }
        (next_page("/experiments", &[("q", words), ("stage", frame.param("stage"))], &found.next_page_token))
    })
}

fn search(words: Option<&str>, stage: &str) -> Markup {
    html! {
        form.inline method="get" action="/experiments" role="search" {
            input.search type="search" name="q" value=[words] placeholder="Find by name" aria-label="Find by name" data-slash;
            select name="stage" aria-label="State" data-submit { (stages(stage)) }
        }
    }
}

fn stages(chosen: &str) -> Markup {
    html! {
        @for (word, shown) in STAGES { option value=(word) selected[*word == chosen] { (shown) } }
    }
}

fn table(experiments: &[Experiment], counts: &HashMap<String, Count>) -> Markup {
    html! {
        div.table-wrap {
            table #experiments data-sortable {
                thead { tr {
                    th scope="col" { "Experiment" } th.num scope="col" { "Runs" } th scope="col" { "Last run" }
                    th scope="col" { "Changed" } th scope="col" { "About" }
                } }
                tbody {
                    @for one in experiments {
                        @let count = counts.get(&one.experiment_id);
                        @let last = count.map_or(0, |count| count.last_start_time);
                        tr {
                            td { a.strong href={ "/experiments/" (path(&one.experiment_id)) } { (clip(&one.name, NAME_CHARS)) }
                                @if one.lifecycle_stage == "deleted" { " " (badge("deleted")) } }
                            td.num { (count.map_or(0, |count| count.runs)) }
                            td data-sort=(last) { (ago(when(last))) }
                            td data-sort=(one.last_update_time) { (ago(when(one.last_update_time))) }
                            td.quiet { (clip(one.tags.get(NOTE).map_or("", String::as_str), NAME_CHARS)) }
                        }
                    }
                }
            }
        }
    }
}

fn runs(frame: &Frame, experiment: &Experiment) -> Markup {
    let id = experiment.experiment_id.as_str();
    html! {
        header.head {
            div {
                p.crumbs { a href="/experiments" { "Experiments" } }
                h1 { (clip(&experiment.name, NAME_CHARS)) @if experiment.lifecycle_stage == "deleted" { " " (badge("deleted")) } }
                p.sub {
                    "Made " (ago(when(experiment.creation_time))) " · "
                    a href={ "/traces?experiment=" (query(id)) } { "traces" }
                    " · " code.copy data-copy=(id) title="The experiment's id" { (clip(id, 40)) }
                }
            }
        }
        (tools())
        p.refusal.bad-text role="alert" data-run-refusal hidden {}
        div.grid data-runs-table=(id) {
            table role="grid" tabindex="0" aria-label="Runs" aria-multiselectable="true" {
                thead { tr { th scope="col" { "Runs" } } }
                tbody {}
            }
            noscript { p.quiet.pad { "The runs are listed by a script." } }
        }
        (empty("No such run", "Nothing was logged to this experiment yet, or no run fits the filter and the state.", Some(&point_here(frame))))
        div.run-bar data-run-bar hidden {
            strong data-selected-count {}
            a.button.primary data-compare href="#" { "Compare" }
            button.link type="button" data-clear { "Clear" }
        }
        (chooser())
        script type="module" src=(statics::address("runs-table.js")) {}
    }
}

fn tools() -> Markup {
    html! {
        div.runs-tools {
            form data-run-filter {
                input type="search" data-run-words data-slash aria-label="Filter runs"
                    placeholder="metrics.loss < 0.1 AND params.optimizer = 'adam'" spellcheck="false" autocomplete="off";
                select data-run-stage aria-label="State" { (stages("")) }
                button type="submit" { "Filter" }
            }
            button type="button" popovertarget="columns" { "Columns" }
            span.told role="status" data-run-count {}
        }
    }
}

fn chooser() -> Markup {
    html! {
        div.sheet.columns-sheet #columns popover data-columns {
            h2 { "Columns" }
            input type="search" placeholder="Find a metric, parameter or tag" aria-label="Find a column" data-column-words;
            ul data-column-list {}
        }
    }
}
