//! Assets, builds, tables and configuration.

use serde_json::Value;

use super::text::{Style, cut, grid, items, plain, pretty, seconds, short, table};

pub fn build(result: &Value) -> String {
    let count = |field: &str| result[field].as_u64().unwrap_or(0);
    let mut text = String::new();
    for asset in items(result, "assets") {
        if let Some(error) = asset["error"].as_object() {
            let message = error.get("message").map(plain).unwrap_or_default();
            let code = error.get("code").map(plain).unwrap_or_default();
            text.push_str(&format!(
                "{} {} {message}\n",
                Style::Bad.paint(code),
                Style::Bold.paint(plain(&asset["asset"]))
            ));
            for (mark, field) in [("-->", "place"), ("hint:", "hint")] {
                if let Some(said) = error.get(field).and_then(Value::as_str) {
                    text.push_str(&format!("  {} {said}\n", Style::Accent.paint(mark)));
                }
            }
        }
    }
    let mut parts = vec![format!("{} built", count("built"))];
    for (field, word) in
        [("unchanged", "unchanged"), ("held", "held"), ("failed", "failed"), ("skipped", "skipped")]
    {
        if count(field) > 0 {
            parts.push(format!("{} {word}", count(field)));
        }
    }
    let time = seconds(result["seconds"].as_f64().unwrap_or(0.0));
    text.push_str(&format!("{} in {time}\n", parts.join(", ")));
    for release in items(result, "releases") {
        text.push_str(&release_line(release));
    }
    text
}

fn release_line(release: &Value) -> String {
    let verb = if release["promoted"].as_bool().unwrap_or(false) {
        Style::Good.paint("released")
    } else {
        Style::Warn.paint("not released")
    };
    format!(
        "{verb} {} {}  {}\n",
        plain(&release["name"]),
        short(&release["digest"]),
        plain(&release["reason"])
    )
}

pub fn status(result: &Value) -> String {
    let rows: Vec<Vec<String>> = items(result, "assets")
        .iter()
        .map(|asset| {
            vec![
                state(&plain(&asset["state"])),
                plain(&asset["asset"]),
                plain(&asset["kind"]),
                short(&asset["version"]),
                cut(&plain(&asset["why"]), 60),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "no assets yet: add a file to sources/, then `sextant build`\n".to_owned();
    }
    let mut text = table(&["state", "asset", "kind", "version", "why"], &rows);
    for release in items(result, "releases") {
        if release["live"].as_bool().unwrap_or(false) {
            text.push_str(&format!(
                "\nlive: {} {}  {}\n",
                Style::Bold.paint(plain(&release["name"])),
                short(&release["digest"]),
                plain(&release["reason"])
            ));
        }
    }
    let holes = result["holes"].as_u64().unwrap_or(0);
    if holes > 0 {
        text.push_str(&format!("{holes} holes in the chain: `sextant lineage holes`\n"));
    }
    text
}

fn state(word: &str) -> String {
    match word {
        "fresh" => Style::Good.paint("● fresh"),
        "stale" => Style::Warn.paint("◐ stale"),
        "held" => Style::Dim.paint("◌ held"),
        "failed" => Style::Bad.paint("✗ failed"),
        "never" => Style::Dim.paint("○ never"),
        other => other.to_owned(),
    }
}

pub fn versions(result: &Value) -> String {
    let rows: Vec<Vec<String>> = items(result, "versions")
        .iter()
        .map(|version| {
            let inputs: Vec<String> = version["inputs"].as_object().map_or_else(Vec::new, |map| {
                map.iter().map(|(asset, digest)| format!("{asset}={}", short(digest))).collect()
            });
            vec![
                short(&version["version"]),
                plain(&version["at"]),
                short(&version["recipe"]),
                cut(&inputs.join(" "), 80),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "never built\n".to_owned();
    }
    table(&["version", "built", "recipe", "inputs"], &rows)
}

pub fn rows(result: &Value) -> String {
    let columns: Vec<String> = items(result, "columns")
        .iter()
        .map(|column| column.get("name").map_or_else(|| plain(column), plain))
        .collect();
    if columns.is_empty() {
        return "0 rows\n".to_owned();
    }
    let rows: Vec<Vec<&Value>> = items(result, "rows")
        .iter()
        .map(|row| match row {
            Value::Array(cells) => cells.iter().collect(),
            row => columns.iter().map(|column| &row[column.as_str()]).collect(),
        })
        .collect();
    let mut text = grid(&columns, &rows);
    let total = result["total"].as_u64();
    let shown = rows.len();
    match (result["truncated"].as_bool(), total) {
        (Some(true), _) => {
            text.push_str(&format!("{shown} rows shown; there are more (--limit)\n"))
        }
        (_, Some(total)) => text.push_str(&format!("{shown} of {total} rows\n")),
        _ => text.push_str(&format!("{shown} rows\n")),
    }
    text
}

/// Rows of one check that are shown; `--json` has all that were stored.
const FAILING_SHOWN: usize = 20;

pub fn failures(result: &Value) -> String {
    let mut text = String::new();
    for check in items(result, "checks") {
        let count = check["failures"].as_u64().unwrap_or(0);
        if count == 0 {
            continue;
        }
        text.push_str(&format!(
            "{} {} {}: {count} failing\n",
            Style::Bad.paint("✗"),
            Style::Bold.paint(plain(&check["name"])),
            plain(&check["severity"])
        ));
        let rows = items(check, "rows");
        let first = rows.first().and_then(Value::as_object);
        let heading: Vec<&str> =
            first.into_iter().flat_map(|row| row.keys().map(String::as_str)).collect();
        let cells = |row: &Value| heading.iter().map(|key| cut(&plain(&row[*key]), 60)).collect();
        let shown: Vec<Vec<String>> = rows.iter().take(FAILING_SHOWN).map(cells).collect();
        if !shown.is_empty() {
            text.push_str(&table(&heading, &shown));
        }
        if count > shown.len() as u64 && !shown.is_empty() {
            text.push_str(&format!("{} of {count} rows (--json has more)\n", shown.len()));
        }
    }
    if text.is_empty() { "no row fails\n".to_owned() } else { text }
}

pub fn config(result: &Value) -> String {
    let rows: Vec<Vec<String>> = items(result, "values")
        .iter()
        .map(|value| vec![plain(&value["key"]), plain(&value["value"]), plain(&value["origin"])])
        .collect();
    if rows.is_empty() { pretty(result) + "\n" } else { table(&["key", "value", "origin"], &rows) }
}

pub fn config_check(result: &Value) -> String {
    format!(
        "{} assets, {} files: no error found\n",
        plain(&result["assets"]),
        plain(&result["files"])
    )
}
