//! How are traces deleted? By their ids, or those up to some time, oldest first. What the log holds of
//! their spans goes with the part of the log that nothing else is in.

use serde_json::json;
use sextant_lineage::Cell;

use super::super::{
    Answer, Fields, Mlflow, MlflowError, experiments::experiment_id, refusal::invalid,
};

/// Tables with rows of a trace, and the column that names it.
const TABLES: &[(&str, &str)] = &[
    ("mlflow_traces", "id"),
    ("mlflow_trace_tags", "trace"),
    ("mlflow_trace_metadata", "trace"),
    ("mlflow_spans", "trace"),
    ("mlflow_assessments", "trace"),
    ("mlflow_trace_links", "trace"),
];
/// Traces of one call; a client that wants more calls again.
const TRACES_MAX: i64 = 100_000;

impl Mlflow {
    pub(in super::super) fn delete_traces(&self, fields: Fields<'_>) -> Answer {
        let experiment = experiment_id(fields.need("experiment_id")?)?;
        let until = fields.int("max_timestamp_millis")?;
        let most = fields.int("max_traces")?;
        let ids = fields.texts("request_ids")?;
        let condition: (&str, Cell) = match (until, ids.is_empty(), most) {
            (None, true, _) => {
                return Err(invalid(
                    "Either `max_timestamp_millis` or `trace_ids` must be specified.",
                ));
            }
            (Some(_), false, _) => {
                return Err(invalid(
                    "Only one of `max_timestamp_millis` and `trace_ids` can be specified.",
                ));
            }
            (None, false, Some(_)) => {
                return Err(invalid(
                    "`max_traces` can't be specified if `trace_ids` is specified.",
                ));
            }
            (_, _, Some(most @ ..=0)) => {
                return Err(invalid(format!(
                    "`max_traces` must be a positive integer, received {most}."
                )));
            }
            (Some(until), true, _) => ("started <= ?2", until.into()),
            (None, false, None) => {
                ("id IN (SELECT value FROM json_each(?2))", json!(ids).to_string().into())
            }
        };
        let turn = self.turn();
        let sql = format!(
            "SELECT id FROM mlflow_traces WHERE experiment = ?1 AND {} ORDER BY started, id LIMIT ?3",
            condition.0
        );
        let most = most.unwrap_or(TRACES_MAX).min(TRACES_MAX);
        let rows =
            self.store().read()?.query(&sql, &[experiment.into(), condition.1, most.into()])?;
        if rows.is_empty() {
            return Ok(json!({ "traces_deleted": 0 }));
        }
        let ids = rows.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
        let list = json!(ids).to_string();
        let mut act = self.act(format!("delete {} traces", ids.len()));
        for (table, column) in TABLES {
            act.execute(
                &format!("DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?1))"),
                vec![(&list).into()],
            );
        }
        act.commit()?;
        drop(turn);
        // The traces are deleted; what the log cannot let go of now goes with a later call.
        let _ = self.forget_spans();
        Ok(json!({ "traces_deleted": ids.len() }))
    }

    /// Lets go of what the log holds of spans that are no more.
    pub(in super::super) fn forget_spans(&self) -> Result<(), MlflowError> {
        self.0.bodies.forget(|| Ok(self.store().read()?))
    }
}
