//! Layer 4: which runs were there, what did they measure, and which made the best checkpoint?
//!
//! A run's facts are rows of the catalog; its metric points arrive fast and live in the durable log
//! stream `metrics`. This crate must not know how training works, HTTP, or any other layer.

#![deny(missing_docs)]

pub mod bytes;
mod error;
mod points;
mod rows;
mod summary;
mod tracker;

pub use error::{CODES, TrackError};
pub use points::{MetricPoint, decode_points, encode_points};
pub use rows::{CheckpointRow, RunStatus};
pub use summary::{BestCheckpoint, Curves, Direction, MetricSummary};
pub use tracker::{BestRun, Finish, NewRun, RunDetail, RunSummary, SortRuns, Tracker};
