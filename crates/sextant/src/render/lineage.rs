//! The chain, its checks, and error codes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::text::{Style, cut, items, plain, short, table};

/// Nodes below which a tree is cut; `--json` has them all.
const CHILDREN_MAX: usize = 12;
/// Passages shown below one node; they differ only in their bytes.
const CHUNKS_MAX: usize = 3;

/// A node and what it came from (`inputs`), or what came from it (`outputs`), as a tree.
pub fn tree(node: &Value, field: &str) -> String {
    let mut text = format!("{}\n", line(node));
    branches(node, field, "", &mut text);
    let holes = node["holes"].as_u64().unwrap_or(0);
    let verdict = if holes == 0 {
        Style::Good.paint("the chain has no holes")
    } else {
        Style::Bad.paint(format!("{holes} holes in the chain"))
    };
    text.push_str(&format!("{verdict}\n"));
    text
}

fn branches(node: &Value, field: &str, indent: &str, text: &mut String) {
    let all = items(node, field);
    let mut chunks = 0;
    let few = all.iter().filter(|child| {
        chunks += usize::from(child["node"]["kind"] == "chunk" && child["edge"] != "retrieved");
        child["node"]["kind"] != "chunk" || child["edge"] == "retrieved" || chunks <= CHUNKS_MAX
    });
    let children: Vec<&Value> = few.take(CHILDREN_MAX).collect();
    let more = all.len() - children.len();
    for (number, child) in children.iter().enumerate() {
        let last = number + 1 == children.len() && more == 0;
        let (branch, rest) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let edge = plain(&child["edge"]);
        text.push_str(&format!(
            "{indent}{branch}{}{}\n",
            if edge.is_empty() { String::new() } else { Style::Dim.paint(edge) + " " },
            line(&child["node"])
        ));
        branches(&child["node"], field, &format!("{indent}{rest}"), text);
    }
    if more > 0 {
        text.push_str(&format!("{indent}└─ … and {more} more (--json shows all)\n"));
    }
}

fn line(node: &Value) -> String {
    let seen = if node["seen"].as_bool().unwrap_or(false) { " (above)" } else { "" };
    let kind = plain(&node["kind"]);
    let kind = if kind == "opaque" { Style::Bad.paint("HOLE") } else { Style::Accent.paint(kind) };
    format!(
        "{kind} {} {}{seen}",
        Style::Bold.paint(cut(&plain(&node["label"]), 100)),
        Style::Dim.paint(short(&node["id"]))
    )
}

pub fn impact(result: &Value) -> String {
    let mut text = tree(result, "outputs");
    let mut reached = BTreeMap::new();
    count_kinds(result, &mut reached);
    let reached: Vec<String> =
        reached.iter().map(|(kind, nodes)| format!("{} {kind}", nodes.len())).collect();
    if !reached.is_empty() {
        text.push_str(&format!("reaches {}\n", reached.join(", ")));
    }
    let answers = &result["answers"];
    let count = answers["count"].as_u64().unwrap_or(0);
    let word = if count == 1 { "answer" } else { "answers" };
    text.push_str(&format!("{count} {word} used it\n"));
    for answer in items(answers, "sample") {
        text.push_str(&format!(
            "  {} {}\n",
            plain(&answer["id"]),
            cut(&plain(&answer["question"]), 70)
        ));
    }
    text
}

/// The nodes below a node, by kind, each once.
fn count_kinds(node: &Value, reached: &mut BTreeMap<String, BTreeSet<String>>) {
    for child in items(node, "outputs") {
        let below = &child["node"];
        reached.entry(plain(&below["kind"])).or_default().insert(plain(&below["id"]));
        count_kinds(below, reached);
    }
}

pub fn holes(result: &Value) -> String {
    let rows: Vec<Vec<String>> = items(result, "holes")
        .iter()
        .map(|hole| {
            let users: Vec<String> = items(hole, "used_by").iter().map(plain).collect();
            vec![short(&hole["digest"]), plain(&hole["what"]), users.join(", ")]
        })
        .collect();
    if rows.is_empty() {
        return "no holes: every version walks back to its sources\n".to_owned();
    }
    table(&["node", "what", "used by"], &rows)
}

pub fn fsck(result: &Value) -> String {
    let mut text = String::new();
    for problem in items(result, "problems") {
        text.push_str(&format!(
            "{} {}: {}\n",
            Style::Bad.paint("✗"),
            plain(&problem["part"]),
            plain(&problem["what"])
        ));
    }
    let verdict =
        if text.is_empty() { Style::Good.paint("sound") } else { Style::Bad.paint("damaged") };
    text.push_str(&format!(
        "{verdict}: {} artifacts, {} edges, {} blobs, {} log records, {} audit records, {} indexes\n",
        plain(&result["artifacts"]),
        plain(&result["edges"]),
        plain(&result["blobs"]),
        plain(&result["log_records"]),
        plain(&result["audit_records"]),
        plain(&result["indexes"]),
    ));
    let orphans = result["orphans"].as_u64().unwrap_or(0);
    if orphans > 0 {
        text.push_str(&format!(
            "{orphans} files left by unfinished work, {} removed (--repair removes them)\n",
            plain(&result["orphans_removed"])
        ));
    }
    text
}

pub fn doctor(result: &Value) -> String {
    let mut text = String::new();
    for check in items(result, "checks") {
        let mark = match check["state"].as_str() {
            Some("ok") => Style::Good.paint("✓"),
            Some("warn") => Style::Warn.paint("!"),
            _ => Style::Bad.paint("✗"),
        };
        text.push_str(&format!("{mark} {}: {}\n", plain(&check["name"]), plain(&check["detail"])));
    }
    text
}

pub fn explain(result: &Value) -> String {
    format!(
        "{}  {}\nexit status {}\n\n{}\n",
        Style::Bold.paint(plain(&result["code"])),
        plain(&result["title"]),
        plain(&result["exit"]),
        plain(&result["help"])
    )
}
