//! Up to where has a table grown? A column that only grows says so. Its values are counted as whole
//! numbers: numbers as they are, days since 1970, times in microseconds since 1970.
//!
//! A commit never ends between two rows with the same value: the next read begins behind the value
//! that the commit holds, so the second of the two would be lost.

use std::sync::Arc;

use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray as _, Int64Array, RecordBatch},
    compute::{CastOptions, cast_with_options, concat_batches},
    datatypes::{DataType, Field, Int64Type, Schema, TimeUnit},
    error::ArrowError,
};

use super::fault::AdbcFault;

/// Most bytes of rows that wait because all have the same value.
const SAME_VALUE_BYTES_MAX: usize = 256 << 20;

/// Rows that belong into one commit, and the value up to which the table has everything then.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) rows: RecordBatch,
    pub(crate) mark: i64,
}

/// Cuts ordered rows into commits.
pub(crate) struct Cutter {
    cursor: String,
    mark: Option<i64>,
    waiting: Option<(RecordBatch, Int64Array)>,
    records_max: usize,
    bytes_max: usize,
}

impl Cutter {
    /// Of rows behind this mark.
    pub(crate) fn new(
        cursor: &str,
        mark: Option<i64>,
        records_max: usize,
        bytes_max: usize,
    ) -> Self {
        Self { cursor: cursor.to_owned(), mark, waiting: None, records_max, bytes_max }
    }

    fn fault(&self, reason: impl Into<String>) -> AdbcFault {
        AdbcFault::Cursor { cursor: self.cursor.clone(), reason: reason.into() }
    }

    /// Takes more rows; gives those that are ready for a commit.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<Option<Cut>, AdbcFault> {
        let values = values(batch, &self.cursor)?;
        let before = self.waiting.as_ref().and_then(|(_, known)| known.values().last().copied());
        let first = values.values().first().copied();
        let ordered = values.values().is_sorted() && (first.is_none() || before <= first);
        if values.null_count() > 0 || !ordered {
            return Err(self.fault("the warehouse does not hand them over in its order"));
        }
        // What the warehouse takes for later than the mark may be the same microsecond.
        let known = self.mark.map_or(0, |mark| values.values().partition_point(|at| *at <= mark));
        let count = values.len() - known;
        let (batch, values) = (batch.slice(known, count), values.slice(known, count));
        if count == 0 {
            return Ok(None);
        }
        let (rows, values) = match self.waiting.take() {
            None => (batch, values),
            Some((rows, known)) => {
                let joined = concat_batches(&rows.schema(), [&rows, &batch]);
                let rows = joined.map_err(|error| self.fault(error.to_string()))?;
                let values = known.values().iter().chain(values.values()).copied();
                (rows, values.collect::<Int64Array>())
            }
        };
        self.cut(rows, values)
    }

    fn cut(&mut self, rows: RecordBatch, values: Int64Array) -> Result<Option<Cut>, AdbcFault> {
        let bytes = rows.get_array_memory_size();
        if rows.num_rows() < self.records_max && bytes < self.bytes_max {
            self.waiting = Some((rows, values));
            return Ok(None);
        }
        let last = values.value(values.len() - 1);
        let end = values.values().partition_point(|at| *at < last);
        if end == 0 {
            if bytes > SAME_VALUE_BYTES_MAX {
                let count = rows.num_rows();
                return Err(self.fault(format!("more than {count} rows have the value {last}")));
            }
            self.waiting = Some((rows, values));
            return Ok(None);
        }
        let mark = values.value(end - 1);
        let rest = rows.num_rows() - end;
        self.waiting = Some((rows.slice(end, rest), values.slice(end, rest)));
        self.mark = Some(mark);
        Ok(Some(Cut { rows: rows.slice(0, end), mark }))
    }

    /// What is left when the warehouse has no more.
    pub(crate) fn rest(&mut self) -> Option<Cut> {
        let (rows, values) = self.waiting.take()?;
        let mark = *values.values().last()?;
        Some(Cut { rows, mark })
    }
}

/// The column, whatever the warehouse's rule for large and small letters is.
fn column(batch: &RecordBatch, cursor: &str) -> Option<ArrayRef> {
    let schema = batch.schema();
    let at = schema.fields().iter().position(|field| field.name().eq_ignore_ascii_case(cursor))?;
    Some(Arc::clone(batch.column(at)))
}

