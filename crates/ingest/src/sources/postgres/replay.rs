//! How do changes get out of quarantine? The last change of each row that waits is read again under the
//! present rules, with the values that it has from the row before it. What fits now goes into the table by
//! its key, with the LSN that it had, and never over a row with a later one.
//!
//! Nothing in the quarantine is older than the table: a change that a later one has overtaken does not
//! wait any more (see [`super::overtaken`]). The commit of the table comes first, then what has passed
//! is marked. A replay that is stopped in between does both again, and changes nothing by the first.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use datafusion::{
    arrow::array::RecordBatch,
    prelude::{col, lit},
};
use futures::TryStreamExt as _;

use super::{
    LSN, Mode, OnUnfit, PostgresAsset,
    bases::Found,
    batch::{Batch, CHUNK_BYTES_MAX, Counts, KeyHash, Layout, Place},
    fault::PostgresFault,
    follow::Outcome,
    held::Held,
    land::Tables,
    note::{Job, Note},
    overtaken::each,
    pgoutput::Cell,
    subject::{self, Column},
    values::Kind,
};
use crate::{
    arrival::{Change, Places, Replayed, Rules},
    error::{DataError, Result},
    failpoint,
    sources::way::Way as _,
};
use sextant_core::Cancel;

/// Most changes that are put through at once.
const PAGE: usize = 500;

impl PostgresAsset {
    /// Puts up to `limit` changes of the quarantine through again.
    pub(crate) fn replay(&self, limit: usize, cancel: &Cancel) -> Result<Replayed> {
        let job = self.job()?;
        let rules = Arc::clone(&self.plan().rules);
        let lock = self.common.engine.arrival_lock(&self.common.id);
        let _turn = lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.common.engine.block(Some(cancel), async move { Ok(job.replay(limit, &rules).await?) })
    }
}

/// The changes of one row that wait.
struct Waiting {
    numbers: Vec<i64>,
    /// The last of them, with the values of those before it.
    held: Held,
}

impl Job {
    async fn replay(&self, limit: usize, rules: &Rules) -> Outcome<Replayed> {
        let mut tables = self.tables().await?;
        let Some(note) = Note::in_mode(&tables.main.state, self.config.mode) else {
            return Ok(Replayed::default());
        };
        if self.config.mode == Mode::Snapshot {
            return Err(PostgresFault::Unfit {
                message: "the rows of a snapshot have no key by which they could be put in"
                    .to_owned(),
                fix: "repair them in the source and build, or write another mode".to_owned(),
            }
            .into());
        }
        if tables.quarantine.table.version().is_none() {
            return Ok(Replayed::default());
        }
        let layout = self.layout(self.columns_now(&note).await?, &note.key)?;
        let rules = Rules {
            key: note.key.clone(),
            places: Places { offset: LSN, ..rules.places },
            ..rules.clone()
        };
        let done = tables.replay(&layout, &note, &rules, limit).await?;
        self.settle(&mut tables, note).await?;
        Ok(done)
    }

    /// What the columns of the table are on the server.
    async fn columns_now(&self, note: &Note) -> Outcome<Vec<Column>> {
        let mut connection = self.connect(false).await?;
        let found = match &self.config.query {
            Some(query) => subject::describe(&mut connection, super::copy::bare(query)).await?,
            None => {
                let stored = note.mode == Mode::Cdc;
                subject::look_up(&mut connection, self.config.what(), stored).await?.columns
            }
        };
        connection.close(false).await;
        let now = |known: &super::wire::Described| {
            let same =
                |it: &&Column| it.name() == known.name && it.described.type_oid == known.type_oid;
            let message = format!("the column `{}` is gone or has another type", known.name);
            let found = found.iter().find(same).cloned();
            found.ok_or(PostgresFault::Reshaped { message })
        };
        Ok(note.columns.iter().map(now).collect::<Result<_, _>>()?)
    }

    /// When nothing waits any more, the table is as a copy under the present rule would be.
    async fn settle(&self, tables: &mut Tables, note: Note) -> Result<()> {
        let rule = self.config.on_unfit;
        let held = tables.quarantine.meta()?.map_or(0, |meta| meta.rows);
        if rule == note.on_unfit || rule != OnUnfit::Null || held > tables.marked().await? {
            return Ok(());
        }
        let note = Note { on_unfit: rule, ..note };
        let state = tables.account(&Counts::default(), &note);
        tables.write_mark(state, note.lsn.number()).await
    }
}

/// Some changes that wait.
struct Page {
    tried: u64,
    keys: HashSet<KeyHash>,
    /// The number of the last one.
    last: Option<i64>,
}

/// Changes that fit now.
struct Passed {
    rows: RecordBatch,
    /// Those of the rows, with the changes before them.
    numbers: Vec<i64>,
}

impl Tables {
    /// Puts up to `limit` changes that wait through again, under the rule of this layout.
    pub(super) async fn replay(
        &mut self,
        layout: &Layout,
        note: &Note,
        rules: &Rules,
        limit: usize,
    ) -> Result<Replayed> {
        let mut done = Replayed::default();
        // What a build has set aside that was stopped before its commit is not landed yet.
        let end = note.landed_end(&self.main.state);
        let mut behind = -1;
        while done.tried < limit as u64 {
            let most = PAGE.min(limit - usize::try_from(done.tried).unwrap_or(limit));
            let page = self.page(behind, end, most, &note.key).await?;
            let Some(last) = page.last else { break };
            (behind, done.tried) = (last, done.tried + page.tried);
            let waiting = self.waiting_of(&page.keys, end, &note.key).await?;
            let through = waiting.into_values().filter(|row| row.numbers.last() <= Some(&last));
            let batch = Batch::new(layout.clone(), 0, HashSet::new())?;
            let passed = through_again(batch, note, through.collect())?;
            if !passed.numbers.is_empty() {
                done.passed += passed.numbers.len() as u64;
                self.take_out(passed, rules).await?;
            }
        }
        done.failed = done.tried.saturating_sub(done.passed);
        Ok(done)
    }

