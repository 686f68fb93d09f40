//! How does a batch become commits? What does not fit goes to the quarantine first; the rows follow in
//! the commit that moves the table's mark, appended, merged by their key, or in the place of all.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::array::RecordBatch,
    catalog::{TableProvider, streaming::StreamingTable},
    common::{Column as Name, JoinType},
    datasource::{MemTable, provider_as_source},
    logical_expr::LogicalPlanBuilder,
    prelude::Expr,
};
use deltalake_core::{DeltaTableError, operations::write::SchemaMode, protocol::SaveMode};
use futures::TryStreamExt as _;
use sextant_core::Digest;

use super::{
    PARTITION,
    bases::Found,
    batch::{Batch, Counts, Ready},
    note::Note,
    session,
    spill::{DELETED, Spill},
};
use crate::{
    Ingest,
    arrival::{ArrivalState, Target, properties, txn_app, txn_mark},
    error::{DataError, Result},
    failpoint,
};
use sextant_data::{content, table::KEEP_ALL};

/// The word under which a table's mark is kept, behind the asset.
pub(super) const MARK: &str = "lsn";

/// How rows get into a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Append,
    /// A copy: in the place of all rows, also of those in quarantine, with the columns as they are now.
    Anew,
    /// In the place of all rows that the source has taken away.
    Emptied,
    /// By their key.
    Merge,
}

/// The tables of a source and what is written into them.
pub(super) struct Tables {
    pub(super) engine: Ingest,
    pub(super) main: Target,
    pub(super) quarantine: Target,
}

impl Tables {
    /// The numbers of the changes from `next` on that lie in quarantine already.
    pub(super) async fn held(&self, next: i64) -> Result<std::collections::HashSet<i64>> {
        let own = self.quarantine_mark().await?;
        match self.quarantine.meta()? {
            Some(meta) if own.is_some_and(|own| own >= next) => {
                self.engine.held_behind(&meta, PARTITION, next - 1).await
            }
            _ => Ok(std::collections::HashSet::new()),
        }
    }

    /// The number behind the last row that has landed, and that of the next one. A build that is stopped
    /// between its two commits leaves rows in quarantine; the next one may read others in their place, so
    /// it gives no number again.
    pub(super) async fn numbers(&self, note: &Note) -> Result<(i64, i64)> {
        let landed = note.landed_end(&self.main.state);
        let own = self.quarantine_mark().await?.unwrap_or(-1);
        Ok((landed, landed.max(own + 1)))
    }

    /// The account after so many changes.
    pub(super) fn account(&self, counts: &Counts, note: &Note) -> ArrivalState {
        let mut state = self.main.state.clone();
        state.files.clear();
        state.released.clear();
        state.arrived += counts.arrived;
        state.quarantined += counts.quarantined;
        state.landed += counts.arrived - counts.quarantined;
        state.marks = BTreeMap::from([(MARK.to_owned(), note.lsn.number())]);
        state.note = Some(note.to_value());
        state
    }

    /// The account after a copy: of what the tables hold then.
    pub(super) fn account_anew(&self, counts: &Counts, note: &Note) -> ArrivalState {
        let mut state = self.account(counts, note);
        state.arrived = counts.arrived;
        state.quarantined = counts.quarantined;
        state.landed = counts.arrived - counts.quarantined;
        state.replayed = 0;
        state
    }

    pub(super) async fn quarantine_mark(&self) -> Result<Option<i64>> {
        let app = txn_app(&self.quarantine.asset, PARTITION);
        txn_mark(&self.quarantine.table, &app).await
    }

    /// Closes the open rows of a batch; values that were not sent are looked up in the table.
    pub(super) async fn close(&self, batch: &mut Batch) -> Result<()> {
        let found = match batch.wanted_keys()? {
            Some(keys) => self.rows_of(batch, keys).await?,
            None => None,
        };
        batch.close_open(found.as_ref())
    }

