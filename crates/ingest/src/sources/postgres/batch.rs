//! How do changes become rows to be written? Each change is a row of a list: an earlier row with the
//! same key no longer counts, and one that takes a row away is marked. The list is cut into chunks of
//! typed columns as it grows, so that only the keys of a large transaction are held in memory.
//!
//! A change that does not fit is set aside, and the row that it changes is taken out of the table:
//! every row of the source is in the table as it is, or its last change is in quarantine.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use datafusion::arrow::array::RecordBatch;
use sextant_core::Digest;

pub(super) use super::layout::{Base, Counts, Layout, Place, Ready, Row};
use super::{
    fault::PostgresFault,
    held::{MOVE, UPDATE},
    overtaken::Overtaking,
    pgoutput::{Cell, Old},
    spill::{RowSum, Spill},
    subject::Column,
};
use crate::{
    arrival::{Fault, Record, quarantine_rows},
    error::{DataError, Result},
};

/// Most rows of a chunk.
const CHUNK_ROWS_MAX: usize = 8_192;
/// Most bytes of the values of a chunk.
pub(super) const CHUNK_BYTES_MAX: usize = 8 << 20;
/// Most changes that can become visible in one commit: their keys are held in memory.
const CHANGES_MAX: usize = 20_000_000;

/// A key, shortened: which row of the source.
pub(super) type KeyHash = [u8; 16];

/// Changes that become visible together.
pub(super) struct Batch {
    pub(super) layout: Layout,
    pub(super) open: Vec<Row>,
    pub(super) open_bytes: usize,
    /// The keys that the open rows look up in the table.
    pub(super) wanted: Vec<Vec<Cell>>,
    pub(super) closed: Spill,
    last: HashMap<KeyHash, usize>,
    pub(super) keep: Vec<bool>,
    /// Which of the closed rows were set aside.
    pub(super) unfit: Vec<bool>,
    bad: Spill,
    /// The numbers of changes that lie in quarantine already: a build was stopped between two commits.
    held: HashSet<i64>,
    /// The number of the first change, and of the next one.
    first: i64,
    next: i64,
    /// From which number on the rows in quarantine are read again under other numbers.
    again: i64,
    counts: Counts,
    /// The number of the last change that took all rows away.
    truncated: Option<i64>,
    only_inserts: bool,
    /// The digest of the rows that were copied, as they were sent.
    sent: RowSum,
}

impl Batch {
    /// An empty batch whose first change has this number.
    pub(super) fn new(layout: Layout, next: i64, held: HashSet<i64>) -> Result<Self> {
        let bad = quarantine_rows(&[])?.schema();
        Ok(Self {
            closed: layout.spill(),
            bad: Spill::new(layout.folder.clone(), bad, usize::MAX),
            layout,
            open: Vec::new(),
            open_bytes: 0,
            wanted: Vec::new(),
            last: HashMap::new(),
            keep: Vec::new(),
            unfit: Vec::new(),
            held,
            first: next,
            next,
            again: next,
            counts: Counts::default(),
            truncated: None,
            only_inserts: true,
            sent: RowSum::default(),
        })
    }

    /// Its rows are not numbered as those were that a stopped build has set aside from this number on.
    pub(super) fn again_from(self, again: i64) -> Self {
        Self { again, ..self }
    }

    /// The number of the next change.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// The numbers that lie in quarantine already, for the next batch.
    pub(super) fn take_held(&mut self) -> HashSet<i64> {
        // Those of this batch were left out when their chunks were closed.
        std::mem::take(&mut self.held)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.arrived == 0
    }

    /// About how many bytes wait.
    pub(super) fn bytes(&self) -> usize {
        self.open_bytes + self.closed.bytes()
    }

    pub(super) fn changes(&self) -> u64 {
        self.counts.arrived
    }

    /// A row of a copy. With `fold` a row with the same key as an earlier one takes its place.
    pub(super) fn copy(&mut self, cells: Vec<Cell>, place: Place, fold: bool) -> Result<()> {
        self.check_width(&cells)?;
        self.sent.add(&joined(cells.iter().map(Cell::bytes)));
        let key = if fold { Some(self.hash(&cells)?) } else { None };
        let number = self.count();
        let row = Row { cells, deleted: false, place, number, op: "copy", base: None };
        self.add(row, key)
    }

