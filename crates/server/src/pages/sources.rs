//! Is everything that was sent in a table, and if not, where is it and why? The sources with their
//! lag, rate and last error; of each one its partitions, commits and quarantine.

use axum::{
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{
    frame::{Frame, Nav, failure},
    icons,
    quarantine::{self, REPLAY_MAX, ROWS_SHOWN},
    ui::{ago, badge, clip, empty, figure, path, say, tone},
    views::{Commit, Partition, Quarantine, Source, SourceError, Sources},
};
use crate::{error::ServerError, reply::Refusal};

/// `GET /sources`
pub(crate) async fn list(frame: Frame) -> Response {
    let body = overview(&frame).await;
    frame.answer("Sources", Nav::Sources, body)
}

/// `GET /sources/{name}`
pub(crate) async fn source(Path(name): Path<String>, frame: Frame) -> Response {
    let body = one(&frame, &name).await;
    frame.answer(&name, Nav::Sources, body)
}

/// `POST /sources/{name}/replay`
pub(crate) async fn replay(Path(name): Path<String>, frame: Frame) -> Response {
    let source = format!("sources/{name}");
    let op = json!({ "op": "data_replay", "source": source, "limit": REPLAY_MAX });
    match frame.op::<Value>(op).await {
        Ok(done) => {
            let count = |field: &str| done.get(field).and_then(Value::as_u64).unwrap_or(0);
            let counts = format!("passed={}&failed={}", count("passed"), count("failed"));
            let to = format!("/sources/{}?{counts}#quarantine", path(&name));
            Redirect::to(&to).into_response()
        }
        Err(refusal) => {
            let mut response = frame.answer("Sources", Nav::Sources, Err(refusal));
            if response.status() == StatusCode::OK {
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            response
        }
    }
}

async fn overview(frame: &Frame) -> Result<Markup, Refusal> {
    let Sources { sources } = frame.op(json!({ "op": "data_sources" })).await?;
    Ok(html! {
        header.head {
            div { h1 { "Sources" } p.sub { "What arrives, each record once: in its table, or in quarantine with a reason." } }
            @if !sources.is_empty() {
                input.search type="search" placeholder="Filter" aria-label="Filter sources" data-filter="sources" data-slash;
            }
        }
        @if sources.is_empty() {
            (empty("No sources yet", "A file in the folder sources/ says what comes in: files, records over HTTP, a topic of Kafka.", Some("sextant data sources")))
        } @else {
            div.table-wrap {
                table #sources data-sortable {
                    thead { tr {
                        th scope="col" { "Source" } th scope="col" { "Type" } th scope="col" { "Table" }
                        th.num scope="col" { "Lag" } th.num scope="col" { "Rows a minute" } th.num scope="col" { "Rows" }
                        th.num scope="col" { "Quarantine" } th scope="col" { "Last landed" } th scope="col" { "State" }
                    } }
                    tbody { @for source in &sources { (row(source)) } }
                }
            }
        }
    })
}

fn row(source: &Source) -> Markup {
    let landed_at = source.landed_at.0.map_or(0, |at| at.as_second());
    html! {
        tr {
            td { a.strong href={ "/sources/" (path(&source.name)) } { (source.name) } }
            td { (source.kind) }
            td { @if source.table.is_empty() { "–" } @else { a href={ "/tables/" (path(&source.table)) } { (source.table) } } }
            td.num data-sort=[source.lag] { (lag(source)) }
            td.num { @match source.per_minute { Some(value) => (rate(value)), None => span.quiet { "–" } } }
            td.num { (number(source.rows)) }
            td.num { (number(source.waiting)) }
            td data-sort=(landed_at) { (ago(source.landed_at)) }
            td { (state(source)) }
        }
    }
}

fn number(value: Option<u64>) -> Markup {
    html! { @match value { Some(value) => (value), None => span.quiet { "–" } } }
}

fn lag(source: &Source) -> Markup {
    html! {
        @match source.lag {
            Some(lag) => (lag),
            None if source.lag_unknown.is_empty() => span.quiet { "–" },
            None => span.quiet title=(source.lag_unknown) { "unknown" },
        }
    }
}

fn state(source: &Source) -> Markup {
    let waits = source.waiting.unwrap_or(0) > 0;
    html! {
        @match &source.error {
            Some(error) if !error.over => span title=(clip(&error.message, 300)) { (badge("failed")) },
            _ if waits => (mark("held", "rows wait", "rows wait in quarantine")),
            _ if source.landed_at.0.is_none() => (badge("never built")),
            _ if source.lands == "server" => (mark("built", "landing", "the running server lands it")),
            _ => (badge("built")),
        }
    }
}

/// A badge that says another word than its state.
fn mark(like: &str, word: &str, title: &str) -> Markup {
    html! { span class={ "badge " (tone(like)) } title=(title) { (icons::state(like)) (word) } }
}

fn rate(per_minute: f64) -> String {
    if per_minute < 10.0 {
        figure((per_minute * 10.0).round() / 10.0)
    } else {
        figure(per_minute.round())
    }
}

async fn one(frame: &Frame, name: &str) -> Result<Markup, Refusal> {
    let asset = format!("sources/{name}");
    let source: Source = frame.op(json!({ "op": "data_source", "source": asset })).await?;
    let skip = frame.param("skip").unwrap_or("0");
    let skip: usize = skip
        .parse()
        .map_err(|_| Refusal::from(ServerError::field("skip", "it must be a number".to_owned())))?;
    let held: Option<Result<Quarantine, Refusal>> = match source.waiting {
        None => None,
        Some(_) => {
            let op = json!({ "op": "data_quarantine", "source": asset, "limit": ROWS_SHOWN, "skip": skip });
            Some(frame.op(op).await)
        }
    };
    Ok(html! {
        header.head {
            div {
                p.crumbs { a href="/sources" { "Sources" } " / " (source.kind) }
                h1 { (source.name) " " (state(&source)) }
                @if !source.description.is_empty() { p.sub { (source.description) } }
                p.sub { code { (source.uri) } @if !source.file.is_empty() { " · " code.copy data-copy=(source.file) title="Copy" { (source.file) } } }
            }
            a.button href={ "/assets/" (path(&source.source)) } { "Versions" }
        }
        @if let Some(error) = &source.error { (last_error(error)) }
        (figures(&source))
        @if !source.partitions.is_empty() || !source.lag_unknown.is_empty() { (partitions(&source)) }
        div.columns {
            section { div.section-head { h2 { "Columns" } } (columns(&source.columns)) }
            section { div.section-head { h2 { "Recent commits" } } (commits(&source.commits)) }
        }
        @match &held {
            None => {},
            Some(Err(refusal)) => section #quarantine { div.section-head { h2 { "Quarantine" } } (failure(refusal)) },
            Some(Ok(held)) => (quarantine::section(frame, &source, held, skip)),
        }
    })
}

fn last_error(error: &SourceError) -> Markup {
    let colour = if error.over { "" } else { "bad" };
    html! {
        section class={ "notice " (colour) } role=[(!error.over).then_some("status")] {
            div.notice-icon { (icons::state("failed")) }
            div {
                p.notice-title { (error.message) }
                p.quiet {
                    @if error.over { "It has landed since. " } @else { "The server tries again by itself. " }
                    code { (error.code) } " · " (ago(error.at))
                }
            }
        }
    }
}

fn figures(source: &Source) -> Markup {
    html! {
        section.panel {
            dl.facts {
                @if !source.table.is_empty() {
                    div { dt { "table" } dd { a href={ "/tables/" (path(&source.table)) } { (source.table) } " · " (number(source.rows)) " rows" } }
                }
                @if source.arrived.is_some() {
                    div { dt { "arrived" } dd { (number(source.arrived)) " = " (number(source.landed)) " landed + "
                        (source.arrived.unwrap_or(0).saturating_sub(source.landed.unwrap_or(0))) " quarantined"
                        @if source.replayed > 0 { ", " (source.replayed) " of these landed later" } } }
                }
                div { dt { "lag" } dd { (lag(source)) @if source.lag.is_some() { " records" } } }
                @if let Some(rate) = source.per_minute { div { dt { "rate" } dd { (self::rate(rate)) " rows a minute, over five minutes" } } }
                div { dt { "last landed" } dd { (ago(source.landed_at)) } }
                div { dt { "landed by" } dd { @if source.lands == "server" { "the running server, and every build" } @else { "every build" } } }
            }
        }
    }
}

fn partitions(source: &Source) -> Markup {
    html! {
        section {
            div.section-head { h2 { "Partitions" } }
            @if source.partitions.is_empty() { p.quiet.pad { (source.lag_unknown) } }
            @else {
                div.table-wrap {
                    table #partitions data-sortable {
                        thead { tr { th scope="col" { "Partition" } th.num scope="col" { "Landed up to" } th.num scope="col" { "End" } th.num scope="col" { "Lag" } } }
                        tbody { @for partition in &source.partitions { (partition_row(partition)) } }
                    }
                }
                @if !source.lag_unknown.is_empty() { p.quiet.pad { (source.lag_unknown) } }
            }
        }
    }
}

