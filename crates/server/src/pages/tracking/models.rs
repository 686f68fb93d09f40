//! Which models were registered, which versions has one, and which run made each?

use axum::{extract::Path, response::Response};
use maud::{Markup, html};
use serde_json::json;

use super::{
    super::{
        frame::{Frame, Nav},
        ui::{ago, badge, clip, empty, path},
    },
    absent, anywhere, named, next_page,
    run::found as run_of,
    views::{Model, Models, OneModel, Version, Versions},
    when,
};
use crate::reply::Refusal;

/// Models of one page.
const SHOWN: u32 = 100;
/// Versions of one page.
const VERSIONS_SHOWN: u32 = 100;
/// Characters of a description.
const ABOUT_CHARS: usize = 160;

/// `GET /models`
pub(crate) async fn list(frame: Frame) -> Response {
    let body = overview(&frame).await;
    frame.answer("Models", Nav::Models, body)
}

/// `GET /models/{*name}`
pub(crate) async fn one(Path(name): Path<String>, frame: Frame) -> Response {
    let body = model(&frame, &name).await;
    frame.answer(&clip(&name, 80), Nav::Models, body)
}

async fn overview(frame: &Frame) -> Result<Markup, Refusal> {
    let words = frame.param("q");
    let fields = json!({
        "max_results": SHOWN.to_string(),
        "filter": words.map(|words| format!("name ILIKE {}", anywhere(words))),
        "page_token": frame.param("page"),
    });
    let path = "2.0/mlflow/registered-models/search";
    let Some(found) = frame.mlflow::<Models>("GET", path, fields).await? else {
        return Ok(absent("Models"));
    };
    let models = &found.registered_models;
    Ok(html! {
        header.head {
            div { h1 { "Models" } p.sub { "Names under which models were registered, each with its versions." } }
            form method="get" action="/models" role="search" {
                input.search type="search" name="q" value=[words] placeholder="Find by name" aria-label="Find by name" data-slash;
            }
        }
        @if models.is_empty() && words.is_some() {
            (empty("No such model", "No registered model has these words in its name.", None))
        } @else if models.is_empty() {
            (empty("No registered models yet", "A script registers the model that it logs by giving it a name.", Some("mlflow.sklearn.log_model(model, name=\"model\", registered_model_name=\"answers\")")))
        } @else { (table(models)) }
        (next_page("/models", &[("q", words)], &found.next_page_token))
    })
}

fn table(models: &[Model]) -> Markup {
    html! {
        div.table-wrap {
            table #models data-sortable {
                thead { tr { th scope="col" { "Model" } th.num scope="col" { "Latest" } th scope="col" { "Aliases" } th scope="col" { "Changed" } th scope="col" { "About" } } }
                tbody {
                    @for model in models {
                        @let latest = model.latest_versions.iter().filter_map(|version| version.version.parse::<u64>().ok()).max();
                        tr {
                            td { a.strong href={ "/models/" (path(&model.name)) } { (clip(&model.name, 120)) } }
                            td.num { @if let Some(latest) = latest { "v" (latest) } @else { span.quiet { "–" } } }
                            td { @for alias in &model.aliases { span.tag { "@" (clip(&alias.alias, 60)) " v" (clip(&alias.version, 20)) } " " } }
                            td data-sort=(model.last_updated_timestamp) { (ago(when(model.last_updated_timestamp))) }
                            td.quiet { (clip(&model.description, ABOUT_CHARS)) }
                        }
                    }
                }
            }
        }
    }
}

async fn model(frame: &Frame, name: &str) -> Result<Markup, Refusal> {
    let path = "2.0/mlflow/registered-models/get";
    let Some(found) = frame.mlflow::<OneModel>("GET", path, json!({ "name": name })).await? else {
        return Ok(absent("Models"));
    };
    let model = found.registered_model;
    let fields = json!({
        "filter": named(name),
        "max_results": VERSIONS_SHOWN.to_string(),
        "order_by": "version_number DESC",
        "page_token": frame.param("page"),
    });
    let versions =
        frame.mlflow::<Versions>("GET", "2.0/mlflow/model-versions/search", fields).await;
    let versions = versions?.unwrap_or_default();
    let mut rows = Vec::with_capacity(versions.model_versions.len());
    for version in versions.model_versions.iter().filter(|version| version.name == name) {
        rows.push(row(frame, version, &model).await);
    }
    let here = format!("/models/{}", super::super::ui::path(name));
    Ok(html! {
        header.head {
            div {
                p.crumbs { a href="/models" { "Models" } }
                h1 { (clip(&model.name, 120)) }
                p.sub { "Registered " (ago(when(model.creation_timestamp))) @if !model.description.is_empty() { " · " (clip(&model.description, 1000)) } }
            }
        }
        section {
            div.section-head { h2 { "Versions" } }
            @if rows.is_empty() { p.quiet.pad { "It has no versions." } }
            @else {
                div.table-wrap {
                    table #versions {
                        thead { tr { th scope="col" { "Version" } th scope="col" { "Stage" } th scope="col" { "State" } th scope="col" { "Made" } th scope="col" { "By run" } th scope="col" { "Source" } th scope="col" { "About" } } }
                        tbody { @for row in rows { (row) } }
                    }
                }
            }
        }
        (next_page(&here, &[], &versions.next_page_token))
        @if !model.tags.is_empty() {
            section {
                div.section-head { h2 { "Tags" } }
                dl.facts { @for (key, value) in &model.tags { div { dt { (clip(key, 250)) } dd.wide-value { (clip(value, 2000)) } } } }
            }
        }
    })
}

async fn row(frame: &Frame, version: &Version, model: &Model) -> Markup {
    // A run that was deleted since has no page; its id is shown all the same.
    let run = match version.run_id.as_str() {
        "" => None,
        id => run_of(frame, id).await.ok().flatten(),
    };
    let of_model = model.aliases.iter().filter(|alias| alias.version == version.version);
    let mut aliases: Vec<&str> = of_model.map(|alias| alias.alias.as_str()).collect();
    aliases.extend(version.aliases.iter().map(String::as_str));
    aliases.sort_unstable();
    aliases.dedup();
    html! {
        tr {
            td { a.strong href={ "/v/models:/" (path(&version.name)) "/" (path(&version.version)) } title="Where it comes from" { "v" (clip(&version.version, 20)) } @for alias in aliases { " " span.tag { "@" (clip(alias, 60)) } } }
            td { @if version.current_stage.is_empty() || version.current_stage == "None" { span.quiet { "–" } } @else { (clip(&version.current_stage, 40)) } }
            td { (badge(&clip(&version.status, 40).to_lowercase().replace('_', " "))) }
            td { (ago(when(version.creation_timestamp))) }
            td {
                @match run {
                    Some(run) => a href={ "/experiments/" (path(&run.info.experiment_id)) "/runs/" (path(&run.info.run_id)) } { (clip(&run.info.run_name, 60)) },
                    None => span.quiet { (clip(&version.run_id, 40)) },
                }
            }
            td { code { (clip(&version.source, 90)) } }
            td.quiet { (clip(&version.description, ABOUT_CHARS)) }
        }
    }
}
