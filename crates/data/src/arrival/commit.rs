//! What is in one commit of a table that data arrives in? The rows, the mark of each partition (the
//! Delta `txn` action, which any reader of Delta understands), the chained digest of the content
//! and our own account of what has arrived so far: all in one entry of the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::RecordBatch,
        compute::{CastOptions, cast_with_options},
        datatypes::{DataType, Field, Schema},
    },
    common::{Column, ScalarValue},
    datasource::{MemTable, provider_as_source},
    logical_expr::LogicalPlanBuilder,
    prelude::{Expr, col, lit},
};
use deltalake_core::{
    DeltaTable, DeltaTableError,
    delta_datafusion::DeltaSessionContext,
    kernel::{Transaction, transaction::CommitProperties},
    operations::write::SchemaMode,
    protocol::SaveMode,
};
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use sextant_core::{Cancel, Digest};
use sextant_project::AssetId;

use super::{ArrivalState, Marks, Pair, Recorded, rules::Rules};
use crate::{
    DataEngine, content,
    error::{DataError, Result},
    table::{self, CONTENT_KEY, TableMeta},
};

/// The key in a Delta commit that holds our account of what has arrived.
const ARRIVAL_KEY: &str = "sextant.arrival";
/// How far back a table's log is searched for our account.
const HISTORY_MAX: usize = 10_000;
const HISTORY_SHORT: usize = 8;

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
            path: format!("tables/{}", table::folder_of(&self.asset)),
            delta_version,
            rows: rows as u64,
            columns: content::columns(&schema),
            content,
            chained: true,
        }))
    }

    fn next_content(&self, what: &str, rows: &RecordBatch) -> Result<Digest> {
        let batch = std::slice::from_ref(rows);
        let change = content::content_digest(&rows.schema(), batch).map_err(DataError::engine)?;
        Ok(content::chained(self.content.as_ref(), what, &change))
    }
}

/// The mark that a table's log holds for an application id.
pub(crate) async fn txn_mark(table: &DeltaTable, app: &str) -> Result<Option<i64>> {
    let Ok(snapshot) = table.snapshot() else { return Ok(None) };
    let log = table.log_store();
    let found = snapshot.transaction_version(log.as_ref(), app).await;
    found.map_err(|error| DataError::table("read the marks of", app)(error))
}

impl DataEngine {
    /// Opens a table for writing at its newest commit, or begins one.
    pub(crate) async fn target(&self, asset: &AssetId, name: &str) -> Result<Target> {
        let table = self.open_or_start(asset).await?;
        let mut target = Target {
            asset: asset.clone(),
            name: name.to_owned(),
            table,
            content: None,
            state: ArrivalState::default(),
        };
        if target.table.version().is_none() {
            return Ok(target);
        }
        let (content, state) = account(&target, |_| true)
            .await?
            .ok_or_else(|| DataError::Foreign { asset: asset.clone() })?;
        target.content = Some(content);
        target.state = state;
        Ok(target)
    }

    /// The rows that this replay took out of quarantine, from the commit that took them.
    pub(crate) async fn released_in_history(
        &self,
        target: &Target,
        replay: u64,
    ) -> Result<Vec<(String, i64)>> {
        let of_it = |state: &ArrivalState| state.replays == replay && !state.released.is_empty();
        Ok(account(target, of_it).await?.map_or_else(Vec::new, |(_, state)| state.released))
    }

    /// The marks of these partitions.
    pub(crate) async fn marks(&self, target: &Target, partitions: &[String]) -> Result<Marks> {
        let mut marks = Marks::new();
        for partition in partitions {
            let app = txn_app(&target.asset, partition);
            if let Some(mark) = txn_mark(&target.table, &app).await? {
                marks.insert(partition.clone(), mark);
            }
        }
        Ok(marks)
    }

    /// Adds rows to a table, and columns where the rows have new ones.
    pub(crate) async fn append(&self, mut target: Target, change: Change) -> Result<Target> {
        let content = target.next_content("append", &change.rows)?;
        let failed = DataError::table("write", &target.asset);
        let schema = change.rows.schema();
        let rows = MemTable::try_new(schema, vec![vec![change.rows]]).map_err(DataError::engine)?;
        let source = provider_as_source(Arc::new(rows));
        let plan = LogicalPlanBuilder::scan("rows", source, None).and_then(|plan| plan.build());
        let session = DeltaSessionContext::with_runtime_env(self.environment());
        let write = target
            .table
            .write(Vec::new())
            .with_input_plan(plan.map_err(DataError::engine)?)
            .with_session_state(Arc::new(session.state()))
            .with_save_mode(SaveMode::Append)
            .with_schema_mode(SchemaMode::Merge)
            .with_table_name(target.name.clone())
            .with_configuration(table::CONFIGURATION)
            .with_commit_properties(properties(&content, &change.marks, &change.state));
        target.table = write.await.map_err(failed)?;
        target.content = Some(content);
        target.state = change.state;
        Ok(target)
    }

