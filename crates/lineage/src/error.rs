//! What can go wrong on the spine, and what a user can do about it.

use std::path::PathBuf;

use sextant_core::{Code, Digest, ExitKind, Explain, Place};

/// An error of the spine.
#[derive(Debug, thiserror::Error)]
pub enum LineageError {
    /// A file could not be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The catalog database refused.
    #[error("the catalog refused: {context}")]
    Catalog {
        /// What was tried.
        context: String,
        /// Why it failed.
        #[source]
        source: rusqlite::Error,
    },
    /// What many callers share could not be written, or the writer is shut down: nothing of it was
    /// acknowledged.
    #[error("nothing was written: {0}")]
    WriterGone(String),
    /// Another process has the data folder open.
    #[error("the data folder {dir} is in use by process {pid}")]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// The other process, `unknown` when it did not say.
        pid: String,
    },
    /// The data folder was written by a newer Sextant.
    #[error("the data folder {dir} has format {found}; this program reads up to {known}")]
    FormatTooNew {
        /// The folder.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// What this program knows.
        known: u32,
    },
    /// Outputs were offered without a single input.
    #[error("`{label}` made {outputs} artifacts without declaring an input")]
    NoInputs {
        /// The activity's label.
        label: String,
        /// How many artifacts it made.
        outputs: usize,
    },
    /// A declared input does not exist.
    #[error("`{label}` declares an input that does not exist: {input}")]
    UnknownInput {
        /// The activity's label.
        label: String,
        /// The input's digest.
        input: Digest,
    },
    /// A precondition of the transaction does not hold any more.
    #[error("{0}")]
    Conflict(String),
    /// There is no such blob, artifact or activity.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// Which kind of thing.
        what: &'static str,
        /// What was asked for.
        id: String,
    },
    /// Stored bytes are not what they were.
    #[error("{what} is damaged: {detail}")]
    Corrupt {
        /// Which file or record.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A value is larger than its limit.
    #[error("{what} has {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A value could not be encoded or decoded.
    #[error("cannot encode or decode {what}")]
    Encoding {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A row does not have the expected column or type.
    #[error("column {column} is not {expected}")]
    Column {
        /// The column's position, from 0.
        column: usize,
        /// The type expected.
        expected: &'static str,
    },
}

impl LineageError {
    /// For `map_err`: an IO error with its action and path.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// For `map_err`: a catalog error with its context.
    pub(crate) fn catalog(context: impl Into<String>) -> impl FnOnce(rusqlite::Error) -> Self {
        let context = context.into();
        move |source| Self::Catalog { context, source }
    }

    /// For `map_err`: a JSON error.
    pub(crate) fn encoding(what: &'static str) -> impl FnOnce(serde_json::Error) -> Self {
        move |source| Self::Encoding { what, source }
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal, $kind:ident, $title:literal, $help:literal;)*) => {
        $(static $name: Code =
            Code { number: $number, kind: ExitKind::$kind, title: $title, help: $help };)*

        /// All codes of this crate, for `sextant explain`.
        pub const CODES: &[&Code] = &[$(&$name,)*];
    };
}

codes! {
    IO = 1001, Failure, "a file could not be read or written",
        "The operating system refused an operation on a file of the data folder: the disk is full, \
         the folder is not writable, or the device failed. Nothing that was refused was \
         acknowledged. Free space or fix the device, then run the command again; `sextant fsck` \
         checks what is stored.";
    CATALOG = 1002, Failure, "the catalog database refused a statement",
        "The SQLite database under `.sextant/catalog.db` answered with an error. A full disk is the \
         usual reason. The transaction was rolled back as a whole. If it happens again, run \
         `sextant fsck`.";
    WRITER = 1003, Unavailable, "a write could not be made durable",
        "The disk refused a write or a sync that several callers may have shared, or the program is \
         shutting down. Nothing of it was acknowledged and nothing half written is ever read. Free \
         space or look at the disk, then run the command again; a running server goes on by itself.";
    LOCKED = 1004, Conflict, "another process has this data folder open",
        "Only one process may hold a data folder. The command line talks to a running `sextant dev` \
         or `sextant serve` by itself; this message means that the other process is not a server, \
         or is still starting. Wait for it, or stop it.";
    TOO_NEW = 1005, Integrity, "the data folder was written by a newer Sextant",
        "This program never guesses at a format it does not know. Use the newer program, or restore \
         a backup that the older one wrote.";
    NO_INPUTS = 1006, Integrity, "artifacts without lineage are refused",
        "An activity offered outputs but declared no input, so the chain would have a gap. Declare \
         what was read, or record it as opaque so that the hole can be seen.";
    UNKNOWN_INPUT = 1007, Integrity, "a declared input is not in the catalog",
        "An activity said that it read a version that nobody recorded. The data folder may have \
         been mixed with another one; run `sextant fsck`.";
    CONFLICT = 1008, Conflict, "the state changed in between",
        "Another command moved a pointer or wrote a row that this command relied on. Look at the \
         present state and run the command again.";
    NOT_FOUND = 1009, NotFound, "there is no such thing in the catalog",
        "Check the id. `sextant versions ASSET`, `sextant answers` and `sextant release list` show \
         the ids that exist; a digest may be shortened as long as it stays unique.";
    CORRUPT = 1010, Integrity, "stored data is damaged",
        "A checksum does not match the stored bytes. Sextant never returns such bytes. Run \
         `sextant fsck` for the whole picture and restore a backup.";
    TOO_LARGE = 1011, Usage, "a value is over its limit",
        "See the chapter on limits in the manual for the bounds and their units.";
    ENCODING = 1012, Integrity, "a stored value could not be read",
        "A value in the catalog does not have the form that this program writes. Run `sextant fsck`.";
}

impl Explain for LineageError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Io { .. } => &IO,
            Self::Catalog { .. } => &CATALOG,
            Self::WriterGone(_) => &WRITER,
            Self::Locked { .. } => &LOCKED,
            Self::FormatTooNew { .. } => &TOO_NEW,
            Self::NoInputs { .. } => &NO_INPUTS,
            Self::UnknownInput { .. } => &UNKNOWN_INPUT,
            Self::Conflict(_) => &CONFLICT,
            Self::NotFound { .. } => &NOT_FOUND,
            Self::Corrupt { .. } => &CORRUPT,
            Self::TooLarge { .. } => &TOO_LARGE,
            Self::Encoding { .. } | Self::Column { .. } => &ENCODING,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Locked { pid, .. } => Some(format!("wait for process {pid} or stop it")),
            Self::FormatTooNew { .. } => {
                Some("use the newer program, or restore the backup from before it".to_owned())
            }
            Self::WriterGone(_) => {
                Some("look at the disk and its free space, then run the command again".to_owned())
            }
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Some("free space on the disk and run the command again".to_owned())
            }
            _ => None,
        }
    }

    fn place(&self) -> Option<Place> {
        None
    }
}
