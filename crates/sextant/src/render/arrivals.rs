//! Sources in which records arrive: their columns, their quarantine.

use serde_json::Value;

use super::text::{cut, items, plain, table};

/// Widest payload that is shown in a list.
const PAYLOAD_WIDTH: usize = 60;
/// Widest reason.
const REASON_WIDTH: usize = 70;
/// What is told of every source.
const HEADS: [&str; 9] =
    ["source", "type", "table", "lag", "rows/min", "rows", "quarantine", "landed", "error"];
/// Widest list of offsets.
const OFFSETS_WIDTH: usize = 90;

pub fn sources(result: &Value) -> String {
    let rows: Vec<Vec<String>> = items(result, "sources").iter().map(row).collect();
    if rows.is_empty() {
        return "no sources yet: a file in sources/ makes one\n".to_owned();
    }
    table(&HEADS, &rows)
}

fn row(source: &Value) -> Vec<String> {
    let error = &source["error"];
    let error = if error["over"] == true { String::new() } else { plain(&error["code"]) };
    let lag = if source["lag_unknown"].is_string() {
        "unknown".to_owned()
    } else {
        plain(&source["lag"])
    };
    let rate = source["per_minute"].as_f64().map_or_else(String::new, |rate| format!("{rate:.0}"));
    vec![
        plain(&source["name"]),
        plain(&source["kind"]),
        plain(&source["table"]),
        lag,
        rate,
        plain(&source["rows"]),
        plain(&source["waiting"]),
        plain(&source["landed_at"]),
        error,
    ]
}

pub fn source(result: &Value) -> String {
    let mut text = table(&HEADS, &[row(result)]);
    if result["error"]["message"].is_string() {
        let when = if result["error"]["over"] == true { "over since then" } else { "not over" };
        let (at, message) = (plain(&result["error"]["at"]), plain(&result["error"]["message"]));
        text.push_str(&format!("{at}: {message} ({when})\n"));
    }
    if result["lag_unknown"].is_string() {
        text.push_str(&format!("lag unknown: {}\n", plain(&result["lag_unknown"])));
    }
    let partitions: Vec<Vec<String>> = items(result, "partitions")
        .iter()
        .map(|row| ["partition", "landed", "end", "lag"].map(|field| plain(&row[field])).to_vec())
        .collect();
    if !partitions.is_empty() {
        text.push('\n');
        text.push_str(&table(&["partition", "landed up to", "end", "lag"], &partitions));
    }
    let commits: Vec<Vec<String>> = items(result, "commits").iter().map(commit).collect();
    if !commits.is_empty() {
        text.push('\n');
        let heads = ["commit", "when", "landed", "quarantined", "replayed", "offsets"];
        text.push_str(&table(&heads, &commits));
    }
    text.push('\n');
    text.push_str(&schema(result));
    text
}

fn commit(commit: &Value) -> Vec<String> {
    let range = |part: &Value| {
        format!("{} {}–{}", plain(&part["partition"]), plain(&part["from"]), plain(&part["to"]))
    };
    let offsets: Vec<String> = items(commit, "offsets").iter().map(range).collect();
    let fields = ["delta_version", "at", "landed", "quarantined", "replayed"];
    let mut cells = fields.map(|field| plain(&commit[field])).to_vec();
    cells.push(cut(&offsets.join(", "), OFFSETS_WIDTH));
    cells
}

pub fn schema(result: &Value) -> String {
    let rows: Vec<Vec<String>> = items(result, "columns")
        .iter()
        .map(|column| ["name", "type", "origin"].map(|field| plain(&column[field])).to_vec())
        .collect();
    if rows.is_empty() {
        return "no table yet: `sextant build` makes it\n".to_owned();
    }
    table(&["column", "type", "from"], &rows)
}

pub fn quarantine(result: &Value) -> String {
    let place = |row: &Value| format!("{}:{}", plain(&row["partition"]), plain(&row["offset"]));
    let rows: Vec<Vec<String>> = items(result, "rows")
        .iter()
        .map(|row| {
            vec![
                place(row),
                plain(&row["arrived_at"]),
                plain(&row["rule"]),
                cut(&plain(&row["reason"]), REASON_WIDTH),
                cut(&plain(&row["payload"]), PAYLOAD_WIDTH),
            ]
        })
        .collect();
    let counts = format!(
        "{} wait, {} went into the table after all\n",
        plain(&result["waiting"]),
        plain(&result["replayed"])
    );
    if rows.is_empty() {
        return counts;
    }
    let mut text = table(&["place", "arrived", "rule", "reason", "payload"], &rows);
    text.push_str(&counts);
    if result["more"] == true {
        text.push_str("there are more: --limit and --skip show them\n");
    }
    text
}

pub fn replay(result: &Value) -> String {
    let mut text = format!(
        "{} put through again: {} went into the table, {} still do not fit\n",
        plain(&result["tried"]),
        plain(&result["passed"]),
        plain(&result["failed"])
    );
    if result["finished"].as_u64().unwrap_or(0) > 0 {
        let count = plain(&result["finished"]);
        text.push_str(&format!("{count} that an earlier replay had landed are marked now\n"));
    }
    text
}
