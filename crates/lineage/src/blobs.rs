//! Where do immutable bytes live? In `blobs/<2 hex>/<62 hex>`, written whole or not at all, checked
//! whenever they are read.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use sextant_core::{Digest, DigestHasher};
use tempfile::NamedTempFile;

use crate::{LineageError, failpoint, sync_folder};

/// The content-addressed folder.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    root: PathBuf,
    temporary: PathBuf,
    /// Held while a blob is found to be there, or removed for being old: never both at once.
    gate: Arc<Mutex<()>>,
}

impl Blobs {
    /// Opens the folder; clears what a crash left in `temporary`.
    pub(crate) fn open(root: &Path, temporary: &Path) -> Result<Self, LineageError> {
        fs::create_dir_all(root).map_err(LineageError::io("create", root))?;
        if temporary.exists() {
            fs::remove_dir_all(temporary).map_err(LineageError::io("clear", temporary))?;
        }
        fs::create_dir_all(temporary).map_err(LineageError::io("create", temporary))?;
        let gate = Arc::default();
        Ok(Self { root: root.to_owned(), temporary: temporary.to_owned(), gate })
    }

    /// Where a blob is, or would be.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join(&hex[..2]).join(&hex[2..])
    }

    /// Stores bytes; returns when they are durable.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Digest, LineageError> {
        let digest = Digest::of(bytes);
        self.place(&digest, |file| file.write_all(bytes))?;
        Ok(digest)
    }

    /// Stores a copy of a file; returns its digest and size when it is durable.
    pub(crate) fn put_file(&self, source: &Path) -> Result<(Digest, u64), LineageError> {
        let mut hasher = DigestHasher::new();
        let mut input = fs::File::open(source).map_err(LineageError::io("read", source))?;
        let bytes =
            std::io::copy(&mut input, &mut hasher).map_err(LineageError::io("read", source))?;
        let digest = hasher.finish();
        let mut again = DigestHasher::new();
        self.place(&digest, |file| {
            let mut input = fs::File::open(source)?;
            let mut buffer = vec![0_u8; 1 << 16];
            loop {
                let count = input.read(&mut buffer)?;
                if count == 0 {
                    break;
                }
                again.update(&buffer[..count]);
                file.write_all(&buffer[..count])?;
            }
            if std::mem::take(&mut again).finish() == digest {
                Ok(())
            } else {
                Err(std::io::Error::other("the file changed while it was read"))
            }
        })?;
        Ok((digest, bytes))
    }

    /// Reads a blob and checks that its bytes are the ones it is named by.
    pub(crate) fn get(&self, digest: &Digest) -> Result<Vec<u8>, LineageError> {
        let mut bytes = Vec::new();
        let read = self.open_file(digest)?.read_to_end(&mut bytes);
        read.map_err(LineageError::io("read", self.path(digest)))?;
        let found = Digest::of(&bytes);
        if found == *digest { Ok(bytes) } else { Err(damaged(digest, &found)) }
    }

    /// Checks a blob without holding it in memory; how many bytes it has.
    pub(crate) fn check(&self, digest: &Digest) -> Result<u64, LineageError> {
        let path = self.path(digest);
        let mut hasher = DigestHasher::new();
        let bytes = std::io::copy(&mut self.open_file(digest)?, &mut hasher)
            .map_err(LineageError::io("read", &path))?;
        let found = hasher.finish();
        if found == *digest { Ok(bytes) } else { Err(damaged(digest, &found)) }
    }

    /// Opens the file of a blob.
    pub(crate) fn open_file(&self, digest: &Digest) -> Result<fs::File, LineageError> {
        let path = self.path(digest);
        fs::File::open(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => {
                LineageError::NotFound { what: "blob", id: digest.to_string() }
            }
            _ => LineageError::Io { action: "read", path, source },
        })
    }

    /// A file in `temporary`: gone when it is dropped, and after a crash at the next opening.
    pub(crate) fn temporary(&self) -> Result<NamedTempFile, LineageError> {
        NamedTempFile::new_in(&self.temporary)
            .map_err(LineageError::io("create a file in", &self.temporary))
    }

    /// Stores a file of `temporary` that has the bytes of this digest, without copying it.
    pub(crate) fn take(&self, digest: &Digest, file: NamedTempFile) -> Result<(), LineageError> {
        if self.has(digest)? { Ok(()) } else { self.settle(digest, file) }
    }

    /// Every file in the folder that looks like a blob.
    pub(crate) fn list(&self) -> Result<Vec<(Digest, PathBuf)>, LineageError> {
        let mut found = Vec::new();
        for folder in read_folder(&self.root)? {
            if !folder.is_dir() {
                continue;
            }
            for file in read_folder(&folder)? {
                let parts = (folder.file_name(), file.file_name());
                if let (Some(head), Some(tail)) = parts {
                    let text =
                        format!("sha256:{}{}", head.to_string_lossy(), tail.to_string_lossy());
                    if let Ok(digest) = text.parse() {
                        found.push((digest, file));
                    }
                }
            }
        }
        Ok(found)
    }

    /// Whether the blob is there. It may be an orphan of work that was cut short: it is made young,
    /// so that a repair does not take it from the act that refers to it now.
    fn renew(&self, path: &Path) -> std::io::Result<bool> {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::File::options().write(true).open(path) {
            Ok(file) => file.set_modified(SystemTime::now()).map(|()| true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a blob that nobody has touched since `young`; whether it did.
    pub(crate) fn remove_older(&self, path: &Path, young: SystemTime) -> std::io::Result<bool> {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let old = fs::metadata(path)?.modified()? < young;
        if old {
            fs::remove_file(path)?;
        }
        Ok(old)
    }

    fn place(
        &self,
        digest: &Digest,
        fill: impl FnOnce(&mut fs::File) -> std::io::Result<()>,
    ) -> Result<(), LineageError> {
        if self.has(digest)? {
            return Ok(());
        }
        let mut file = self.temporary()?;
        fill(file.as_file_mut()).map_err(LineageError::io("store blob", self.path(digest)))?;
        self.settle(digest, file)
    }

    /// Whether the blob is there, whole and durable.
    fn has(&self, digest: &Digest) -> Result<bool, LineageError> {
        let path = self.path(digest);
        // A damaged file is not taken for the blob: whoever makes the bytes again heals it.
        let there = self.renew(&path).map_err(LineageError::io("renew", &path))?;
        if !there || !holds(&path, digest).map_err(LineageError::io("read", &path))? {
            return Ok(false);
        }
        // Another thread may have renamed it a moment ago: make that durable for us too.
        let folder = path.parent().unwrap_or(&self.root);
        sync_folder(folder).map_err(LineageError::io("sync", folder)).map(|()| true)
    }

    /// Makes a written file durable and puts it in its place.
    fn settle(&self, digest: &Digest, file: NamedTempFile) -> Result<(), LineageError> {
        let path = self.path(digest);
        let folder = path.parent().unwrap_or(&self.root);
        let fresh = !folder.exists();
        fs::create_dir_all(folder).map_err(LineageError::io("create", folder))?;
        let write = || -> std::io::Result<()> {
            failpoint("blob::before_sync")?;
            file.as_file().sync_all()?;
            failpoint("blob::before_rename")?;
            file.persist(&path).map_err(|error| error.error)?;
            sync_folder(folder)?;
            if fresh { sync_folder(&self.root) } else { Ok(()) }
        };
        write().map_err(LineageError::io("store blob", &path))
    }
}

/// That a blob has other bytes than it is named by.
fn damaged(digest: &Digest, found: &Digest) -> LineageError {
    let detail = format!("its bytes hash to {found}");
    LineageError::Corrupt { what: format!("blob {digest}"), detail }
}

/// Whether a file has the bytes that it is named by.
fn holds(path: &Path, digest: &Digest) -> std::io::Result<bool> {
    let mut hasher = DigestHasher::new();
    std::io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok(hasher.finish() == *digest)
}

fn read_folder(folder: &Path) -> Result<Vec<PathBuf>, LineageError> {
    let entries = fs::read_dir(folder).map_err(LineageError::io("list", folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(LineageError::io("list", folder))?.path());
    }
    paths.sort();
    Ok(paths)
}
