//! Where are values that a change has not sent? PostgreSQL leaves out large values that a change does not
//! touch: they are taken from the row that it changes, which is in the table or among those that wait.
//! Of both only a piece is held at once, and of the values as many as a chunk has room for.

use std::{collections::HashMap, sync::Arc};

use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray as _, RecordBatch, UInt32Array},
    compute::{interleave, take_record_batch},
    datatypes::DataType,
    error::ArrowError,
    row::{OwnedRow, RowConverter, SortField},
};

use super::{
    batch::{Base, Batch, CHUNK_BYTES_MAX, Row},
    pgoutput::Cell,
    spill::{DELETED, Spill},
};
use crate::error::{DataError, Result};

/// The rows of the table with the keys that a batch has looked up.
pub(super) struct Found {
    rows: Spill,
    converter: RowConverter,
    asked: Vec<OwnedRow>,
    by_key: HashMap<OwnedRow, usize>,
}

impl Found {
    /// None of the rows with these keys yet.
    pub(super) fn new(batch: &Batch, keys: &RecordBatch) -> Result<Self> {
        let fields = keys.columns().iter().map(|column| SortField::new(column.data_type().clone()));
        let converter = RowConverter::new(fields.collect()).map_err(DataError::engine)?;
        let asked = converter.convert_columns(keys.columns()).map_err(DataError::engine)?;
        let asked = asked.iter().map(|row| row.owned()).collect();
        let schema = Arc::clone(batch.closed.schema());
        let rows = Spill::new(batch.layout.folder.clone(), schema, 0);
        Ok(Self { rows, converter, asked, by_key: HashMap::new() })
    }

    /// Adds rows as the table has them.
    pub(super) fn add(&mut self, batch: &Batch, rows: &RecordBatch) -> Result<()> {
        let rows = batch.in_layout(rows)?;
        let first = usize::try_from(self.rows.rows()).unwrap_or(usize::MAX);
        let keys: Vec<ArrayRef> =
            batch.layout.key.iter().map(|at| Arc::clone(rows.column(*at))).collect();
        let keys = self.converter.convert_columns(&keys).map_err(DataError::engine)?;
        self.by_key.extend(keys.iter().enumerate().map(|(at, key)| (key.owned(), first + at)));
        self.rows.push(&rows).map_err(DataError::engine)
    }

    /// The row with this one of the keys.
    fn row(&self, key: usize) -> Option<usize> {
        self.by_key.get(self.asked.get(key)?).copied()
    }
}

/// Where the value of a row is that it has not sent.
#[derive(Clone, Copy)]
enum Taken {
    Nowhere,
    /// Its row is there, but nobody needs it: a later change of the row counts.
    Left,
    /// In this row of these picks.
    Picked(usize, usize),
}

/// What some open rows take from others.
pub(super) struct Bases {
    /// The columns that are taken, of those of a row.
    columns: Vec<usize>,
    picks: Vec<RecordBatch>,
    of_row: Vec<Taken>,
}

impl Bases {
    /// How many rows it is for, from the first of those that are open.
    pub(super) fn len(&self) -> usize {
        self.of_row.len()
    }

    /// Whether a row has another one to take values from.
    pub(super) fn is_there(&self, row: usize) -> bool {
        !matches!(self.of_row.get(row), None | Some(Taken::Nowhere))
    }

    /// Whether a row has the values of another one.
    pub(super) fn is_picked(&self, row: usize) -> bool {
        matches!(self.of_row.get(row), Some(Taken::Picked(..)))
    }

    /// Puts values of the bases where a row has none of its own.
    pub(super) fn fill(&self, open: &[Row], at: usize, own: ArrayRef) -> Result<ArrayRef> {
        let Some(column) = self.columns.iter().position(|column| *column == at) else {
            return Ok(own);
        };
        let mut values: Vec<&dyn Array> = vec![&own];
        values.extend(self.picks.iter().map(|pick| pick.column(column).as_ref()));
        let place = |(number, (row, taken)): (usize, (&Row, &Taken))| match taken {
            Taken::Picked(pick, from) if row.cells.get(at) == Some(&Cell::Unchanged) => {
                (pick + 1, *from)
            }
            _ => (0, number),
        };
        let places: Vec<_> = open.iter().zip(&self.of_row).enumerate().map(place).collect();
        interleave(&values, &places).map_err(DataError::engine)
    }
}

/// Which rows values are taken from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Table,
    Closed,
}

