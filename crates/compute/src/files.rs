//! Which files does a folder hold, with which bytes, and are they on the disk? Used for checkpoints
//! and models alike: flat folders of plain files.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sextant_core::{Digest, DigestHasher};

use crate::ComputeError;

/// Most files of one checkpoint or model.
const FILES_MAX: usize = 1024;

/// One file's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFact {
    /// Their digest.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
}

/// The plain files of a folder by name, each read whole and hashed.
///
/// # Errors
/// When a file cannot be read, the folder holds something that is not a plain file, or too many.
pub fn file_facts(folder: &Path) -> Result<BTreeMap<String, FileFact>, ComputeError> {
    let mut facts = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(ComputeError::io("read", folder))? {
        let entry = entry.map_err(ComputeError::io("read", folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(ComputeError::io("read", &path))?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if !kind.is_file() || name.is_empty() || facts.len() >= FILES_MAX {
            let reason = format!("`{}` is not expected in it", entry.file_name().to_string_lossy());
            return Err(ComputeError::Checkpoint { path: folder.to_owned(), reason });
        }
        facts.insert(name, fact(&path)?);
    }
    Ok(facts)
}

pub(crate) fn fact(path: &Path) -> Result<FileFact, ComputeError> {
    let mut file = File::open(path).map_err(ComputeError::io("read", path))?;
    let mut hasher = DigestHasher::new();
    let mut buffer = vec![0_u8; 1 << 18];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer).map_err(ComputeError::io("read", path))?;
        if count == 0 {
            return Ok(FileFact { digest: hasher.finish(), size });
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
}

/// Puts a file and its bytes on the disk.
pub(crate) fn sync_file(path: &Path) -> Result<(), ComputeError> {
    let sync = || File::open(path)?.sync_all();
    sync().map_err(ComputeError::io("make durable", path))
}

/// Puts the names in a folder on the disk.
pub(crate) fn sync_folder(path: &Path) -> Result<(), ComputeError> {
    sextant_lineage::sync_folder(path).map_err(ComputeError::io("make durable", path))
}

/// Writes a new file and puts it on the disk.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), ComputeError> {
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(ComputeError::io("write", path))
}

/// Removes a folder that may already be gone.
pub(crate) fn remove_folder(path: &Path) -> Result<(), ComputeError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ComputeError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
