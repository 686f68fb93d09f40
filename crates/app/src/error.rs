//! What can go wrong in the composition root: things that cannot be found by the id given, and the
//! project folder itself.

use std::path::PathBuf;

use sextant_core::{Code, ExitKind, Explain, Place};

/// An error of the application.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No `sextant.toml` here or above.
    #[error("there is no sextant.toml in {0} or above it")]
    NoProject(PathBuf),
    /// The folder of a new project exists.
    #[error("{0} exists already")]
    Exists(PathBuf),
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
    /// Nothing has this id.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// Which kind of thing.
        what: &'static str,
        /// What was asked for.
        id: String,
        /// What to do.
        hint: String,
    },
    /// Several things could be meant.
    #[error("`{id}` could be any of: {}", found.join(", "))]
    Ambiguous {
        /// What was asked for.
        id: String,
        /// What it could be.
        found: Vec<String>,
    },
    /// The operation's JSON is not one.
    #[error("not an operation: {0}")]
    BadOp(String),
    /// A value is outside its bounds.
    #[error("{0}")]
    BadInput(String),
    /// A release or an answer names something that cannot be read.
    #[error("{what} does not say {missing}")]
    Incomplete {
        /// Which thing.
        what: String,
        /// What it lacks.
        missing: &'static str,
    },
}

impl AppError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn not_found(what: &'static str, id: &str, hint: &str) -> Self {
        Self::NotFound { what, id: id.to_owned(), hint: hint.to_owned() }
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal, $kind:ident, $title:literal, $help:literal;)*) => {
        $(static $name: Code =
            Code { number: $number, kind: ExitKind::$kind, title: $title, help: $help };)*

        /// All codes of this crate and of the command line, for `sextant explain`.
        pub const CODES: &[&Code] = &[$(&$name,)*];
    };
}

codes! {
    IO = 8001, Failure, "a file could not be read or written",
        "The operating system refused an operation outside the data folder. The message names the \
         path and the reason.";
    CANCELLED = 8002, Failure, "the work was stopped",
        "Somebody pressed Ctrl-C or closed the connection. What was finished before stays; run the \
         command again to go on from there.";
    REFUSED = 8003, Failure, "the server refused the operation",
        "The running server answered with an error that this program does not know. It may be of \
         another version: restart it.";
    UNREACHABLE = 8004, Unavailable, "the running server did not answer",
        "A server holds the data folder, so the command goes through it, but the connection broke. \
         Look at the server's own output; restart it when it hangs.";
    NO_COMMAND = 8005, Usage, "no such command", "See `sextant --help`.";
    ADDRESS = 8006, Usage, "the address to listen on is not an IP address",
        "Use 127.0.0.1 or ::1 for this machine alone, or 0.0.0.0 with --require-auth for others.";
    DEMO = 8007, Failure, "the demo's build failed",
        "The demo runs the same build as any project. `sextant -C DIR status` names the asset that \
         failed and why; its log is under .sextant/logs.";
    NO_PROJECT = 8008, NotFound, "no project here",
        "A project is a folder with a sextant.toml. Make one with `sextant init NAME --docs DIR`, \
         change into it, or name it with -C DIR.";
    EXISTS = 8009, Conflict, "the folder exists already",
        "A new project is never written over something else. Choose another name or remove the \
         folder.";
    NOT_FOUND = 8010, NotFound, "nothing has this id",
        "Ids can be shortened as long as they stay unique. `sextant answers`, `sextant status`, \
         `sextant release list` and `sextant track runs` list what there is.";
    AMBIGUOUS = 8011, Usage, "the id is not unique",
        "More than one thing has an id that begins like this. Give more digits or the full name.";
    BAD_OP = 8012, Usage, "the operation is not valid",
        "The JSON sent to /api/v1/ops is not an operation. /openapi.json describes them all.";
    BAD_INPUT = 8013, Usage, "a value is outside its bounds",
        "The message names the value and the bound.";
    INCOMPLETE = 8014, Integrity, "a stored record lacks something",
        "A release or an answer names a part that cannot be resolved. Run `sextant fsck`.";
    NO_PAGES = 8015, NotFound, "no mlflow package is here",
        "MLflow's own pages are served from an installed package: `pip install mlflow==3.17.2`, then \
         start from its environment or name its folder. Sextant's own pages need none.";
}

/// Codes that only the command line uses; listed so that `explain` knows them.
const _: [&Code; 7] = [&CANCELLED, &REFUSED, &UNREACHABLE, &NO_COMMAND, &ADDRESS, &DEMO, &NO_PAGES];

impl Explain for AppError {
    fn code(&self) -> &'static Code {
        match self {
            Self::NoProject(_) => &NO_PROJECT,
            Self::Exists(_) => &EXISTS,
            Self::Io { .. } => &IO,
            Self::NotFound { .. } => &NOT_FOUND,
            Self::Ambiguous { .. } => &AMBIGUOUS,
            Self::BadOp(_) => &BAD_OP,
            Self::BadInput(_) => &BAD_INPUT,
            Self::Incomplete { .. } => &INCOMPLETE,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoProject(_) => {
                Some("sextant init NAME --docs DIR makes one; -C DIR names one".to_owned())
            }
            Self::NotFound { hint, .. } if !hint.is_empty() => Some(hint.clone()),
            Self::Exists(_) => Some("choose another name".to_owned()),
            _ => None,
        }
    }

    fn place(&self) -> Option<Place> {
        None
    }
}
