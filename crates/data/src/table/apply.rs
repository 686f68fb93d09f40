//! How does a [`Change`] become a commit? By the table format's own operation for it.

use datafusion::{
    dataframe::DataFrame,
    logical_expr::{
        Expr, LogicalPlan,
        dml::{MergeIntoAction, MergeIntoClause, MergeIntoClauseKind},
    },
};
use deltalake_core::{
    DeltaTable, DeltaTableError, checkpoints,
    kernel::{
        StructField, engine::arrow_conversion::TryIntoKernel as _, transaction::CommitProperties,
    },
    operations::{merge::MergeBuilder, optimize::OptimizeType, write::SchemaMode},
    protocol::SaveMode,
};
use sextant_project::AssetId;

use super::{KEEP_ALL, change::Change, commits::OWN_TABLES};
use crate::{
    DataEngine, catalog,
    error::{DataError, Result},
};

/// What changes of a table must be kept for `changes()`.
const CHANGE_FEED: (&str, &str) = ("delta.enableChangeDataFeed", "true");

/// A merge, as planned.
#[derive(Debug, Clone)]
pub(crate) struct Merge {
    pub(crate) source: LogicalPlan,
    /// The one name that the source's columns are qualified with.
    pub(crate) source_name: Option<String>,
    /// The name that the target's columns are qualified with.
    pub(crate) target_name: String,
    /// The target's columns, for an insert that names none.
    pub(crate) columns: Vec<String>,
    pub(crate) on: Expr,
    pub(crate) clauses: Vec<MergeIntoClause>,
}

impl DataEngine {
    /// Does a change once; the inner error is the table format's, and may be a conflict.
    pub(crate) async fn commit_once(
        &self,
        asset: &AssetId,
        change: &Change,
        properties: CommitProperties,
    ) -> Result<Result<(), DeltaTableError>> {
        let table = self.open_or_start(asset).await?;
        if table.version().is_none() && !matches!(change, Change::Create { .. }) {
            return Err(DataError::NotFound {
                what: "table",
                name: asset.to_string(),
                known: String::new(),
            });
        }
        // A build that is between its commit and its act must not be overtaken.
        let newest = catalog::newest_table(&self.store().read()?, asset)?;
        let recorded = newest.map(|row| row.meta.delta_version);
        if asset.folder() != OWN_TABLES && table.version() != recorded {
            return Err(DataError::Taken {
                message: format!("{asset} is being built"),
                fix: format!("repeat this after `sextant build {asset}`"),
            });
        }
        Ok(self.commit_change(table, change, properties).await)
    }

    async fn commit_change(
        &self,
        table: DeltaTable,
        change: &Change,
        properties: CommitProperties,
    ) -> Result<(), DeltaTableError> {
        let session = self.delta_session();
        match change {
            Change::Create { rows } | Change::Append { rows } | Change::Overwrite { rows } => {
                self.write_rows(table, change, rows, None, properties).await
            }
            Change::ReplaceWhere { predicate, rows } => {
                self.write_rows(table, change, rows, Some(predicate), properties).await
            }
            Change::Delete { predicate } => {
                let mut delete =
                    table.delete().with_session_state(session).with_commit_properties(properties);
                if let Some(predicate) = predicate {
                    delete = delete.with_predicate(predicate.clone());
                }
                delete.await.map(drop)
            }
            Change::Update { predicate, set } => {
                let mut update =
                    table.update().with_session_state(session).with_commit_properties(properties);
                if let Some(predicate) = predicate {
                    update = update.with_predicate(predicate.clone());
                }
                for (column, value) in set {
                    update = update.with_update(column.as_str(), value.clone());
                }
                update.await.map(drop)
            }
            Change::Merge(merge) => self.merge(table, merge, properties).await,
            Change::AddColumns { fields } => {
                let fields = fields.iter().map(|field| field.try_into_kernel());
                let fields: Vec<StructField> = fields.collect::<Result<_, _>>()?;
                let add = table.add_columns().with_fields(fields);
                add.with_commit_properties(properties).await.map(drop)
            }
            Change::Restore { delta_version } => {
                let restore = table.restore().with_version_to_restore(*delta_version);
                restore.with_commit_properties(properties).await.map(drop)
            }
            Change::Compact { .. } | Change::ZOrder { .. } => {
                self.arrange(table, change, properties).await
            }
        }
    }

