//! What is served, what is in it, what moved between two releases, and how is one put in place of
//! another? Every change is asked for twice: a button opens the question, the form does it.

use axum::{
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{
    frame::{Frame, Nav},
    ui::{ago, badge, clip, empty, id_link, path, query, say, short, show},
    views::{Diff, Release, Releases},
};
use crate::{body::FormBody, error::ServerError, keys::Role, reply::Refusal};

/// `GET /releases`
pub(crate) async fn list(frame: Frame) -> Response {
    let body = async {
        let Releases { releases } = frame.op(json!({ "op": "release_list" })).await?;
        Ok(overview(&frame, &releases))
    };
    let body = body.await;
    frame.answer("Releases", Nav::Releases, body)
}

/// `GET /releases/{id}`
pub(crate) async fn release(Path(id): Path<String>, frame: Frame) -> Response {
    let body = one(&frame, &id).await;
    frame.answer("Release", Nav::Releases, body)
}

/// `GET /releases/diff?a=&b=`
pub(crate) async fn diff(frame: Frame) -> Response {
    let body = changes(&frame).await;
    frame.answer("What moved", Nav::Releases, body)
}

/// `POST /releases/promote`
pub(crate) async fn promote(frame: Frame, form: FormBody) -> Response {
    let op = json!({ "op": "release_promote", "digest": form.get("digest") });
    change(&frame, op).await
}

/// `POST /releases/rollback`
pub(crate) async fn rollback(frame: Frame, form: FormBody) -> Response {
    change(&frame, json!({ "op": "rollback", "release": form.get("release") })).await
}

async fn change(frame: &Frame, op: Value) -> Response {
    match frame.op::<Value>(op).await {
        Ok(_) => Redirect::to("/releases").into_response(),
        Err(refusal) => {
            let mut response = frame.answer("Releases", Nav::Releases, Err(refusal));
            if response.status() == StatusCode::OK {
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            response
        }
    }
}

fn overview(frame: &Frame, releases: &[Release]) -> Markup {
    let mut names: Vec<&str> = releases.iter().map(|release| release.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    html! {
        header.head {
            div { h1 { "Releases" } p.sub { "A release pins one version of everything a feature needs; only a release serves." } }
        }
        @if releases.is_empty() {
            (empty("No releases yet", "A build creates one when releases/*.toml asks for it, judges it by its gates, and promotes it.", Some("sextant release create assistant")))
        }
        @for name in names {
            @let rows: Vec<_> = releases.iter().filter(|release| release.name == name).collect();
            @let live = rows.iter().find(|release| release.live).copied();
            section {
                div.section-head {
                    h2 { (name) }
                    @if frame.may(Role::Write) && live.is_some() && rows.len() > 1 { (rollback_button(name)) }
                }
                (table(frame, &rows, live))
            }
        }
    }
}

fn table(frame: &Frame, rows: &[&Release], live: Option<&Release>) -> Markup {
    html! {
        div.table-wrap {
            table {
                thead { tr {
                    th scope="col" { "Release" } th scope="col" { "State" } th scope="col" { "Made" }
                    th scope="col" { "Retrieval" } th scope="col" { "Why" } th scope="col" { span.hidden { "Actions" } }
                } }
                tbody {
                    @for release in rows {
                        tr.best[release.live] {
                            td { a.id href={ "/releases/" (path(&release.digest)) } title=(release.digest) { (short(&release.digest)) } }
                            td { @if release.live { (badge("live")) " " } (gate(&release.gate)) }
                            td { (ago(release.created_at)) }
                            td { (release.mode) }
                            td.quiet { (clip(&say(&release.reason), 90)) }
                            td.actions {
                                @if let Some(live) = live.filter(|live| live.digest != release.digest) {
                                    a href=(diff_address(&live.digest, &release.digest)) { "Diff with live" }
                                }
                                @if frame.may(Role::Write) && !release.live { (promote_button(release)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn gate(gate: &str) -> Markup {
    match gate {
        "" | "none" => html! { span.quiet { "no gate" } },
        other => badge(other),
    }
}

fn diff_address(a: &str, b: &str) -> String {
    format!("/releases/diff?a={}&b={}", query(a), query(b))
}

fn promote_button(release: &Release) -> Markup {
    let id = format!("promote-{}", short(&release.digest));
    let refused = release.gate == "refused";
    html! {
        button type="button" popovertarget=(id) { "Promote" }
        div.sheet id=(id) popover {
            h2 { "Serve " (short(&release.digest)) " as " (release.name) "?" }
            p { "New questions are answered by it at once. Requests in progress stay with the release they began with." }
            @if refused { p.bad-text { "Its gate refused it; the server will refuse too. An admin can promote past a gate on the command line, with a reason." } }
            form method="post" action="/releases/promote" {
                input type="hidden" name="digest" value=(release.digest);
                button type="button" popovertarget=(id) popovertargetaction="hide" { "Cancel" }
                button.primary type="submit" { "Promote" }
            }
        }
    }
}

fn rollback_button(name: &str) -> Markup {
    let id = format!("rollback-{}", name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    html! {
        button type="button" popovertarget=(id) { "Roll back" }
        div.sheet id=(id) popover {
            h2 { "Roll " (name) " back?" }
            p { "The release that was live before takes its place in one step: documents, model, prompt, index and settings together." }
            form method="post" action="/releases/rollback" {
                input type="hidden" name="release" value=(name);
                button type="button" popovertarget=(id) popovertargetaction="hide" { "Cancel" }
                button.danger type="submit" { "Roll back" }
            }
        }
    }
}

async fn one(frame: &Frame, id: &str) -> Result<Markup, Refusal> {
    let release: Release = frame.op(json!({ "op": "release_show", "id": id })).await?;
    let Releases { releases } = frame.op(json!({ "op": "release_list" })).await?;
    let others: Vec<_> = releases
        .iter()
        .filter(|other| other.name == release.name && other.digest != release.digest)
        .collect();
    Ok(html! {
        header.head {
            div {
                p.crumbs { a href="/releases" { "Releases" } " / " (release.name) }
                h1 { (short(&release.digest)) " " @if release.live { (badge("live")) " " } (gate(&release.gate)) }
                p.sub { code.copy data-copy=(release.digest) { (release.digest) } " · " (ago(release.created_at)) }
            }
            @if frame.may(Role::Write) && !release.live { (promote_button(&release)) }
        }
        @let reason = say(&release.reason);
        @if !reason.is_empty() { p.notice.(super::ui::tone(&release.gate)) { (reason) } }
        section {
            div.section-head { h2 { "What is in it" } a href={ "/v/" (path(&release.digest)) } { "Whole chain" } }
            (parts(&release))
        }
        @if !others.is_empty() {
            section {
                div.section-head { h2 { "Compare with" } }
                ul.plain {
                    @for other in others {
                        li { a href=(diff_address(&other.digest, &release.digest)) { (short(&other.digest)) }
                            " " span.quiet { (ago(other.created_at)) } @if other.live { " " (badge("live")) } }
                    }
                }
            }
        }
    })
}

fn parts(release: &Release) -> Markup {
    html! {
        div.table-wrap {
            table {
                thead { tr { th scope="col" { "Part" } th scope="col" { "Version" } } }
                tbody {
                    @if !release.mode.is_empty() { tr { td { "retrieval" } td { (release.mode) } } }
                    @for (part, value) in &release.parts { tr { td { (part.replace('_', " ")) } td { (show(value)) } } }
                }
            }
        }
    }
}

async fn changes(frame: &Frame) -> Result<Markup, Refusal> {
    let asked = |name: &str| {
        frame.param(name).map(str::to_owned).ok_or_else(|| {
            Refusal::from(ServerError::field(
                name,
                format!("the address must name release `{name}`"),
            ))
        })
    };
    let diff: Diff = frame.op(json!({ "op": "diff", "a": asked("a")?, "b": asked("b")? })).await?;
    let moved = diff.changes.iter().filter(|change| change.kind != "same").count();
    Ok(html! {
        header.head {
            div {
                p.crumbs { a href="/releases" { "Releases" } " / diff" }
                h1 { "What moved" }
                p.sub { "from " (id_link(&diff.a)) " to " (id_link(&diff.b)) ": " (moved) " of " (diff.changes.len()) " parts" }
            }
            a.button href=(diff_address(&diff.b, &diff.a)) { "Swap" }
        }
        @if diff.changes.is_empty() { (empty("Nothing to compare", "The two have no parts in common.", None)) }
        ul.changes {
            @for change in &diff.changes {
                li.change.(super::ui::tone(&change.kind)) {
                    div.change-head { strong.role[!change.part.contains('/')] { (change.part) } (badge(&change.kind)) }
                    div.change-pair {
                        @if change.kind == "same" { (show(&change.after)) }
                        @else { span { (show(&change.before)) } span aria-hidden="true" { "→" } span { (show(&change.after)) } }
                    }
                    @if !change.detail.is_empty() {
                        ul.plain.quiet { @for line in change.detail.iter().take(50) { li { (clip(&say(line), 300)) } }
                            @if change.detail.len() > 50 { li { "and " (change.detail.len() - 50) " more" } } }
                    }
                }
            }
        }
    })
}
