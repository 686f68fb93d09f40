//! How do the open rows of a batch become typed columns? Values that were not sent are taken from where
//! they are, texts are read as the column's type, and what does not fit is set aside with its reason.

use std::sync::Arc;

use super::{
    OnUnfit, PARTITION,
    bases::{Bases, Found, Picker},
    batch::{Batch, Row},
    held::Held,
    pgoutput::Cell,
};
use crate::{
    arrival::{Fault, Format, Record},
    error::{DataError, Result},
};
use datafusion::arrow::{
    array::{Array as _, ArrayRef, BooleanArray, Int64Array, RecordBatch},
    compute::cast,
};

/// Longest part of a value that a reason repeats.
const SHOWN_CHARS: usize = 80;

impl Batch {
    /// The keys that must be looked up in the table before the open rows can be closed.
    pub(super) fn wanted_keys(&self) -> Result<Option<RecordBatch>> {
        if self.wanted.is_empty() {
            return Ok(None);
        }
        let mut columns = Vec::with_capacity(self.layout.key.len());
        for at in &self.layout.key {
            let column = &self.layout.columns[*at];
            let texts: Vec<Option<&str>> =
                self.wanted.iter().map(|cells| text(&cells[*at])).collect();
            columns.push((column.name(), column.kind.column(&texts, &mut Vec::new())));
        }
        RecordBatch::try_from_iter(columns).map(Some).map_err(DataError::engine)
    }

    /// The columns that are needed of a row that is looked up: its key, and what was not sent.
    pub(super) fn names_to_look_up(&self) -> Vec<&str> {
        let unsent =
            |at: usize| self.open.iter().any(|row| row.cells.get(at) == Some(&Cell::Unchanged));
        let columns = self.layout.columns.iter().enumerate();
        let needed = columns.filter(|(at, _)| self.layout.key.contains(at) || unsent(*at));
        needed.map(|(_, column)| column.name()).collect()
    }

