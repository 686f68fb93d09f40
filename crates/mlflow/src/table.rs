//! What does a page with a table of runs need? Chosen cells of some of the runs, the keys that could be
//! chosen, and how many runs an experiment has. MLflow's own search answers whole runs with every metric,
//! which is too much where a run has a thousand of them; these calls are ours, and clients do not know
//! them.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use sextant_lineage::{Reader, Row};

use super::{
    Answer, Call, Fields, Mlflow, Refusal,
    call::look,
    experiments::experiment_id,
    refusal::invalid,
    runs::{COLUMNS, Run, shown_value},
    search::{Page, runs},
};

/// Rows of one answer.
const ROWS_MAX: i64 = 500;
const ROWS: i64 = 100;
/// Columns of one answer.
const COLUMNS_MAX: usize = 100;
/// Columns of a kind that are shown when none is named.
const COLUMNS_CHOSEN: i64 = 4;
/// Runs whose keys decide which.
const LOOKED_AT: usize = 20;
/// Characters of a parameter or tag in a cell.
const CELL_CHARS_MAX: i64 = 200;
/// Runs whose keys are asked for at once.
const RUNS_MAX: usize = 500;
/// Keys of a kind in one answer.
const KEYS_MAX: usize = 1000;
/// Experiments whose runs are counted at once.
const EXPERIMENTS_MAX: usize = 1000;

/// What a column may show: its word, the table that has it, and the value of a row.
const KINDS: &[(&str, &str, &str)] = &[
    ("metrics", "mlflow_metrics", "m.value, m.is_nan"),
    ("params", "mlflow_params", "SUBSTR(m.value, 1, ?3), 0"),
    ("tags", "mlflow_tags", "SUBSTR(m.value, 1, ?3), 0"),
];

/// The calls of this file.
pub(super) const CALLS: &[Call] = &[
    look("POST", "2.0/sextant/runs/rows", Mlflow::run_rows),
    look("POST", "2.0/sextant/runs/keys", Mlflow::run_keys),
    look("POST", "2.0/sextant/experiments/counts", Mlflow::run_counts),
];

impl Mlflow {
    /// Some of the runs that a search finds, with a cell for each column: `metrics.KEY`, `params.KEY`,
    /// `tags.KEY`.
    fn run_rows(&self, fields: Fields<'_>) -> Answer {
        let size = fields.page_size(ROWS, ROWS_MAX)?;
        let ids: Result<Vec<i64>, Refusal> =
            fields.texts("experiment_ids")?.into_iter().map(experiment_id).collect();
        let mut query = runs(fields.text("filter")?.unwrap_or_default())?;
        query.order_runs(&fields.texts("order_by")?)?;
        query.within(&ids?)?;
        query.view(&fields, "run_view_type")?;
        let page = Page::at(fields.int("offset")?.unwrap_or_default(), size)?;
        self.0.metrics.write_down()?;
        let reader = self.store().read()?;
        let total = query.count(&reader, "mlflow_runs x")?;
        let rows = query.run(&reader, COLUMNS, "mlflow_runs x", &page)?;
        let found: Vec<Run> =
            rows.iter().take(page.size()).map(Run::of).collect::<Result<_, _>>()?;
        let ids: Vec<&str> = found.iter().map(|run| run.id.as_str()).collect();
        let columns = match fields.list("columns")? {
            [] => chosen(&reader, &ids)?,
            _ => fields.texts("columns")?.into_iter().map(str::to_owned).collect(),
        };
        let cells = cells(&reader, &ids, &columns)?;
        let shown: Vec<Value> = found
            .iter()
            .map(|run| {
                let of_run = cells.get(run.id.as_str());
                let cell = |column| of_run.and_then(|cells| cells.get(column));
                let cells: Vec<_> = columns.iter().map(|c| cell(c.as_str())).collect();
                json!({ "info": run.info(), "cells": cells })
            })
            .collect();
        Ok(json!({ "total": total, "columns": columns, "runs": shown }))
    }

    /// The keys of metrics, parameters and tags of some runs.
    fn run_keys(&self, fields: Fields<'_>) -> Answer {
        let ids = fields.texts("run_ids")?;
        bounded("run_ids", ids.len(), RUNS_MAX)?;
        let part = fields.text("contains")?.unwrap_or_default();
        self.0.metrics.write_down()?;
        let reader = self.store().read()?;
        let (mut answer, mut more) = (Map::new(), Vec::new());
        for (kind, table, _) in KINDS {
            let sql = format!(
                "SELECT DISTINCT key FROM {table} WHERE run IN (SELECT value FROM json_each(?1))
                 AND INSTR(LOWER(key), LOWER(?2)) ORDER BY key LIMIT ?3"
            );
            let most = i64::try_from(KEYS_MAX).unwrap_or(i64::MAX);
            let rows = reader.query(&sql, &[list(&ids).into(), part.into(), (most + 1).into()])?;
            let keys: Vec<&str> =
                rows.iter().take(KEYS_MAX).map(|row| row.text(0)).collect::<Result<_, _>>()?;
            if rows.len() > KEYS_MAX {
                more.push(*kind);
            }
            answer.insert((*kind).to_owned(), json!(keys));
        }
        answer.insert("more".to_owned(), json!(more));
        Ok(Value::Object(answer))
    }

