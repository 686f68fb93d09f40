//! Does a value fit a column, and how do values become a column?

use std::sync::Arc;

use datafusion::arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
        Int64Array, StringArray, TimestampMicrosecondArray,
    },
    compute::{
        cast,
        kernels::cast_utils::{Parser, string_to_datetime},
    },
    datatypes::{DataType, Date32Type},
    error::ArrowError,
};
use serde_json::Value;

/// Whole numbers up to here are the same as floating-point numbers.
const EXACT_MAX: i64 = 1 << 53;

/// A value that fits its column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Bytes(Vec<u8>),
    /// In units of the column's last digit.
    Decimal(i128),
}

/// A value as a contract sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Seen<'a> {
    Null,
    Text(&'a str),
    Int(i64),
    Float(f64),
    Bool(bool),
    Bytes(&'a [u8]),
    Decimal(i128),
}

impl Cell {
    pub(crate) fn seen(&self) -> Seen<'_> {
        match self {
            Self::Null => Seen::Null,
            Self::Text(text) => Seen::Text(text),
            Self::Int(value) => Seen::Int(*value),
            Self::Float(value) => Seen::Float(*value),
            Self::Bool(value) => Seen::Bool(*value),
            Self::Bytes(bytes) => Seen::Bytes(bytes),
            Self::Decimal(value) => Seen::Decimal(*value),
        }
    }
}

/// The value as the column's type; `None` when it does not fit. `loose` reads text as the type.
pub(crate) fn fit(value: &Value, wanted: &DataType, loose: bool) -> Option<Cell> {
    if value.is_null() {
        return Some(Cell::Null);
    }
    if let (Value::String(text), true, true) = (value, loose, *wanted != DataType::Utf8) {
        return fit_text(text.trim(), wanted);
    }
    match (wanted, value) {
        (DataType::Utf8, Value::String(text)) => Some(Cell::Text(text.clone())),
        (DataType::Utf8, other) => Some(Cell::Text(other.to_string())),
        (DataType::Boolean, Value::Bool(value)) => Some(Cell::Bool(*value)),
        (DataType::Binary, value) => crate::sources::bytes_of(value).map(Cell::Bytes),
        (DataType::Float64 | DataType::Float32, Value::Number(number)) => {
            // A whole number that a float cannot hold exactly would be changed in silence.
            let exact = number
                .as_i64()
                .is_none_or(|value| value.unsigned_abs() <= EXACT_MAX.unsigned_abs());
            number.as_f64().filter(|value| exact && value.is_finite()).map(Cell::Float)
        }
        (DataType::Date32 | DataType::Timestamp(_, Some(_)), Value::String(text)) => {
            fit_text(text, wanted)
        }
        (DataType::Decimal128(precision, scale), Value::String(text)) => {
            decimal(text, *precision, *scale).map(Cell::Decimal)
        }
        (DataType::Decimal128(precision, scale), Value::Number(number)) if number.is_i64() => {
            decimal(&number.to_string(), *precision, *scale).map(Cell::Decimal)
        }
        (whole, Value::Number(number)) if whole.is_signed_integer() => {
            let exact = |value: f64| {
                #[expect(clippy::cast_possible_truncation, reason = "checked to be whole")]
                let whole = value as i64;
                (value.fract() == 0.0 && whole.unsigned_abs() <= EXACT_MAX.unsigned_abs())
                    .then_some(whole)
            };
            let value = number.as_i64().or_else(|| number.as_f64().and_then(exact))?;
            in_range(value, wanted).then_some(Cell::Int(value))
        }
        _ => None,
    }
}

fn in_range(value: i64, wanted: &DataType) -> bool {
    match wanted {
        DataType::Int8 => i8::try_from(value).is_ok(),
        DataType::Int16 => i16::try_from(value).is_ok(),
        DataType::Int32 => i32::try_from(value).is_ok(),
        _ => true,
    }
}

/// The digits of a text such as `-12.30` in units of the last one that the column has. A digit that
/// the column has no room for is not cut off: then it does not fit.
fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let part = part.trim_end_matches('0');
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(part) || part.len() > scale {
        return None;
    }
    let unit: i128 = format!("{whole}{part:0<scale$}").parse().ok()?;
    (unit < 10_i128.checked_pow(precision.into())?).then_some(sign * unit)
}