    /// Closes the open rows. `found` are the rows of the table with the wanted keys. Where values are
    /// taken from other rows, as many rows at once as have room.
    pub(super) fn close_open(&mut self, found: Option<&Found>) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.open);
        let mut picker = Picker::new(&waiting, self.layout.columns.len(), found);
        while !waiting.is_empty() {
            let bases = picker.pick(self, &waiting)?;
            let later = waiting.split_off(bases.len());
            self.open = std::mem::replace(&mut waiting, later);
            self.close_picked(&bases)?;
            self.open.clear();
        }
        self.wanted.clear();
        self.open_bytes = 0;
        Ok(())
    }

    fn close_picked(&mut self, bases: &Bases) -> Result<()> {
        let mut reasons: Vec<Option<Fault>> = Vec::with_capacity(self.open.len());
        for (at, row) in self.open.iter().enumerate() {
            reasons.push(base_fault(self, row, bases.is_there(at)));
        }
        let mut columns = Vec::with_capacity(self.layout.columns.len() + 2);
        for at in 0..self.layout.columns.len() {
            columns.push(self.column(at, bases, &mut reasons)?);
        }
        let bad = self.set_aside(&mut columns, &reasons, bases)?;
        let chunk = RecordBatch::try_new(Arc::clone(self.closed.schema()), columns);
        self.close(&chunk.map_err(DataError::engine)?, bad)
    }

    /// One column of the open rows.
    fn column(&self, at: usize, bases: &Bases, reasons: &mut [Option<Fault>]) -> Result<ArrayRef> {
        let column = &self.layout.columns[at];
        let mut texts = Vec::with_capacity(self.open.len());
        for (row, reason) in self.open.iter().zip(reasons.iter_mut()) {
            let cell = row.cells.get(at).unwrap_or(&Cell::Null);
            if let (Cell::Text(bytes), None) = (cell, &text(cell)) {
                let shown = String::from_utf8_lossy(bytes);
                let words = format!("`{}` is {}, which is not UTF-8", column.name(), cut(&shown));
                reason.get_or_insert_with(|| Fault::new("utf8", words));
            }
            texts.push(text(cell));
        }
        let mut unfit = Vec::new();
        let own = column.kind.column(&texts, &mut unfit);
        let key = self.layout.key.contains(&at);
        for row in unfit {
            if self.layout.on_unfit == OnUnfit::Null && !key {
                continue;
            }
            let shown = texts[row].map(cut).unwrap_or_default();
            let words = format!("`{}` is {shown}, which its type here cannot hold", column.name());
            reasons[row].get_or_insert_with(|| Fault::new("type", words));
        }
        if key {
            for (row, reason) in reasons.iter_mut().enumerate() {
                if own.is_null(row) {
                    let words = format!("the key column `{}` has no value", column.name());
                    reason.get_or_insert_with(|| Fault::new("key", words));
                }
            }
        }
        bases.fill(&self.open, at, own)
    }

    /// Takes what does not fit out of the rows: what stays of it is that the row goes away.
    fn set_aside(
        &mut self,
        columns: &mut Vec<ArrayRef>,
        reasons: &[Option<Fault>],
        bases: &Bases,
    ) -> Result<Vec<(Record, Fault)>> {
        let mut bad = Vec::new();
        for (at, (row, reason)) in self.open.iter().zip(reasons).enumerate() {
            self.unfit.push(row.number.is_some() && reason.is_some());
            if let (Some(offset), Some(fault)) = (row.number, reason) {
                let taken = bases.is_picked(at);
                let held = Held::new(row, &self.layout.columns, columns, at, taken)?;
                bad.push((record(row, offset, held.to_text()?), fault.clone()));
            }
        }
        let gone: BooleanArray = self
            .open
            .iter()
            .zip(reasons)
            .map(|(row, reason)| Some(row.deleted || reason.is_some()))
            .collect();
        let first = self.begins_open();
        for (at, row) in
            (0..self.open.len()).filter(|at| gone.value(*at)).map(|at| (at, first + at))
        {
            // A row that no key names cannot be in the table.
            let named = |key: &usize| columns[*key].is_valid(at);
            if self.layout.key.is_empty() || !self.layout.key.iter().all(named) {
                self.keep[row] = false;
            }
        }
        for (at, column) in columns.iter_mut().enumerate() {
            if !self.layout.key.contains(&at) && gone.true_count() > 0 {
                *column =
                    datafusion::arrow::compute::nullif(column, &gone).map_err(DataError::engine)?;
            }
        }
        let places = self.open.iter().map(|row| row.place.lsn.number());
        columns.push(Arc::new(Int64Array::from_iter_values(places)));
        columns.push(Arc::new(gone));
        Ok(bad)
    }

    /// Rows of the table with the columns and types of the batch.
    pub(super) fn in_layout(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(self.layout.columns.len());
        for column in &self.layout.columns {
            let wanted = column.kind.data_type();
            let values = match rows.column_by_name(column.name()) {
                Some(values) => cast(values, &wanted).map_err(DataError::engine)?,
                // It was added in this very batch.
                None => datafusion::arrow::array::new_null_array(&wanted, rows.num_rows()),
            };
            columns.push((column.name(), values));
        }
        RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, values)| (name, values, true)),
        )
        .map_err(DataError::engine)
    }
}

/// A change as the quarantine keeps it.
fn record(row: &Row, offset: i64, text: String) -> Record {
    let (partition, arrived_at) = (PARTITION.into(), row.place.at_us);
    Record { partition, offset, arrived_at, format: Format::Postgres, payload: text.into() }
}

/// Why the values that were not sent are nowhere.
fn base_fault(batch: &Batch, row: &Row, there: bool) -> Option<Fault> {
    let missing = row.cells.iter().position(|cell| *cell == Cell::Unchanged)?;
    if there {
        return None;
    }
    let name = batch.layout.columns.get(missing).map_or("?", |column| column.name());
    let words = format!(
        "`{name}` was not sent, since the change has not touched it, and the row is not in the table"
    );
    Some(Fault::new("unchanged", words))
}

/// The text of a value; `None` for null, for what was not sent, and for what is no text.
fn text(cell: &Cell) -> Option<&str> {
    std::str::from_utf8(cell.bytes()?).ok()
}

fn cut(text: &str) -> String {
    if text.chars().count() <= SHOWN_CHARS {
        return text.to_owned();
    }
    text.chars().take(SHOWN_CHARS).chain(['…']).collect()
}
