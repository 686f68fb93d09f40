//! In which order are traces shown? As asked; then the newest first.

use super::{
    super::{
        Fault, Refusal,
        refusal::invalid,
        search::lexer::{Token, tokens},
    },
    NAME, RUN,
    filter::Query,
    side::{Side, key_of},
};

/// Keys of one order.
const KEYS_MAX: usize = 100;
/// Attributes with the columns that hold them.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("experiment_id", "x.experiment"),
    ("timestamp", "x.started"),
    ("timestamp_ms", "x.started"),
    ("execution_time", "x.duration"),
    ("execution_time_ms", "x.duration"),
    ("end_time", "(x.started + COALESCE(x.duration, 0))"),
    ("end_time_ms", "(x.started + COALESCE(x.duration, 0))"),
    ("status", "x.state"),
    ("request_id", "x.id"),
    ("name", ""),
    ("run_id", ""),
];

/// The order of a search, as SQL.
pub(super) fn order(query: &mut Query<'_>, keys: &[&str]) -> Result<String, Refusal> {
    if keys.len() > KEYS_MAX {
        return Err(invalid(format!("an order has at most {KEYS_MAX} keys")));
    }
    let names: Vec<&str> = ATTRIBUTES.iter().map(|(name, _)| *name).collect();
    let (mut order, mut seen) = (Vec::new(), Vec::new());
    for clause in keys {
        let (name, direction) = parts(clause)?;
        let (side, key) = key_of(&name, &names)?;
        let column = ATTRIBUTES.iter().find(|(known, _)| *known == key).map(|(_, column)| *column);
        let expression = match (side, key.as_str()) {
            (Side::Attribute, "name") => pair(query, "mlflow_trace_tags", NAME),
            (Side::Attribute, "run_id") => pair(query, "mlflow_trace_metadata", RUN),
            (Side::Attribute, _) => column.unwrap_or("x.started").to_owned(),
            (Side::Tag, key) => pair(query, "mlflow_trace_tags", key),
            (Side::Metadata, key) => pair(query, "mlflow_trace_metadata", key),
            _ => return Err(invalid(format!("traces are not ordered by '{clause}'"))),
        };
        let what = (side, column.filter(|_| side == Side::Attribute).unwrap_or_default(), key);
        if seen.contains(&what) {
            let told: Vec<String> = keys.iter().map(|clause| format!("'{clause}'")).collect();
            return Err(Refusal {
                fault: Fault::Internal,
                message: format!("`order_by` contains duplicate fields: [{}]", told.join(", ")),
            });
        }
        seen.push(what);
        if !matches!(expression.as_str(), "x.started" | "x.id" | "x.experiment" | "x.state") {
            order.push(format!("{expression} IS NULL"));
        }
        order.push(format!("{expression} {direction}"));
    }
    for (column, direction) in [("x.started", "DESC"), ("x.id", "ASC")] {
        if !seen.iter().any(|(_, known, _)| *known == column) {
            order.push(format!("{column} {direction}"));
        }
    }
    Ok(order.join(", "))
}

/// The name and the direction of a clause.
fn parts(clause: &str) -> Result<(Token, &'static str), Refusal> {
    let unread = || invalid(format!("Invalid order_by clause '{clause}'. Could not be parsed."));
    let words = tokens(clause).map_err(|_| unread())?;
    match words.as_slice() {
        [name] => Ok((name.clone(), "ASC")),
        [name, word] if word.is("ASC") => Ok((name.clone(), "ASC")),
        [name, word] if word.is("DESC") => Ok((name.clone(), "DESC")),
        [_, word] if word.is_word() => {
            Err(invalid(format!("Invalid ordering key in order_by clause '{clause}'.")))
        }
        _ => Err(unread()),
    }
}

fn pair(query: &mut Query<'_>, table: &str, key: &str) -> String {
    let key = query.value(key);
    format!("(SELECT m.value FROM {table} m WHERE m.trace = x.id AND m.key = {key})")
}
