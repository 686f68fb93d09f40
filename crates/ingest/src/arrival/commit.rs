//! What is in one commit of a table that data arrives in? The rows, the mark of each partition (the
//! Delta `txn` action, which any reader of Delta understands), the chained digest of the content
//! and our own account of what has arrived so far: all in one entry of the log.

use std::sync::Arc;

use datafusion::{
    arrow::{array::RecordBatch, datatypes::Schema},
    common::Column,
    datasource::{MemTable, provider_as_source},
    logical_expr::LogicalPlanBuilder,
    prelude::Expr,
};
use deltalake_core::{
    DeltaTable, DeltaTableError,
    delta_datafusion::DeltaSessionContext,
    kernel::{Transaction, transaction::CommitProperties},
    operations::write::SchemaMode,
    protocol::SaveMode,
};
use serde_json::json;
use sextant_core::Digest;
use sextant_project::AssetId;

use super::{ArrivalState, rules::Rules};
use crate::{
    Ingest,
    error::{DataError, Result},
};
use sextant_data::{
    TableMeta, content,
    table::{self, CONTENT_KEY},
};

/// The key in a Delta commit that holds our account of what has arrived.
pub(crate) const ARRIVAL_KEY: &str = "sextant.arrival";

/// The application id under which a partition's mark is kept in the table.
pub(crate) fn txn_app(asset: &AssetId, partition: &str) -> String {
    format!("sextant:{asset}:{partition}")
}

/// A table that is being written, and what its newest commit of ours says.
pub(crate) struct Target {
    pub(crate) asset: AssetId,
    /// Its name in SQL.
    pub(crate) name: String,
    pub(crate) table: DeltaTable,
    pub(crate) content: Option<Digest>,
    pub(crate) state: ArrivalState,
}

/// What a commit adds.
pub(crate) struct Change {
    pub(crate) rows: RecordBatch,
    /// Marks by application id.
    pub(crate) marks: Vec<(String, i64)>,
    pub(crate) state: ArrivalState,
}

impl Target {
    /// The same table at the same version.
    pub(crate) fn copy(&self) -> Self {
        Self {
            asset: self.asset.clone(),
            name: self.name.clone(),
            table: self.table.clone(),
            content: self.content,
            state: self.state.clone(),
        }
    }

    /// The schema of the table, when it has one.
    pub(crate) fn schema(&self) -> Option<Arc<Schema>> {
        let snapshot = self.table.snapshot().ok()?;
        Some(content::stored_schema(&snapshot.snapshot().arrow_schema()))
    }

    /// Where the table is and what it holds, as it stands.
    pub(crate) fn meta(&self) -> Result<Option<TableMeta>> {
        let (Some(delta_version), Some(content), Some(schema)) =
            (self.table.version(), self.content, self.schema())
        else {
            return Ok(None);
        };
        let failed = |error| DataError::table("read", &self.asset)(error);
        let snapshot = self.table.snapshot().map_err(failed)?;
        let files = snapshot.log_data();
        let rows: usize = files.iter().filter_map(|file| file.num_records()).sum();
        Ok(Some(TableMeta {
            asset: self.asset.clone(),
            table: self.name.clone(),
            path: table::path_of(&self.table, &self.asset),
            delta_version,
            rows: rows as u64,
            columns: content::columns(&schema),
            content,
            chained: true,
        }))
    }

    fn next_content(&self, what: &str, rows: &RecordBatch) -> Result<Digest> {
        let change = content::rows_digest(rows).map_err(DataError::engine)?;
        Ok(content::after_change(self.content.as_ref(), what, &change))
    }
}

impl Ingest {
    /// Adds rows to a table, and columns where the rows have new ones.
    pub(crate) async fn append(&self, target: Target, change: Change) -> Result<Target> {
        let (mut target, change) = match self.append_file(target, change).await? {
            Ok(target) => return Ok(target),
            Err(back) => back,
        };
        let content = target.next_content("append", &change.rows)?;
        let failed = DataError::table("write", &target.asset);
        let schema = change.rows.schema();
        let rows = MemTable::try_new(schema, vec![vec![change.rows]]).map_err(DataError::engine)?;
        let source = provider_as_source(Arc::new(rows));
        let plan = LogicalPlanBuilder::scan("rows", source, None).and_then(|plan| plan.build());
        let session = DeltaSessionContext::with_runtime_env(self.environment());
        let mut properties = properties(&content, &change.marks, &change.state);
        if target.table.version().is_none() {
            // Who loses the race for a table's first commit would be let through without a look at
            // what the winner wrote.
            properties = properties.with_max_retries(0);
        }
        let write = target
            .table
            .write(Vec::new())
            .with_input_plan(plan.map_err(DataError::engine)?)
            .with_session_state(Arc::new(session.state()))
            .with_save_mode(SaveMode::Append)
            .with_schema_mode(SchemaMode::Merge)
            .with_table_name(target.name.clone())
            .with_configuration(table::KEEP_ALL.map(|(key, value)| (key, Some(value))))
            .with_commit_properties(properties);
        target.table = write.await.map_err(failed)?;
        target.content = Some(content);
        target.state = change.state;
        Ok(target)
    }

