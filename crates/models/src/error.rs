//! How does a failed training explain itself? One error type and its catalogue (SXT-41xx).

use std::error::Error;

use sextant_core::{Code, ExitKind, Explain, Place};
use sextant_weights::WeightsError;

/// A model could not be trained, restored or used.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// A value of the training specification is out of its range.
    #[error("training setting `{field}` {reason}")]
    Spec {
        /// The setting.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The pairs cannot be trained on.
    #[error("cannot train on these pairs: {reason}")]
    Pairs {
        /// What is wrong with them.
        reason: String,
    },
    /// The tokenizer could not be trained, read, or does not fit the model.
    #[error("the tokenizer cannot be used: {reason}")]
    Tokenizer {
        /// What is wrong with it.
        reason: String,
    },
    /// A saved state belongs to another training.
    #[error("the saved state is of another training: {reason}")]
    OtherTraining {
        /// What differs.
        reason: String,
    },
    /// A saved state is damaged.
    #[error("the saved state is damaged: {reason}")]
    State {
        /// What is wrong with it.
        reason: String,
    },
    /// A trainable tensor got no gradient: the model definition cuts it off from the loss.
    #[error("tensor `{tensor}` gets no gradient at step {step}")]
    NoGradient {
        /// The tensor.
        tensor: String,
        /// The step.
        step: u64,
    },
    /// The loss or a gradient is no longer a number.
    #[error("training diverged at step {step}: {what} is not finite")]
    Diverged {
        /// The step.
        step: u64,
        /// Loss or gradient.
        what: &'static str,
    },
    /// The tensor library refused an operation.
    #[error("a tensor operation failed")]
    Tensor(#[from] candle_core::Error),
    /// A model folder could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The caller's hook failed.
    #[error("training was stopped by a failure outside of it, at step {step}")]
    Hook {
        /// The step.
        step: u64,
        /// The failure.
        source: Box<dyn Error + Send + Sync>,
    },
}

const SPEC: Code = Code {
    number: 4101,
    kind: ExitKind::Usage,
    title: "a training setting is out of range",
    help: "Each setting has bounds; `heads` must divide `hidden`. Correct the [model] or [train] table of the training file.",
};
const PAIRS: Code = Code {
    number: 4102,
    kind: ExitKind::Usage,
    title: "the training pairs cannot be used",
    help: "Contrastive training needs at least two pairs with different passages, and no empty text. Look at the dataset that the training names.",
};
const TOKENIZER: Code = Code {
    number: 4103,
    kind: ExitKind::Failure,
    title: "the tokenizer cannot be used",
    help: "tokenizer.json could not be trained or read, or has more tokens than the model. Train the model again.",
};
const OTHER_TRAINING: Code = Code {
    number: 4104,
    kind: ExitKind::Conflict,
    title: "a saved training state does not belong to this training",
    help: "Settings or pairs changed since the state was saved, so continuing would not equal an uninterrupted run. Start from the beginning.",
};
const STATE: Code = Code {
    number: 4105,
    kind: ExitKind::Integrity,
    title: "a saved training state is damaged",
    help: "A file of the state does not have the digest that state.json names. Continue from an older state, or start from the beginning.",
};
const NO_GRADIENT: Code = Code {
    number: 4106,
    kind: ExitKind::Failure,
    title: "a trainable tensor gets no gradient",
    help: "This is a fault of the model definition, found before any time is spent on it. Please report it.",
};
const DIVERGED: Code = Code {
    number: 4107,
    kind: ExitKind::Failure,
    title: "training diverged",
    help: "The loss or a gradient became infinite or not a number. Use a smaller learning_rate, a longer warmup, or a higher temperature.",
};
const TENSOR: Code = Code {
    number: 4108,
    kind: ExitKind::Failure,
    title: "a tensor operation failed",
    help: "The model folder's tensors do not fit together, or this is a fault of the model definition. Please report it.",
};
const HOOK: Code = Code {
    number: 4109,
    kind: ExitKind::Failure,
    title: "training was stopped by a failure outside of it",
    help: "Recording a metric or a checkpoint failed. The cause is printed with the message; the last checkpoint is whole.",
};

/// The error catalogue of this crate. Errors of a model folder are in `sextant_weights::CODES`.
pub const CODES: &[&Code] =
    &[&SPEC, &PAIRS, &TOKENIZER, &OTHER_TRAINING, &STATE, &NO_GRADIENT, &DIVERGED, &TENSOR, &HOOK];

impl Explain for ModelsError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Spec { .. } => &SPEC,
            Self::Pairs { .. } => &PAIRS,
            Self::Tokenizer { .. } => &TOKENIZER,
            Self::OtherTraining { .. } => &OTHER_TRAINING,
            Self::State { .. } => &STATE,
            Self::NoGradient { .. } => &NO_GRADIENT,
            Self::Diverged { .. } => &DIVERGED,
            Self::Tensor(_) => &TENSOR,
            Self::Weights(error) => error.code(),
            Self::Hook { .. } => &HOOK,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Weights(error) => error.hint(),
            _ => None,
        }
    }

    fn place(&self) -> Option<Place> {
        match self {
            Self::Weights(error) => error.place(),
            _ => None,
        }
    }
}
