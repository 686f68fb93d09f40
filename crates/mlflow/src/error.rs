//! What can go wrong while experiments and runs are kept?

use sextant_core::{Code, ExitKind, Explain, Place};
use sextant_lineage::LineageError;
use sextant_track::TrackError;

/// An error of the store of experiments and runs. A call that is refused is no error of it.
#[derive(Debug, thiserror::Error)]
pub enum MlflowError {
    /// Points of metrics cannot be read.
    #[error(transparent)]
    Points(#[from] TrackError),
    /// A stored row cannot be read.
    #[error("the stored {what} cannot be read: {reason}")]
    Stored {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] LineageError),
}

const STORED: Code = Code {
    number: 4601,
    kind: ExitKind::Integrity,
    title: "what is kept for clients of MLflow cannot be read",
    help: "Run `sextant fsck`. If it is clean, a newer version wrote them.",
};

/// Every code of this crate.
pub const CODES: &[&Code] = &[&STORED];

impl Explain for MlflowError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Points(error) => error.code(),
            Self::Stored { .. } => &STORED,
            Self::Store(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Points(error) => error.hint(),
            Self::Stored { .. } => None,
        }
    }

    fn place(&self) -> Option<Place> {
        match self {
            Self::Store(error) => error.place(),
            Self::Points(error) => error.place(),
            Self::Stored { .. } => None,
        }
    }
}