fn partition_row(partition: &Partition) -> Markup {
    let place = |offset: Option<i64>| html! { @match offset { Some(offset) => (offset), None => span.quiet { "–" } } };
    html! {
        tr {
            td { code { (partition.partition) } }
            td.num { (place(partition.landed)) }
            td.num { (place(partition.end)) }
            td.num { (number(partition.lag)) }
        }
    }
}

fn columns(columns: &[Value]) -> Markup {
    if columns.is_empty() {
        return html! { p.quiet.pad { "No table yet." } };
    }
    html! {
        div.table-wrap {
            table {
                thead { tr { th scope="col" { "Column" } th scope="col" { "Type" } th scope="col" { "From" } } }
                tbody {
                    @for column in columns {
                        tr {
                            td { (say(&column["name"])) }
                            td { code { (say(&column["type"])) } }
                            td.quiet { (origin(&say(&column["origin"]))) }
                        }
                    }
                }
            }
        }
    }
}

fn origin(word: &str) -> &str {
    match word {
        "place" => "the record's place",
        "file" => "the source's file",
        "inferred" => "the records",
        other => other,
    }
}

fn commits(commits: &[Commit]) -> Markup {
    if commits.is_empty() {
        return html! { p.quiet.pad { "Nothing has landed yet." } };
    }
    html! {
        div.table-wrap {
            table {
                thead { tr { th scope="col" { "Commit" } th scope="col" { "When" } th.num scope="col" { "Rows" } th scope="col" { "Offsets" } } }
                tbody {
                    @for commit in commits {
                        tr {
                            td { (commit.delta_version) }
                            td { (ago(commit.at)) }
                            td.num { (commit.landed) @if commit.quarantined > 0 { " + " (commit.quarantined) " held" }
                                @if commit.replayed > 0 { " + " (commit.replayed) " replayed" } }
                            td.quiet { @for (at, part) in commit.offsets.iter().enumerate() {
                                @if at > 0 { ", " } (clip(&part.partition, 60)) " " (part.from) "–" (part.to)
                            } }
                        }
                    }
                }
            }
        }
    }
}
