//! Which files has a logged model? Those that were uploaded below its address.

use sextant_core::Digest;
use sextant_lineage::Reader;

use crate::Refusal;

/// One file, or a folder of files, below an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredFile {
    /// Its path below the address.
    pub(crate) path: String,
    /// Its size; none of a folder.
    pub(crate) bytes: Option<u64>,
    /// Its content; none of a folder.
    pub(crate) digest: Option<Digest>,
}

/// Every file below an address of artifacts, by path. Nothing is stored behind such an address yet.
pub(crate) fn files_below(_reader: &Reader, _uri: &str) -> Result<Vec<StoredFile>, Refusal> {
    Ok(Vec::new())
}

/// What lies directly in a folder below an address: its files and folders, by path.
pub(crate) fn files_in(
    reader: &Reader,
    uri: &str,
    folder: &str,
) -> Result<Vec<StoredFile>, Refusal> {
    let before = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut found: Vec<StoredFile> = Vec::new();
    for file in files_below(reader, uri)? {
        let Some(rest) = file.path.strip_prefix(&before) else { continue };
        let entry = match rest.split_once('/') {
            None => file,
            Some((name, _)) => {
                StoredFile { path: format!("{before}{name}"), bytes: None, digest: None }
            }
        };
        if found.last().is_none_or(|last| last.path != entry.path) {
            found.push(entry);
        }
    }
    Ok(found)
}
