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
    logical_expr::{Expr, LogicalPlan},
};
use deltalake_core::{
    DeltaTableError,
    kernel::transaction::{CommitProperties, TransactionError},
};
use serde::Serialize;
use serde_json::{Value, json};
use sextant_core::{ActivityId, Cancel, Digest};
use sextant_project::AssetId;

use super::{
    CONTENT_KEY, TableMeta,
    apply::Merge,
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
        if let Some(transaction) = self.transaction() {
            return self.staged_change(transaction, asset, change, about, cancel);
        }
        let _door = self.changes().read().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.settle(Some(asset))?;
        let lock = self.lock_of("write", asset);
        let _turn = (!matches!(change, Change::Append { .. }))
            .then(|| lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let before = catalog::newest_table(&self.store().read()?, asset)?;
        let note = note_of(&change, &about);
        let done = self.commit_change_of(asset, &change, &note, about.action, cancel);
        if let Err(error) = done
            && !self.is_there_all_the_same(asset, &note, &error)
        {
            return Err(error);
        }
        failpoint("data.after_delta_commit")?;
        self.catch_up(asset)?;
        self.outcome(asset, &note, before.map(|row| row.meta.delta_version))
    }

    /// Whether a change that ended with an error is in the table: what came after its commit may have
    /// failed, or the answer to it was lost.
    fn is_there_all_the_same(&self, asset: &AssetId, note: &CommitNote, error: &DataError) -> bool {
        let found = || -> Result<bool> {
            self.catch_up(asset)?;
            Ok(catalog::commit_of(&self.store().read()?, asset, &note.id)?.is_some())
        };
        matches!(error, DataError::Table { .. }) && found().unwrap_or(false)
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

pub(super) fn note_of(change: &Change, about: &About) -> CommitNote {
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
pub(super) fn explain(asset: &AssetId, action: &str, error: DeltaTableError) -> DataError {
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
