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

/// So many files of one model are looked at.
const FILES_MAX: i64 = 100_000;

/// Every file below an address of artifacts, by path. None is known below an address that clients reach by
/// themselves.
pub(crate) fn files_below(reader: &Reader, address: &str) -> Result<Vec<StoredFile>, Refusal> {
    let Some(root) = address.strip_prefix("mlflow-artifacts:") else { return Ok(Vec::new()) };
    let root = root.trim_matches('/');
    let sql = "SELECT folder, name, digest, bytes FROM mlflow_artifacts
               WHERE (folder = ?1 OR (folder > ?1 || '/' AND folder < ?1 || '0'))
               AND digest IS NOT NULL ORDER BY folder || '/' || name LIMIT ?2";
    let mut files = Vec::new();
    for row in &reader.query(sql, &[root.into(), FILES_MAX.into()])? {
        let path = format!("{}/{}", row.text(0)?, row.text(1)?);
        let path = path.get(root.len() + 1..).unwrap_or_default().to_owned();
        let (bytes, digest) = (row.int(3)?.unsigned_abs(), row.digest(2)?);
        files.push(StoredFile { path, bytes: Some(bytes), digest: Some(digest) });
    }
    Ok(files)
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