fn fit_text(text: &str, wanted: &DataType) -> Option<Cell> {
    match wanted {
        DataType::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "1" => Some(Cell::Bool(true)),
            "false" | "f" | "no" | "0" => Some(Cell::Bool(false)),
            _ => None,
        },
        DataType::Float64 | DataType::Float32 => {
            text.parse::<f64>().ok().filter(|value| value.is_finite()).map(Cell::Float)
        }
        DataType::Date32 => Date32Type::parse(text).map(|day| Cell::Int(day.into())),
        DataType::Timestamp(_, Some(_)) => {
            let zone: datafusion::arrow::array::timezone::Tz = "UTC".parse().ok()?;
            let time = string_to_datetime(&zone, text).ok()?;
            Some(Cell::Int(time.timestamp_micros()))
        }
        whole if whole.is_signed_integer() => {
            let value = text.parse::<i64>().ok()?;
            in_range(value, wanted).then_some(Cell::Int(value))
        }
        _ => None,
    }
}

/// The type that a value suggests for a new column; `None` for a value that says nothing.
pub(crate) fn suggests(value: &Value, loose: bool) -> Option<DataType> {
    match value {
        Value::Null => None,
        Value::Bool(_) => Some(DataType::Boolean),
        Value::Number(number) if number.is_i64() => Some(DataType::Int64),
        Value::Number(number) if number.is_f64() => Some(DataType::Float64),
        Value::String(text) if loose => Some(suggests_text(text)),
        Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            Some(DataType::Utf8)
        }
    }
}

fn suggests_text(text: &str) -> DataType {
    let digits = text.strip_prefix('-').unwrap_or(text);
    // A number with a leading zero is a name: a postcode, a part number.
    let plain = digits.starts_with(|c: char| c.is_ascii_digit())
        && (!digits.starts_with('0') || digits.len() == 1 || digits.starts_with("0."));
    match text {
        "true" | "false" | "True" | "False" | "TRUE" | "FALSE" => DataType::Boolean,
        _ if plain && text.parse::<i64>().is_ok() => DataType::Int64,
        _ if plain && text.parse::<f64>().is_ok_and(f64::is_finite) => DataType::Float64,
        _ => DataType::Utf8,
    }
}

/// The type that holds the values of both.
pub(crate) fn widened(left: &DataType, right: &DataType) -> DataType {
    match (left, right) {
        (left, right) if left == right => left.clone(),
        (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => {
            DataType::Float64
        }
        _ => DataType::Utf8,
    }
}

/// A column of cells that were checked with [`fit`].
pub(crate) fn array(cells: Vec<Cell>, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    let ints = |cells: Vec<Cell>| {
        cells.into_iter().map(|cell| match cell {
            Cell::Int(value) => Some(value),
            _ => None,
        })
    };
    Ok(match wanted {
        DataType::Utf8 => {
            Arc::new(StringArray::from_iter(cells.into_iter().map(|cell| match cell {
                Cell::Text(text) => Some(text),
                _ => None,
            })))
        }
        DataType::Binary => {
            Arc::new(BinaryArray::from_iter(cells.into_iter().map(|cell| match cell {
                Cell::Bytes(bytes) => Some(bytes),
                _ => None,
            })))
        }
        DataType::Boolean => {
            Arc::new(BooleanArray::from_iter(cells.into_iter().map(|cell| match cell {
                Cell::Bool(value) => Some(value),
                _ => None,
            })))
        }
        DataType::Float64 | DataType::Float32 => {
            let floats = Float64Array::from_iter(cells.into_iter().map(|cell| match cell {
                Cell::Float(value) => Some(value),
                _ => None,
            }));
            cast(&floats, wanted)?
        }
        DataType::Decimal128(precision, scale) => {
            let units = Decimal128Array::from_iter(cells.into_iter().map(|cell| match cell {
                Cell::Decimal(value) => Some(value),
                _ => None,
            }));
            Arc::new(units.with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Date32 => Arc::new(Date32Array::from_iter(
            ints(cells).map(|value| value.and_then(|day| i32::try_from(day).ok())),
        )),
        DataType::Timestamp(_, Some(_)) => {
            Arc::new(TimestampMicrosecondArray::from_iter(ints(cells)).with_timezone("UTC"))
        }
        whole => cast(&Int64Array::from_iter(ints(cells)), whole)?,
    })
}
