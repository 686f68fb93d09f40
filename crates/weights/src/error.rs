//! How does a bad model folder explain itself? One error type and its catalogue (SXT-40xx).

use std::path::{Path, PathBuf};

use sextant_core::{Code, ExitKind, Explain, Place};

/// A model folder could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The operating system refused.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file of the layout is absent.
    #[error("the model folder has no `{path}`")]
    Missing {
        /// The absent file.
        path: PathBuf,
    },
    /// A file is larger than its limit, or the folder holds too much.
    #[error("`{path}` is too large: {found} {unit}, the limit is {limit}")]
    TooLarge {
        /// The file or folder.
        path: PathBuf,
        /// Its size.
        found: u64,
        /// What is counted.
        unit: &'static str,
        /// The most that is accepted.
        limit: u64,
    },
    /// `config.json` does not describe a model that this version knows.
    #[error("`{path}` is not a usable model configuration: {reason}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// A safetensors file is cut short or its header contradicts its bytes.
    #[error("`{path}` is not a valid safetensors file: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// A tensor is absent, or has another shape or type than the configuration asks for.
    #[error("tensor `{name}` in `{path}` {reason}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name in the folder is not an ordinary file, or cannot be written down.
    #[error("`{path}` is not an ordinary file with a plain name")]
    NotAFile {
        /// The entry.
        path: PathBuf,
    },
}

impl WeightsError {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::NotFound && action == "read" {
            return Self::Missing { path: path.to_path_buf() };
        }
        Self::Io { action, path: path.to_path_buf(), source }
    }

    pub(crate) fn corrupt(path: &Path, reason: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_path_buf(), reason: reason.into() }
    }

    /// A tensor that is not what the configuration asks for.
    pub fn tensor(path: &Path, name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor { path: path.to_path_buf(), name: name.to_owned(), reason: reason.into() }
    }
}

const IO: Code = Code {
    number: 4001,
    kind: ExitKind::Failure,
    title: "a model file could not be read or written",
    help: "The operating system refused. Check that the folder exists, that you may write to it, and that the disk has space.",
};
const MISSING: Code = Code {
    number: 4002,
    kind: ExitKind::NotFound,
    title: "a model folder is incomplete",
    help: "A model folder holds config.json, model.safetensors and tokenizer.json. Train the model again, or copy the absent file.",
};
const TOO_LARGE: Code = Code {
    number: 4003,
    kind: ExitKind::Usage,
    title: "a model file is larger than its limit",
    help: "Files are bounded so that a bad one cannot exhaust memory: 1 MiB for config.json, 64 MiB for tokenizer.json, 4 GiB for tensors with a header of at most 16 MiB.",
};
const CONFIG: Code = Code {
    number: 4004,
    kind: ExitKind::Usage,
    title: "config.json does not describe a known model",
    help: "The file must be JSON with model_type \"sextant-encoder\" and sizes that fit together; num_attention_heads must divide hidden_size.",
};
const CORRUPT: Code = Code {
    number: 4005,
    kind: ExitKind::Integrity,
    title: "a safetensors file is damaged",
    help: "The file is cut short, or its header contradicts its bytes. Nothing was loaded. Restore the file, or train the model again.",
};
const TENSOR: Code = Code {
    number: 4006,
    kind: ExitKind::Integrity,
    title: "a tensor is absent or has the wrong shape, type or values",
    help: "config.json and model.safetensors do not belong together, or a value is not finite. Nothing was loaded.",
};
const NOT_A_FILE: Code = Code {
    number: 4007,
    kind: ExitKind::Usage,
    title: "a model folder holds something that is not a plain file",
    help: "Links, pipes and names that are not UTF-8 are refused, because the folder's content could not be named by its bytes.",
};

/// The error catalogue of this crate.
pub const CODES: &[&Code] = &[&IO, &MISSING, &TOO_LARGE, &CONFIG, &CORRUPT, &TENSOR, &NOT_A_FILE];

impl Explain for WeightsError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Io { .. } => &IO,
            Self::Missing { .. } => &MISSING,
            Self::TooLarge { .. } => &TOO_LARGE,
            Self::Config { .. } => &CONFIG,
            Self::Corrupt { .. } => &CORRUPT,
            Self::Tensor { .. } => &TENSOR,
            Self::NotAFile { .. } => &NOT_A_FILE,
        }
    }

    fn hint(&self) -> Option<String> {
        None
    }

    fn place(&self) -> Option<Place> {
        let file = match self {
            Self::Io { path, .. }
            | Self::Missing { path }
            | Self::TooLarge { path, .. }
            | Self::Config { path, .. }
            | Self::Corrupt { path, .. }
            | Self::Tensor { path, .. }
            | Self::NotAFile { path } => path.clone(),
        };
        Some(Place { file, line: None, column: None })
    }
}
