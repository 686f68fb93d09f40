//! Layer 3: how is a training job run so that nothing it finished is lost, and what comes out of
//! it?
//!
//! This crate owns `train/*.toml`, the job's working folder, checkpoints, the facts of the machine
//! and the code, and the model version. It must not know tensors, metrics storage, HTTP, or any
//! other layer: the [`Trainer`] trains and the [`RunSink`] tracks, both plugged in by `app`.

#![deny(missing_docs)]

mod checkpoint;
mod error;
mod facts;
mod files;
mod job;
mod kind;
mod model;
mod ports;

pub use checkpoint::{Checkpoint, CheckpointManifest, CheckpointStore};
pub use error::{CODES, ComputeError};
pub use facts::{CodeFacts, MachineFacts, code_facts, machine_facts};
pub use files::{FileFact, file_facts};
pub use job::{JobFolder, JobProgress, TrainJob};
pub use kind::{TrainKind, TrainSpec};
pub use model::{ModelManifest, materialise};
pub use ports::{Point, RunEnd, RunSink, RunStart, RunStatus, Trained, Trainer};
