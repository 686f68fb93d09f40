//! How is a blob read that is too large to hold in memory? Piece by piece. Whoever reads it from the
//! beginning gets the last piece only when all of them were what the blob is named by.

use std::{
    fs,
    io::{Error, ErrorKind, Read, Result, Seek, SeekFrom},
};

use sextant_core::{Digest, DigestHasher};

use crate::LineageError;

/// An open blob. What is read after a jump to another place is not checked.
pub struct BlobReader {
    file: fs::File,
    digest: Digest,
    bytes: u64,
    at: u64,
    /// Until everything was checked, or a jump made that impossible.
    hasher: Option<DigestHasher>,
}

impl std::fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobReader").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl BlobReader {
    pub(crate) fn new(file: fs::File, digest: Digest) -> std::result::Result<Self, LineageError> {
        let known = file.metadata().map_err(LineageError::io("read", digest.to_string()))?;
        let hasher = Some(DigestHasher::new());
        Ok(Self { file, digest, bytes: known.len(), at: 0, hasher })
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.bytes
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.file.read(buffer)?;
        self.at += count as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        let is_end = self.at >= self.bytes || (count == 0 && !buffer.is_empty());
        if is_end
            && let Some(hasher) = self.hasher.take()
            && hasher.finish() != self.digest
        {
            let why = format!("blob {} is damaged", self.digest);
            return Err(Error::new(ErrorKind::InvalidData, why));
        }
        Ok(count)
    }
}

impl Seek for BlobReader {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let at = self.file.seek(to)?;
        if at != self.at {
            self.hasher = None;
        }
        self.at = at;
        Ok(at)
    }
}