    /// Replaces the rows of these files, named by a column; all rows and columns when the table is
    /// made anew.
    pub(crate) async fn replace(
        &self,
        mut target: Target,
        change: Change,
        column: &str,
        files: &[String],
        anew: bool,
    ) -> Result<Target> {
        if target.table.version().is_none() {
            return self.append(target, change).await;
        }
        let listed = Digest::of(json!([column, files, anew]).to_string());
        let content = content::chained(target.content.as_ref(), "replace", &listed);
        let batch = std::slice::from_ref(&change.rows);
        let added = content::content_digest(&change.rows.schema(), batch);
        let content =
            content::chained(Some(&content), "append", &added.map_err(DataError::engine)?);
        let failed = DataError::table("write", &target.asset);
        let schema = change.rows.schema();
        let rows = MemTable::try_new(schema, vec![vec![change.rows]]).map_err(DataError::engine)?;
        let source = provider_as_source(Arc::new(rows));
        let plan = LogicalPlanBuilder::scan("rows", source, None).and_then(|plan| plan.build());
        let session = DeltaSessionContext::with_runtime_env(self.environment());
        let write = target
            .table
            .write(Vec::new())
            .with_input_plan(plan.map_err(DataError::engine)?)
            .with_session_state(Arc::new(session.state()))
            .with_save_mode(SaveMode::Overwrite)
            .with_commit_properties(properties(&content, &change.marks, &change.state));
        let write = if anew {
            write.with_schema_mode(SchemaMode::Overwrite)
        } else {
            let names = files.iter().map(lit).collect();
            write
                .with_schema_mode(SchemaMode::Merge)
                .with_replace_where(Expr::Column(Column::from_name(column)).in_list(names, false))
        };
        target.table = write.await.map_err(failed)?;
        target.content = Some(content);
        target.state = change.state;
        Ok(target)
    }

    /// The files whose rows were replaced by commits that no act has recorded.
    pub(crate) fn files_since(
        &self,
        pair: &mut Pair,
        known: Option<&Recorded>,
        cancel: &Cancel,
    ) -> Result<BTreeSet<String>> {
        let mut files = BTreeSet::new();
        let main = known.map(|known| known.delta_version);
        let held = known.and_then(|known| known.quarantine);
        for (target, recorded) in [(&mut pair.main, main), (&mut pair.quarantine, held)] {
            let newest = target.table.version();
            let first = recorded.map_or(0, |version| version + 1);
            let commits = newest.map_or(0, |newest| (newest + 1).saturating_sub(first));
            let found = self.with(target, cancel, move |target| async move {
                files_of(&target, usize::try_from(commits).unwrap_or(usize::MAX)).await
            })?;
            files.extend(found);
        }
        Ok(files)
    }

    /// Adds rows and replaces those with the same key, unless the table holds a later one.
    pub(crate) async fn merge(
        &self,
        mut target: Target,
        change: Change,
        rules: &Rules,
    ) -> Result<Target> {
        let rows = last_by_key(change.rows, rules)?;
        if target.table.version().is_none() || rows.num_rows() == 0 {
            return self.append(target, Change { rows, ..change }).await;
        }
        let content = target.next_content("merge", &rows)?;
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
        target.table = table;
        target.content = Some(content);
        target.state = change.state;
        Ok(target)
    }

    /// Writes a table again with other types for some columns. All its rows are read: this is what a
    /// change of the user's schema costs.
    pub(crate) async fn retype(
        &self,
        mut target: Target,
        meta: &TableMeta,
        changed: &BTreeMap<String, DataType>,
    ) -> Result<Target> {
        let (schema, batches) = self.read_pinned(meta, None).await?;
        let stored = content::stored_schema(&schema);
        let fields: Vec<Field> = stored
            .fields()
            .iter()
            .map(|field| match changed.get(field.name()) {
                Some(kind) => Field::new(field.name(), kind.clone(), true),
                None => field.as_ref().clone(),
            })
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let mut rows = Vec::with_capacity(batches.len());
        for batch in &batches {
            let columns = batch.columns().iter().zip(schema.fields());
            let cast = columns.map(|(column, field)| {
                cast_with_options(column, field.data_type(), &strict).map_err(|error| {
                    DataError::Retype {
                        asset: target.asset.clone(),
                        column: field.name().clone(),
                        wanted: content::type_name(field.data_type()),
                        reason: error.to_string(),
                    }
                })
            });
            let columns = cast.collect::<Result<Vec<_>>>()?;
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
            rows.push(batch.map_err(DataError::engine)?);
        }
        let types = content::columns(&schema);
        let change = Digest::of(json!(types).to_string());
        let content = content::chained(target.content.as_ref(), "retype", &change);
        let failed = DataError::table("write", &target.asset);
        let rows = MemTable::try_new(schema, vec![rows]).map_err(DataError::engine)?;
        let source = provider_as_source(Arc::new(rows));
        let plan = LogicalPlanBuilder::scan("rows", source, None).and_then(|plan| plan.build());
        let session = DeltaSessionContext::with_runtime_env(self.environment());
        let write = target
            .table
            .write(Vec::new())
            .with_input_plan(plan.map_err(DataError::engine)?)
            .with_session_state(Arc::new(session.state()))
            .with_save_mode(SaveMode::Overwrite)
            .with_schema_mode(SchemaMode::Overwrite)
            .with_commit_properties(properties(&content, &[], &target.state));
        target.table = write.await.map_err(failed)?;
        target.content = Some(content);
        Ok(target)
    }

