//! Is a snapshot still what was written? Every byte is read, and text and vectors are compared.

use std::path::Path;

use serde::Serialize;
use sextant_core::Digest;

use super::{Snapshot, record};
use crate::{chunk::ChunkSet, error::RetrieveError};

/// What was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The snapshot's digest.
    pub digest: Digest,
    /// Chunks in the text index.
    pub chunks: usize,
    /// Vectors beside them.
    pub vectors: usize,
    /// Bytes read.
    pub bytes: u64,
}

/// Verifies the snapshot in this folder: the digest of every file, that the text index and the
/// vector file hold the same chunks in the same order, that the rows are the ones the manifest
/// digests, and that the folder is named by the manifest.
///
/// # Errors
/// What does not hold, as [`RetrieveError::Corrupt`].
pub fn verify(path: &Path) -> Result<VerifyReport, RetrieveError> {
    let corrupt = |reason: String| RetrieveError::corrupt(path, reason);
    let expected = record::Record::read(path)?;
    for file in &expected.files {
        let is_same =
            record::file_record(path, file.path.clone()).is_ok_and(|found| found == *file);
        if !is_same {
            return Err(corrupt(format!("`{}` is missing or its bytes changed", file.path)));
        }
    }
    let snapshot = Snapshot::open(path)?;
    let digest = snapshot.digest();
    if path.file_name().is_none_or(|name| *name != *digest.hex()) {
        return Err(corrupt(format!("its folder should be named {}", digest.hex())));
    }
    let rows = snapshot.rows().collect::<Result<Vec<_>, _>>()?;
    if let Some(vectors) = snapshot.vectors() {
        vectors.verify()?;
        for (number, row) in rows.iter().enumerate() {
            if vectors.chunk(number) != row.chunk {
                return Err(corrupt(format!("row {number} is another chunk in the vector file")));
            }
        }
    }
    let chunks = rows.len();
    let set = ChunkSet::new(rows).map_err(|error| corrupt(error.to_string()))?;
    if set.merkle() != snapshot.manifest().chunks || set.rows().len() != chunks {
        return Err(corrupt("the rows are not the ones the manifest names".into()));
    }
    let vectors = snapshot.vectors().map_or(0, crate::vectors::VectorFile::count);
    let bytes = expected.files.iter().map(|file| file.bytes).sum();
    Ok(VerifyReport { digest, chunks, vectors, bytes })
}
