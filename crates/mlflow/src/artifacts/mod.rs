//! Which files are kept for runs and models? Each is a path below one root; its bytes are a blob of the
//! store. A path is a row and never a file, so nothing outside can be read or written through it.
//!
//! A file is visible when all of it is durable, or not at all. The bytes of what is replaced or deleted
//! are cleared by a later `sextant fsck --repair`.

mod media;
mod of_runs;
mod parts;
mod path;
#[cfg(test)]
mod tests;

use std::io::Read;

use serde_json::{Value, json};
use sextant_core::{Digest, limits::ARTIFACT_BYTES_MAX};
use sextant_lineage::{BlobReader, Incoming, LineageError, Reader};

use crate::{
    Answer, Call, Fields, Mlflow, Refusal,
    call::{change, look, open, take},
    refusal::{invalid, missing, unsupported},
};
use media::media_type;
pub(crate) use of_runs::CALLS as OF_RUNS;
pub(crate) use parts::{CALLS as IN_PARTS, Uploads};
pub(crate) use path::ArtifactPath;

/// What a list of one folder may have.
const ENTRIES_MAX: usize = 100_000;
const PIECE_BYTES: usize = 256 << 10;

/// A row without a digest is a folder. The root has none.
pub(crate) const MIGRATIONS: &[&str] = &["
    CREATE TABLE mlflow_artifacts (
        folder TEXT NOT NULL, name TEXT NOT NULL, digest TEXT, bytes INTEGER, stored INTEGER NOT NULL,
        PRIMARY KEY (folder, name)
    ) WITHOUT ROWID;
    INSERT INTO blob_tables (name) VALUES ('mlflow_artifacts');
"];

/// The calls of this file.
pub(crate) const CALLS: &[Call] = &[
    look("GET", "2.0/mlflow-artifacts/artifacts", Mlflow::list_served),
    open("2.0/mlflow-artifacts/artifacts/{*path}", Mlflow::get_artifact),
    take("PUT", "2.0/mlflow-artifacts/artifacts/{*path}", Mlflow::put_artifact),
    change("DELETE", "2.0/mlflow-artifacts/artifacts/{*path}", Mlflow::delete_artifact),
    look("GET", "2.0/mlflow-artifacts/presigned/{*path}", Mlflow::presign),
];

/// A file that is sent to a caller.
#[derive(Debug)]
pub struct Opened {
    /// Its name, without its folder.
    pub name: String,
    /// What is said to be in it.
    pub media_type: &'static str,
    /// What its bytes are called.
    pub digest: Digest,
    /// Its bytes.
    pub content: BlobReader,
}

/// What is in a folder.
struct Entry {
    name: String,
    is_folder: bool,
    bytes: i64,
}

impl Entry {
    fn shown(&self, path: &str) -> Value {
        let mut shown = json!({ "path": path, "is_dir": self.is_folder });
        if self.bytes > 0 {
            shown["file_size"] = self.bytes.into();
        }
        shown
    }
}

impl Mlflow {
    fn list_served(&self, fields: Fields<'_>) -> Answer {
        let path = ArtifactPath::read(fields.text("path")?.unwrap_or_default())?;
        let entries = self.entries(&path)?;
        Ok(files(entries.iter().map(|entry| entry.shown(&entry.name)).collect()))
    }

    fn get_artifact(&self, fields: Fields<'_>) -> Result<Opened, Refusal> {
        self.open_artifact(&ArtifactPath::read(fields.place("path"))?)
    }

    fn put_artifact(&self, fields: Fields<'_>, body: &mut dyn Read) -> Result<Digest, Refusal> {
        let named = fields.place("path");
        if named.is_empty() || named.ends_with('/') {
            return Err(invalid("Artifact path must include a filename (cannot end with '/')."));
        }
        let path = ArtifactPath::read(named)?;
        self.check_free(&self.store().read()?, &path)?;
        let incoming = self.receive(body, ARTIFACT_BYTES_MAX)?;
        self.keep_artifact(&path, incoming)
    }

    /// Clients ask for addresses at which a store of files is reached without this server.
    fn presign(&self, fields: Fields<'_>) -> Answer {
        ArtifactPath::read(fields.place("path"))?;
        Err(unsupported("Multipart download is not supported for the current artifact repository"))
    }

    /// Deletes a file, or a folder with all in it.
    fn delete_artifact(&self, fields: Fields<'_>) -> Answer {
        let path = ArtifactPath::read(fields.place("path"))?;
        let Some((folder, name)) = path.split() else {
            return Err(invalid("The root of all artifacts is not deleted."));
        };
        let _turn = self.turn();
        if self.row(&self.store().read()?, &path)?.is_none() {
            return Ok(json!({}));
        }
        let mut act = self.act(format!("delete artifact {path}"));
        act.execute(
            "DELETE FROM mlflow_artifacts WHERE (folder = ?1 AND name = ?2) OR folder = ?3
             OR (folder > ?3 || '/' AND folder < ?3 || '0')",
            vec![folder.into(), name.into(), path.as_str().into()],
        );
        act.commit()?;
        Ok(json!({}))
    }

    /// Opens the file at a path.
    fn open_artifact(&self, path: &ArtifactPath) -> Result<Opened, Refusal> {
        let found = self.row(&self.store().read()?, path)?;
        let (name, found) = match (path.split(), found) {
            (Some((_, name)), Some(found)) => (name, found),
            (Some(_), None) => return Err(missing(format!("No such artifact: '{path}'"))),
            (None, _) => return Err(is_folder(path)),
        };
        let (digest, bytes) = found.ok_or_else(|| is_folder(path))?;
        let content = self.store().open_blob(&digest)?;
        if i64::try_from(content.size()) != Ok(bytes) {
            let detail = format!("it has {} bytes, not {bytes}", content.size());
            return Err(LineageError::Corrupt { what: format!("blob {digest}"), detail }.into());
        }
        Ok(Opened { name: name.to_owned(), media_type: media_type(name), digest, content })
    }

    /// Takes a body that has at most so many bytes.
    fn receive(&self, body: &mut dyn Read, bytes_max: u64) -> Result<Incoming, Refusal> {
        let mut incoming = self.store().incoming()?;
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(incoming),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(invalid(format!("The file could not be received: {error}")));
                }
            };
            incoming.write(&buffer[..count])?;
            if incoming.bytes() > bytes_max {
                return Err(too_large(bytes_max));
            }
        }
    }

    /// Makes what came in the file at a path. The same bytes again change nothing.
    fn keep_artifact(&self, path: &ArtifactPath, incoming: Incoming) -> Result<Digest, Refusal> {
        let Some((folder, name)) = path.split() else { return Err(is_folder(path)) };
        let bytes = i64::try_from(incoming.bytes()).unwrap_or(i64::MAX);
        let mut act = self.act(format!("store artifact {path}"));
        // Durable before the turn is taken: it may take a while.
        let digest = act.keep(incoming)?;
        let _turn = self.turn();
        let reader = self.store().read()?;
        self.check_free(&reader, path)?;
        if self.row(&reader, path)? == Some(Some((digest, bytes))) {
            return Ok(digest);
        }
        let now = self.now();
        for (folder, name) in path.folders() {
            act.execute(
                "INSERT INTO mlflow_artifacts (folder, name, stored) VALUES (?1, ?2, ?3)
                 ON CONFLICT (folder, name) DO NOTHING",
                vec![folder.into(), name.into(), now.into()],
            );
        }
        act.execute(
            "INSERT INTO mlflow_artifacts (folder, name, digest, bytes, stored)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (folder, name) DO UPDATE
             SET digest = excluded.digest, bytes = excluded.bytes, stored = excluded.stored",
            vec![folder.into(), name.into(), digest.into(), bytes.into(), now.into()],
        );
        act.commit()?;
        Ok(digest)
    }

    /// Refuses a path that goes through a file, or is a folder.
    fn check_free(&self, reader: &Reader, path: &ArtifactPath) -> Result<(), Refusal> {
        if let Some(None) = self.row(reader, path)? {
            return Err(is_folder(path));
        }
        for (folder, name) in path.folders() {
            if let Some(Some(_)) = row(reader, folder, name)? {
                return Err(invalid(format!(
                    "Artifact path '{path}' goes through '{name}', which is a file"
                )));
            }
        }
        Ok(())
    }

    /// What is in a folder, in the order of names. Nothing for a file, as MLflow has it.
    fn entries(&self, folder: &ArtifactPath) -> Result<Vec<Entry>, Refusal> {
        let sql = "SELECT name, digest IS NULL, COALESCE(bytes, 0) FROM mlflow_artifacts
                   WHERE folder = ?1 ORDER BY name LIMIT ?2";
        let limit = i64::try_from(ENTRIES_MAX + 1).unwrap_or(i64::MAX);
        let rows = self.store().read()?.query(sql, &[folder.as_str().into(), limit.into()])?;
        if rows.len() > ENTRIES_MAX {
            return Err(invalid(format!("'{folder}' has more than {ENTRIES_MAX} entries")));
        }
        let entry = |row: &sextant_lineage::Row| -> Result<Entry, Refusal> {
            let name = row.text(0)?.to_owned();
            Ok(Entry { name, is_folder: row.int(1)? == 1, bytes: row.int(2)? })
        };
        rows.iter().map(entry).collect()
    }

    fn row(&self, reader: &Reader, path: &ArtifactPath) -> Result<Option<Kept>, Refusal> {
        path.split().map_or(Ok(None), |(folder, name)| row(reader, folder, name))
    }
}

/// The digest and size of a file; none of a folder.
type Kept = Option<(Digest, i64)>;

/// What is at a place, when something is.
fn row(reader: &Reader, folder: &str, name: &str) -> Result<Option<Kept>, Refusal> {
    let sql = "SELECT COALESCE(digest, ''), COALESCE(bytes, 0) FROM mlflow_artifacts
               WHERE folder = ?1 AND name = ?2";
    let rows = reader.query(sql, &[folder.into(), name.into()])?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(if row.text(0)?.is_empty() { None } else { Some((row.digest(0)?, row.int(1)?)) }))
}

/// An answer with a list of files; without one when there is none.
fn files(files: Vec<Value>) -> Value {
    if files.is_empty() { json!({}) } else { json!({ "files": files }) }
}

fn is_folder(path: &ArtifactPath) -> Refusal {
    invalid(format!("Artifact path refers to a directory, not a file: '{path}'"))
}

fn too_large(bytes_max: u64) -> Refusal {
    invalid(format!("An artifact has at most {bytes_max} bytes."))
}
