//! What can go wrong between a PostgreSQL server and us? Each fault with what the user can do about it.

use sextant_core::{Code, ExitKind};

/// Why a table of PostgreSQL cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PostgresFault {
    /// No server answers.
    #[error("no PostgreSQL server answers at {server}: {reason}")]
    Unreachable {
        /// Its host and port.
        server: String,
        /// What was tried last.
        reason: String,
    },
    /// The server does not let us in, or not to this table.
    #[error("PostgreSQL refuses us: {reason}")]
    Refused {
        /// In its words.
        reason: String,
    },
    /// There is no such table, column, or publication.
    #[error("PostgreSQL has no {what}")]
    NotThere {
        /// What is missing, with its name.
        what: String,
    },
    /// The table or the server cannot be followed as it is.
    #[error("{message}")]
    Unfit {
        /// What stands in the way.
        message: String,
        /// What to do.
        fix: String,
    },
    /// Changes are gone that had not landed.
    #[error("the changes after LSN {mark} are gone: {reason}")]
    Lost {
        /// The end of the last transaction that has landed.
        mark: String,
        /// What happened to the rest.
        reason: String,
    },
    /// The table got another shape that cannot be followed.
    #[error("the table has changed: {message}")]
    Reshaped {
        /// What is different.
        message: String,
    },
    /// The slot is being read by somebody.
    #[error("the replication slot `{slot}` is in use: {reason}")]
    Busy {
        /// Its name.
        slot: String,
        /// In the server's words.
        reason: String,
    },
    /// Anything else that PostgreSQL says.
    #[error("PostgreSQL failed: {reason}")]
    Failed {
        /// In its words.
        reason: String,
    },
}

static UNREACHABLE: Code = Code {
    number: 3050,
    kind: ExitKind::Unavailable,
    title: "PostgreSQL cannot be reached",
    help: "No server answered in time, it is starting or stopping, or the connection broke. Nothing \
           was lost: what has landed stays, and the next build goes on behind it. Check `url` in the \
           source's file.",
};
static REFUSED: Code = Code {
    number: 3051,
    kind: ExitKind::Auth,
    title: "PostgreSQL refuses the user",
    help: "The name or the password is wrong, the certificate is not trusted, or the user may not read \
           the table. Change data capture needs the attribute REPLICATION, and to make a publication \
           the table must belong to the user.",
};
static NOT_THERE: Code = Code {
    number: 3052,
    kind: ExitKind::NotFound,
    title: "no such table in PostgreSQL",
    help: "The database has no table, column or publication of this name, or this user may not see it. \
           Write the name as the database has it, with its schema: `public.orders`.",
};
static UNFIT: Code = Code {
    number: 3053,
    kind: ExitKind::Usage,
    title: "a table of PostgreSQL that cannot be followed",
    help: "Change data capture needs a server with wal_level = logical and a table with a key by which \
           its changes name a row: a primary key, or REPLICA IDENTITY. The message says what is \
           missing and what to do.",
};
static LOST: Code = Code {
    number: 3054,
    kind: ExitKind::Conflict,
    title: "changes of PostgreSQL are gone before they landed",
    help: "The replication slot was dropped, moved or made anew, the server has removed the WAL that it \
           needs, or another server answers at the address. The table would miss changes, so the build \
           stops. `on_lost = \"copy\"` copies the whole table again and follows it from there.",
};
static RESHAPED: Code = Code {
    number: 3055,
    kind: ExitKind::Conflict,
    title: "a table of PostgreSQL has changed its shape",
    help: "A new column is followed. A column that was dropped, renamed or given another type, another \
           key, or a new column whose values in old rows cannot be known is not: the build stops before \
           the first change that has the new shape. `on_lost = \"copy\"` copies the whole table again.",
};
static BUSY: Code = Code {
    number: 3056,
    kind: ExitKind::Unavailable,
    title: "a replication slot is in use",
    help: "Only one client can read a slot. Another program reads it, or the server has not noticed yet \
           that a build was killed. Wait, or give the source a slot of its own.",
};
static FAILED: Code = Code {
    number: 3057,
    kind: ExitKind::Failure,
    title: "PostgreSQL failed",
    help: "The server reported a fault that has no code of its own. What has landed stays, and the next \
           build goes on behind it.",
};

/// The codes of this source.
pub(crate) const CODES: [&Code; 8] =
    [&UNREACHABLE, &REFUSED, &NOT_THERE, &UNFIT, &LOST, &RESHAPED, &BUSY, &FAILED];

impl PostgresFault {
    pub(crate) fn code(&self) -> &'static Code {
        match self {
            Self::Unreachable { .. } => &UNREACHABLE,
            Self::Refused { .. } => &REFUSED,
            Self::NotThere { .. } => &NOT_THERE,
            Self::Unfit { .. } => &UNFIT,
            Self::Lost { .. } => &LOST,
            Self::Reshaped { .. } => &RESHAPED,
            Self::Busy { .. } => &BUSY,
            Self::Failed { .. } => &FAILED,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unfit { fix, .. } => Some(fix.clone()),
            Self::Lost { .. } | Self::Reshaped { .. } => {
                Some("write on_lost = \"copy\" to copy the whole table again".to_owned())
            }
            Self::Refused { .. } => Some("check `url` and the rights of the user".to_owned()),
            Self::NotThere { .. } => Some("repair the name in the source's file".to_owned()),
            Self::Unreachable { .. } | Self::Busy { .. } | Self::Failed { .. } => None,
        }
    }

    /// Whether a copy of the whole table is the way out.
    pub(super) fn needs_a_copy(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Reshaped { .. })
    }

    /// Whether the connection broke, so that another one can go on.
    pub(super) fn is_broken_off(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// What the server's error means to the user.
    pub(super) fn of_server(error: &super::wire::ServerError) -> Self {
        let reason = error.to_string();
        match error.code.as_str() {
            "42501" | "28000" | "28P01" | "3D000" => Self::Refused { reason },
            "42P01" | "42703" | "3F000" => Self::NotThere { what: reason },
            "57P01" | "57P02" | "57P03" | "53300" | "08006" => {
                Self::Unreachable { server: "the address".to_owned(), reason }
            }
            _ => Self::Failed { reason },
        }
    }
}
