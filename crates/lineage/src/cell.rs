//! Which values cross the border to the catalog? [`Cell`] going in, [`Row`] coming out: the same
//! for SQLite today and Postgres tomorrow.

use sextant_core::{ActivityId, Digest, Name, Timestamp};

use crate::LineageError;

/// One value of a statement or a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// No value.
    Null,
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

macro_rules! cell_from {
    ($($type:ty => |$value:ident| $cell:expr;)*) => {
        $(impl From<$type> for Cell {
            fn from($value: $type) -> Self { $cell }
        })*
    };
}

cell_from! {
    i64 => |value| Self::Int(value);
    i32 => |value| Self::Int(value.into());
    u32 => |value| Self::Int(value.into());
    bool => |value| Self::Int(value.into());
    f64 => |value| Self::Real(value);
    &str => |value| Self::Text(value.to_owned());
    String => |value| Self::Text(value);
    &String => |value| Self::Text(value.clone());
    Vec<u8> => |value| Self::Bytes(value);
    Digest => |value| Self::Text(value.to_string());
    &Digest => |value| Self::Text(value.to_string());
    ActivityId => |value| Self::Text(value.to_string());
    &Name => |value| Self::Text(value.to_string());
    Timestamp => |value| Self::Int(value.micros());
    &serde_json::Value => |value| Self::Text(value.to_string());
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One row of a query's result.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub(crate) Vec<Cell>);

impl Row {
    /// The text in a column.
    ///
    /// # Errors
    /// When the column is missing or is not text.
    pub fn text(&self, column: usize) -> Result<&str, LineageError> {
        match self.0.get(column) {
            Some(Cell::Text(text)) => Ok(text),
            _ => Err(LineageError::Column { column, expected: "text" }),
        }
    }

    /// The text in a column, `None` for null.
    ///
    /// # Errors
    /// When the column is missing or is neither text nor null.
    pub fn opt_text(&self, column: usize) -> Result<Option<&str>, LineageError> {
        match self.0.get(column) {
            Some(Cell::Null) => Ok(None),
            _ => self.text(column).map(Some),
        }
    }

    /// The whole number in a column.
    ///
    /// # Errors
    /// When the column is missing or is not a whole number.
    pub fn int(&self, column: usize) -> Result<i64, LineageError> {
        match self.0.get(column) {
            Some(Cell::Int(value)) => Ok(*value),
            _ => Err(LineageError::Column { column, expected: "a whole number" }),
        }
    }

    /// The whole number in a column, `None` for null.
    ///
    /// # Errors
    /// When the column is missing or is neither a whole number nor null.
    pub fn opt_int(&self, column: usize) -> Result<Option<i64>, LineageError> {
        match self.0.get(column) {
            Some(Cell::Null) => Ok(None),
            _ => self.int(column).map(Some),
        }
    }

    /// The number in a column.
    ///
    /// # Errors
    /// When the column is missing or is not a number.
    pub fn real(&self, column: usize) -> Result<f64, LineageError> {
        match self.0.get(column) {
            Some(Cell::Real(value)) => Ok(*value),
            #[expect(clippy::cast_precision_loss, reason = "a count read as a measure")]
            Some(Cell::Int(value)) => Ok(*value as f64),
            _ => Err(LineageError::Column { column, expected: "a number" }),
        }
    }

    /// The number in a column, `None` for null.
    ///
    /// # Errors
    /// When the column is missing or is neither a number nor null.
    pub fn opt_real(&self, column: usize) -> Result<Option<f64>, LineageError> {
        match self.0.get(column) {
            Some(Cell::Null) => Ok(None),
            _ => self.real(column).map(Some),
        }
    }

    /// The digest in a text column.
    ///
    /// # Errors
    /// When the column is missing or is not a digest.
    pub fn digest(&self, column: usize) -> Result<Digest, LineageError> {
        let refuse = |_| LineageError::Column { column, expected: "a digest" };
        self.text(column)?.parse().map_err(refuse)
    }

    /// The activity id in a text column.
    ///
    /// # Errors
    /// When the column is missing or is not an activity id.
    pub fn activity(&self, column: usize) -> Result<ActivityId, LineageError> {
        let refuse = |_| LineageError::Column { column, expected: "an activity id" };
        self.text(column)?.parse().map_err(refuse)
    }

    /// The JSON in a text column.
    ///
    /// # Errors
    /// When the column is missing or is not JSON.
    pub fn json(&self, column: usize) -> Result<serde_json::Value, LineageError> {
        serde_json::from_str(self.text(column)?).map_err(LineageError::encoding("a JSON column"))
    }

    /// The time in a column of microseconds.
    ///
    /// # Errors
    /// When the column is missing or is not a whole number.
    pub fn time(&self, column: usize) -> Result<Timestamp, LineageError> {
        self.int(column).map(Timestamp::from_micros)
    }
}