    /// The rows of the table with these keys, with the values that the batch takes from them.
    async fn rows_of(&self, batch: &Batch, keys: RecordBatch) -> Result<Option<Found>> {
        let Some(known) = self.main.schema() else { return Ok(None) };
        let names = batch.names_to_look_up();
        let names = names.into_iter().filter(|name| known.field_with_name(name).is_ok());
        let names: Vec<&str> = names.collect();
        let schema = keys.schema();
        let by: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let context = session::to_look_up(&self.engine)?;
        let provider = self.main.table.table_provider().await;
        let provider = provider.map_err(|error| {
            DataError::table("open", &self.main.asset)(DeltaTableError::from(error))
        })?;
        let mut found = Found::new(batch, &keys)?;
        let rows = context
            .read_table(provider)
            .and_then(|rows| rows.select_columns(&names))
            .and_then(|rows| {
                context.read_batch(keys)?.join(rows, JoinType::RightSemi, &by, &by, None)
            })
            .map_err(DataError::engine)?;
        let mut stream = rows.execute_stream().await.map_err(DataError::engine)?;
        while let Some(rows) = stream.try_next().await.map_err(DataError::engine)? {
            found.add(batch, &rows)?;
        }
        Ok(Some(found))
    }

    /// Writes a batch: the quarantine, then the table with its account and its mark.
    pub(super) async fn write(
        &mut self,
        ready: Ready,
        way: Way,
        key: &[String],
        mut state: ArrivalState,
        mark: i64,
    ) -> Result<()> {
        failpoint("data.arrival.before_quarantine")?;
        self.set_aside(ready.bad, ready.last, way == Way::Anew).await?;
        self.mark_overtaken(&ready.overtaking, key, &mut state).await?;
        failpoint("data.arrival.after_quarantine")?;
        let marks = vec![(txn_app(&self.main.asset, MARK), mark)];
        let (changed, at_once) = (ready.rows.digest(), session::at_once(&ready.rows));
        match way {
            Way::Append | Way::Anew | Way::Emptied => {
                let rows = ready.rows.table(Some(ready.keep), false).map_err(DataError::engine)?;
                let content = content_after(&self.main, "append", way, &changed);
                let change = Change { way, at_once, content, marks, state };
                self.main = put(&self.engine, self.main.copy(), Arc::new(rows), change).await?;
            }
            Way::Merge => {
                let rows = ready.rows.table(Some(ready.keep), true).map_err(DataError::engine)?;
                let content = content_after(&self.main, "merge", way, &changed);
                let change = Change { way, at_once, content, marks, state };
                self.merge(rows, key, change).await?;
            }
        }
        failpoint("data.arrival.after_commit")
    }

    /// Moves the mark and nothing else.
    pub(super) async fn write_mark(&mut self, state: ArrivalState, mark: i64) -> Result<()> {
        let marks = vec![(txn_app(&self.main.asset, MARK), mark)];
        self.write_empty(marks, state).await
    }

    /// A commit without rows.
    async fn write_empty(&mut self, marks: Vec<(String, i64)>, state: ArrivalState) -> Result<()> {
        let schema = self.main.schema();
        let schema =
            schema.ok_or_else(|| DataError::engine("a table without columns has a mark"))?;
        let rows =
            MemTable::try_new(Arc::clone(&schema), vec![vec![RecordBatch::new_empty(schema)]]);
        let content = self.main.content.unwrap_or_else(|| Digest::of(""));
        let rows = rows.map_err(DataError::engine)?;
        let change = Change { way: Way::Append, at_once: 1, content, marks, state };
        self.main = put(&self.engine, self.main.copy(), Arc::new(rows), change).await?;
        Ok(())
    }

    async fn set_aside(&mut self, bad: Spill, last: i64, anew: bool) -> Result<()> {
        let exists = self.quarantine.table.version().is_some();
        if bad.rows() == 0 && !(anew && exists) {
            return Ok(());
        }
        let own = self.quarantine_mark().await?.unwrap_or(last);
        let mark = if anew { last } else { last.max(own) };
        let marks = vec![(txn_app(&self.quarantine.asset, PARTITION), mark)];
        let (changed, at_once) = (bad.digest(), session::at_once(&bad));
        let way = if anew && exists { Way::Anew } else { Way::Append };
        let rows = bad.table(None, false).map_err(DataError::engine)?;
        let content = content_after(&self.quarantine, "append", way, &changed);
        let (target, state) = (self.quarantine.copy(), ArrivalState::default());
        let change = Change { way, at_once, content, marks, state };
        self.quarantine = put(&self.engine, target, Arc::new(rows), change).await?;
        Ok(())
    }