    async fn write_rows(
        &self,
        table: DeltaTable,
        change: &Change,
        rows: &LogicalPlan,
        replaced: Option<&Expr>,
        properties: CommitProperties,
    ) -> Result<(), DeltaTableError> {
        let mut write = table
            .write(Vec::new())
            .with_input_plan(self.stored_rows(rows).await?)
            .with_session_state(self.delta_session())
            .with_commit_properties(properties);
        write = match (change, replaced) {
            (Change::Create { .. }, _) => write
                .with_save_mode(SaveMode::Overwrite)
                .with_schema_mode(SchemaMode::Overwrite)
                .with_configuration(
                    KEEP_ALL
                        .into_iter()
                        .chain([CHANGE_FEED])
                        .map(|(key, value)| (key, Some(value))),
                ),
            (_, Some(predicate)) => {
                write.with_save_mode(SaveMode::Overwrite).with_replace_where(predicate.clone())
            }
            (Change::Overwrite { .. }, _) => write.with_save_mode(SaveMode::Overwrite),
            _ => write.with_save_mode(SaveMode::Append),
        };
        write.await.map(drop)
    }

    async fn merge(
        &self,
        table: DeltaTable,
        merge: &Merge,
        properties: CommitProperties,
    ) -> Result<(), DeltaTableError> {
        let source = DataFrame::new(self.session().state(), merge.source.clone());
        let mut builder = table
            .merge(source, merge.on.clone())
            .with_target_alias(&merge.target_name)
            .with_session_state(self.delta_session())
            .with_commit_properties(properties);
        if let Some(name) = &merge.source_name {
            builder = builder.with_source_alias(name);
        }
        for clause in &merge.clauses {
            builder = with_clause(builder, clause, &merge.columns)?;
        }
        builder.await.map(drop)
    }

    /// Compaction and z-order, and a checkpoint so that readers need not follow the whole log.
    async fn arrange(
        &self,
        table: DeltaTable,
        change: &Change,
        properties: CommitProperties,
    ) -> Result<(), DeltaTableError> {
        let mut optimize = table
            .optimize()
            .with_session_state(self.delta_session())
            .with_commit_properties(properties);
        match change {
            Change::ZOrder { columns } => {
                optimize = optimize.with_type(OptimizeType::ZOrder(columns.clone()));
            }
            Change::Compact { file_bytes: Some(bytes) } => {
                optimize = optimize.with_target_size(*bytes);
            }
            _ => {}
        }
        let (table, _) = optimize.await?;
        checkpoints::create_checkpoint(&table, None).await
    }
}

fn with_clause(
    builder: MergeBuilder,
    clause: &MergeIntoClause,
    columns: &[String],
) -> Result<MergeBuilder, DeltaTableError> {
    let only = clause.predicate.clone();
    match (clause.kind.canonical(), &clause.action) {
        (MergeIntoClauseKind::Matched, MergeIntoAction::Update(set)) => builder
            .when_matched_update(|mut update| {
                for (column, value) in set {
                    update = update.update(column.as_str(), value.clone());
                }
                match only {
                    Some(only) => update.predicate(only),
                    None => update,
                }
            }),
        (MergeIntoClauseKind::Matched, MergeIntoAction::Delete) => {
            builder.when_matched_delete(|delete| match only {
                Some(only) => delete.predicate(only),
                None => delete,
            })
        }
        (MergeIntoClauseKind::NotMatchedBySource, MergeIntoAction::Update(set)) => builder
            .when_not_matched_by_source_update(|mut update| {
                for (column, value) in set {
                    update = update.update(column.as_str(), value.clone());
                }
                match only {
                    Some(only) => update.predicate(only),
                    None => update,
                }
            }),
        (MergeIntoClauseKind::NotMatchedBySource, MergeIntoAction::Delete) => builder
            .when_not_matched_by_source_delete(|delete| match only {
                Some(only) => delete.predicate(only),
                None => delete,
            }),
        (_, MergeIntoAction::Insert { columns: named, values }) => {
            let named = if named.is_empty() { columns } else { named.as_slice() };
            builder.when_not_matched_insert(|mut insert| {
                for (column, value) in named.iter().zip(values) {
                    insert = insert.set(column.as_str(), value.clone());
                }
                match only {
                    Some(only) => insert.predicate(only),
                    None => insert,
                }
            })
        }
        (kind, action) => Err(DeltaTableError::Generic(format!(
            "a MERGE clause of this form is not supported: {kind:?} {action:?}"
        ))),
    }
}
