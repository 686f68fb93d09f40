//! What is one committed state of an index? A folder named by the digest of its manifest, holding
//! text and vectors that were committed together, and never changed afterwards.
//!
//! ```text
//! <manifest digest>/text/         the tantivy index; its commit payload names the vector file
//! <manifest digest>/vectors.sxv   the vectors, absent without an embedder
//! <manifest digest>/snapshot.json what is here, written last
//! ```
//! A folder under construction begins with a dot; a crash leaves it behind, and the next build
//! removes it. A folder with its final name is whole.

mod build;
mod record;
#[cfg(test)]
mod tests;
mod verify;

pub use build::{BuildCounts, BuildOutcome, BuildWatch, Snapshots};
pub use record::{IndexManifest, IndexParameters, VectorsRecord};
pub use verify::{VerifyReport, verify};

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use sextant_core::Digest;

use crate::{
    chunk::ChunkRow, error::RetrieveError, limits::OPEN_SNAPSHOTS_MAX, text::TextIndex,
    vectors::VectorFile,
};
use record::Record;

pub(crate) const TEXT_FOLDER: &str = "text";
pub(crate) const VECTORS_FILE: &str = "vectors.sxv";

/// An open snapshot. Opening maps files and reads row numbers; it does not read the vectors.
pub struct Snapshot {
    path: PathBuf,
    digest: Digest,
    record: Record,
    text: TextIndex,
    vectors: Option<VectorFile>,
}

impl Snapshot {
    /// Opens the snapshot in this folder and checks that its parts belong together.
    ///
    /// # Errors
    /// When there is none, when it is damaged, or when a newer version wrote it.
    pub fn open(path: &Path) -> Result<Self, RetrieveError> {
        let record = Record::read(path)?;
        let digest = record.manifest.digest();
        let text = TextIndex::open(&path.join(TEXT_FOLDER))?;
        let corrupt = |reason: &str| RetrieveError::corrupt(path, reason);
        let payload = text.payload();
        let vectors_digest = record.vectors.as_ref().map(|vectors| vectors.digest);
        if payload.snapshot != digest || payload.vectors != vectors_digest {
            return Err(corrupt("the text index was committed for another snapshot"));
        }
        if payload.chunks != record.manifest.count {
            return Err(corrupt("the text index and the manifest count different chunks"));
        }
        let vectors = match &record.vectors {
            None => None,
            Some(expected) => {
                let file = VectorFile::open(&path.join(VECTORS_FILE))?;
                let spec = &expected.spec;
                let is_same = file.embedder() == spec.model
                    && file.dim() == spec.dim
                    && file.count() == record.manifest.count;
                if !is_same {
                    return Err(corrupt("the vector file belongs to another snapshot"));
                }
                Some(file)
            }
        };
        Ok(Self { path: path.to_owned(), digest, record, text, vectors })
    }

    /// The digest of its manifest: its name, and the digest of its artifact.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it was made of.
    pub const fn manifest(&self) -> &IndexManifest {
        &self.record.manifest
    }

    /// The digest of the embedder whose vectors it holds.
    pub fn embedder(&self) -> Option<Digest> {
        self.vectors.as_ref().map(VectorFile::embedder)
    }

    /// How many chunks it holds.
    pub const fn len(&self) -> usize {
        self.record.manifest.count
    }

    /// Whether it holds no chunk.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A chunk as it was indexed, by its id.
    ///
    /// # Errors
    /// When the text index cannot be read.
    pub fn chunk(&self, chunk: &Digest) -> Result<Option<ChunkRow>, RetrieveError> {
        self.text.find(chunk)?.map(|row| self.text.row(row)).transpose()
    }

    /// Every chunk, in the order of its row.
    ///
    /// # Errors
    /// The first row that cannot be read.
    pub fn rows(&self) -> impl Iterator<Item = Result<ChunkRow, RetrieveError>> + '_ {
        (0..self.len()).map(|row| self.text.row(row))
    }

    pub(crate) const fn text(&self) -> &TextIndex {
        &self.text
    }

    pub(crate) const fn vectors(&self) -> Option<&VectorFile> {
        self.vectors.as_ref()
    }
}

/// Keeps snapshots open between requests; the least recently used one is closed first. A snapshot
/// that is closed here lives on for the requests that hold it.
#[derive(Default)]
pub struct SnapshotCache {
    open: Mutex<VecDeque<Arc<Snapshot>>>,
}

impl SnapshotCache {
    /// A cache that holds nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The snapshot in this folder, opened when it is not open yet.
    ///
    /// # Errors
    /// As [`Snapshot::open`].
    pub fn get(&self, path: &Path) -> Result<Arc<Snapshot>, RetrieveError> {
        // Opening happens under the lock: two requests for one snapshot open it once.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let found = open.iter().position(|snapshot| snapshot.path() == path);
        let snapshot = match found.and_then(|index| open.remove(index)) {
            Some(snapshot) => snapshot,
            None => Arc::new(Snapshot::open(path)?),
        };
        open.push_back(Arc::clone(&snapshot));
        if open.len() > OPEN_SNAPSHOTS_MAX {
            open.pop_front();
        }
        Ok(snapshot)
    }
}
