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
    ui::{ago, badge, clip, empty, figure, path, say},
    views::{Commit, HeldRow, Partition, Quarantine, Source, SourceError, Sources},
};
use crate::{error::ServerError, keys::Role, reply::Refusal};

/// Rows of a quarantine on one page.
const ROWS_SHOWN: usize = 25;
/// Most rows that the button puts through again.
const REPLAY_MAX: u32 = 5_000;
/// Characters of a payload in a row, and of one that was opened.
const PAYLOAD_CHARS: usize = 60;
const PAYLOAD_CHARS_MAX: usize = 8_000;

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
                        th scope="col" { "Lag" } th scope="col" { "Rows a minute" } th scope="col" { "Landed" }
                        th scope="col" { "Quarantine" } th scope="col" { "Last landed" } th scope="col" { "State" }
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
            td.num { @match source.per_minute { Some(rate) => (figure(rate.round())), None => "–" } }
            td.num { (number(source.landed.or(source.rows))) }
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
            _ if waits => span title="rows wait in quarantine" { (badge("held")) },
            _ if source.landed_at.0.is_none() => (badge("never built")),
            _ if source.lands == "server" => span title="the server lands it" { (badge("running")) },
            _ => (badge("built")),
        }
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
            div.actions {
                a.button href={ "/assets/" (path(&source.source)) } { "Versions" }
            }
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
            Some(Ok(held)) => (quarantine(frame, &source, held, skip)),
        }
    })
}

fn last_error(error: &SourceError) -> Markup {
    let tone = if error.over { "" } else { "bad" };
    html! {
        section class={ "notice " (tone) } role=[(!error.over).then_some("status")] {
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
                @if let Some(rate) = source.per_minute { div { dt { "rate" } dd { (figure(rate.round())) " rows a minute, over five minutes" } } }
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
                        thead { tr { th scope="col" { "Partition" } th scope="col" { "Landed up to" } th scope="col" { "End" } th scope="col" { "Lag" } } }
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
                thead { tr { th scope="col" { "Commit" } th scope="col" { "When" } th scope="col" { "Rows" } th scope="col" { "Offsets" } } }
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

fn quarantine(frame: &Frame, source: &Source, held: &Quarantine, skip: usize) -> Markup {
    html! {
        section #quarantine {
            div.section-head {
                h2 { "Quarantine " span.count { (held.waiting) } }
                @if frame.may(Role::Write) && held.waiting > 0 { (replay_button(source)) }
            }
            @if let (Some(passed), Some(failed)) = (frame.param("passed"), frame.param("failed")) {
                p.notice role="status" { (passed) " rows went into the table, " (failed) " still do not fit." }
            }
            @if held.rows.is_empty() {
                p.quiet.pad { @if held.waiting == 0 { "Nothing waits." } @else { "No more rows." }
                    @if held.replayed > 0 { " " (held.replayed) " rows went into the table after all." } }
            } @else {
                div.table-wrap {
                    table {
                        thead { tr { th scope="col" { "Place" } th scope="col" { "Arrived" } th scope="col" { "Rule" }
                            th scope="col" { "Reason" } th scope="col" { "What arrived" } } }
                        tbody { @for row in &held.rows { (held_row(row)) } }
                    }
                }
            }
            (pager(source, held, skip))
        }
    }
}

fn held_row(row: &HeldRow) -> Markup {
    let payload = visible(&row.payload);
    html! {
        tr {
            td { code { (clip(&visible(&row.partition), 80)) ":" (row.offset) } }
            td { (ago(row.arrived_at)) }
            td { span.tag { (row.rule) } }
            td.reason { (clip(&visible(&row.reason), 300)) }
            td { details { summary { (clip(&payload, PAYLOAD_CHARS)) } pre { (clip(&payload, PAYLOAD_CHARS_MAX)) } } }
        }
    }
}

/// A text from outside as it is, with characters that would hide or turn round others spelled out.
fn visible(text: &str) -> String {
    let hides = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars().take(PAYLOAD_CHARS_MAX + 1) {
        if hides(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

fn replay_button(source: &Source) -> Markup {
    html! {
        button type="button" popovertarget="replay" { "Put through again" }
        div.sheet id="replay" popover {
            h2 { "Put the quarantine of " (source.name) " through again?" }
            p { "Rows that fit the table by now go into it, each once; the others stay here. Up to " (REPLAY_MAX) " rows are tried." }
            form method="post" action={ "/sources/" (path(&source.name)) "/replay" } {
                button type="button" popovertarget="replay" popovertargetaction="hide" { "Cancel" }
                button.primary type="submit" { "Put through again" }
            }
        }
    }
}

fn pager(source: &Source, held: &Quarantine, skip: usize) -> Markup {
    let address = |skip: usize| format!("/sources/{}?skip={skip}#quarantine", path(&source.name));
    html! {
        @if skip > 0 || held.more {
            nav.pager aria-label="Pages of the quarantine" {
                @if skip > 0 { a.button href=(address(skip.saturating_sub(ROWS_SHOWN))) { "Earlier" } }
                @if !held.rows.is_empty() { span { (skip + 1) "–" (skip + held.rows.len()) " of " (held.waiting) } }
                @if held.more { a.button href=(address(skip + ROWS_SHOWN)) { "Later" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn what_hides_text_is_spelled_out() {
        for (text, expected) in [
            ("{\"a\": \"ü\"}\n", "{\"a\": \"ü\"}\n"),
            ("a\u{0}\u{1b}[2J", "a\\u{0}\\u{1b}[2J"),
            ("\u{202e}txt.exe\u{feff}", "\\u{202e}txt.exe\\u{feff}"),
        ] {
            assert_eq!(visible(text), expected);
        }
    }
}
