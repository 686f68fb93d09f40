//! What can go wrong while runs are tracked?

use sextant_core::{Code, ExitKind, Explain, Place};
use sextant_lineage::LineageError;

/// An error of the run tracker.
#[derive(Debug, thiserror::Error)]
pub enum TrackError {
    /// No run has this id.
    #[error("no run `{0}`")]
    NoRun(String),
    /// No run has measured this.
    #[error("no run has a value of `{0}`")]
    NoMetric(String),
    /// A metric's name is empty or too long.
    #[error("`{0}` is not a name of a metric: 1 to 200 bytes are")]
    MetricName(String),
    /// Stored rows or points cannot be read.
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

const NO_RUN: Code = Code {
    number: 4501,
    kind: ExitKind::NotFound,
    title: "there is no such run",
    help: "`sextant track runs` lists all runs. The first digits of an id are enough when only one \
           run begins with them.",
};
const NO_METRIC: Code = Code {
    number: 4502,
    kind: ExitKind::NotFound,
    title: "no run has measured this",
    help: "`sextant track run ID` lists the metrics of a run.",
};
const METRIC_NAME: Code = Code {
    number: 4503,
    kind: ExitKind::Usage,
    title: "a metric's name is empty or too long",
    help: "Names of metrics have 1 to 200 bytes.",
};
const STORED: Code = Code {
    number: 4504,
    kind: ExitKind::Integrity,
    title: "a stored run or its points cannot be read",
    help: "Run `sextant fsck`. If it is clean, a newer version wrote them.",
};

/// Every code of this crate.
pub const CODES: &[&Code] = &[&NO_RUN, &NO_METRIC, &METRIC_NAME, &STORED];

impl Explain for TrackError {
    fn code(&self) -> &'static Code {
        match self {
            Self::NoRun(_) => &NO_RUN,
            Self::NoMetric(_) => &NO_METRIC,
            Self::MetricName(_) => &METRIC_NAME,
            Self::Stored { .. } => &STORED,
            Self::Store(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }

    fn place(&self) -> Option<Place> {
        match self {
            Self::Store(error) => error.place(),
            _ => None,
        }
    }
}