    /// A new row.
    pub(super) fn insert(&mut self, cells: Vec<Cell>, place: Place) -> Result<()> {
        self.check_width(&cells)?;
        let (key, number) = (self.hash(&cells)?, self.count());
        self.only_inserts &= !self.last.contains_key(&key);
        let row = Row { cells, deleted: false, place, number, op: "insert", base: None };
        self.add(row, Some(key))
    }

    /// A row that takes the place of another one.
    pub(super) fn update(
        &mut self,
        old: Option<Old>,
        mut cells: Vec<Cell>,
        place: Place,
    ) -> Result<()> {
        self.check_width(&cells)?;
        self.only_inserts = false;
        let number = self.count();
        if let Some(old) = old.as_ref().filter(|old| old.whole) {
            for (cell, before) in cells.iter_mut().zip(&old.cells) {
                if *cell == Cell::Unchanged {
                    cell.clone_from(before);
                }
            }
        }
        // A key is sent in the old row when it is not the same.
        if let Some(old) = &old {
            for at in &self.layout.key {
                if let (Some(cell), Some(before)) = (cells.get_mut(*at), old.cells.get(*at))
                    && *cell == Cell::Unchanged
                {
                    cell.clone_from(before);
                }
            }
        }
        let key = self.hash(&cells)?;
        let before = match &old {
            Some(old) => self.hash(&old.cells)?,
            None => key,
        };
        let named = self.key_only(old.as_ref().filter(|_| before != key), &cells);
        let base = self.base(&mut cells, before, &named);
        if before != key {
            let gone =
                Row { cells: named, deleted: true, place, number: None, op: MOVE, base: None };
            self.add(gone, Some(before))?;
        }
        let op = if before == key { UPDATE } else { MOVE };
        self.add(Row { cells, deleted: false, place, number, op, base }, Some(key))
    }

    /// A row that goes away.
    pub(super) fn delete(&mut self, old: &Old, place: Place) -> Result<()> {
        self.only_inserts = false;
        let (key, number) = (self.hash(&old.cells)?, self.count());
        let cells = self.key_only(Some(old), &old.cells);
        let row = Row { cells, deleted: true, place, number, op: "delete", base: None };
        self.add(row, Some(key))
    }

    /// All rows go away.
    pub(super) fn truncate(&mut self) {
        self.truncated = self.count();
        self.only_inserts = false;
        self.last.clear();
        self.keep.iter_mut().for_each(|keep| *keep = false);
    }

    fn count(&mut self) -> Option<i64> {
        self.counts.arrived += 1;
        self.next += 1;
        Some(self.next - 1)
    }

    /// The values of the key and nothing else.
    fn key_only(&self, old: Option<&Old>, new: &[Cell]) -> Vec<Cell> {
        let source = old.map_or(new, |old| &*old.cells);
        let cell = |at| match source.get(at) {
            Some(cell) if self.layout.key.contains(&at) => cell.clone(),
            _ => Cell::Null,
        };
        (0..self.layout.columns.len()).map(cell).collect()
    }

    fn check_width(&self, cells: &[Cell]) -> Result<()> {
        let (sent, known) = (cells.len(), self.layout.columns.len());
        if sent == known {
            return Ok(());
        }
        let reason = format!("a row has {sent} values, the table {known} columns");
        Err(PostgresFault::Failed { reason }.into())
    }

    fn hash(&self, cells: &[Cell]) -> Result<KeyHash> {
        let mut texts = Vec::with_capacity(self.layout.key.len());
        for at in &self.layout.key {
            match cells.get(*at) {
                Some(Cell::Text(bytes)) => texts.push(Some(bytes.as_ref())),
                Some(Cell::Null) => texts.push(None),
                Some(Cell::Unchanged) | None => {
                    return Err(PostgresFault::Unfit {
                        message: "a change does not have the values of the row's key".to_owned(),
                        fix: "ALTER TABLE … REPLICA IDENTITY FULL, and copy the table again"
                            .to_owned(),
                    }
                    .into());
                }
            }
        }
        Ok(key_hash(texts.into_iter()))
    }

