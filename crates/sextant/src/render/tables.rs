//! Tables: what there is, what was changed, what happened before, what may go.

use serde_json::Value;

use super::{
    assets,
    text::{Style, cut, items, plain, short, table},
};

/// Versions that are listed by `gc`; `--json` has all.
const VERSIONS_SHOWN: usize = 40;

pub fn list(result: &Value) -> String {
    let rows: Vec<Vec<String>> = items(result, "tables")
        .iter()
        .map(|entry| {
            vec![
                plain(&entry["name"]),
                plain(&entry["rows"]),
                plain(&entry["delta_version"]),
                plain(&entry["asset"]),
                cut(&columns(&entry["columns"]), 80),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "no tables yet: `sextant build`, or `sextant sql \"CREATE TABLE …\"`\n".to_owned();
    }
    table(&["table", "rows", "version", "asset", "columns"], &rows)
}

fn columns(value: &Value) -> String {
    let Some(list) = value.as_array() else { return plain(value) };
    let names: Vec<String> = list
        .iter()
        .map(|column| match &column["name"] {
            Value::Null => plain(column),
            name => format!("{} {}", plain(name), plain(&column["type"])),
        })
        .collect();
    names.join(", ")
}

/// What a statement gave: rows, or what it changed.
pub fn outcome(result: &Value) -> String {
    if let Some(statements) = result["statements"].as_array() {
        let kept = result["action"] == "commit";
        let end = if kept { "committed together" } else { "rolled back: nothing was changed" };
        let told: String = statements.iter().map(outcome).collect();
        return format!("{told}{end}\n");
    }
    if result.get("columns").is_some() {
        return assets::rows(result);
    }
    changed(result)
}

pub fn changed(result: &Value) -> String {
    let action = plain(&result["action"]);
    let name = Style::Bold.paint(plain(&result["table"]));
    if result.get("delta_version").is_none() {
        let outcome = if result["unchanged"] == true {
            "nothing to do".to_owned()
        } else {
            format!("{name} done")
        };
        return format!("{action}: {outcome}\n");
    }
    let version = plain(&result["delta_version"]);
    let rows = plain(&result["rows"]);
    let id = short(&result["version"]);
    let counted = counted(&result["metrics"]);
    let same = if result["unchanged"] == true { ", the same rows" } else { "" };
    format!(
        "{action}: {name} is at v{version}{same}, {rows} rows{counted}  {}\n",
        Style::Dim.paint(id)
    )
}

pub fn all_changed(result: &Value) -> String {
    let lines: Vec<String> = items(result, "tables").iter().map(changed).collect();
    if lines.is_empty() { "every table is as it was named\n".to_owned() } else { lines.concat() }
}

/// How many rows were touched, as far as the table format counted.
fn counted(metrics: &Value) -> String {
    let mut parts = Vec::new();
    for (field, word) in [
        ("num_added_rows", "written"),
        ("num_updated_rows", "updated"),
        ("num_deleted_rows", "deleted"),
        ("num_target_rows_inserted", "inserted"),
        ("num_target_rows_updated", "updated"),
        ("num_target_rows_deleted", "deleted"),
    ] {
        if let Some(count) = metrics[field].as_u64() {
            parts.push(format!("{count} {word}"));
        }
    }
    if let (Some(from), Some(to)) =
        (metrics["numFilesRemoved"].as_u64(), metrics["numFilesAdded"].as_u64())
    {
        parts.push(format!("{from} files became {to}"));
    }
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

pub fn history(result: &Value) -> String {
    let rows: Vec<Vec<String>> = items(result, "versions")
        .iter()
        .map(|row| {
            let tags: Vec<String> = items(row, "tags").iter().map(plain).collect();
            let gone = if row["removed_at"].is_null() { "" } else { "files removed" };
            vec![
                format!("v{}", plain(&row["delta_version"])),
                plain(&row["at"]),
                plain(&row["action"]),
                plain(&row["rows"]),
                short(&row["version"]),
                [tags.join(" "), gone.to_owned()].join(" ").trim().to_owned(),
                cut(&plain(&row["detail"]["sql"]), 60),
            ]
        })
        .collect();
    table(&["version", "at", "action", "rows", "id", "held", "statement"], &rows)
}

pub fn version(result: &Value) -> String {
    let heading = format!(
        "{} v{}, {} rows in all\n",
        Style::Bold.paint(plain(&result["asset"])),
        plain(&result["delta_version"]),
        plain(&result["total"])
    );
    heading + &assets::rows(result)
}

pub fn tag(result: &Value) -> String {
    let count = |field: &str| result[field].as_object().map_or(0, serde_json::Map::len);
    let (tables, assets) = (count("tables"), count("assets"));
    let kind = plain(&result["kind"]);
    let name = Style::Bold.paint(plain(&result["name"]));
    let others = if assets == 0 { String::new() } else { format!(", other assets: {assets}") };
    format!("{kind} {name} names tables: {tables}{others}\n")
}

pub fn untagged(result: &Value) -> String {
    format!("{} names nothing any more\n", plain(&result["name"]))
}

pub fn tags(result: &Value) -> String {
    let rows: Vec<Vec<String>> = items(result, "tags")
        .iter()
        .map(|tag| {
            let tables = tag["tables"].as_object().into_iter().flatten();
            let mut named: Vec<String> =
                tables.map(|(asset, delta)| format!("{asset}@v{delta}")).collect();
            let assets = tag["assets"].as_object().into_iter().flatten();
            named.extend(assets.map(|(asset, version)| format!("{asset}@{}", short(version))));
            vec![
                plain(&tag["name"]),
                plain(&tag["kind"]),
                plain(&tag["at"]),
                cut(&named.join(" "), 80),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "no tags yet: `sextant data tag NAME`\n".to_owned();
    }
    table(&["name", "kind", "at", "names"], &rows)
}

/// The files of a version, or the text of one.
pub fn files(result: &Value) -> String {
    if let Some(text) = result["text"].as_str() {
        return text.to_owned();
    }
    let rows: Vec<Vec<String>> = items(result, "files")
        .iter()
        .map(|file| vec![plain(&file["path"]), plain(&file["bytes"]), short(&file["digest"])])
        .collect();
    let heading = format!(
        "{} v{}, {} files\n",
        Style::Bold.paint(plain(&result["source"])),
        plain(&result["delta_version"]),
        rows.len()
    );
    heading + &table(&["path", "bytes", "digest"], &rows)
}

pub fn gc(result: &Value) -> String {
    let held = items(result, "held");
    let rows: Vec<Vec<String>> = held
        .iter()
        .take(VERSIONS_SHOWN)
        .map(|row| {
            let by: Vec<String> = items(row, "by").iter().map(plain).collect();
            vec![
                plain(&row["asset"]),
                format!("v{}", plain(&row["delta_version"])),
                cut(&by.join(", "), 90),
            ]
        })
        .collect();
    let mut text = String::new();
    if !rows.is_empty() {
        text.push_str(&table(&["table", "version", "held by"], &rows));
    }
    if held.len() > rows.len() {
        text.push_str(&format!("{} more held (--json has all)\n", held.len() - rows.len()));
    }
    for asset in items(result, "skipped") {
        text.push_str(&format!("{} is being built and was left alone\n", plain(asset)));
    }
    let would = if result["dry_run"] == true { "would be removed" } else { "removed" };
    text.push_str(&format!(
        "{} versions {would}: {} files, {} bytes\n",
        items(result, "removed").len(),
        plain(&result["files"]),
        plain(&result["bytes"])
    ));
    text
}

/// Rows as CSV: a heading, then one line per row, quoted where needed.
pub fn csv(result: &Value) -> String {
    let cell = |value: &Value| -> String {
        let text = match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if text.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text
        }
    };
    let mut lines = Vec::new();
    let heading: Vec<String> =
        items(result, "columns").iter().map(|column| cell(&column["name"])).collect();
    lines.push(heading.join(","));
    for row in items(result, "rows") {
        let cells: Vec<String> = row.as_array().into_iter().flatten().map(cell).collect();
        lines.push(cells.join(","));
    }
    lines.join("\n") + "\n"
}
