//! What can go wrong between a warehouse and us? Each fault with what the user can do about it.

use sextant_core::{Code, ExitKind};

/// Why a warehouse cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AdbcFault {
    /// The library cannot be loaded.
    #[error("the driver `{driver}` cannot be loaded: {reason}")]
    Driver {
        /// As it is written in the file.
        driver: String,
        /// In the words of the system.
        reason: String,
    },
    /// A secret is not there.
    #[error("the secret `{key}` cannot be read: {reason}")]
    Secret {
        /// The option.
        key: String,
        /// Why not.
        reason: String,
    },
    /// The warehouse does not let us in, or not to this table.
    #[error("the warehouse refuses us: {reason}")]
    Refused {
        /// In its words.
        reason: String,
    },
    /// The warehouse does not answer.
    #[error("the warehouse cannot be reached: {reason}")]
    Unreachable {
        /// In the driver's words.
        reason: String,
    },
    /// The driver cannot do what is asked.
    #[error("the driver cannot do this: {reason}")]
    Lacking {
        /// In its words.
        reason: String,
    },
    /// Rows cannot be taken in order.
    #[error("the rows cannot be taken by `{cursor}`: {reason}")]
    Cursor {
        /// The column.
        cursor: String,
        /// Why not.
        reason: String,
    },
    /// A column cannot have the type that the table has.
    #[error("the column `{column}` does not fit the table: {reason}")]
    Types {
        /// The column.
        column: String,
        /// Why not.
        reason: String,
    },
    /// Anything else that the warehouse or its driver says.
    #[error("the warehouse failed: {reason}")]
    Failed {
        /// In its words.
        reason: String,
    },
}

static DRIVER: Code = Code {
    number: 3080,
    kind: ExitKind::Usage,
    title: "an ADBC driver cannot be loaded",
    help: "`driver` names a library, relative to the project or absolute, such as \
           `libadbc_driver_sqlite.so`. It must be made for this machine and have an ADBC entry point; \
           where that has a name of its own, write it as `entrypoint`.",
};
static SECRET: Code = Code {
    number: 3081,
    kind: ExitKind::Usage,
    title: "a secret of a warehouse is not there",
    help: "Each entry under [secrets] names an environment variable or a file. Set it where Sextant \
           runs.",
};
static REFUSED: Code = Code {
    number: 3082,
    kind: ExitKind::Auth,
    title: "the warehouse refuses the user",
    help: "The name or the password is wrong, or the user may not read or write the table. Check \
           [options] and [secrets] in the file.",
};
static UNREACHABLE: Code = Code {
    number: 3083,
    kind: ExitKind::Unavailable,
    title: "the warehouse cannot be reached",
    help: "Nothing was changed. Check the address under [options] or [secrets], and that it can be \
           reached from here.",
};
static LACKING: Code = Code {
    number: 3084,
    kind: ExitKind::Usage,
    title: "the ADBC driver cannot do this",
    help: "Not every driver has every part of ADBC. The message says which is missing. An export \
           with mode = \"append\" needs transactions.",
};
static CURSOR: Code = Code {
    number: 3085,
    kind: ExitKind::Usage,
    title: "rows of a warehouse cannot be taken in order",
    help: "An incremental source needs a column of whole numbers, days or times that only grows. \
           Cast another in `query`. A table that grew by one column cannot go on with another: give \
           the source another name.",
};
static TYPES: Code = Code {
    number: 3086,
    kind: ExitKind::Conflict,
    title: "a column of a warehouse changed its type",
    help: "Rows have landed with another type of this column, and the new ones cannot be cast to it. \
           Cast the column in `query`, or give the source another name.",
};
static FAILED: Code = Code {
    number: 3087,
    kind: ExitKind::Failure,
    title: "the warehouse failed",
    help: "The warehouse or its driver reported a fault: a query that is wrong, a table that is not \
           there, a type that the driver does not know. The message is in its words.",
};

/// The codes of warehouses.
pub(crate) const CODES: [&Code; 8] =
    [&DRIVER, &SECRET, &REFUSED, &UNREACHABLE, &LACKING, &CURSOR, &TYPES, &FAILED];

impl AdbcFault {
    pub(crate) fn code(&self) -> &'static Code {
        match self {
            Self::Driver { .. } => &DRIVER,
            Self::Secret { .. } => &SECRET,
            Self::Refused { .. } => &REFUSED,
            Self::Unreachable { .. } => &UNREACHABLE,
            Self::Lacking { .. } => &LACKING,
            Self::Cursor { .. } => &CURSOR,
            Self::Types { .. } => &TYPES,
            Self::Failed { .. } => &FAILED,
        }
    }
}