    /// Finds the values that a change has not sent in the row that it changes.
    fn base(&mut self, cells: &mut [Cell], before: KeyHash, key: &[Cell]) -> Option<Base> {
        if !cells.contains(&Cell::Unchanged) {
            return None;
        }
        let Some(at) = self.last.get(&before).copied() else {
            if self.truncated.is_some() {
                return Some(Base::Nowhere);
            }
            self.wanted.push(key.to_vec());
            return Some(Base::Table(self.wanted.len() - 1));
        };
        let closed = self.begins_open();
        if at < closed {
            return Some(Base::Closed(at));
        }
        let earlier = &self.open[at - closed];
        if earlier.deleted {
            return Some(Base::Nowhere);
        }
        for (cell, before) in cells.iter_mut().zip(&earlier.cells) {
            if *cell == Cell::Unchanged {
                cell.clone_from(before);
            }
        }
        cells.contains(&Cell::Unchanged).then_some(earlier.base.unwrap_or(Base::Nowhere))
    }

    /// The number of the first row that is not in a chunk.
    pub(super) fn begins_open(&self) -> usize {
        usize::try_from(self.closed.rows()).unwrap_or(usize::MAX)
    }

    fn add(&mut self, row: Row, key: Option<KeyHash>) -> Result<()> {
        if key.is_some() && self.keep.len() >= CHANGES_MAX {
            return Err(DataError::TooLarge {
                what: "one transaction of PostgreSQL".to_owned(),
                size: format!("more than {CHANGES_MAX} changes"),
                limit: format!("{CHANGES_MAX} changes"),
            });
        }
        self.open_bytes += row.bytes();
        let at = self.keep.len();
        self.keep.push(true);
        self.open.push(row);
        if let Some(earlier) = key.and_then(|key| self.last.insert(key, at)) {
            self.keep[earlier] = false;
        }
        Ok(())
    }

    /// Whether the open rows are enough for a chunk.
    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= CHUNK_ROWS_MAX || self.open_bytes >= CHUNK_BYTES_MAX
    }

    /// Puts a chunk behind the others: rows that were open, and those of them that do not fit.
    pub(super) fn close(
        &mut self,
        chunk: &RecordBatch,
        mut bad: Vec<(Record, Fault)>,
    ) -> Result<()> {
        self.closed.push(chunk).map_err(DataError::engine)?;
        self.counts.quarantined += bad.len() as u64;
        bad.retain(|(record, _)| !self.held.contains(&record.offset));
        if !bad.is_empty() {
            self.bad.push(&quarantine_rows(&bad)?).map_err(DataError::engine)?;
        }
        Ok(())
    }

    /// Gives all rows columns that were added, each with what the rows before have in it. Nothing is
    /// open.
    pub(super) fn widen(&mut self, added: Vec<(Column, Option<String>)>) -> Result<()> {
        let first = self.layout.columns.len();
        self.layout.columns.extend(added.iter().map(|(column, _)| column.clone()));
        let narrow = std::mem::replace(&mut self.closed, self.layout.spill());
        for number in 0..narrow.pieces() {
            let chunk = narrow.piece(number).map_err(DataError::engine)?;
            let mut columns = chunk.columns().to_vec();
            for (at, (column, value)) in added.iter().enumerate() {
                let texts = vec![value.as_deref(); chunk.num_rows()];
                columns.insert(first + at, column.kind.column(&texts, &mut Vec::new()));
            }
            let chunk = RecordBatch::try_new(Arc::clone(self.closed.schema()), columns);
            self.closed.push(&chunk.map_err(DataError::engine)?).map_err(DataError::engine)?;
        }
        Ok(())
    }

    /// All rows, once the last chunk is closed.
    pub(super) fn ready(self) -> Ready {
        Ready {
            rows: self.closed,
            keep: self.keep,
            bad: self.bad,
            counts: self.counts,
            last: self.next - 1,
            truncated: self.truncated.is_some(),
            overtaking: Overtaking {
                last: self.last,
                unfit: self.unfit,
                truncated: self.truncated,
                numbers: self.first..self.next,
                again: self.again,
            },
            only_inserts: self.only_inserts,
            sent: self.sent.digest(),
        }
    }
}

/// Which row of the source has these values in its key.
pub(super) fn key_hash<'a>(texts: impl Iterator<Item = Option<&'a [u8]>>) -> KeyHash {
    let mut hash = [0; 16];
    hash.copy_from_slice(&Digest::of(joined(texts)).as_raw()[..16]);
    hash
}

/// Values as one text, so that no two lists of values have the same.
fn joined<'a>(texts: impl Iterator<Item = Option<&'a [u8]>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in texts {
        let length = text.map_or(u64::MAX, |text| text.len() as u64);
        bytes.extend(length.to_le_bytes());
        bytes.extend(text.unwrap_or_default());
    }
    bytes
}
