//! Where do rows wait until their commit? In memory up to a bound, behind that in a file of the spill
//! folder, in pieces of which one is read for the sake of a row. So a table can be copied, and a
//! transaction can be landed whole, that is larger than memory.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Seek as _},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{Array as _, BooleanArray, RecordBatch},
        compute::{and, concat_batches, filter_record_batch, not},
        datatypes::{Schema, SchemaRef},
        error::ArrowError,
        ipc::{reader::StreamReader, writer::StreamWriter},
        row::{RowConverter, SortField},
    },
    catalog::streaming::StreamingTable,
    common::DataFusionError,
    execution::TaskContext,
    physical_plan::{
        SendableRecordBatchStream, stream::RecordBatchStreamAdapter, streaming::PartitionStream,
    },
};
use sextant_core::{Digest, DigestHasher};

/// Most bytes of rows that wait in memory.
const MEMORY_BYTES_MAX: usize = 32 << 20;
/// About how many bytes a piece has; more where its rows have.
const PIECE_BYTES: usize = 256 << 10;
/// The column that says whether a row is to be taken away; it is in no table.
pub(super) const DELETED: &str = "_sextant_deleted";

#[derive(Debug)]
enum Piece {
    Memory(RecordBatch),
    /// In the file, from this byte on.
    File(u64),
}

/// Reads a file from a place of its own, so that several can read it at once.
struct Reader<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A digest of rows in any order: equal rows, equally often, give equal digests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RowSum([u64; 4]);

impl RowSum {
    pub(super) fn digest(&self) -> Digest {
        let mut hasher = DigestHasher::new();
        for word in self.0 {
            hasher.update(word.to_le_bytes());
        }
        hasher.finish()
    }

    pub(super) fn add(&mut self, row: &[u8]) {
        let digest = Digest::of(row);
        let mut carry = false;
        for (sum, bytes) in self.0.iter_mut().zip(digest.as_raw().chunks_exact(8)) {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            let (with, over) = sum.overflowing_add(u64::from_le_bytes(word));
            let (with, over_again) = with.overflowing_add(carry.into());
            (*sum, carry) = (with, over || over_again);
        }
    }
}

/// Rows on their way into a table.
#[derive(Debug)]
pub(super) struct Spill {
    folder: PathBuf,
    schema: SchemaRef,
    /// Without a name, so that nothing is left of it when the process ends.
    file: Option<File>,
    pieces: Vec<Piece>,
    /// The number of the first row of each piece.
    begins: Vec<usize>,
    bytes: usize,
    rows: u64,
    sum: RowSum,
    /// How many of the columns, from the first, the sum is made of.
    summed: usize,
}

impl Spill {
    /// Rows of these columns; `summed` of them decide whether two of them are the same.
    pub(super) fn new(folder: PathBuf, schema: SchemaRef, summed: usize) -> Self {
        let (pieces, begins, sum) = (Vec::new(), Vec::new(), RowSum::default());
        Self { folder, schema, file: None, pieces, begins, bytes: 0, rows: 0, sum, summed }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds rows.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.count(batch)?;
        let (rows, bytes) = (batch.num_rows(), bytes_of(batch)?);
        self.bytes += bytes;
        let most = (rows.saturating_mul(PIECE_BYTES) / bytes.max(1)).max(1);
        for from in (0..rows).step_by(most) {
            let piece = batch.slice(from, most.min(rows - from));
            let first = usize::try_from(self.rows).unwrap_or(usize::MAX);
            self.rows += piece.num_rows() as u64;
            self.begins.push(first);
            let piece = if self.bytes <= MEMORY_BYTES_MAX {
                Piece::Memory(piece)
            } else {
                Piece::File(self.write(&piece)?)
            };
            self.pieces.push(piece);
        }
        Ok(())
    }

    /// Writes a piece behind the others; where it begins.
    fn write(&mut self, piece: &RecordBatch) -> Result<u64, ArrowError> {
        if self.file.is_none() {
            self.file = Some(tempfile::tempfile_in(&self.folder)?);
        }
        let missing = || ArrowError::IpcError("there is no spill file".to_owned());
        let mut file = self.file.as_ref().ok_or_else(missing)?;
        let at = file.stream_position()?;
        let mut writer = StreamWriter::try_new(BufWriter::new(file), &piece.schema())?;
        writer.write(piece)?;
        writer.finish()?;
        Ok(at)
    }

    fn count(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        if self.summed == 0 {
            return Ok(());
        }
        let columns = &batch.columns()[..self.summed.min(batch.num_columns())];
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        for row in &converter.convert_columns(columns)? {
            self.sum.add(row.as_ref());
        }
        Ok(())
    }

