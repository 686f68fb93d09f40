//! Which files did a source of text have at a version, and what was in one? The version's table has
//! their paths and digests, and the bytes are kept for ever, so any file can be read as it was: at a
//! tag, at a time, at a number.

use serde::Serialize;
use sextant_core::Digest;

use super::DOCUMENTS;
use crate::{
    DataEngine, TableMeta,
    error::{DataError, Result},
};

/// Files that are named when one is not found.
const FILES_TOLD: usize = 20;

/// The files of a source of text at one version.
#[derive(Debug, Clone, Serialize)]
pub struct FilesAt {
    /// The source's asset.
    pub source: String,
    /// The version of its table.
    pub version: Digest,
    /// The Delta version that holds it.
    pub delta_version: u64,
    /// Its files, by path.
    pub files: Vec<FileAt>,
}

/// One file of such a version.
#[derive(Debug, Clone, Serialize)]
pub struct FileAt {
    /// Relative to the source's folder.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The digest of its bytes.
    pub digest: Digest,
}

impl DataEngine {
    /// The files of a source of text: `SOURCE`, or `SOURCE@VERSION` with a tag, a number, a digest or a
    /// time.
    ///
    /// # Errors
    /// When there is no such source or version, or it is none of text files.
    pub fn files_at(&self, source: &str) -> Result<FilesAt> {
        let meta = self.documents_of(source)?;
        let rows = self.rows(&meta, &["path", "bytes", "raw_digest"])?;
        let mut files = Vec::with_capacity(rows.len());
        for row in &rows {
            let digest = row["raw_digest"].as_str().unwrap_or_default();
            files.push(FileAt {
                path: row["path"].as_str().unwrap_or_default().to_owned(),
                bytes: row["bytes"].as_u64().unwrap_or_default(),
                digest: digest.parse().map_err(DataError::engine)?,
            });
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(FilesAt {
            source: meta.asset.to_string(),
            version: meta.version()?,
            delta_version: meta.delta_version,
            files,
        })
    }

    /// What was in a file of a source of text, at a version as [`files_at`](Self::files_at) takes it.
    ///
    /// # Errors
    /// When there is no such source, version or file.
    pub fn file_at(&self, source: &str, path: &str) -> Result<(FileAt, String)> {
        let files = self.files_at(source)?.files;
        let file = files.iter().find(|file| file.path == path).cloned();
        let file = file.ok_or_else(|| {
            let mut known: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
            if known.len() > FILES_TOLD {
                known.truncate(FILES_TOLD);
                known.push("…");
            }
            let name = format!("{path} in {source}");
            DataError::NotFound { what: "file", name, known: known.join(", ") }
        })?;
        let bytes = self.store().blob(&file.digest)?;
        // Sources of text take nothing but UTF-8.
        let text = String::from_utf8(bytes).map_err(DataError::engine)?;
        Ok((file, text))
    }

    fn documents_of(&self, source: &str) -> Result<TableMeta> {
        let (name, which) = match source.split_once('@') {
            Some((name, which)) => (name, Some(which)),
            None => (source, None),
        };
        let asset = if name.contains('/') { name.to_owned() } else { format!("sources/{name}") };
        let meta = self.table_version_of(&asset, which)?;
        if meta.table != DOCUMENTS || meta.chained {
            return Err(DataError::TableRefused {
                message: format!("{} does not keep files: its rows are its content", meta.asset),
                fix: format!("`sextant data show {source}` shows them"),
            });
        }
        Ok(meta)
    }
}
