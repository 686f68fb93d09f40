//! How do rows get into a table that has their columns? As one more file, encoded here and now, and one
//! commit that names it. No query is planned for it; whatever is not that simple (a table's first
//! commit, a new column, a table that somebody gave constraints) is left to [`Ingest::append`].

use std::time::Instant;

use datafusion::{
    arrow::array::RecordBatch,
    parquet::{basic::Compression, file::properties::WriterProperties, schema::types::ColumnPath},
};
use deltalake_core::{
    DeltaTable,
    kernel::{Action, transaction::CommitBuilder},
    protocol::{DeltaOperation, SaveMode},
    writer::{DeltaWriter as _, RecordBatchWriter},
};
use serde_json::json;
use sextant_core::Digest;
use sextant_data::{content, content::after_change};

use super::{
    OFFSET,
    commit::{Change, Target, notes, properties},
};
use crate::{
    Ingest,
    error::{DataError, Result},
};

/// Under which key the table crate itself tells what a commit wrote.
const METRICS: &str = "operationMetrics";
/// What the names of a table's constraints begin with in its settings.
const CONSTRAINTS: &str = "delta.constraints.";

impl Ingest {
    /// Adds rows to a table that has their columns; gives the change back when it has not.
    pub(super) async fn append_file(
        &self,
        mut target: Target,
        change: Change,
    ) -> Result<Result<Target, (Target, Change)>> {
        let Some((mut writer, rows)) = in_layout(&target.table, &change.rows) else {
            return Ok(Err((target, change)));
        };
        let failed = |error| DataError::table("write", &target.asset)(error);
        let started = Instant::now();
        let hashed = change.rows.clone();
        let digest = tokio::task::spawn_blocking(move || content::rows_digest(&hashed));
        writer.write(rows).await.map_err(failed)?;
        let files = writer.flush().await.map_err(failed)?;
        let digest: Digest = digest.await.map_err(DataError::engine)?.map_err(DataError::engine)?;
        let content = after_change(target.content.as_ref(), "append", &digest);
        let metrics = json!({
            "num_added_files": files.len(),
            "num_removed_files": 0,
            "num_partitions": 0,
            "num_added_rows": change.rows.num_rows(),
            "execution_time_ms": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        let notes =
            notes(&content, &change.state).into_iter().chain([(METRICS.to_owned(), metrics)]);
        let properties = properties(&content, &change.marks, &change.state).with_metadata(notes);
        let operation =
            DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
        let log = target.table.log_store();
        let snapshot = target.table.snapshot().map_err(failed)?;
        let commit = CommitBuilder::from(properties)
            .with_actions(files.into_iter().map(Action::Add).collect())
            .build(Some(snapshot), log, operation)
            .await
            .map_err(failed)?;
        target.table.state = Some(commit.snapshot);
        target.content = Some(content);
        target.state = change.state;
        Ok(Ok(target))
    }
}

/// A writer of the table's files and the rows in the order of its columns, when they have just these.
/// What else a table may ask of its writers is in the notes of its columns, of which ours have none,
/// or a constraint.
fn in_layout(table: &DeltaTable, rows: &RecordBatch) -> Option<(RecordBatchWriter, RecordBatch)> {
    let snapshot = table.snapshot().ok()?;
    let configuration = snapshot.metadata().configuration();
    if rows.num_rows() == 0 || configuration.keys().any(|key| key.starts_with(CONSTRAINTS)) {
        return None;
    }
    let writer = RecordBatchWriter::for_table(table).ok()?;
    let schema = writer.arrow_schema();
    let order = schema.fields().iter().map(|field| rows.schema().index_of(field.name()).ok());
    let order = order.collect::<Option<Vec<usize>>>()?;
    let in_order = rows.project(&order).ok()?;
    let same = in_order.schema().fields() == schema.fields() && order.len() == rows.num_columns();
    same.then(|| (writer.with_writer_properties(encoding()), in_order))
}

/// As the table crate writes files, but an offset comes once: a dictionary of offsets is a waste.
fn encoding() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_column_dictionary_enabled(ColumnPath::from(OFFSET), false)
        .build()
}