/// A piece that was read.
struct Piece {
    source: Source,
    number: usize,
    rows: RecordBatch,
    /// Its rows that are wanted, in order.
    wanted: Vec<u32>,
}

/// Takes values for open rows, some of them at a time.
pub(super) struct Picker<'a> {
    found: Option<&'a Found>,
    columns: Vec<usize>,
    piece: Option<Piece>,
}

impl<'a> Picker<'a> {
    pub(super) fn new(open: &[Row], columns: usize, found: Option<&'a Found>) -> Self {
        let taken =
            |at: &usize| open.iter().any(|row| row.cells.get(*at) == Some(&Cell::Unchanged));
        Self { found, columns: (0..columns).filter(taken).collect(), piece: None }
    }

    /// Takes the values for the first of these rows, as many as have room, and at least for one.
    pub(super) fn pick(&mut self, batch: &Batch, open: &[Row]) -> Result<Bases> {
        let (columns, picks) = (self.columns.clone(), Vec::new());
        let mut bases = Bases { columns, picks, of_row: Vec::new() };
        let mut bytes = 0;
        for (at, row) in open.iter().enumerate() {
            if bytes > CHUNK_BYTES_MAX {
                break;
            }
            let counts = batch.keep.get(batch.begins_open() + at).copied().unwrap_or(true);
            let taken = self.take(batch, row, counts, &mut bases, &mut bytes)?;
            bases.of_row.push(taken);
            bytes += row.bytes();
        }
        self.flush(&mut bases)?;
        Ok(bases)
    }

    fn take(
        &mut self,
        batch: &Batch,
        row: &Row,
        counts: bool,
        bases: &mut Bases,
        bytes: &mut usize,
    ) -> Result<Taken> {
        let (source, number) = match row.base {
            None | Some(Base::Nowhere) => return Ok(Taken::Nowhere),
            Some(Base::Closed(row)) => (Source::Closed, row),
            Some(Base::Table(key)) => match self.found.and_then(|found| found.row(key)) {
                Some(row) => (Source::Table, row),
                None => return Ok(Taken::Nowhere),
            },
        };
        let Some(rows) = self.rows(batch, source) else { return Ok(Taken::Nowhere) };
        let (number, at) = rows.place(number);
        if !self.piece.as_ref().is_some_and(|it| it.source == source && it.number == number) {
            self.flush(bases)?;
            let rows = rows.piece(number).map_err(DataError::engine)?;
            self.piece = Some(Piece { source, number, rows, wanted: Vec::new() });
        }
        let Some(piece) = &mut self.piece else { return Ok(Taken::Nowhere) };
        let gone = piece.rows.column_by_name(DELETED).filter(|_| source == Source::Closed);
        if gone.is_some_and(|gone| gone.as_boolean().value(at)) {
            return Ok(Taken::Nowhere);
        }
        if !counts {
            return Ok(Taken::Left);
        }
        *bytes +=
            self.columns.iter().map(|column| width(piece.rows.column(*column), at)).sum::<usize>();
        piece.wanted.push(u32::try_from(at).unwrap_or(u32::MAX));
        Ok(Taken::Picked(bases.picks.len(), piece.wanted.len() - 1))
    }

    fn rows<'b>(&self, batch: &'b Batch, source: Source) -> Option<&'b Spill>
    where
        'a: 'b,
    {
        match source {
            Source::Closed => Some(&batch.closed),
            Source::Table => self.found.map(|found| &found.rows),
        }
    }

    /// Copies what is wanted of the piece, so that the rest of it can go.
    fn flush(&mut self, bases: &mut Bases) -> Result<()> {
        let Some(piece) = &mut self.piece else { return Ok(()) };
        let wanted = std::mem::take(&mut piece.wanted);
        if wanted.is_empty() {
            return Ok(());
        }
        let copy = || -> std::result::Result<RecordBatch, ArrowError> {
            take_record_batch(&piece.rows.project(&self.columns)?, &UInt32Array::from(wanted))
        };
        bases.picks.push(copy().map_err(DataError::engine)?);
        Ok(())
    }
}

/// How many bytes a value takes.
fn width(column: &ArrayRef, row: usize) -> usize {
    let length = match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value_length(row),
        DataType::Binary => column.as_binary::<i32>().value_length(row),
        _ => 0,
    };
    usize::try_from(length).unwrap_or(0) + size_of::<u128>()
}
