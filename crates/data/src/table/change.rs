//! How is a table of the user's own changed? By one [`Change`], which becomes one commit of the Delta
//! log and then one act.
//!
//! Writers may work at once: a commit that finds its version number taken is checked against what
//! came in between and tried again. When the rows that it read have changed under it, the whole
//! change is done again on the new rows, a bounded number of times, and then refused; nothing is
//! lost and nothing is done twice. In this process, changes that rewrite rows take turns, so that
//! they need not be repeated; appends never wait.

use std::{num::NonZeroU64, time::Duration};

use datafusion::{
    arrow::datatypes::Field,
    dataframe::DataFrame,
    logical_expr::{
        Expr, LogicalPlan,
        dml::{MergeIntoAction, MergeIntoClause, MergeIntoClauseKind},
    },
};
use deltalake_core::{
    DeltaTable, DeltaTableError, checkpoints,
    kernel::{
        StructField,
        engine::arrow_conversion::TryIntoKernel as _,
        transaction::{CommitProperties, TransactionError},
    },
    operations::{merge::MergeBuilder, optimize::OptimizeType, write::SchemaMode},
    protocol::SaveMode,
};
use serde::Serialize;
use serde_json::{Value, json};
use sextant_core::{ActivityId, Cancel, Digest};
use sextant_project::AssetId;

use super::{
    CONTENT_KEY, KEEP_ALL, TableMeta,
    commits::{CommitNote, NOTE_KEY, OWN_TABLES, ReadFile},
    failpoint, properties,
};
use crate::{
    DataEngine, catalog,
    error::{DataError, Result},
};

/// How often a change is done again because another writer changed what it read.
const TRIES_MAX: u32 = 20;
/// How long the first repetition waits; each later one waits that much longer.
const WAIT: Duration = Duration::from_millis(20);
/// Longest statement that is kept with a commit.
const SQL_BYTES_MAX: usize = 8 << 10;
/// What changes of a table must be kept for `changes()`.
const CHANGE_FEED: (&str, &str) = ("delta.enableChangeDataFeed", "true");

/// One change to a table.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Makes the table, or makes it anew with other columns.
    Create { rows: LogicalPlan },
    /// Adds rows.
    Append { rows: LogicalPlan },
    /// Puts these rows in the place of all.
    Overwrite { rows: LogicalPlan },
    /// Puts these rows in the place of those that the predicate holds for.
    ReplaceWhere { predicate: Expr, rows: LogicalPlan },
    /// Takes rows away; all when there is no predicate.
    Delete { predicate: Option<Expr> },
    /// Changes values.
    Update { predicate: Option<Expr>, set: Vec<(String, Expr)> },
    /// Inserts, updates and deletes by comparing with other rows.
    Merge(Box<Merge>),
    /// Adds columns, which are null in the rows that are there.
    AddColumns { fields: Vec<Field> },
    /// Makes the rows those of an older version again.
    Restore { delta_version: u64 },
    /// Packs small files together; the rows stay the same.
    Compact { file_bytes: Option<NonZeroU64> },
    /// Writes the rows in an order that lets reads by these columns skip files.
    ZOrder { columns: Vec<String> },
}

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

/// What is told about a change beside the change.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    /// In the words of SQL.
    pub(crate) action: &'static str,
    /// The statement.
    pub(crate) sql: Option<String>,
    /// The table versions that it reads.
    pub(crate) inputs: Vec<Digest>,
    /// The files that it reads in place.
    pub(crate) files: Vec<ReadFile>,
}

/// What a change made.
#[derive(Debug, Clone, Serialize)]
pub struct Changed {
    /// The table's asset.
    pub asset: String,
    /// Its name in SQL.
    pub table: String,
    /// What was done.
    pub action: String,
    /// The version that the table has now.
    pub version: Digest,
    /// The Delta version that holds it.
    pub delta_version: u64,
    /// How many rows the table has now.
    pub rows: u64,
    /// Whether nothing was to be done, or the rows stayed the same.
    pub unchanged: bool,
    /// What the table format counted.
    pub metrics: Value,
}

impl Changed {
    /// There was nothing to do.
    pub(crate) fn nothing(action: &str, version: Digest, meta: TableMeta) -> Self {
        Self {
            asset: meta.asset.to_string(),
            table: meta.table,
            action: action.to_owned(),
            version,
            delta_version: meta.delta_version,
            rows: meta.rows,
            unchanged: true,
            metrics: Value::Null,
        }
    }
}

