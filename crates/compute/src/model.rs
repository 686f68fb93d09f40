//! What is a trained model once it is stored? A manifest of files by digest, and a folder laid out
//! from the blobs that any tool of the field can open.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sextant_core::{Digest, Failure, canonical_json};
use sextant_lineage::{Act, Store};

use crate::{
    ComputeError,
    files::{FileFact, file_facts, remove_folder, sync_folder, write_synced},
};

/// Version of the manifest's form.
const FORMAT: u32 = 1;

/// The body of the `model_version` artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelManifest {
    /// Version of this form.
    pub format: u32,
    /// The architecture.
    pub architecture: String,
    /// Dimensions of its vectors, when it makes vectors.
    pub dim: Option<usize>,
    /// Steps it was trained.
    pub steps: u64,
    /// Its files.
    pub files: BTreeMap<String, FileFact>,
    /// What else the trainer says of it.
    pub facts: Value,
}

impl ModelManifest {
    /// The manifest of a folder.
    ///
    /// # Errors
    /// When the folder cannot be read or holds no file.
    pub(crate) fn of(
        folder: &Path,
        architecture: &str,
        dim: Option<usize>,
        steps: u64,
        facts: Value,
    ) -> Result<Self, ComputeError> {
        let files = file_facts(folder)?;
        if files.is_empty() {
            let reason = format!("{} is empty", folder.display());
            return Err(ComputeError::NoModel { reason });
        }
        Ok(Self { format: FORMAT, architecture: architecture.to_owned(), dim, steps, files, facts })
    }

    /// Reads the artifact's bytes.
    ///
    /// # Errors
    /// When they are not a model manifest.
    pub fn from_bytes(version: &Digest, bytes: &[u8]) -> Result<Self, ComputeError> {
        serde_json::from_slice(bytes).map_err(|error| ComputeError::Stored {
            version: version.to_string(),
            reason: error.to_string(),
        })
    }
}

/// Stores each file of a folder as a blob and checks that it is the file that was hashed.
pub(crate) fn store_files(
    act: &mut Act,
    folder: &Path,
    files: &BTreeMap<String, FileFact>,
) -> Result<(), Failure> {
    for (name, fact) in files {
        let path = folder.join(name);
        if act.blob_file(&path)? != fact.digest {
            let reason = format!("`{name}` changed while it was stored");
            return Err(ComputeError::Checkpoint { path: folder.to_owned(), reason }.into());
        }
    }
    Ok(())
}

/// The folder of a stored model: `<data folder>/models/<digest>/`. It is laid out from the blobs
/// when it is absent or its files are not those of the manifest, and appears whole or not at all.
///
/// # Errors
/// When a blob is missing or damaged, or the folder cannot be written.
pub fn materialise(store: &Store, version: &Digest) -> Result<PathBuf, Failure> {
    let manifest = ModelManifest::from_bytes(version, &store.blob(version)?)?;
    lay_out(store, version, &manifest, &|_, fact| Ok(store.blob(&fact.digest)?))
}

type ReadFile<'a> = dyn Fn(&str, &FileFact) -> Result<Vec<u8>, Failure> + 'a;

pub(crate) fn lay_out(
    store: &Store,
    version: &Digest,
    manifest: &ModelManifest,
    read: &ReadFile<'_>,
) -> Result<PathBuf, Failure> {
    let area = store.area("models")?;
    let target = area.join(version.hex());
    if target.is_dir() {
        if file_facts(&target).is_ok_and(|found| found == manifest.files) {
            return Ok(target);
        }
        remove_folder(&target)?;
    }
    let temporary = tempfile::Builder::new()
        .prefix(".writing-")
        .tempdir_in(&area)
        .map_err(ComputeError::io("make a folder in", &area))?;
    for (name, fact) in &manifest.files {
        let plain = Path::new(name).file_name().is_some_and(|last| last == name.as_str());
        let bytes = read(name, fact)?;
        if !plain || Digest::of(&bytes) != fact.digest {
            let reason = format!("`{name}` is not the file of its manifest");
            return Err(ComputeError::Stored { version: version.to_string(), reason }.into());
        }
        write_synced(&temporary.path().join(name), &bytes)?;
    }
    sync_folder(temporary.path())?;
    let from = temporary.keep();
    match std::fs::rename(&from, &target) {
        Ok(()) => {}
        // Another thread laid the same model out first.
        Err(_) if target.is_dir() => remove_folder(&from)?,
        Err(error) => {
            remove_folder(&from)?;
            return Err(ComputeError::io("rename", &from)(error).into());
        }
    }
    sync_folder(&area)?;
    Ok(target)
}

/// The digest of the artifact with this body.
pub(crate) fn manifest_digest(manifest: &ModelManifest) -> Digest {
    Digest::of(canonical_json(manifest).unwrap_or_default())
}
