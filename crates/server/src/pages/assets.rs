//! Which assets are there, how do they depend on each other, and which versions has each?

use axum::{extract::Path, response::Response};
use maud::{Markup, html};
use serde_json::json;

use super::{
    frame::{Frame, Nav},
    graph,
    ui::{ago, badge, clip, empty, id_link, path, say},
    views::{Asset, Status, Versions},
};
use crate::{error::ServerError, keys::Role, limits, reply::Refusal};

/// `GET /assets`
pub(crate) async fn graph(frame: Frame) -> Response {
    let body = overview(&frame).await;
    frame.answer("Assets", Nav::Assets, body)
}

/// `GET /assets/{*id}`
pub(crate) async fn asset(Path(id): Path<String>, frame: Frame) -> Response {
    let body = one(&frame, &id).await;
    frame.answer(&id, Nav::Assets, body)
}

async fn overview(frame: &Frame) -> Result<Markup, Refusal> {
    let status: Status = frame.op(json!({ "op": "status" })).await?;
    let assets = &status.assets;
    Ok(html! {
        header.head {
            div { h1 { "Assets" } p.sub { (assets.len()) " in this project, sources on the left" } }
            @if !assets.is_empty() {
                input.search type="search" placeholder="Filter" aria-label="Filter assets" data-filter="assets" data-slash;
            }
        }
        @if assets.is_empty() {
            (empty("No assets yet", "An asset is a file in the project folder: a source, a model, a dataset, a training job, a prompt, an index, an evaluation, an agent.", Some("sextant init my-assistant --docs ./docs")))
        } @else {
            @if assets.len() <= limits::GRAPH_NODES_MAX { (graph::draw(assets)) }
            @else { p.quiet.pad { "The graph is drawn for up to " (limits::GRAPH_NODES_MAX) " assets; the table below has all of them." } }
            (table(assets))
        }
    })
}

fn table(assets: &[Asset]) -> Markup {
    html! {
        div.table-wrap {
            table #assets data-sortable {
                thead { tr {
                    th scope="col" { "Asset" } th scope="col" { "State" } th scope="col" { "Why" }
                    th scope="col" { "Version" } th scope="col" { "Built" }
                } }
                tbody {
                    @for asset in assets {
                        tr {
                            td { a.strong href={ "/assets/" (path(&asset.asset)) } { (asset.asset) }
                                @for tag in &asset.tags { " " span.tag { (tag) } } }
                            td { (badge(&asset.state)) }
                            td.quiet { (clip(&say(&asset.why), 120)) }
                            td { (id_link(&asset.version)) }
                            td data-sort=(sort_key(asset)) { (ago(asset.built_at)) }
                        }
                    }
                }
            }
        }
    }
}

fn sort_key(asset: &Asset) -> i64 {
    asset.built_at.0.map_or(0, |at| at.as_second())
}

async fn one(frame: &Frame, id: &str) -> Result<Markup, Refusal> {
    let status: Status = frame.op(json!({ "op": "status" })).await?;
    let found = status.assets.iter().find(|asset| asset.asset == id);
    let Some(asset) = found else {
        return Err(ServerError::NoSuchPath { path: format!("/assets/{}", clip(id, 200)) }.into());
    };
    let versions: Versions = frame.op(json!({ "op": "versions", "asset": id })).await?;
    let users: Vec<&Asset> =
        status.assets.iter().filter(|other| other.inputs.iter().any(|input| input == id)).collect();
    Ok(html! {
        header.head {
            div {
                p.crumbs { a href="/assets" { "Assets" } " / " (asset.kind) }
                h1 { (asset.asset) " " (badge(&asset.state)) }
                @if !asset.description.is_empty() { p.sub { (asset.description) } }
                @if !asset.file.is_empty() {
                    p.sub { code.copy data-copy=(asset.file) title="Copy" { (asset.file) }
                        @if !asset.owner.is_empty() { " · owned by " (asset.owner) } }
                }
            }
            @if frame.may(Role::Write) {
                button.primary type="button" data-build=(asset.asset) { "Build this" }
            }
        }
        section.panel.build data-build-panel hidden aria-live="polite" {
            div.section-head { h2 data-build-title { "Building" } button.link type="button" data-build-close { "Close" } }
            ol.steps data-build-steps {}
        }
        @let why = say(&asset.why);
        @if !why.is_empty() { p.notice.(super::ui::tone(&asset.state)) { (why) } }
        div.columns {
            (neighbours("Made from", asset.inputs.iter().map(|input| (input.as_str(), "")), "nothing: it is a beginning"))
            (neighbours("Used by", users.iter().map(|user| (user.asset.as_str(), user.state.as_str())), "nothing yet"))
        }
        section {
            div.section-head { h2 { "Versions " span.count { (versions.versions.len()) } } }
            (version_table(&versions))
        }
    })
}

fn neighbours<'a>(
    title: &str,
    assets: impl Iterator<Item = (&'a str, &'a str)>,
    none: &str,
) -> Markup {
    let assets: Vec<_> = assets.collect();
    html! {
        section {
            div.section-head { h2 { (title) } }
            @if assets.is_empty() { p.quiet.pad { (none) } }
            ul.plain {
                @for (asset, state) in assets {
                    li { a href={ "/assets/" (path(asset)) } { (asset) } @if !state.is_empty() { " " (badge(state)) } }
                }
            }
        }
    }
}

fn version_table(versions: &Versions) -> Markup {
    if versions.versions.is_empty() {
        return html! { p.quiet.pad { "It was never built." } };
    }
    html! {
        div.table-wrap {
            table {
                thead { tr {
                    th scope="col" { "Version" } th scope="col" { "Made" } th scope="col" { "Recipe" }
                    th scope="col" { "From" } th scope="col" { "Activity" }
                } }
                tbody {
                    @for version in &versions.versions {
                        tr {
                            td { (id_link(&version.version)) }
                            td { (ago(version.at)) }
                            td { code.quiet title=(version.recipe) { (super::ui::short(&version.recipe)) } }
                            td.quiet { (inputs(&version.inputs)) }
                            td { code.quiet title=(version.activity) { (super::ui::short(&version.activity)) } }
                        }
                    }
                }
            }
        }
    }
}

/// The inputs of a version: a list of digests, or names with digests.
fn inputs(value: &serde_json::Value) -> Markup {
    use serde_json::Value;
    html! {
        @match value {
            Value::Array(items) => { @for item in items.iter().take(6) { (super::ui::show(item)) " " }
                @if items.len() > 6 { "and " (items.len() - 6) " more" } }
            Value::Object(map) => { @for (name, digest) in map.iter().take(6) { (name) " " (super::ui::show(digest)) " " } }
            other => { (clip(&say(other), 100)) }
        }
    }
}
