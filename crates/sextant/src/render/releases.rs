//! Releases: what they pin, what moved.

use serde_json::Value;

use super::text::{Style, cut, items, plain, short, table};

pub fn list(result: &Value) -> String {
    let rows: Vec<Vec<String>> = items(result, "releases")
        .iter()
        .map(|release| {
            let live = release["live"].as_bool().unwrap_or(false);
            vec![
                if live { Style::Good.paint("● live") } else { String::new() },
                plain(&release["name"]),
                short(&release["digest"]),
                plain(&release["created_at"]),
                plain(&release["gate"]),
                plain(&release["mode"]),
                cut(&plain(&release["reason"]), 60),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "no releases yet: `sextant build` or `sextant release create`\n".to_owned();
    }
    table(&["", "name", "release", "created", "gate", "mode", "reason"], &rows)
}

pub fn show(result: &Value) -> String {
    let live = if result["live"].as_bool().unwrap_or(false) { "live" } else { "not live" };
    let mut text = format!(
        "{} {}  {live}, gate {}\n",
        Style::Bold.paint(plain(&result["name"])),
        plain(&result["digest"]),
        plain(&result["gate"])
    );
    let rows: Vec<Vec<String>> = result["parts"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(role, part)| {
            let version = part.get("version").unwrap_or(part);
            vec![role.clone(), part.get("asset").map(plain).unwrap_or_default(), plain(version)]
        })
        .collect();
    text.push_str(&table(&["part", "asset", "version"], &rows));
    let reason = plain(&result["reason"]);
    if !reason.is_empty() {
        text.push_str(&format!("{reason}\n"));
    }
    text
}

pub fn gate(result: &Value) -> String {
    let passed = result["passed"].as_bool().unwrap_or(false);
    let rows: Vec<Vec<String>> = items(result, "rules")
        .iter()
        .map(|rule| {
            let fits = rule["passed"].as_bool().unwrap_or(false);
            vec![
                if fits { Style::Good.paint("✓") } else { Style::Bad.paint("✗") },
                plain(&rule["rule"]),
                plain(&rule["value"]),
                plain(&rule["limit"]),
            ]
        })
        .collect();
    let mut text = table(&["", "rule", "value", "limit"], &rows);
    text.push_str(if passed { "passed\n" } else { "refused\n" });
    text
}

pub fn diff(result: &Value) -> String {
    let mut text = String::new();
    let mut rows = Vec::new();
    for change in items(result, "changes") {
        let kind = plain(&change["kind"]);
        let word = if kind == "same" { Style::Dim.paint(&kind) } else { Style::Warn.paint(&kind) };
        rows.push(vec![
            word,
            plain(&change["part"]),
            short(&change["before"]),
            short(&change["after"]),
        ]);
    }
    text.push_str(&table(&["", "part", "before", "after"], &rows));
    for change in items(result, "changes") {
        for line in items(change, "detail") {
            text.push_str(&format!("  {}: {}\n", plain(&change["part"]), plain(line)));
        }
    }
    text
}

pub fn rollback(result: &Value) -> String {
    format!(
        "{} {}: {} → {}\n",
        Style::Good.paint("rolled back"),
        plain(&result["name"]),
        short(&result["from"]),
        short(&result["to"])
    )
}
