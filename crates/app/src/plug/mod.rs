//! Where layers meet: each file plugs one layer's ability into another layer's port.

mod generator;
mod passages;
mod runs;
mod text;
mod training;
mod vectors;

pub use generator::{generator, probe};
pub use passages::{IndexSearchers, SectionRows};
pub use runs::TrackedRuns;
pub use text::MarkdownFunctions;
pub use training::EncoderTrainer;
pub use vectors::TrainedEmbedders;
