//! How is a text embedder trained and used? A tokenizer learned from the corpus, a small transformer
//! encoder, a contrastive trainer that resumes to the same bytes, and the embedder that serves the
//! result. The same model definition trains and serves.
//!
//! A trained model is an ordinary Hugging Face style folder (see `sextant-weights`). This crate
//! must not know lineage, HTTP, or where training pairs come from: it is given texts and a folder.

#![deny(missing_docs)]

mod batches;
mod embedder;
mod encoder;
mod error;
mod init;
mod measure;
mod ops;
mod optimizer;
mod spec;
mod state;
mod tokenizer;
mod trainer;

pub use batches::batch_indices;
pub use embedder::Embedder;
pub use error::{CODES, ModelsError};
pub use measure::RetrievalScore;
pub use spec::TrainSpec;
pub use state::{OPTIMIZER_FILE, STATE_FILE, TrainState};
pub use tokenizer::train_tokenizer;
pub use trainer::{HookError, Pair, StepReport, TrainHooks, Trained, train};

/// Most pairs that one training may hold.
pub const PAIRS_MAX: usize = 2_000_000;
/// Most validation pairs that are scored; more are left out.
pub const VALIDATION_PAIRS_MAX: usize = 512;
/// Bytes of a text that can count per token of the model's limit; the rest is not read.
pub const BYTES_PER_TOKEN_MAX: usize = 64;
/// Most windows of a long text that are embedded; what comes after them is not read.
pub const WINDOWS_MAX: usize = 64;
