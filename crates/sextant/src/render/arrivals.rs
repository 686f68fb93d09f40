//! Sources in which records arrive: their columns, their quarantine.

use serde_json::Value;

use super::text::{cut, items, plain, table};

/// Widest payload that is shown in a list.
const PAYLOAD_WIDTH: usize = 60;
/// Widest reason.
const REASON_WIDTH: usize = 70;

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