impl DataEngine {
    /// Does a change and records it; the result is durable and in the catalog.
    pub(crate) fn change(
        &self,
        asset: &AssetId,
        change: Change,
        about: About,
        cancel: &Cancel,
    ) -> Result<Changed> {
        self.may_change(asset, &change)?;
        let lock = self.lock_of("write", asset);
        let _turn = (!matches!(change, Change::Append { .. }))
            .then(|| lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let before = catalog::newest_table(&self.store().read()?, asset)?;
        let note = note_of(&change, &about);
        self.commit_change_of(asset, &change, &note, about.action, cancel)?;
        failpoint("data.after_delta_commit")?;
        self.catch_up(asset)?;
        self.outcome(asset, &note, before.map(|row| row.meta.delta_version))
    }

    /// Commits a change, again when another writer changed what it read.
    pub(crate) fn commit_change_of(
        &self,
        asset: &AssetId,
        change: &Change,
        note: &CommitNote,
        action: &str,
        cancel: &Cancel,
    ) -> Result<()> {
        let mut tries = 0;
        loop {
            let (engine, table) = (self.clone(), asset.clone());
            let (change, note) = (change.clone(), self.note_for(asset, note)?);
            let done = self.block(Some(cancel), async move {
                engine.commit_once(&table, &change, note).await
            })?;
            match done {
                Ok(()) => return Ok(()),
                Err(error) if is_conflict(&error) && tries < TRIES_MAX => {
                    tries += 1;
                    std::thread::sleep(WAIT * tries);
                }
                Err(error) => return Err(explain(asset, action, error)),
            }
        }
    }

    /// Tables that an asset makes are changed by changing the asset; only how their files lie may
    /// be changed here.
    pub(crate) fn may_change(&self, asset: &AssetId, change: &Change) -> Result<()> {
        if asset.folder() == OWN_TABLES {
            return Ok(());
        }
        if !matches!(change, Change::Compact { .. } | Change::ZOrder { .. }) {
            return Err(DataError::TableRefused {
                message: format!("the table of {asset} is made by its file and not by statements"),
                fix: format!(
                    "change {asset} and build, or copy it: CREATE TABLE my_{} AS SELECT …",
                    asset.stem()
                ),
            });
        }
        Ok(())
    }

    /// What the commit carries: for a table of an asset its content, by which the next build sees
    /// that the rows are there; else our note.
    pub(crate) fn note_for(&self, asset: &AssetId, note: &CommitNote) -> Result<CommitProperties> {
        if asset.folder() == OWN_TABLES {
            return Ok(properties(NOTE_KEY, json!(note)));
        }
        let newest = catalog::newest_table(&self.store().read()?, asset)?;
        Ok(properties(CONTENT_KEY, json!(newest.map(|row| row.meta.content))))
    }

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

    /// What the recorded commit made; the present version when there was no commit.
    pub(crate) fn outcome(
        &self,
        asset: &AssetId,
        note: &CommitNote,
        before: Option<u64>,
    ) -> Result<Changed> {
        let reader = self.store().read()?;
        let newest = catalog::newest_table(&reader, asset)?.ok_or_else(|| {
            DataError::engine(format!("{asset} was written and is not in the catalog"))
        })?;
        let found = catalog::commit_of(&reader, asset, &note.id)?;
        let (row, metrics) = match found {
            Some((delta, detail)) => {
                let row = catalog::table_at(&reader, asset, delta)?.unwrap_or(newest);
                (row, detail["metrics"].clone())
            }
            None => (newest, Value::Null),
        };
        let previous = match row.meta.delta_version.checked_sub(1) {
            Some(delta) => catalog::table_at(&reader, asset, delta)?,
            None => None,
        };
        let TableMeta { table, delta_version, rows, .. } = row.meta;
        let unchanged = before == Some(delta_version)
            || previous.is_some_and(|previous| previous.version == row.version);
        Ok(Changed {
            asset: asset.to_string(),
            table,
            action: note.action.clone(),
            version: row.version,
            delta_version,
            rows,
            unchanged,
            metrics,
        })
    }
}

fn note_of(change: &Change, about: &About) -> CommitNote {
    let sql = about.sql.as_deref().map(|sql| match sql.char_indices().nth(SQL_BYTES_MAX / 4) {
        Some((end, _)) => format!("{}…", &sql[..end]),
        None => sql.to_owned(),
    });
    CommitNote {
        id: ActivityId::new().to_string(),
        action: about.action.to_owned(),
        sql,
        inputs: about.inputs.clone(),
        files: about.files.clone(),
        whole: matches!(change, Change::Create { .. } | Change::Overwrite { .. }),
        restored: match change {
            Change::Restore { delta_version } => Some(*delta_version),
            _ => None,
        },
        set: None,
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

/// Whether doing the change again on the present rows may succeed.
fn is_conflict(error: &DeltaTableError) -> bool {
    matches!(
        error,
        DeltaTableError::VersionAlreadyExists(_)
            | DeltaTableError::Transaction {
                source: TransactionError::CommitConflict(_)
                    | TransactionError::MaxCommitAttempts(_)
                    | TransactionError::VersionAlreadyExists(_)
            }
    )
}

/// Stored files at fault, another writer, or else the statement.
fn explain(asset: &AssetId, action: &str, error: DeltaTableError) -> DataError {
    if is_conflict(&error) {
        return DataError::Taken {
            message: format!("other writers kept changing {asset} under this {action}"),
            fix: "repeat the statement".to_owned(),
        };
    }
    match error {
        DeltaTableError::ObjectStore { .. }
        | DeltaTableError::Parquet { .. }
        | DeltaTableError::Io { .. }
        | DeltaTableError::InvalidJsonLog { .. }
        | DeltaTableError::NotATable(_)
        | DeltaTableError::Kernel { .. }
        | DeltaTableError::KernelError(_) => DataError::table("write", asset)(error),
        other => {
            let message = crate::query::tidy(&other.to_string());
            DataError::Sql { place: None, message, compiled: None }
        }
    }
}
