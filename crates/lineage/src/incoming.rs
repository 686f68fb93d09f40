//! How do bytes come in that are too many to hold in memory? Into a file beside the blobs, hashed while
//! they are written. Nobody sees them before an act keeps them; what is dropped, or left by a crash, is
//! removed.

use std::{
    fs,
    io::{Read as _, Write as _},
};

use sextant_core::{Digest, DigestHasher};
use tempfile::{NamedTempFile, TempPath};

use crate::{LineageError, failpoint};

/// Bytes on their way into the store.
#[derive(Debug)]
pub struct Incoming {
    file: NamedTempFile,
    hasher: Hashing,
    bytes: u64,
}

/// Bytes that wait to be put together with others. They take no open file.
#[derive(Debug)]
pub struct Aside {
    path: TempPath,
    digest: Digest,
    bytes: u64,
}

#[derive(Default)]
struct Hashing(DigestHasher);

impl std::fmt::Debug for Hashing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl Incoming {
    pub(crate) fn new(file: NamedTempFile) -> Self {
        Self { file, hasher: Hashing::default(), bytes: 0 }
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// When they cannot be written: the disk may be full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), LineageError> {
        failpoint("blob::incoming").and_then(|()| self.file.write_all(bytes)).map_err(
            |source| {
                let path = self.file.path().to_owned();
                LineageError::Io { action: "write", path, source }
            },
        )?;
        self.hasher.0.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Adds bytes that were put aside. Their own file is gone afterwards, so that the same bytes do not
    /// lie on the disk twice for longer than that.
    ///
    /// # Errors
    /// When they cannot be read or written, or are not what they were.
    pub fn append(&mut self, aside: Aside) -> Result<(), LineageError> {
        let mut file =
            fs::File::open(&aside.path).map_err(LineageError::io("read", &*aside.path))?;
        let (mut buffer, mut hasher) = (vec![0; 1 << 18], DigestHasher::new());
        loop {
            let count = file.read(&mut buffer).map_err(LineageError::io("read", &*aside.path))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            self.write(&buffer[..count])?;
        }
        if hasher.finish() == aside.digest {
            return Ok(());
        }
        let detail = "its bytes changed while they waited".to_owned();
        Err(LineageError::Corrupt { what: aside.path.display().to_string(), detail })
    }

    /// How many there are so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Closes the file for now.
    pub fn put_aside(self) -> Aside {
        let Self { file, hasher, bytes } = self;
        Aside { path: file.into_temp_path(), digest: hasher.0.finish(), bytes }
    }

    pub(crate) fn finish(self) -> (Digest, NamedTempFile) {
        (self.hasher.0.finish(), self.file)
    }
}

impl Aside {
    /// The digest of the bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many there are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
