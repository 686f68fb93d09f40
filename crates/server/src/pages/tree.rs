//! How is a chain of lineage drawn? As a tree of lists joined by lines, which a screen reader can
//! walk, the keyboard can open, and a browser can print.

use maud::{Markup, html};
use serde_json::Value;

use super::{
    icons,
    ui::{ago, clip, id_link, path, say, short},
    views::{Node, Step},
};

/// Deeper nodes start folded.
const OPEN_DEPTH: usize = 8;
/// A node with more neighbours shows the first ones and folds the rest.
const SIBLINGS_OPEN: usize = 12;

/// A chain, backward (`inputs`) or forward (`outputs`).
pub(crate) fn draw(root: &Node) -> Markup {
    html! { ul.tree { li { (node(root, "", 0)) } } }
}

fn node(node: &Node, edge: &str, depth: usize) -> Markup {
    let steps: &[Step] = if node.inputs.is_empty() { &node.outputs } else { &node.inputs };
    html! {
        @if steps.is_empty() {
            (line(node, edge))
        } @else {
            details open[depth < OPEN_DEPTH && steps.iter().any(|step| !step.node.seen)] {
                summary { (line(node, edge)) }
                (children(steps, depth))
            }
        }
    }
}

fn children(steps: &[Step], depth: usize) -> Markup {
    let (first, rest) = steps.split_at(steps.len().min(SIBLINGS_OPEN));
    html! {
        ul {
            @for step in first { li { (node(&step.node, &step.edge, depth + 1)) } }
            @if !rest.is_empty() {
                li { details { summary { span.quiet { (rest.len()) " more" } }
                    ul { @for step in rest { li { (node(&step.node, &step.edge, depth + 1)) } } } } }
            }
        }
    }
}

fn line(node: &Node, edge: &str) -> Markup {
    let opaque = node.kind == "opaque";
    html! {
        span.tree-line.hole[opaque].seen[node.seen] {
            @if !edge.is_empty() { span.edge { (edge.replace('_', " ")) } }
            span.kind title=(node.kind) { (icons::kind(&node.kind)) }
            @let label = if node.label.is_empty() { node.kind.replace('_', " ") } else { node.label.clone() };
            @match address(node) {
                Some(address) => a.tree-label href=(address) title=(node.id) { (label) },
                None => span.tree-label { (label) },
            }
            @if !node.kind.is_empty() && !node.label.is_empty() {
                span.quiet.tree-kind { (node.kind.replace('_', " ")) }
            }
            @if !node.id.is_empty() {
                @if let Some(address) = address(node) {
                    a.id href=(address) title=(node.id) { (short(&node.id)) }
                }
            }
            (detail(node))
            @if node.at.0.is_some() && !node.seen { span.quiet.tree-fact { (ago(node.at)) } }
            @if opaque { span.badge.bad { (icons::state("failed")) "hole" } }
            @if node.seen { span.quiet.tree-seen title="shown above" { "↑ above" } }
        }
    }
}

/// A run has a page of its own, a count of many has none, everything else is a version.
fn address(node: &Node) -> Option<String> {
    match node.detail.get("run").and_then(Value::as_str) {
        Some(run) if node.kind == "train" => Some(format!("/runs/{}", path(run))),
        _ if node.id.is_empty() || node.id.contains('#') => None,
        _ => Some(format!("/v/{}", path(&node.id))),
    }
}

/// The words that a node quotes or describes itself by; its own page has all that is known.
fn detail(node: &Node) -> Markup {
    let told = ["quote", "description", "why"].iter().find_map(|key| node.detail.get(*key));
    let words = told.map(say).unwrap_or_default();
    html! {
        @if !words.is_empty() && !node.seen { span.quiet.tree-fact title=(words) { (clip(&words, 90)) } }
    }
}

/// How many nodes a chain has, and how many of them are holes.
pub(crate) fn count(root: &Node) -> (u64, u64) {
    let mut sum = (u64::from(!root.seen), u64::from(root.kind == "opaque" && !root.seen));
    for step in root.inputs.iter().chain(&root.outputs) {
        let (nodes, holes) = count(&step.node);
        sum = (sum.0 + nodes, sum.1 + holes);
    }
    sum
}

/// How many answers something reached.
pub(crate) fn answers(node: &Node) -> u64 {
    node.answers.as_ref().map_or(0, |answers| answers.count)
}

/// The answers that something reached.
pub(crate) fn reached(node: &Node) -> Markup {
    let Some(answers) = node.answers.as_ref().filter(|answers| answers.count > 0) else {
        return html! {};
    };
    html! {
        div.notice.calm {
            div {
                p.notice-title { (answers.count) @if answers.count == 1 { " answer" } @else { " answers" } " used it" }
                ul.plain {
                    @for sample in &answers.sample {
                        li {
                            @match sample {
                                Value::String(id) => (id_link(id)),
                                Value::Object(map) => {
                                    @if let Some(Value::String(id)) = map.get("id") { (id_link(id)) " " }
                                    @if let Some(Value::String(question)) = map.get("question") { (question) }
                                },
                                other => (say(other)),
                            }
                        }
                    }
                }
            }
        }
    }
}