    /// The digest of the rows, in any order, with the names and types of their columns.
    pub(super) fn digest(&self) -> Digest {
        let mut hasher = DigestHasher::new();
        for field in self.schema.fields().iter().take(self.summed) {
            hasher
                .update(field.name())
                .update([0])
                .update(field.data_type().to_string())
                .update([0]);
        }
        hasher.update(self.rows.to_le_bytes());
        hasher.update(self.sum.digest().as_raw());
        hasher.finish()
    }

    /// How many pieces there are.
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// The piece with this row, and the row in it.
    pub(super) fn place(&self, row: usize) -> (usize, usize) {
        let piece = self.begins.partition_point(|begin| *begin <= row).saturating_sub(1);
        (piece, row - self.begins.get(piece).copied().unwrap_or(0))
    }

    /// One piece again.
    pub(super) fn piece(&self, number: usize) -> Result<RecordBatch, ArrowError> {
        let missing = || ArrowError::IpcError("there is no such spilled piece".to_owned());
        match self.pieces.get(number).ok_or_else(missing)? {
            Piece::Memory(batch) => Ok(batch.clone()),
            Piece::File(at) => {
                let file = self.file.as_ref().ok_or_else(missing)?;
                let from = BufReader::new(Reader { file, at: *at });
                StreamReader::try_new(from, None)?.next().ok_or_else(missing)?
            }
        }
    }

    /// The columns that a table has.
    fn unmarked(&self) -> SchemaRef {
        let others = self.schema.fields().iter().filter(|field| field.name() != DELETED);
        Arc::new(Schema::new(others.cloned().collect::<Vec<_>>()))
    }

    /// All rows that are not to be taken away, at once.
    pub(super) fn alive(&self) -> Result<RecordBatch, ArrowError> {
        let schema = self.unmarked();
        let rows = (0..self.pieces()).map(|number| shown(&self.piece(number)?, &schema, None));
        concat_batches(&schema, &rows.collect::<Result<Vec<_>, _>>()?)
    }

    /// The rows as a table to be read. `keep` says of each row whether it counts; `deletions` whether
    /// those that are to be taken away are among them, marked in a column.
    pub(super) fn table(
        self,
        keep: Option<Vec<bool>>,
        deletions: bool,
    ) -> Result<StreamingTable, DataFusionError> {
        let schema = if deletions { Arc::clone(&self.schema) } else { self.unmarked() };
        let rows =
            Rows { schema: Arc::clone(&schema), spill: Arc::new(self), keep: keep.map(Arc::new) };
        StreamingTable::try_new(schema, vec![Arc::new(rows)])
    }
}

/// How many bytes the rows take, not counting what their columns share with others.
fn bytes_of(batch: &RecordBatch) -> Result<usize, ArrowError> {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size()).sum()
}

/// The rows of a spill, as often as they are asked for.
#[derive(Debug)]
struct Rows {
    schema: SchemaRef,
    spill: Arc<Spill>,
    keep: Option<Arc<Vec<bool>>>,
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (spill, keep) = (Arc::clone(&self.spill), self.keep.clone());
        let schema = Arc::clone(&self.schema);
        let mut row = 0;
        let batches = (0..spill.pieces()).map(move |number| {
            let batch = spill.piece(number)?;
            let from = row;
            row += batch.num_rows();
            Ok(shown(&batch, &schema, keep.as_ref().map(|keep| &keep[from..row]))?)
        });
        let stream = futures::stream::iter(batches);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}

/// The rows of a piece that count, with the columns that are wanted.
fn shown(
    batch: &RecordBatch,
    schema: &SchemaRef,
    keep: Option<&[bool]>,
) -> Result<RecordBatch, ArrowError> {
    let mut kept = batch.clone();
    let mut mask = keep.map(|keep| BooleanArray::from(keep.to_vec()));
    let deleted = batch.schema().index_of(DELETED).ok();
    if let Some(deleted) = deleted.filter(|_| schema.index_of(DELETED).is_err()) {
        let column = batch.column(deleted).as_any().downcast_ref::<BooleanArray>();
        let column =
            column.ok_or_else(|| ArrowError::SchemaError("a mark is no mark".to_owned()))?;
        let alive = not(column)?;
        mask = Some(match mask {
            Some(mask) => and(&mask, &alive)?,
            None => alive,
        });
        kept.remove_column(deleted);
    }
    match mask {
        Some(mask) => filter_record_batch(&kept, &mask),
        None => Ok(kept),
    }
}
