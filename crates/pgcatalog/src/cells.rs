//! How do the engine's values become the wire's, and parameters the engine's?

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray as _, RecordBatch},
        compute::{can_cast_types, cast},
        datatypes::{
            DataType, Date32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
        },
        error::ArrowError,
        util::display::{ArrayFormatter, FormatOptions},
    },
    common::{DataFusionError, ScalarValue},
};
use sextant_sqlwire::{Cell, Kind, Parameter, Row};

/// Digits that a decimal parameter may have.
const DECIMAL_DIGITS_MAX: usize = 38;

/// The kind under which a client sees a type. What has no better form is text.
pub(super) fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Boolean => Kind::Bool,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => Kind::Int2,
        DataType::Int32 | DataType::UInt16 => Kind::Int4,
        DataType::Int64 | DataType::UInt32 => Kind::Int8,
        DataType::UInt64 | DataType::Decimal128(..) | DataType::Decimal256(..) => Kind::Numeric,
        DataType::Float16 | DataType::Float32 => Kind::Float4,
        DataType::Float64 => Kind::Float8,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Kind::Bytes,
        DataType::Date32 | DataType::Date64 => Kind::Date,
        DataType::Timestamp(_, None) => Kind::Timestamp,
        DataType::Timestamp(_, Some(_)) => Kind::Timestamptz,
        DataType::Dictionary(_, value) => kind(value),
        _ => Kind::Text,
    }
}

/// The type in which values of a kind are read out.
fn carrier(kind: Kind) -> DataType {
    match kind {
        Kind::Bool => DataType::Boolean,
        Kind::Int2 | Kind::Int4 | Kind::Int8 => DataType::Int64,
        Kind::Float4 | Kind::Float8 => DataType::Float64,
        Kind::Numeric | Kind::Text => DataType::Utf8,
        Kind::Bytes => DataType::Binary,
        Kind::Date => DataType::Date32,
        Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Kind::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    }
}

/// The rows of a batch.
pub(super) fn rows(batch: &RecordBatch, kinds: &[Kind]) -> Result<Vec<Row>, ArrowError> {
    let mut rows = vec![Vec::with_capacity(kinds.len()); batch.num_rows()];
    for (column, kind) in batch.columns().iter().zip(kinds) {
        for (row, cell) in rows.iter_mut().zip(cells(column, *kind)?) {
            row.push(cell);
        }
    }
    Ok(rows)
}

fn cells(column: &ArrayRef, kind: Kind) -> Result<Vec<Cell>, ArrowError> {
    let target = carrier(kind);
    let nested = column.data_type().is_nested() || !can_cast_types(column.data_type(), &target);
    if nested {
        return formatted(column);
    }
    let column = cast(column, &target)?;
    let found: Vec<Option<Cell>> = match &target {
        DataType::Boolean => column.as_boolean().iter().map(|v| v.map(Cell::Bool)).collect(),
        DataType::Int64 => {
            column.as_primitive::<Int64Type>().iter().map(|v| v.map(Cell::Int)).collect()
        }
        DataType::Float64 => {
            column.as_primitive::<Float64Type>().iter().map(|v| v.map(Cell::Float)).collect()
        }
        DataType::Utf8 => {
            let text = |value: &str| Cell::Text(value.to_owned());
            column.as_string::<i32>().iter().map(|v| v.map(text)).collect()
        }
        DataType::Binary => {
            let bytes = |value: &[u8]| Cell::Bytes(value.to_vec());
            column.as_binary::<i32>().iter().map(|v| v.map(bytes)).collect()
        }
        DataType::Date32 => {
            column.as_primitive::<Date32Type>().iter().map(|v| v.map(Cell::Date)).collect()
        }
        _ => {
            let micros = column.as_primitive::<TimestampMicrosecondType>();
            micros.iter().map(|v| v.map(Cell::Timestamp)).collect()
        }
    };
    Ok(found.into_iter().map(|cell| cell.unwrap_or(Cell::Null)).collect())
}

/// Lists, structs and whatever else has only a written form.
fn formatted(column: &ArrayRef) -> Result<Vec<Cell>, ArrowError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let cell = |row: usize| {
        if column.is_null(row) {
            return Ok(Cell::Null);
        }
        Ok(Cell::Text(formatter.value(row).try_to_string()?))
    };
    (0..column.len()).map(cell).collect()
}

/// The engine's type of a parameter.
fn parameter_type(kind: Kind) -> DataType {
    match kind {
        Kind::Int2 => DataType::Int16,
        Kind::Int4 => DataType::Int32,
        Kind::Float4 => DataType::Float32,
        Kind::Numeric => DataType::Float64,
        other => carrier(other),
    }
}

/// A parameter that is null.
pub(super) fn null(kind: Kind) -> Result<ScalarValue, DataFusionError> {
    ScalarValue::try_from(&parameter_type(kind))
}

/// A parameter's value in its type.
pub(super) fn scalar(parameter: Parameter) -> Result<ScalarValue, DataFusionError> {
    let target = parameter_type(parameter.kind);
    let value = match parameter.cell {
        Cell::Null => return null(parameter.kind),
        Cell::Bool(value) => ScalarValue::from(value),
        Cell::Int(value) => ScalarValue::from(value),
        Cell::Float(value) => ScalarValue::from(value),
        Cell::Text(text) if parameter.kind == Kind::Numeric => return number(&text),
        Cell::Text(text) => ScalarValue::from(text),
        Cell::Bytes(bytes) => ScalarValue::Binary(Some(bytes)),
        Cell::Date(days) => ScalarValue::Date32(Some(days)),
        Cell::Timestamp(micros) => ScalarValue::TimestampMicrosecond(Some(micros), None),
    };
    if value.data_type() == target { Ok(value) } else { value.cast_to(&target) }
}

/// A numeric as the engine's double, whole numbers included: its prepared type must not depend on
/// the value. One with more digits than a double holds is refused, not rounded.
fn number(text: &str) -> Result<ScalarValue, DataFusionError> {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let refused = || DataFusionError::Execution(format!("`{text}` has more digits than fit"));
    if digits > DECIMAL_DIGITS_MAX {
        return Err(refused());
    }
    let value: f64 = text.trim().parse().map_err(|_| refused())?;
    if digits > 15 && value.to_string() != text.trim() { Err(refused()) } else { Ok(value.into()) }
}
