//! What does the door need from the rest of Sextant? An engine that answers queries. Who knows the
//! keys is asked through [`sextant_core::Gatekeeper`].

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use sextant_core::{Cancel, Explain, Failure};
use tokio::sync::mpsc;

/// A query, and the values of its parameters.
#[derive(Debug, Clone)]
pub struct Query {
    /// Its text.
    pub sql: String,
    /// One row with a column per parameter, `$1` first. Without it parameters are null of their type.
    pub values: Option<RecordBatch>,
}

/// What is known of a query before it runs.
#[derive(Debug, Clone)]
pub struct Described {
    /// The columns of its result.
    pub columns: SchemaRef,
    /// Its parameters, `$1` first.
    pub parameters: SchemaRef,
}

/// What a running query hands over: its columns once, then rows.
#[derive(Debug)]
pub enum Portion {
    /// The columns; always first, and those of [`Described`].
    Columns(SchemaRef),
    /// Some rows; their types may be others that can be cast to those of the columns.
    Rows(RecordBatch),
}

/// Where a table is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
}

/// Why a query failed.
#[derive(Debug)]
pub struct Fault {
    /// The failure with its code and hint.
    pub failure: Failure,
    /// Line and column in the statement, both counted from 1.
    pub at: Option<(usize, usize)>,
}

impl<E: Explain> From<E> for Fault {
    fn from(error: E) -> Self {
        Self { failure: error.into(), at: None }
    }
}

/// Answers queries. All methods block: they are called on threads made for that. None may change
/// anything, whatever the text says.
pub trait FlightEngine: Send + Sync + 'static {
    /// Plans a query without running it.
    ///
    /// # Errors
    /// When it is not a query, or names what is not there.
    fn describe(&self, query: &Query, cancel: &Cancel) -> Result<Described, Fault>;

    /// Runs a query and hands over its columns and rows. It ends early when nobody takes them.
    ///
    /// # Errors
    /// Whatever planning or running it failed with.
    fn run(
        &self,
        query: &Query,
        portions: mpsc::Sender<Portion>,
        cancel: &Cancel,
    ) -> Result<(), Fault>;

    /// What the one catalog is called.
    fn catalog(&self) -> &'static str;

    /// Every table under every name that a query may use.
    ///
    /// # Errors
    /// When the tables cannot be listed.
    fn tables(&self, cancel: &Cancel) -> Result<Vec<TableName>, Fault>;

    /// The columns of a table.
    ///
    /// # Errors
    /// When it is gone or cannot be read.
    fn columns(&self, table: &TableName, cancel: &Cancel) -> Result<SchemaRef, Fault>;
}
