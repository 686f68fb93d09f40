//! What must a catalog database do? Commit a list of statements as one transaction, and read from a
//! consistent snapshot. SQLite does it today; Postgres is added by implementing these two traits,
//! without touching a layer, since layers only speak through `Act` and `Reader`.

use sextant_core::{ActivityId, Timestamp};

use crate::{Cell, LineageError, Row};

/// One step of a transaction. Parameters are numbered `?1`, `?2`, ….
#[derive(Debug, Clone)]
pub(crate) enum Statement {
    /// Changes rows.
    Execute { sql: String, params: Vec<Cell> },
    /// Must return at least one row, else the transaction is refused with this error.
    Require { sql: String, params: Vec<Cell>, otherwise: Refusal },
    /// Appends to the hash-chained audit records; the catalog fills in the chain.
    Audit { activity: ActivityId, actor: String, action: String, detail: String, at: Timestamp },
}

/// Why a transaction was refused.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    /// A precondition does not hold.
    Conflict(String),
    /// A declared input does not exist.
    UnknownInput { label: String, input: sextant_core::Digest },
}

impl From<Refusal> for LineageError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict(message) => Self::Conflict(message),
            Refusal::UnknownInput { label, input } => Self::UnknownInput { label, input },
        }
    }
}

/// A catalog database.
pub(crate) trait Catalog: Send + Sync {
    /// Runs the statements as one durable transaction: all of them or none.
    fn commit(&self, statements: Vec<Statement>) -> Result<(), LineageError>;

    /// Opens a consistent view that later commits do not change.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, LineageError>;

    /// Runs a layer's migration steps that have not run yet. Refuses changed steps.
    fn migrate(&self, layer: &str, steps: &[&str]) -> Result<(), LineageError>;

    /// Checks the database's own structure; an empty list when it is sound.
    fn integrity(&self) -> Result<Vec<String>, LineageError>;
}

/// A consistent view of the catalog.
pub(crate) trait Snapshot: Send {
    /// Runs a query.
    fn query(&self, sql: &str, params: &[Cell]) -> Result<Vec<Row>, LineageError>;
}