    /// Adds rows and replaces those with the same key, unless the table holds a later one.
    pub(crate) async fn upsert(
        &self,
        mut target: Target,
        change: Change,
        rules: &Rules,
    ) -> Result<Target> {
        let rows = last_by_key(change.rows, rules)?;
        if target.table.version().is_none() || rows.num_rows() == 0 {
            return self.append(target, Change { rows, ..change }).await;
        }
        let (content, schema) = (target.next_content("merge", &rows)?, rows.schema());
        let failed = |error| DataError::table("merge into", &target.asset)(error);
        let session = DeltaSessionContext::with_runtime_env(self.environment());
        let names: Vec<String> =
            rows.schema().fields().iter().map(|field| field.name().clone()).collect();
        let context: datafusion::prelude::SessionContext = session.into();
        let state = context.state();
        let source = context.read_batch(rows).map_err(DataError::engine)?;
        let of = |relation: &str, name: &str| Expr::Column(Column::new(Some(relation), name));
        let matches = rules
            .key
            .iter()
            .map(|name| of("target", name).eq(of("source", name)))
            .reduce(Expr::and)
            .ok_or_else(|| DataError::engine("a merge has no key"))?;
        let offset = rules.places.offset;
        let later = of("source", offset).gt(of("target", offset));
        let table = target.table.clone();
        let (table, _) = table
            .merge(source, matches)
            .with_source_alias("source")
            .with_target_alias("target")
            .with_merge_schema(true)
            .with_session_state(Arc::new(state))
            .with_commit_properties(properties(&content, &change.marks, &change.state))
            .when_matched_update(|update| {
                names.iter().fold(update.predicate(later), |update, name| {
                    update.update(Column::from_name(name), of("source", name))
                })
            })
            .map_err(failed)?
            .when_not_matched_insert(|insert| {
                names.iter().fold(insert, |insert, name| {
                    insert.set(Column::from_name(name), of("source", name))
                })
            })
            .map_err(failed)?
            .await
            .map_err(failed)?;
        if table.version() == target.table.version() {
            // A merge that changes no row makes no commit, and the marks must move all the same.
            let rows = RecordBatch::new_empty(schema);
            return self.append(target, Change { rows, ..change }).await;
        }
        target.table = table;
        target.content = Some(content);
        target.state = change.state;
        Ok(target)
    }
}

/// What every commit of ours says of itself.
pub(super) fn notes(content: &Digest, state: &ArrivalState) -> [(String, serde_json::Value); 2] {
    [(CONTENT_KEY.to_owned(), json!(content)), (ARRIVAL_KEY.to_owned(), json!(state))]
}

/// What every commit of ours carries.
pub(crate) fn properties(
    content: &Digest,
    marks: &[(String, i64)],
    state: &ArrivalState,
) -> CommitProperties {
    let marks = marks.iter().map(|(app, mark)| Transaction::new(app, *mark));
    CommitProperties::default()
        .with_metadata(notes(content, state))
        .with_application_transactions(marks.collect())
        // Old versions are cited by datasets, runs and answers: the log must never forget them.
        .with_cleanup_expired_logs(Some(false))
}

/// Of the rows with the same key only the last: a merge takes each row of the table once.
fn last_by_key(rows: RecordBatch, rules: &Rules) -> Result<RecordBatch> {
    use datafusion::arrow::{
        array::BooleanArray,
        compute::filter_record_batch,
        row::{RowConverter, SortField},
    };
    let missing = |name: &String| DataError::engine(format!("no key column {name}"));
    let columns = rules
        .key
        .iter()
        .map(|name| rows.column_by_name(name).cloned().ok_or_else(|| missing(name)))
        .collect::<Result<Vec<_>>>()?;
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
    let converter = RowConverter::new(fields.collect()).map_err(DataError::engine)?;
    let keys = converter.convert_columns(&columns).map_err(DataError::engine)?;
    let mut seen = std::collections::HashSet::new();
    let mut mask = vec![false; rows.num_rows()];
    for (index, key) in keys.iter().enumerate().collect::<Vec<_>>().into_iter().rev() {
        mask[index] = seen.insert(key.owned());
    }
    filter_record_batch(&rows, &BooleanArray::from(mask)).map_err(DataError::engine)
}

/// Whether a commit was refused because another writer came first: then the marks are read again.
pub(crate) fn lost_the_race(error: &DataError) -> bool {
    let DataError::Table { source, .. } = error else { return false };
    matches!(
        &**source,
        DeltaTableError::Transaction { .. } | DeltaTableError::VersionAlreadyExists(_)
    )
}
