//! What can go wrong between a folder of files and a table, and what a user can do about it.

use std::path::PathBuf;

use deltalake_core::{DeltaTableError, ObjectStoreError};
use sextant_core::{Code, ExitKind, Explain, Failure, Place};
use sextant_lineage::LineageError;
use sextant_project::AssetId;

use crate::storage::fault::{self, StoreFault};

/// An error of the data layer.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A project file says something that the data layer does not understand.
    #[error("{message}")]
    Config {
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
        /// What to write instead.
        fix: String,
    },
    /// The template of a model could not be rendered.
    #[error("cannot render the template: {message}")]
    Template {
        /// Where.
        place: Place,
        /// What the template engine says.
        message: String,
    },
    /// The SQL is wrong.
    #[error("{message}")]
    Sql {
        /// Where in the model, when the template keeps its lines.
        place: Option<Place>,
        /// What the SQL engine says.
        message: String,
        /// The compiled SQL with the line in it, when it was written to disk.
        compiled: Option<Place>,
    },
    /// The SQL is not a plain query.
    #[error("only SELECT and WITH are run here, not `{statement}`")]
    StatementRefused {
        /// Where in the model.
        place: Option<Place>,
        /// How the statement begins.
        statement: String,
    },
    /// A link in a source folder leads out of it.
    #[error("the link {path} leads out of the source folder, to {target}")]
    SymlinkEscape {
        /// The link.
        path: PathBuf,
        /// Where it leads; empty when nowhere.
        target: String,
    },
    /// A file of a text source is not UTF-8.
    #[error("{path} is not UTF-8 text: bad byte at offset {offset}")]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first byte that is not UTF-8, counted from 0.
        offset: usize,
    },
    /// A file or folder of a source cannot be read.
    #[error("cannot read {path}")]
    SourceFile {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file, a source or a result is larger than its limit.
    #[error("{what} has {size}, more than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// How large, with its unit.
        size: String,
        /// The limit, with its unit.
        limit: String,
    },
    /// A table could not be read or written.
    #[error("cannot {action} the table of {asset}")]
    Table {
        /// What was tried.
        action: &'static str,
        /// The table's asset.
        asset: String,
        /// Why it failed.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// There is no such table, dataset, split or report.
    #[error("there is no {what} `{name}`")]
    NotFound {
        /// Which kind of thing.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A statement or an operation that this table does not take.
    #[error("{message}")]
    TableRefused {
        /// What is refused and why.
        message: String,
        /// What to do instead.
        fix: String,
    },
    /// The files of an old version were removed.
    #[error("version {version} of {table} was removed by `sextant data gc` at {at}")]
    VersionRemoved {
        /// The table.
        table: String,
        /// Which version.
        version: u64,
        /// When.
        at: String,
    },
    /// Somebody else was there first.
    #[error("{message}")]
    Taken {
        /// What is taken or was changed.
        message: String,
        /// What to do.
        fix: String,
    },
    /// Checks with severity error found failing rows.
    #[error("{} of {total} checks failed on {asset}: {}", failed.len(), failed.join(", "))]
    ChecksFailed {
        /// The checks' asset.
        asset: AssetId,
        /// Each failed check with its count.
        failed: Vec<String>,
        /// How many checks ran.
        total: usize,
    },
    /// A file of our own cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The engine failed in a way that is not the user's SQL.
    #[error("the SQL engine failed: {0}")]
    Engine(String),
    /// A source failed in a way of its own.
    #[error("{0}")]
    Source(Failure),
    /// The bucket of the tables cannot be used.
    #[error(transparent)]
    Bucket(#[from] StoreFault),
    /// A transaction is safe, but its tables could not be written yet.
    #[error("the transaction is kept and will be finished, but not now: {source}")]
    Unfinished {
        /// Why.
        #[source]
        source: Box<DataError>,
    },
    /// A fault in one statement of a block.
    #[error("statement {number} of the transaction: {source}")]
    InBlock {
        /// Counted from one, after BEGIN.
        number: usize,
        /// The fault.
        #[source]
        source: Box<DataError>,
    },
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The spine refused.
    #[error(transparent)]
    Lineage(#[from] LineageError),
}

static CONFIG: Code = Code {
    number: 3001,
    kind: ExitKind::Usage,
    title: "a data file of the project is not understood",
    help: "A source, a schema.yml or a dataset file has a key or a value that the data layer does \
           not know. The message names the file and the line; `sextant config schema` prints what \
           each file may hold.",
};
static TEMPLATE: Code = Code {
    number: 3002,
    kind: ExitKind::Usage,
    title: "a SQL template cannot be rendered",
    help: "A model is a template: {{ ref('model') }}, {{ source('source', 'documents') }}, \
           {{ config(..) }} and {{ var('name', default) }} are known. An unknown name or a broken \
           tag stops it.",
};
static SQL: Code = Code {
    number: 3003,
    kind: ExitKind::Usage,
    title: "the SQL is wrong",
    help: "The SQL engine could not plan or run the query. Compiled SQL, with the templates \
           replaced, lies under `.sextant/compiled`; line numbers in it are exact.",
};
static STATEMENT: Code = Code {
    number: 3004,
    kind: ExitKind::Usage,
    title: "only queries may run",
    help: "Models and queries are SELECT or WITH statements. Statements that create, change or \
           copy anything are refused: the table of a model is written for you.",
};
static SYMLINK: Code = Code {
    number: 3005,
    kind: ExitKind::Usage,
    title: "a link leads out of the source folder",
    help: "A source reads only what lies in its folder. A link out of it could read anything on \
           the machine, so the whole batch is refused. Copy the file into the folder, or add the \
           link to `exclude`.",
};
static NOT_TEXT: Code = Code {
    number: 3006,
    kind: ExitKind::Usage,
    title: "a file is not UTF-8 text",
    help: "A text source reads UTF-8. The whole batch is refused, so that no document goes missing \
           in silence; the table stays as it was. Convert the file (`iconv -t UTF-8`), or add it \
           to `exclude`.",
};
static SOURCE_FILE: Code = Code {
    number: 3007,
    kind: ExitKind::Unavailable,
    title: "a source file cannot be read",
    help: "The folder or a file in it is missing or may not be read by this user. The table stays \
           as it was.",
};
static TOO_LARGE: Code = Code {
    number: 3008,
    kind: ExitKind::Usage,
    title: "more than the limit",
    help: "Every file, source and result has a limit, so that one of them cannot exhaust the \
           machine. Split the file, exclude it, or narrow the query.",
};
static TABLE: Code = Code {
    number: 3009,
    kind: ExitKind::Failure,
    title: "a table cannot be read or written",
    help: "The Delta table is missing, damaged, or on a disk or in a bucket that refuses. The message \
           has its words. `sextant fsck` checks it; `sextant build --full` writes it again from its \
           inputs.",
};
static NOT_FOUND: Code = Code {
    number: 3010,
    kind: ExitKind::NotFound,
    title: "no such table, dataset or report",
    help: "Nothing of that name was built yet. `sextant status` lists the assets and their state.",
};
static CHECKS_FAILED: Code = Code {
    number: 3011,
    kind: ExitKind::Failure,
    title: "checks failed",
    help: "Rows of a table break a check with severity error, so what reads the table is not \
           built. The failing rows are stored: `sextant data failures checks/NAME` shows them. \
           Repair the rows or the model, or set `severity: warn`.",
};
static WRITE: Code = Code {
    number: 3012,
    kind: ExitKind::Failure,
    title: "a file cannot be written",
    help: "The data folder is full, read-only or owned by another user. Nothing was changed.",
};
static ENGINE: Code = Code {
    number: 3013,
    kind: ExitKind::Failure,
    title: "the SQL engine failed",
    help: "Not a fault of the SQL: a stored table is damaged, or the engine ran out of resources or \
           has a defect. `sextant fsck` finds damage: delete the folder of the table that it names \
           under `.sextant/tables` and run `sextant build --full`, which writes it again. Without \
           damage, please report it with the compiled SQL under `.sextant/compiled`.",
};
static CANCELLED: Code = Code {
    number: 3014,
    kind: ExitKind::Failure,
    title: "cancelled",
    help: "The work was stopped on request. Nothing of it became visible; build again to go on.",
};

static TABLE_REFUSED: Code = Code {
    number: 3031,
    kind: ExitKind::Usage,
    title: "a table does not take this statement",
    help: "Tables that you make with CREATE TABLE are yours to change. The table of a source or a \
           model belongs to its file: change the file and build. What a statement may not do here \
           is said in the message.",
};
static VERSION_REMOVED: Code = Code {
    number: 3032,
    kind: ExitKind::NotFound,
    title: "an old version of a table was removed",
    help: "`sextant data gc` removed the data files of a version that nothing held any more. Its \
           entry in the history stays; its rows cannot be read. Tag a version to keep it: \
           `sextant data tag NAME`.",
};
static TAKEN: Code = Code {
    number: 3033,
    kind: ExitKind::Conflict,
    title: "somebody else was there first",
    help: "A name is in use already, or a table was changed by another writer in the meantime so \
           that the statement would have worked on rows that are no longer there. Nothing was \
           changed: look again and repeat it.",
};
static UNFINISHED: Code = Code {
    number: 3034,
    kind: ExitKind::Unavailable,
    title: "a transaction that will be finished later",
    help: "All changes of the transaction are in the catalog, and something failed while they were \
           written to their tables: a full disk, or a store that does not answer. The next statement \
           or the next start finishes it. Do not repeat it: its changes would be there twice.",
};

/// The catalogue of this crate.
pub const CODES: &[&Code] = &[
    &CONFIG,
    &TEMPLATE,
    &SQL,
    &STATEMENT,
    &SYMLINK,
    &NOT_TEXT,
    &SOURCE_FILE,
    &TOO_LARGE,
    &TABLE,
    &NOT_FOUND,
    &CHECKS_FAILED,
    &WRITE,
    &ENGINE,
    &CANCELLED,
    &TABLE_REFUSED,
    &VERSION_REMOVED,
    &TAKEN,
    fault::CODES[0],
    fault::CODES[1],
    fault::CODES[2],
    fault::CODES[3],
    &UNFINISHED,
];

impl Explain for DataError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Config { .. } => &CONFIG,
            Self::Template { .. } => &TEMPLATE,
            Self::Sql { .. } => &SQL,
            Self::StatementRefused { .. } => &STATEMENT,
            Self::SymlinkEscape { .. } => &SYMLINK,
            Self::NotText { .. } => &NOT_TEXT,
            Self::SourceFile { .. } => &SOURCE_FILE,
            Self::TooLarge { .. } => &TOO_LARGE,
            Self::Table { .. } => &TABLE,
            Self::NotFound { .. } => &NOT_FOUND,
            Self::ChecksFailed { .. } => &CHECKS_FAILED,
            Self::Write { .. } => &WRITE,
            Self::Source(fault) => fault.code(),
            Self::Unfinished { .. } => &UNFINISHED,
            Self::InBlock { source, .. } => source.code(),
            Self::Bucket(fault) => fault.code(),
            Self::Engine(_) => &ENGINE,
            Self::Cancelled => &CANCELLED,
            Self::TableRefused { .. } => &TABLE_REFUSED,
            Self::VersionRemoved { .. } => &VERSION_REMOVED,
            Self::Taken { .. } => &TAKEN,
            Self::Lineage(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Config { fix, .. } | Self::TableRefused { fix, .. } | Self::Taken { fix, .. } => {
                Some(fix.clone())
            }
            Self::VersionRemoved { .. } => {
                Some("`sextant data history` shows the versions that are there".to_owned())
            }
            Self::Sql { compiled: Some(place), .. } => Some(format!("the compiled SQL is {place}")),
            Self::SymlinkEscape { path, .. } | Self::NotText { path, .. } => {
                Some(format!("repair {} or add it to `exclude`", path.display()))
            }
            Self::TooLarge { what, .. } if what.contains('/') => {
                Some(format!("split {what}, or add it to `exclude`"))
            }
            Self::NotFound { known, .. } if !known.is_empty() => {
                Some(format!("there are: {known}"))
            }
            Self::ChecksFailed { asset, .. } => {
                Some(format!("see the failing rows with `sextant data failures {asset}`"))
            }
            Self::Source(fault) => fault.hint(),
            Self::Unfinished { .. } => {
                Some("do not repeat it; `sextant data history` shows when it is there".to_owned())
            }
            Self::Lineage(error) => error.hint(),
            Self::InBlock { source, .. } => source.hint(),
            _ => None,
        }
    }

    fn place(&self) -> Option<Place> {
        match self {
            Self::Config { place, .. } | Self::Template { place, .. } => Some(place.clone()),
            Self::Sql { place, .. } | Self::StatementRefused { place, .. } => place.clone(),
            Self::SymlinkEscape { path, .. }
            | Self::NotText { path, .. }
            | Self::SourceFile { path, .. } => {
                Some(Place { file: path.clone(), line: None, column: None })
            }
            Self::Source(fault) => fault.place(),
            Self::Lineage(error) => error.place(),
            Self::InBlock { source, .. } => source.place(),
            _ => None,
        }
    }
}

impl DataError {
    /// Wraps an error of the table format.
    pub fn table(
        action: &'static str,
        asset: impl ToString,
    ) -> impl FnOnce(DeltaTableError) -> Self {
        let asset = asset.to_string();
        move |source| Self::Table { action, asset, source: Box::new(source) }
    }

    /// Whether a file of a table is not there.
    pub(crate) fn is_missing_file(&self) -> bool {
        let Self::Table { source, .. } = self else { return false };
        matches!(
            &**source,
            DeltaTableError::ObjectStore { source: ObjectStoreError::NotFound { .. } }
        )
    }

    /// Wraps an error of the SQL engine that is not the user's fault.
    pub fn engine(error: impl std::fmt::Display) -> Self {
        Self::Engine(error.to_string())
    }
}

/// Shorthand of this crate.
pub type Result<T, E = DataError> = std::result::Result<T, E>;