fn values(batch: &RecordBatch, cursor: &str) -> Result<Int64Array, AdbcFault> {
    let fault = |reason: String| AdbcFault::Cursor { cursor: cursor.to_owned(), reason };
    let column =
        column(batch, cursor).ok_or_else(|| fault("there is no such column".to_owned()))?;
    let strict = |array: &ArrayRef, to: &DataType| {
        cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
    };
    let number = |array: &ArrayRef| -> Result<ArrayRef, ArrowError> {
        match array.data_type() {
            of if of.is_integer() => strict(array, &DataType::Int64),
            DataType::Decimal128(_, 0) => strict(array, &DataType::Int64),
            DataType::Date32 => strict(&strict(array, &DataType::Int32)?, &DataType::Int64),
            DataType::Timestamp(_, zone) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                strict(&strict(array, &micros)?, &DataType::Int64)
            }
            other => Err(ArrowError::CastError(format!("{other} is no number, day or time"))),
        }
    };
    let numbers = number(&column).map_err(|error| fault(error.to_string()))?;
    Ok(numbers.as_primitive::<Int64Type>().clone())
}

/// The mark as a value of the column's type, to ask the warehouse with.
pub(crate) fn parameter(mark: i64, of: &DataType) -> Result<RecordBatch, ArrowError> {
    let number: ArrayRef = Arc::new(Int64Array::from(vec![mark]));
    let strict = |array: &ArrayRef, to: &DataType| {
        cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
    };
    let value = match of {
        DataType::Date32 => strict(&strict(&number, &DataType::Int32)?, of)?,
        DataType::Timestamp(_, zone) => {
            strict(&number, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?
        }
        _ => number,
    };
    let schema = Schema::new(vec![Field::new("mark", value.data_type().clone(), false)]);
    RecordBatch::try_new(Arc::new(schema), vec![value])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use datafusion::arrow::array::{StringArray, TimestampMicrosecondArray};

    use super::*;

    fn numbers(values: &[i64]) -> RecordBatch {
        let values: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        RecordBatch::try_from_iter([("ID", values)]).unwrap()
    }

    /// The commits that these batches make: their values and marks.
    fn cuts(mark: Option<i64>, batches: &[&[i64]]) -> Result<Vec<(Vec<i64>, i64)>, AdbcFault> {
        let mut cutter = Cutter::new("id", mark, 3, usize::MAX);
        let mut found = Vec::new();
        for batch in batches {
            found.extend(cutter.push(&numbers(batch))?);
        }
        found.extend(cutter.rest());
        let of = |cut: Cut| (values(&cut.rows, "id").unwrap().values().to_vec(), cut.mark);
        Ok(found.into_iter().map(of).collect())
    }

    #[test]
    fn equal_values_are_never_parted() {
        for (mark, batches, expected) in [
            (None, &[&[1_i64, 2][..], &[3, 4]][..], &[(&[1_i64, 2, 3][..], 3_i64), (&[4], 4)][..]),
            (None, &[&[1, 2, 2], &[2, 3]], &[(&[1], 1), (&[2, 2, 2], 2), (&[3], 3)]),
            (None, &[&[5, 5, 5], &[5, 5], &[6]], &[(&[5, 5, 5, 5, 5], 5), (&[6], 6)]),
            (Some(2), &[&[1, 2, 3], &[3, 4]], &[(&[3, 3], 3), (&[4], 4)]),
            (Some(9), &[&[7, 8, 9]], &[]),
            (None, &[], &[]),
        ] {
            let found = cuts(mark, batches).unwrap();
            let found: Vec<(&[i64], i64)> =
                found.iter().map(|(rows, at)| (&rows[..], *at)).collect();
            assert_eq!(found, expected, "{mark:?} {batches:?}");
        }
        for disorder in [&[&[2_i64, 1][..]][..], &[&[3], &[2]]] {
            assert!(cuts(None, disorder).is_err(), "{disorder:?}");
        }
    }

    #[test]
    fn only_what_can_be_counted_is_a_cursor() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["2026-01-01"]));
        let batch = RecordBatch::try_from_iter([("at", text)]).unwrap();
        assert!(values(&batch, "at").is_err());
        assert!(values(&batch, "other").is_err());
        let times: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(vec![7]).with_timezone("UTC"));
        let of = times.data_type().clone();
        let batch = RecordBatch::try_from_iter([("at", times)]).unwrap();
        assert_eq!(values(&batch, "at").unwrap().value(0), 7);
        let asked = parameter(7, &of).unwrap();
        assert_eq!(asked.column(0).as_ref(), batch.column(0).as_ref());
    }
}