    /// How many active runs experiments have, and when the last began.
    fn run_counts(&self, fields: Fields<'_>) -> Answer {
        let ids: Vec<i64> = fields
            .texts("experiment_ids")?
            .into_iter()
            .map(experiment_id)
            .collect::<Result<_, _>>()?;
        bounded("experiment_ids", ids.len(), EXPERIMENTS_MAX)?;
        let sql = "SELECT experiment, COUNT(*), MAX(started) FROM mlflow_runs
                   WHERE stage = 'active' AND experiment IN (SELECT value FROM json_each(?1))
                   GROUP BY experiment";
        let rows = self.store().read()?.query(sql, &[json!(ids).to_string().into()])?;
        let counts: Vec<Value> = rows
            .iter()
            .map(|row| {
                let (id, runs, last) = (row.int(0)?, row.int(1)?, row.opt_int(2)?);
                Ok(json!({ "experiment_id": id.to_string(), "runs": runs, "last_start_time": last }))
            })
            .collect::<Result<_, Refusal>>()?;
        Ok(json!({ "counts": counts }))
    }
}

fn bounded(name: &str, count: usize, most: usize) -> Result<(), Refusal> {
    if count <= most { Ok(()) } else { Err(invalid(format!("{name} has at most {most} items"))) }
}

fn list(ids: &[&str]) -> String {
    json!(ids).to_string()
}

/// The columns that say most of these runs: the metrics and parameters that most of them have.
fn chosen(reader: &Reader, ids: &[&str]) -> Result<Vec<String>, Refusal> {
    let ids = &ids[..ids.len().min(LOOKED_AT)];
    let mut columns = Vec::new();
    for (kind, table, _) in KINDS.iter().filter(|(kind, ..)| *kind != "tags") {
        let sql = format!(
            "SELECT key FROM {table} WHERE run IN (SELECT value FROM json_each(?1)) GROUP BY key
             ORDER BY key LIKE 'system/%', COUNT(*) DESC, key LIMIT ?2"
        );
        for row in &reader.query(&sql, &[list(ids).into(), COLUMNS_CHOSEN.into()])? {
            columns.push(format!("{kind}.{}", row.text(0)?));
        }
    }
    Ok(columns)
}

/// What each run has in each column.
fn cells<'a>(
    reader: &Reader,
    ids: &[&'a str],
    columns: &[String],
) -> Result<HashMap<&'a str, HashMap<String, Value>>, Refusal> {
    bounded("columns", columns.len(), COLUMNS_MAX)?;
    let known: HashMap<&str, &'a str> = ids.iter().map(|id| (*id, *id)).collect();
    let mut keys: HashMap<&str, Vec<&str>> = HashMap::new();
    for column in columns {
        let split = column.split_once('.').filter(|(_, key)| !key.is_empty());
        let named = split.filter(|(kind, _)| KINDS.iter().any(|(known, ..)| known == kind));
        let Some((kind, key)) = named else {
            return Err(invalid(format!(
                "a column is metrics.KEY, params.KEY or tags.KEY, and this is '{column}'"
            )));
        };
        keys.entry(kind).or_default().push(key);
    }
    let mut cells: HashMap<&str, HashMap<String, Value>> = HashMap::new();
    for (kind, table, value) in KINDS {
        let Some(keys) = keys.get(kind) else { continue };
        // The key of the table is looked up once for each cell; SQLite would rather read a whole index.
        let sql = format!(
            "SELECT m.run, m.key, {value} FROM json_each(?1) r CROSS JOIN json_each(?2) k
             CROSS JOIN {table} m ON m.run = r.value AND m.key = k.value WHERE ?3 > 0"
        );
        let values = [list(ids).into(), list(keys).into(), CELL_CHARS_MAX.into()];
        for row in &reader.query(&sql, &values)? {
            let Some(run) = known.get(row.text(0)?) else { continue };
            let column = format!("{kind}.{}", row.text(1)?);
            cells.entry(run).or_default().insert(column, cell(kind, row)?);
        }
    }
    Ok(cells)
}

fn cell(kind: &str, row: &Row) -> Result<Value, Refusal> {
    Ok(match kind {
        "metrics" if row.int(3)? == 1 => shown_value(f64::NAN),
        "metrics" => shown_value(row.real(2)?),
        _ => row.text(2)?.into(),
    })
}
