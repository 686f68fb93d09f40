//! What can go wrong while a training job runs?

use std::path::PathBuf;

use sextant_core::{Code, ExitKind, Explain, Failure, Place};

/// An error of training jobs and checkpoints.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError {
    /// A training file says something that makes no sense.
    #[error("{reason}")]
    Spec {
        /// Where.
        place: Place,
        /// What is wrong.
        reason: String,
        /// What the trainer suggests.
        hint: Option<String>,
    },
    /// A file or folder of the job cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read`, `write`, `make durable`, …
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A checkpoint's files are not what its manifest says.
    #[error("the checkpoint {} is damaged: {reason}", path.display())]
    Checkpoint {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The trainer stopped because it was asked to.
    #[error("training was stopped after step {step}")]
    Stopped {
        /// The last step that was done.
        step: u64,
    },
    /// The trainer's result is not a model.
    #[error("training ended without a model: {reason}")]
    NoModel {
        /// What is missing.
        reason: String,
    },
    /// A stored model cannot be laid out as files.
    #[error("the stored model {version} cannot be read: {reason}")]
    Stored {
        /// Its digest.
        version: String,
        /// Why.
        reason: String,
    },
}

impl ComputeError {
    /// For `map_err` on file operations.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// A trainer's refusal of a spec, with its place in the file.
    pub(crate) fn refused(place: Place, failure: &Failure) -> Self {
        Self::Spec { place, reason: failure.chain(), hint: failure.hint() }
    }
}

const SPEC: Code = Code {
    number: 4301,
    kind: ExitKind::Usage,
    title: "a training file says something that makes no sense",
    help: "`sextant config schema` prints what train/*.toml may say. [model] and [train] belong to \
           the architecture that the file names.",
};
const IO: Code = Code {
    number: 4302,
    kind: ExitKind::Unavailable,
    title: "a file of a training job cannot be read or written",
    help: "Check space and rights of the data folder. The job goes on from its last checkpoint when \
           it is built again.",
};
const CHECKPOINT: Code = Code {
    number: 4303,
    kind: ExitKind::Integrity,
    title: "a checkpoint is damaged",
    help: "Its files are not what its manifest says. A torn checkpoint is ignored and removed when \
           the job resumes; an older one is used.",
};
const STOPPED: Code = Code {
    number: 4304,
    kind: ExitKind::Failure,
    title: "training was stopped",
    help: "Build the asset again: it goes on from the last checkpoint.",
};
const NO_MODEL: Code = Code {
    number: 4305,
    kind: ExitKind::Failure,
    title: "training ended without a model",
    help: "The trainer must leave a folder with at least one file. This is a defect of the \
           architecture.",
};
const STORED: Code = Code {
    number: 4306,
    kind: ExitKind::Integrity,
    title: "a stored model cannot be read",
    help: "Run `sextant fsck`. If a blob is missing, restore it from a backup or train again.",
};

/// Every code of this crate.
pub const CODES: &[&Code] = &[&SPEC, &IO, &CHECKPOINT, &STOPPED, &NO_MODEL, &STORED];

impl Explain for ComputeError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Spec { .. } => &SPEC,
            Self::Io { .. } => &IO,
            Self::Checkpoint { .. } => &CHECKPOINT,
            Self::Stopped { .. } => &STOPPED,
            Self::NoModel { .. } => &NO_MODEL,
            Self::Stored { .. } => &STORED,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Spec { hint, .. } => hint.clone(),
            _ => None,
        }
    }

    fn place(&self) -> Option<Place> {
        match self {
            Self::Spec { place, .. } => Some(place.clone()),
            _ => None,
        }
    }
}
