//! Layer 6, retrieval: which passages of the documents speak about this question?
//!
//! [`markdown`] cuts documents into sections with exact byte ranges, [`snapshot`] builds immutable,
//! content-addressed index directories that hold text and vectors under one commit, and [`search`]
//! ranks by BM25, by cosine, or by both. [`IndexKind`] is the noun `indexes/*.toml` of a project.
//!
//! This crate must not know any other layer: rows come through [`ChunkRows`], vectors through
//! [`Embedders`], and the composition root plugs both in. It knows no async and no HTTP.

#![deny(missing_docs)]

mod chunk;
#[cfg(feature = "testing")]
pub mod conformance;
mod embed;
mod error;
mod kind;
pub mod limits;
pub mod markdown;
pub mod memory;
pub mod search;
pub mod snapshot;
mod text;
mod tokens;
mod vectors;

pub use chunk::{ChunkRow, ChunkRows, chunk_digest};
pub use embed::{EmbedSpec, EmbedText, Embedders, TextEmbedder};
pub use error::{CODES, RetrieveError};
pub use kind::{IndexFile, IndexKind};
pub use search::{Hit, Mode, Query};
pub use snapshot::{BuildCounts, Snapshot, SnapshotCache, Snapshots, verify};
