//! How does an error explain itself? Every error has a [`Code`] that `sextant explain` knows, and
//! the code decides the exit status and the HTTP status.

use std::{error::Error, fmt, path::PathBuf};

/// What kind of failure it is: decides the exit status of the command line and the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitKind {
    /// Anything without a better word.
    Failure,
    /// The command or the input was wrong.
    Usage,
    /// A gate refused a release.
    GateRefused,
    /// There is no such thing.
    NotFound,
    /// It clashes with the present state.
    Conflict,
    /// Something it depends on cannot be reached, or there is too much to do.
    Unavailable,
    /// The caller may not do this.
    Auth,
    /// Stored data or the chain of lineage is broken.
    Integrity,
}

impl ExitKind {
    /// The process exit status.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failure => 1,
            Self::Usage => 2,
            Self::GateRefused => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::Unavailable => 6,
            Self::Auth => 7,
            Self::Integrity => 8,
        }
    }

    /// The HTTP status.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Failure | Self::Integrity => 500,
            Self::Usage => 400,
            Self::GateRefused => 412,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Unavailable => 503,
            Self::Auth => 401,
        }
    }
}

/// One entry of the error catalogue, a `const` beside the error type that uses it.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// Printed as `SXT-nnnn`. Core 0xxx, lineage 1xxx, project 2xxx, data 3xxx, models and compute
    /// 4xxx, retrieval 5xxx, agent and serving 6xxx, server 7xxx, app and command line 8xxx.
    pub number: u16,
    /// Decides the exit status.
    pub kind: ExitKind,
    /// One line: what it means.
    pub title: &'static str,
    /// A paragraph: why it happens and what to do.
    pub help: &'static str,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SXT-{:04}", self.number)
    }
}

/// Where in a project file the fault is. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, relative to the project where possible.
    pub file: PathBuf,
    /// The line, when known.
    pub line: Option<usize>,
    /// The column, when known.
    pub column: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        Ok(())
    }
}

/// An error that can explain itself: implemented by each crate's error enum.
pub trait Explain: Error + Send + Sync + 'static {
    /// The entry of the catalogue. There is no default: an error without a code cannot be looked up.
    fn code(&self) -> &'static Code;

    /// What the user can do now, when that is more precise than the catalogue's help.
    fn hint(&self) -> Option<String>;

    /// Where in the user's files it is, when it is in one.
    fn place(&self) -> Option<Place>;
}

/// Any crate's error, on its way to the edge where it is printed once.
pub struct Failure(Box<dyn Explain>);

impl Failure {
    /// The entry of the catalogue.
    pub fn code(&self) -> &'static Code {
        self.0.code()
    }

    /// What the user can do now.
    pub fn hint(&self) -> Option<String> {
        self.0.hint()
    }

    /// Where in the user's files it is.
    pub fn place(&self) -> Option<Place> {
        self.0.place()
    }

    /// The message with its causes, joined by `: `.
    pub fn chain(&self) -> String {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let line = error.to_string();
            if !text.contains(&line) {
                text.push_str(": ");
                text.push_str(&line);
            }
            cause = error.source();
        }
        text
    }

    /// The error itself, for a caller that wants to branch on its type.
    pub fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.chain())
    }
}
