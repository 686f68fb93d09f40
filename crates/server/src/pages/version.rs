//! Where does a version or an answer come from, and what was made from it? Its chain both ways.

use axum::{
    extract::Path,
    response::{Html, IntoResponse, Response},
};
use maud::{Markup, html};
use serde_json::json;

use super::{
    frame::{Frame, Nav, failure},
    tree,
    ui::{ago, clip, facts, short},
    views::Node,
};
use crate::reply::Refusal;

/// `GET /v/{*id}`
pub(crate) async fn version(Path(id): Path<String>, frame: Frame) -> Response {
    let body = body(&frame, &id).await;
    frame.answer(&short(&id), Nav::None, body)
}

/// `GET /fragments/why/{id}`: the tree alone, for the panel beside a chat.
pub(crate) async fn fragment(Path(id): Path<String>, frame: Frame) -> Result<Response, Refusal> {
    let root: Node = frame.op(json!({ "op": "why", "id": id })).await?;
    let (nodes, holes) = tree::count(&root);
    let page = html! { (figures(nodes, holes)) (tree::draw(&root)) };
    Ok(Html(page.into_string()).into_response())
}

async fn body(frame: &Frame, id: &str) -> Result<Markup, Refusal> {
    let why: Node = frame.op(json!({ "op": "why", "id": id })).await?;
    // Nothing is made from an answer.
    let impact: Option<Result<Node, Refusal>> = match why.kind.as_str() {
        "answer" => None,
        _ => Some(frame.op(json!({ "op": "impact", "id": id })).await),
    };
    let (nodes, holes) = tree::count(&why);
    let full_id = if why.id.is_empty() { id } else { why.id.as_str() };
    let label = if why.label.is_empty() { full_id } else { why.label.as_str() };
    Ok(html! {
        header.head {
            div {
                p.crumbs { (why.kind.replace('_', " ")) }
                h1 { (clip(label, 140)) }
                p.sub {
                    code.copy data-copy=(full_id) title="Copy" { (full_id) }
                    @if why.at.0.is_some() { " · " (ago(why.at)) }
                }
            }
        }
        @if why.detail.is_object() { section.panel { (facts(&why.detail)) } }
        section {
            div.section-head { h2 { "Why: where it comes from" } }
            (figures(nodes, holes))
            (tree::draw(&why))
        }
        @if let Some(impact) = &impact {
            section {
                div.section-head { h2 { "Impact: what was made from it" } }
                @match impact {
                    Ok(impact) => {
                        (tree::reached(impact))
                        @if impact.outputs.is_empty() && tree::answers(impact) > 0 {} @else if impact.outputs.is_empty() {
                            p.quiet.pad { "Nothing was made from it yet." }
                        } @else { (tree::draw(impact)) }
                    },
                    Err(refusal) => (failure(refusal)),
                }
            }
        }
    })
}

fn figures(nodes: u64, holes: u64) -> Markup {
    html! {
        p.quiet.figures {
            (nodes) @if nodes == 1 { " node" } @else { " nodes" } ", "
            @if holes == 0 { "no holes" } @else { strong.bad-text { (holes) @if holes == 1 { " hole" } @else { " holes" } } }
        }
    }
}
