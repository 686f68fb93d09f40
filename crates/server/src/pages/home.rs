//! How is the project doing? What is released, what is stale and why, what failed, what was asked.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::json;

use super::{
    frame::{Frame, Nav, failure},
    icons,
    ui::{ago, badge, clip, empty, id_link, path, say},
    views::{Answer, Answers, Asset, Release, Status},
};
use crate::{keys::Role, reply::Refusal};

const ANSWERS_SHOWN: usize = 8;

/// `GET /`
pub(crate) async fn home(frame: Frame) -> Response {
    let body = body(&frame).await;
    frame.answer("Home", Nav::Home, body)
}

async fn body(frame: &Frame) -> Result<Markup, Refusal> {
    let status: Status = frame.op(json!({ "op": "status" })).await?;
    let answers: Result<Answers, _> =
        frame.op(json!({ "op": "answers", "limit": ANSWERS_SHOWN })).await;
    let of = |state: &str| -> Vec<&Asset> {
        status.assets.iter().filter(|asset| asset.state == state).collect()
    };
    let (failed, stale, never) = (of("failed"), of("stale"), of("never"));
    let waiting = stale.len() + never.len() + failed.len();
    Ok(html! {
        header.head {
            div {
                h1 { @if status.project.is_empty() { "Home" } @else { (status.project) } }
                p.sub { (summary(&status, waiting)) }
            }
            @if frame.may(Role::Write) {
                button.primary type="button" data-build { "Build" @if waiting > 0 { " " span.count { (waiting) } } }
            }
        }
        (build_panel())
        @if status.assets.is_empty() {
            (empty("No assets yet", "Describe a source and a model in the project folder, then build.", Some("sextant init my-assistant --docs ./docs")))
        } @else {
            (counts(&status))
        }
        (releases(&status.releases))
        @if !failed.is_empty() { (section("Failed", &failed)) }
        @if !stale.is_empty() { (section("Stale", &stale)) }
        @if !never.is_empty() { (section("Never built", &never)) }
        section {
            div.section-head { h2 { "Recent answers" } a href="/ask" { "Ask" } }
            @match &answers {
                Ok(answers) => (recent(&answers.answers)),
                Err(refusal) => (failure(refusal)),
            }
        }
    })
}

fn summary(status: &Status, waiting: usize) -> Markup {
    html! {
        @if status.assets.is_empty() { "An empty project." }
        @else if waiting == 0 { "Everything is up to date." }
        @else if waiting == 1 { "One asset waits to be built." }
        @else { (waiting) " assets wait to be built." }
        @if status.holes > 0 {
            " The chain of lineage has " strong { (status.holes) " "
            @if status.holes == 1 { "hole" } @else { "holes" } } "."
        }
    }
}

fn counts(status: &Status) -> Markup {
    let count = |state: &str| status.assets.iter().filter(|asset| asset.state == state).count();
    html! {
        ul.counts {
            @for state in ["fresh", "stale", "failed", "never", "held"] {
                @let number = count(state);
                @if number > 0 || state == "fresh" {
                    li { a href="/assets" { strong { (number) } (badge(state)) } }
                }
            }
        }
    }
}

fn build_panel() -> Markup {
    html! {
        section.panel.build data-build-panel hidden aria-live="polite" {
            div.section-head { h2 data-build-title { "Building" } button.link type="button" data-build-close { "Close" } }
            ol.steps data-build-steps {}
        }
    }
}

fn releases(releases: &[Release]) -> Markup {
    let live: Vec<_> = releases.iter().filter(|release| release.live).collect();
    html! {
        section {
            div.section-head { h2 { "Released" } a href="/releases" { "All releases" } }
            @if live.is_empty() {
                p.quiet.pad { "Nothing is released yet. A build creates, gates and promotes a release by itself." }
            }
            div.cards {
                @for release in live {
                    article.card {
                        div.card-top {
                            a.card-title href={ "/releases/" (path(&release.digest)) } { (release.name) }
                            (badge("live"))
                        }
                        p.quiet {
                            "made " (ago(release.created_at))
                            @if !release.mode.is_empty() { " · " (release.mode) " retrieval" }
                        }
                        @let reason = say(&release.reason);
                        @if !reason.is_empty() { p { (clip(&reason, 160)) } }
                        p { (id_link(&release.digest)) }
                    }
                }
            }
        }
    }
}

fn section(title: &str, assets: &[&Asset]) -> Markup {
    html! {
        section {
            div.section-head { h2 { (title) " " span.count { (assets.len()) } } }
            ul.rows {
                @for asset in assets {
                    li {
                        a.row href={ "/assets/" (path(&asset.asset)) } {
                            span class={ "tone " (super::ui::tone(&asset.state)) } { (icons::state(&asset.state)) }
                            span.row-main { strong { (asset.asset) } span.quiet { (clip(&say(&asset.why), 200)) } }
                            span.row-side { (ago(asset.built_at)) }
                        }
                    }
                }
            }
        }
    }
}

fn recent(answers: &[Answer]) -> Markup {
    html! {
        @if answers.is_empty() {
            p.quiet.pad { "Nobody has asked yet. " a href="/ask" { "Ask the first question." } }
        } @else {
            ul.rows {
                @for answer in answers {
                    li {
                        a.row href={ "/v/" (path(&answer.id)) } {
                            span.row-main {
                                strong { (clip(&answer.question, 120)) }
                                span.quiet { (clip(&answer.answer, 180)) }
                            }
                            @if answer.abstained { (badge("abstained")) }
                            span.row-side { (ago(answer.at)) }
                        }
                    }
                }
            }
        }
    }
}