    async fn merge(&mut self, rows: StreamingTable, key: &[String], change: Change) -> Result<()> {
        let Change { at_once, content, marks, state, .. } = change;
        let before = self.main.table.version();
        let failed = |error| DataError::table("merge into", &self.main.asset)(error);
        let schema = rows.schema();
        let names: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .filter(|name| name != DELETED)
            .collect();
        let context = session::to_write(&self.engine, at_once)?;
        let source = context.read_table(Arc::new(rows)).map_err(DataError::engine)?;
        let of = |relation: &str, name: &str| Expr::Column(Name::new(Some(relation), name));
        let matches = key
            .iter()
            .map(|name| of("target", name).eq(of("source", name)))
            .reduce(Expr::and)
            .ok_or_else(|| DataError::engine("a merge has no key"))?;
        let deleted = of("source", DELETED);
        let (table, _) = self
            .main
            .table
            .clone()
            .merge(source, matches)
            .with_source_alias("source")
            .with_target_alias("target")
            .with_session_state(Arc::new(context.state()))
            .with_commit_properties(properties(&content, &marks, &state))
            .when_matched_delete(|delete| delete.predicate(deleted.clone().is_true()))
            .map_err(failed)?
            .when_matched_update(|update| {
                names.iter().fold(update, |update, name| {
                    update.update(Name::from_name(name), of("source", name))
                })
            })
            .map_err(failed)?
            .when_not_matched_insert(|insert| {
                names.iter().fold(insert.predicate(deleted.is_not_true()), |insert, name| {
                    insert.set(Name::from_name(name), of("source", name))
                })
            })
            .map_err(failed)?
            .await
            .map_err(failed)?;
        if table.version() == before {
            // A merge that changes no row makes no commit, and the mark must move all the same.
            return self.write_empty(marks, state).await;
        }
        self.main.table = table;
        self.main.content = Some(content);
        self.main.state = state;
        Ok(())
    }
}

/// The content of a table after a change.
pub(super) fn content_after(target: &Target, what: &str, way: Way, changed: &Digest) -> Digest {
    let before = target.content.as_ref().filter(|_| matches!(way, Way::Append | Way::Merge));
    content::after_change(before, what, changed)
}

/// What a commit is beside its rows.
struct Change {
    way: Way,
    /// How many of the rows are held at once.
    at_once: usize,
    content: Digest,
    marks: Vec<(String, i64)>,
    state: ArrivalState,
}

async fn put(
    engine: &Ingest,
    mut target: Target,
    rows: Arc<dyn TableProvider>,
    change: Change,
) -> Result<Target> {
    let Change { way, at_once, content, marks, state } = change;
    let failed = DataError::table("write", &target.asset);
    let plan = LogicalPlanBuilder::scan("rows", provider_as_source(rows), None);
    let plan = plan.and_then(LogicalPlanBuilder::build).map_err(DataError::engine)?;
    let session = session::to_write(engine, at_once)?;
    let mut properties = properties(&content, &marks, &state);
    let first = target.table.version().is_none();
    if first {
        // Who loses the race for a table's first commit would be let through otherwise.
        properties = properties.with_max_retries(0);
    }
    let write = target
        .table
        .write(Vec::new())
        .with_input_plan(plan)
        .with_session_state(Arc::new(session.state()))
        .with_table_name(target.name.clone())
        .with_commit_properties(properties);
    let write = match way {
        Way::Anew | Way::Emptied if !first => {
            write.with_save_mode(SaveMode::Overwrite).with_schema_mode(SchemaMode::Overwrite)
        }
        _ => write.with_save_mode(SaveMode::Append).with_schema_mode(SchemaMode::Merge),
    };
    let write = if first {
        write.with_configuration(KEEP_ALL.map(|(key, value)| (key, Some(value))))
    } else {
        write
    };
    target.table = write.await.map_err(failed)?;
    target.content = Some(content);
    target.state = state;
    Ok(target)
}
