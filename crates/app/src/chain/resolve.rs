//! What does a person mean by an id? An answer, an artifact, an asset's newest version, a pointer,
//! or a document by its path.

use sextant_core::{ActivityId, ArtifactKind, Digest, Failure, Name};
use sextant_lineage::Reader;

use crate::AppError;

/// What an id means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The newest answer.
    LastAnswer,
    /// This answer.
    Answer(ActivityId),
    /// This artifact.
    Artifact(Digest),
    /// These documents: all versions recorded of one path.
    Documents(Vec<Digest>),
}

/// Resolves an id against the catalog.
pub fn resolve(reader: &Reader, id: &str) -> Result<Target, Failure> {
    let id = id.trim();
    if id.len() > ID_BYTES_MAX {
        let message = format!("an id of {} bytes; the longest is {ID_BYTES_MAX}", id.len());
        return Err(AppError::BadInput(message).into());
    }
    if id == "last" {
        return Ok(Target::LastAnswer);
    }
    // With its hyphens: 32 digits alone are the beginning of a digest.
    if id.contains('-')
        && let Ok(answer) = id.parse::<ActivityId>()
    {
        return Ok(Target::Answer(answer));
    }
    if let Ok(name) = id.parse::<Name>()
        && let Some(digest) = reader.name(&name)?
    {
        return Ok(Target::Artifact(digest));
    }
    for name in [format!("asset/{id}@latest"), format!("release/{id}@live")] {
        if let Ok(name) = name.parse::<Name>()
            && let Some(digest) = reader.name(&name)?
        {
            return Ok(Target::Artifact(digest));
        }
    }
    let documents = documents_at(reader, id)?;
    if !documents.is_empty() {
        return Ok(Target::Documents(documents));
    }
    by_prefix(reader, id)
}

/// Longest text that is looked up: that of a path.
const ID_BYTES_MAX: usize = 4096;
/// Versions of one document that are looked at.
const DOCUMENTS_MAX: u32 = 10_000;

fn documents_at(reader: &Reader, path: &str) -> Result<Vec<Digest>, Failure> {
    if !path.contains(['.', '/']) {
        return Ok(Vec::new());
    }
    // A path as a shell completes it, such as docs/using/x.md, ends with the path in the source.
    let sql = "SELECT digest, json_extract(meta, '$.path') AS path FROM artifacts
               WHERE kind = ?1 AND substr('/' || ?2, -length('/' || path)) = '/' || path
               ORDER BY length(path) DESC, created_at DESC LIMIT ?3";
    let kind = ArtifactKind::DocVersion.as_str();
    let rows = reader.query(sql, &[kind.into(), path.into(), DOCUMENTS_MAX.into()])?;
    let mut found = Vec::new();
    for row in &rows {
        if row.text(1)? == rows[0].text(1)? {
            found.push(row.digest(0)?);
        }
    }
    Ok(found)
}

fn by_prefix(reader: &Reader, id: &str) -> Result<Target, Failure> {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    let mut found = reader.artifacts_with_prefix(hex, 5)?;
    match found.len() {
        1 => Ok(Target::Artifact(found.swap_remove(0).digest)),
        0 => {
            let hint = "`sextant answers`, `sextant status` and `sextant release list` show ids";
            Err(AppError::not_found("version, answer, asset or document", id, hint).into())
        }
        _ => {
            let found = found.iter().map(|one| format!("{} {}", one.kind, one.digest)).collect();
            Err(AppError::Ambiguous { id: id.to_owned(), found }.into())
        }
    }
}