    /// Marks rows of a quarantine as put through again.
    pub(crate) async fn release(
        &self,
        mut target: Target,
        released: &[(String, i64)],
        mark: (String, i64),
        at_us: i64,
    ) -> Result<Target> {
        let content = target.content.as_ref();
        let listed = json!(released).to_string();
        let content = content::chained(content, "release", &Digest::of(listed));
        let failed = DataError::table("write", &target.asset);
        let session = DeltaSessionContext::with_runtime_env(self.environment());
        let mut by_partition: BTreeMap<&str, Vec<Expr>> = BTreeMap::new();
        for (partition, offset) in released {
            by_partition.entry(partition).or_default().push(lit(*offset));
        }
        let those = by_partition
            .into_iter()
            .map(|(partition, offsets)| {
                col("partition").eq(lit(partition)).and(col("offset").in_list(offsets, false))
            })
            .reduce(Expr::or)
            .ok_or_else(|| DataError::engine("nothing to release"))?;
        let time = ScalarValue::TimestampMicrosecond(Some(at_us), Some("UTC".into()));
        let state = ArrivalState::default();
        let (table, _) = target
            .table
            .update()
            .with_predicate(those.and(col("replayed_at").is_null()))
            .with_update("replayed_at", lit(time))
            .with_session_state(Arc::new(session.state()))
            .with_commit_properties(properties(&content, &[mark], &state))
            .await
            .map_err(failed)?;
        target.table = table;
        target.content = Some(content);
        Ok(target)
    }
}

/// The newest commit of ours that is wanted: its content and its account.
async fn account(
    target: &Target,
    wanted: impl Fn(&ArrivalState) -> bool,
) -> Result<Option<(Digest, ArrivalState)>> {
    // Nearly always the newest commit is ours: the long list is only made when it is not.
    for most in [HISTORY_SHORT, HISTORY_MAX] {
        if let Some(found) = account_among(target, &wanted, most).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

async fn account_among(
    target: &Target,
    wanted: &impl Fn(&ArrivalState) -> bool,
    most: usize,
) -> Result<Option<(Digest, ArrivalState)>> {
    let failed = |error| DataError::table("read the history of", &target.asset)(error);
    let mut commits = target.table.history(Some(most));
    while let Some(commit) = commits.try_next().await.map_err(failed)? {
        let content = commit.info.get(CONTENT_KEY).and_then(Value::as_str);
        let (Some(content), Some(state)) = (content, commit.info.get(ARRIVAL_KEY)) else {
            continue;
        };
        let foreign = || DataError::Foreign { asset: target.asset.clone() };
        let content = content.parse().map_err(|_| foreign())?;
        let state: ArrivalState = serde_json::from_value(state.clone()).map_err(|_| foreign())?;
        if wanted(&state) {
            return Ok(Some((content, state)));
        }
    }
    Ok(None)
}

/// The files that the newest commits have replaced.
async fn files_of(target: &Target, commits: usize) -> Result<Vec<String>> {
    let mut files = Vec::new();
    if commits == 0 {
        return Ok(files);
    }
    let failed = |error| DataError::table("read the history of", &target.asset)(error);
    let mut history = target.table.history(Some(commits));
    while let Some(commit) = history.try_next().await.map_err(failed)? {
        let state = commit.info.get(ARRIVAL_KEY).cloned();
        let state = state.and_then(|state| serde_json::from_value::<ArrivalState>(state).ok());
        files.extend(state.into_iter().flat_map(|state| state.files));
    }
    Ok(files)
}

fn properties(content: &Digest, marks: &[(String, i64)], state: &ArrivalState) -> CommitProperties {
    let marks = marks.iter().map(|(app, mark)| Transaction::new(app, *mark));
    CommitProperties::default()
        .with_metadata([
            (CONTENT_KEY.to_owned(), json!(content)),
            (ARRIVAL_KEY.to_owned(), json!(state)),
        ])
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