    async fn page(&self, behind: i64, end: i64, most: usize, key: &[String]) -> Result<Page> {
        let wanted = col("offset").gt(lit(behind)).and(col("offset").lt(lit(end)));
        let mut waiting = self.waiting(wanted).await?;
        let mut page = Page { tried: 0, keys: HashSet::new(), last: None };
        let mut bytes = 0;
        let full = |page: &Page, bytes| page.tried >= most as u64 || bytes > CHUNK_BYTES_MAX;
        while let Some(rows) = waiting.try_next().await.map_err(DataError::engine)? {
            each(&rows, |number, payload| {
                if !full(&page, bytes) {
                    bytes += payload.len();
                    (page.tried, page.last) = (page.tried + 1, Some(number));
                    page.keys.extend(Held::read(payload).and_then(|held| held.key(key)));
                }
            })?;
            if full(&page, bytes) {
                break;
            }
        }
        Ok(page)
    }

    /// All changes of these rows that wait.
    async fn waiting_of(
        &self,
        keys: &HashSet<KeyHash>,
        end: i64,
        names: &[String],
    ) -> Result<HashMap<KeyHash, Waiting>> {
        let mut found: HashMap<KeyHash, Waiting> = HashMap::new();
        let mut waiting = self.waiting(col("offset").lt(lit(end))).await?;
        while let Some(rows) = waiting.try_next().await.map_err(DataError::engine)? {
            each(&rows, |number, payload| {
                let Some(mut held) = Held::read(payload) else { return };
                let Some(key) = held.key(names).filter(|key| keys.contains(key)) else { return };
                let mut numbers = Vec::new();
                if let Some(before) = found.remove(&key) {
                    held.fill(&before.held);
                    numbers = before.numbers;
                }
                numbers.push(number);
                found.insert(key, Waiting { numbers, held });
            })?;
        }
        Ok(found)
    }

    /// Puts rows into the table and marks their changes.
    async fn take_out(&mut self, passed: Passed, rules: &Rules) -> Result<()> {
        let mut state = self.main.state.clone();
        state.replays += 1;
        state.replayed = self.marked().await? + passed.numbers.len() as u64;
        failpoint("data.replay.before_commit")?;
        let change = Change { rows: passed.rows, marks: Vec::new(), state };
        self.main = self.engine.upsert(self.main.copy(), change, rules).await?;
        failpoint("data.replay.after_commit")?;
        self.mark(&passed.numbers).await
    }
}

/// Reads changes again, under the rules of the batch.
fn through_again(mut batch: Batch, note: &Note, waiting: Vec<Waiting>) -> Result<Passed> {
    // A change that was set aside before there was a replay does not say what it lacks.
    // One with a later LSN is of a copy that was stopped before its commit.
    let whole = |row: &Waiting| {
        row.held.kept.is_some() && row.held.unsent.is_empty() && row.held.lsn <= note.lsn
    };
    let mut waiting: Vec<Waiting> = waiting.into_iter().filter(whole).collect();
    waiting.retain(|row| row.held.op != "delete");
    waiting.sort_by_key(|row| row.numbers.last().copied());
    for row in &waiting {
        let cells = note.columns.iter().map(|column| cell(&row.held, note, &column.name));
        let place = Place { lsn: row.held.lsn, at_us: 0 };
        batch.update(None, cells.collect(), place)?;
    }
    let found = match batch.wanted_keys()? {
        Some(keys) => Some(kept(&batch, &keys, &waiting)?),
        None => None,
    };
    batch.close_open(found.as_ref())?;
    let unfit = std::mem::take(&mut batch.unfit);
    let passed = waiting.iter().zip(&unfit).filter(|(_, unfit)| !**unfit);
    let numbers = passed.flat_map(|(row, _)| row.numbers.iter().copied()).collect();
    Ok(Passed { rows: batch.ready().rows.alive().map_err(DataError::engine)?, numbers })
}

/// A value of a change; what it has from the row before it is taken from there.
fn cell(held: &Held, note: &Note, name: &str) -> Cell {
    let own = |text: &Option<String>| match text {
        Some(text) => Cell::Text(text.clone().into()),
        None => Cell::Null,
    };
    match (held.row.get(name), &held.kept) {
        (Some(text), _) => own(text),
        (None, Some(kept)) if kept.contains_key(name) => Cell::Unchanged,
        // The column was added later.
        (None, _) => own(&note.filled.get(name).cloned()),
    }
}

/// The values that changes have from the rows before them, as if those were in the table.
fn kept(batch: &Batch, keys: &RecordBatch, waiting: &[Waiting]) -> Result<Found> {
    let mut found = Found::new(batch, keys)?;
    for row in waiting.iter().filter(|row| row.held.kept.iter().any(|kept| !kept.is_empty())) {
        let held = &row.held;
        let mut columns = Vec::new();
        for (at, column) in batch.layout.columns.iter().enumerate() {
            let name = column.name();
            let text = if batch.layout.key.contains(&at) {
                held.row.get(name)
            } else {
                held.kept.as_ref().and_then(|kept| kept.get(name))
            };
            let Some(text) = text else { continue };
            // A list is kept as the table has it.
            let kind = match &column.kind {
                Kind::Array(_) => &Kind::Text,
                kind => kind,
            };
            columns.push((name, kind.column(&[text.as_deref()], &mut Vec::new())));
        }
        let rows = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, values)| (name, values, true)),
        );
        found.add(batch, &rows.map_err(DataError::engine)?)?;
    }
    Ok(found)
}
