//! Which tables are there, what did each hold at any time, who reads it and who keeps its versions?

use axum::{extract::Path, response::Response};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{
    frame::{Frame, Nav},
    ui::{ago, badge, clip, empty, id_link, path, query, say, short},
    views::{Held, Holding, Preview, Status, Table, TableHistory, TableVersion, Tables},
};
use crate::{error::ServerError, keys::Role, reply::Refusal};

/// Versions of one table that a page shows.
const VERSIONS_SHOWN: u32 = 200;
/// Rows of a version that a page shows.
const ROWS_SHOWN: u32 = 50;
/// Characters of a cell that a page shows.
const CELL_CHARS: usize = 60;

/// `GET /tables`
pub(crate) async fn list(frame: Frame) -> Response {
    let body = overview(&frame).await;
    frame.answer("Tables", Nav::Tables, body)
}

/// `GET /tables/{*name}`, at the version that `?at=` names
pub(crate) async fn table(Path(name): Path<String>, frame: Frame) -> Response {
    let body = one(&frame, &name).await;
    frame.answer(&name, Nav::Tables, body)
}

async fn overview(frame: &Frame) -> Result<Markup, Refusal> {
    let Tables { tables } = frame.op(json!({ "op": "data_tables" })).await?;
    Ok(html! {
        header.head {
            div { h1 { "Tables" } p.sub { "Every version stays readable for as long as anything cites it." } }
            @if !tables.is_empty() {
                input.search type="search" placeholder="Filter" aria-label="Filter tables" data-filter="tables" data-slash;
            }
        }
        @if tables.is_empty() {
            (empty("No tables yet", "Sources and models make tables when they are built.", Some("sextant build")))
        } @else {
            div.table-wrap {
                table #tables data-sortable {
                    thead { tr {
                        th scope="col" { "Table" } th scope="col" { "Made by" } th scope="col" { "Rows" }
                        th scope="col" { "Columns" } th scope="col" { "Version" } th scope="col" { "Built" }
                    } }
                    tbody { @for table in &tables { (row(table)) } }
                }
            }
        }
    })
}

fn row(table: &Table) -> Markup {
    let built = table.built_at.0.map_or(0, |at| at.as_second());
    html! {
        tr {
            td { a.strong href={ "/tables/" (path(&table.name)) } { (table.name) } }
            td { a href={ "/assets/" (path(&table.asset)) } { (table.asset) } }
            td.num { (table.rows) }
            td.num { (table.columns.len()) }
            td { (id_link(&table.version)) " " span.quiet { "v" (table.delta_version) } }
            td data-sort=(built) { (ago(table.built_at)) }
        }
    }
}

async fn one(frame: &Frame, name: &str) -> Result<Markup, Refusal> {
    let Tables { tables } = frame.op(json!({ "op": "data_tables" })).await?;
    let found = tables.iter().find(|table| table.name == name || table.asset == name);
    let Some(table) = found else {
        return Err(ServerError::NoSuchPath { path: format!("/tables/{}", clip(name, 200)) }.into());
    };
    let asset = table.asset.as_str();
    let history: TableHistory =
        frame.op(json!({ "op": "data_history", "table": asset, "limit": VERSIONS_SHOWN })).await?;
    // Who keeps what is found by the operation that removes versions: as there, for admins only.
    let held = if frame.may(Role::Admin) {
        let holding: Holding = frame.op(json!({ "op": "data_gc", "dry_run": true })).await?;
        Some(holding.held)
    } else {
        None
    };
    let status: Status = frame.op(json!({ "op": "status" })).await?;
    let wanted = match frame.param("at") {
        Some(at) => format!("{asset}@{at}"),
        None => asset.to_owned(),
    };
    let preview =
        frame.op(json!({ "op": "data_show", "table": wanted, "limit": ROWS_SHOWN })).await;
    let readers: Vec<&str> = status
        .assets
        .iter()
        .filter(|other| other.inputs.iter().any(|input| input == asset))
        .map(|other| other.asset.as_str())
        .collect();
    Ok(html! {
        header.head {
            div {
                p.crumbs { a href="/tables" { "Tables" } " / " a href={ "/assets/" (path(asset)) } { (asset) } }
                h1 { (table.name) }
                p.sub { (table.rows) " rows, version " (table.delta_version) ", " (ago(table.built_at)) }
            }
        }
        div.columns {
            section { div.section-head { h2 { "Columns" } } (schema(&table.columns)) }
            section {
                div.section-head { h2 { "Read by" } }
                @if readers.is_empty() { p.quiet.pad { "Nothing in this project." } }
                @else { ul.plain { @for reader in readers { li { a href={ "/assets/" (path(reader)) } { (reader) } } } } }
            }
        }
        section { div.section-head { h2 { "Versions" } } (versions(&table.name, &history.versions, held.as_deref(), asset)) }
        (rows(preview, frame.param("at")))
    })
}

fn schema(columns: &[Value]) -> Markup {
    html! {
        dl.facts {
            @for column in columns {
                div { dt { (say(&column["name"])) } dd { code { (say(&column["type"])) } } }
            }
        }
    }
}

fn rows(preview: Result<Preview, Refusal>, at: Option<&str>) -> Markup {
    html! {
        section {
            @match preview {
                Err(refusal) => {
                    div.section-head { h2 { "Rows" } }
                    (super::frame::failure(&refusal))
                }
                Ok(preview) => {
                    div.section-head {
                        h2 { "Rows" @if at.is_some() { " at version " (preview.delta_version) } }
                        span.quiet { (preview.rows.len()) " of " (preview.total) }
                    }
                    @if preview.rows.is_empty() { p.quiet.pad { "This version has no rows." } }
                    @else { (grid(&preview)) }
                }
            }
        }
    }
}

fn grid(preview: &Preview) -> Markup {
    html! {
        div.table-wrap {
            table {
                thead { tr { @for column in &preview.columns { th scope="col" { (say(&column["name"])) } } } }
                tbody {
                    @for row in &preview.rows {
                        tr { @for value in row { td { (cell(value)) } } }
                    }
                }
            }
        }
    }
}

/// A digest by its beginning, anything else as words.
fn cell(value: &Value) -> Markup {
    let text = say(value);
    if text.starts_with("sha256:") {
        return html! { code title=(text) { (short(&text)) } };
    }
    html! { (clip(&text, CELL_CHARS)) }
}

fn versions(name: &str, versions: &[TableVersion], held: Option<&[Held]>, asset: &str) -> Markup {
    let holders = |version: u64| {
        held.into_iter().flatten().find(|held| held.asset == asset && held.delta_version == version)
    };
    html! {
        div.table-wrap {
            table {
                thead { tr {
                    th scope="col" { "Version" } th scope="col" { "When" } th scope="col" { "What" }
                    th scope="col" { "Rows" } @if held.is_some() { th scope="col" { "Kept by" } } th scope="col" { "Id" }
                } }
                tbody {
                    @for version in versions {
                        tr {
                            td {
                                @if version.removed_at.0.is_some() { (version.delta_version) " " (badge("removed")) }
                                @else { a href={ "/tables/" (path(name)) "?at=" (query(&version.delta_version.to_string())) } { (version.delta_version) } }
                                @for tag in &version.tags { " " span.tag { (tag) } }
                            }
                            td { (ago(version.at)) }
                            td { (version.action) }
                            td.num { (version.rows) }
                            @if held.is_some() {
                                td.quiet { @if let Some(held) = holders(version.delta_version) { (clip(&held.by.join(", "), 120)) } @else { "nobody" } }
                            }
                            td { (id_link(&version.version)) }
                        }
                    }
                }
            }
        }
    }
}
