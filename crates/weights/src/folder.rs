//! What is a model folder called, and how do its files get onto the disk whole?

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sextant_core::{Digest, DigestHasher};

use crate::{FOLDER_FILES_MAX, TOKENIZER_BYTES_MAX, WeightsError};

/// The model's shape.
pub const CONFIG_FILE: &str = "config.json";
/// The model's weights.
pub const TENSORS_FILE: &str = "model.safetensors";
/// The model's tokenizer, as the `tokenizers` packages read it.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// One file of a model folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// The files of a model folder by name: the body of a `model_version`.
pub type FolderManifest = BTreeMap<String, FileEntry>;

/// Names every file of a flat model folder by its bytes. Hidden files are left out; folders, links
/// and names that are not UTF-8 are refused.
///
/// # Errors
/// When an entry is not an ordinary file or cannot be read.
pub fn folder_digest(dir: &Path) -> Result<FolderManifest, WeightsError> {
    let mut manifest = FolderManifest::new();
    for entry in fs::read_dir(dir).map_err(|e| WeightsError::io("read", dir, e))? {
        let entry = entry.map_err(|e| WeightsError::io("list", dir, e))?;
        let path = entry.path();
        let refuse = || WeightsError::NotAFile { path: path.clone() };
        let name = entry.file_name().into_string().map_err(|_| refuse())?;
        if name.starts_with('.') {
            continue;
        }
        let kind = entry.file_type().map_err(|e| WeightsError::io("inspect", &path, e))?;
        if !kind.is_file() {
            return Err(refuse());
        }
        if manifest.len() == FOLDER_FILES_MAX {
            let limit = FOLDER_FILES_MAX as u64;
            return Err(WeightsError::TooLarge {
                path: dir.to_path_buf(),
                found: limit + 1,
                unit: "files",
                limit,
            });
        }
        manifest.insert(name, file_entry(&path)?);
    }
    Ok(manifest)
}

fn file_entry(path: &Path) -> Result<FileEntry, WeightsError> {
    let mut file = File::open(path).map_err(|e| WeightsError::io("read", path, e))?;
    let mut hasher = DigestHasher::new();
    let size =
        std::io::copy(&mut file, &mut hasher).map_err(|e| WeightsError::io("hash", path, e))?;
    Ok(FileEntry { digest: hasher.finish(), size })
}

/// Reads a whole file that must not be larger than `limit` bytes.
///
/// # Errors
/// When it is absent, larger, or cannot be read.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, WeightsError> {
    let file = File::open(path).map_err(|e| WeightsError::io("read", path, e))?;
    let meta = file.metadata().map_err(|e| WeightsError::io("inspect", path, e))?;
    if !meta.is_file() {
        return Err(WeightsError::NotAFile { path: path.to_path_buf() });
    }
    let too_large =
        |found| WeightsError::TooLarge { path: path.to_path_buf(), found, unit: "bytes", limit };
    if meta.len() > limit {
        return Err(too_large(meta.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    let mut bounded = file.take(limit + 1);
    bounded.read_to_end(&mut bytes).map_err(|e| WeightsError::io("read", path, e))?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Writes a file wholly or not at all: a temporary name beside it, fsync, rename, fsync of the
/// folder.
///
/// # Errors
/// When the disk refuses any of these steps; the old file is then untouched.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), WeightsError> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let result = write_and_rename(&temporary, path, bytes);
    if result.is_err() {
        // The first failure is the one to report; a leftover temporary file is hidden and harmless.
        let _ignored = fs::remove_file(&temporary);
    }
    result
}

fn write_and_rename(temporary: &Path, path: &Path, bytes: &[u8]) -> Result<(), WeightsError> {
    let mut file = File::create(temporary).map_err(|e| WeightsError::io("create", temporary, e))?;
    file.write_all(bytes).map_err(|e| WeightsError::io("write", temporary, e))?;
    file.sync_all().map_err(|e| WeightsError::io("sync", temporary, e))?;
    fs::rename(temporary, path).map_err(|e| WeightsError::io("rename", path, e))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| WeightsError::io("sync", parent, e))
}

/// Reads `tokenizer.json` of a model folder: present, bounded, JSON text.
///
/// # Errors
/// When it is absent, too large, or not a JSON object.
pub fn read_tokenizer(dir: &Path) -> Result<Vec<u8>, WeightsError> {
    let path = dir.join(TOKENIZER_FILE);
    let bytes = read_file(&path, TOKENIZER_BYTES_MAX)?;
    match serde_json::from_slice::<serde::de::IgnoredAny>(&bytes) {
        Ok(_) if bytes.trim_ascii_start().first() == Some(&b'{') => Ok(bytes),
        Ok(_) => Err(WeightsError::corrupt(&path, "it is not a JSON object")),
        Err(e) => Err(WeightsError::corrupt(&path, e.to_string())),
    }
}
