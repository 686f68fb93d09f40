//! What does the wire need from the rest of Sextant? An engine that answers queries. Who knows the
//! keys is asked through [`sextant_core::Gatekeeper`].

use sextant_core::{Cancel, Explain, Failure};
use tokio::sync::mpsc;

/// The type of a column or parameter, as a client may know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `bool`
    Bool,
    /// `int2`
    Int2,
    /// `int4`
    Int4,
    /// `int8`
    Int8,
    /// `float4`
    Float4,
    /// `float8`
    Float8,
    /// `numeric`, carried as its digits
    Numeric,
    /// `text`, and whatever has no better form
    Text,
    /// `bytea`
    Bytes,
    /// `date`
    Date,
    /// `timestamp`
    Timestamp,
    /// `timestamptz`
    Timestamptz,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// Of kind `Bool`.
    Bool(bool),
    /// Of the kinds `Int2`, `Int4` and `Int8`.
    Int(i64),
    /// Of the kinds `Float4` and `Float8`.
    Float(f64),
    /// Of the kinds `Text` and `Numeric`.
    Text(String),
    /// Of kind `Bytes`.
    Bytes(Vec<u8>),
    /// Of kind `Date`: days since 1970-01-01.
    Date(i32),
    /// Of the kinds `Timestamp` and `Timestamptz`: microseconds since 1970-01-01.
    Timestamp(i64),
}

/// One row, a cell per column.
pub type Row = Vec<Cell>;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Kind,
}

/// What is known of a statement before it runs.
#[derive(Debug, Clone, Default)]
pub struct Prepared {
    /// The type of each parameter, `$1` first.
    pub parameters: Vec<Kind>,
    /// The columns of its result.
    pub columns: Vec<Column>,
}

/// A value given for a parameter. Text stands for any kind: the engine reads it as its kind.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// The type that the statement was prepared with.
    pub kind: Kind,
    /// The value.
    pub cell: Cell,
}

/// What a running query hands over: its columns once, then rows.
#[derive(Debug)]
pub enum Portion {
    /// The columns; always first.
    Columns(Vec<Column>),
    /// Some rows.
    Rows(Vec<Row>),
}

/// Why a statement failed, as a client of PostgreSQL wants to know it.
#[derive(Debug)]
pub struct SqlFault {
    /// The failure with its code and hint.
    pub failure: Failure,
    /// The five characters of SQLSTATE.
    pub state: &'static str,
    /// Line and column in the statement, both counted from 1.
    pub at: Option<(usize, usize)>,
}

impl SqlFault {
    /// Without a place.
    pub fn new(error: impl Explain, state: &'static str) -> Self {
        Self { failure: error.into(), state, at: None }
    }
}

/// Answers queries. Both methods block: they are called on threads made for that. Neither may
/// change anything, whatever the text says.
pub trait SqlEngine: Send + Sync + 'static {
    /// Plans a query without running it. `declared` holds the types that the client gave.
    ///
    /// # Errors
    /// When it is not a query, or names what is not there.
    fn prepare(
        &self,
        sql: &str,
        declared: &[Option<Kind>],
        cancel: &Cancel,
    ) -> Result<Prepared, SqlFault>;

    /// Runs a query and hands over its columns and rows. It ends early when nobody takes them.
    ///
    /// # Errors
    /// Whatever planning or running it failed with.
    fn run(
        &self,
        sql: &str,
        parameters: Vec<Parameter>,
        portions: mpsc::Sender<Portion>,
        cancel: &Cancel,
    ) -> Result<(), SqlFault>;
}
