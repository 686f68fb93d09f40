//! Which releases are there, and which one does a word of the user mean?

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sextant_core::{Digest, Failure, Timestamp};
use sextant_lineage::{Reader, Store};

use super::{Part, ReleaseManifest, Role, gate::last_verdict, live_name};
use crate::{ReleaseError, nearest};

/// What the gate said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    /// Every rule holds.
    Passed,
    /// A rule does not hold.
    Refused,
    /// Nobody asked the gate.
    None,
}

/// One release for lists and pages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReleaseRow {
    /// The release's name.
    pub name: String,
    /// The release.
    pub digest: Digest,
    /// When it was created.
    pub created_at: Timestamp,
    /// Whether it serves now.
    pub live: bool,
    /// What the gate said last.
    pub gate: GateState,
    /// Its parts.
    pub parts: BTreeMap<Role, Part>,
    /// How it retrieves.
    pub mode: Option<String>,
    /// Why it is as it is: the words of a forced promotion, or of its serving configuration.
    pub reason: String,
}

/// All releases, newest first.
///
/// # Errors
/// When the catalog cannot be read.
pub fn list(store: &Store) -> Result<Vec<ReleaseRow>, Failure> {
    crate::migrate(store)?;
    let reader = store.read()?;
    let sql = "SELECT digest FROM project_releases ORDER BY at DESC, digest";
    let rows = reader.query(sql, &[])?;
    rows.iter().map(|row| row_of(&reader, &row.digest(0)?)).collect()
}

/// One release.
///
/// # Errors
/// When there is no such release.
pub fn show(store: &Store, digest: &Digest) -> Result<ReleaseRow, Failure> {
    crate::migrate(store)?;
    row_of(&store.read()?, digest)
}

/// The live release of a name.
///
/// # Errors
/// When the catalog cannot be read.
pub fn live(store: &Store, name: &str) -> Result<Option<Digest>, Failure> {
    Ok(store.read()?.name(&live_name(name)?)?)
}

fn row_of(reader: &Reader, digest: &Digest) -> Result<ReleaseRow, Failure> {
    let (manifest, created_at) = ReleaseManifest::read(reader, digest)?;
    let gate = match last_verdict(reader, digest)? {
        None => GateState::None,
        Some(verdict) if verdict.passed => GateState::Passed,
        Some(_) => GateState::Refused,
    };
    let sql = "SELECT reason FROM project_switches WHERE target = ?1 AND reason <> ''
               ORDER BY seq DESC LIMIT 1";
    let forced = reader.query(sql, &[digest.into()])?;
    let forced = forced.first().map(|row| row.text(0).map(str::to_owned)).transpose()?;
    let written = manifest.serving.get("reason").and_then(|reason| reason.as_str());
    Ok(ReleaseRow {
        digest: *digest,
        created_at,
        live: reader.name(&live_name(&manifest.name)?)? == Some(*digest),
        gate,
        mode: manifest.mode().map(str::to_owned),
        reason: forced.or_else(|| written.map(str::to_owned)).unwrap_or_default(),
        name: manifest.name,
        parts: manifest.parts,
    })
}

/// The release that a word means: a digest or its beginning, `NAME@live`, or a name (its newest
/// release).
///
/// # Errors
/// When nothing, or more than one release, has that digest, or nothing has that name.
pub fn resolve(store: &Store, word: &str) -> Result<Digest, Failure> {
    crate::migrate(store)?;
    let reader = store.read()?;
    if let Some(name) = word.strip_suffix("@live") {
        let name = name.strip_prefix("release/").unwrap_or(name);
        let live = reader.name(&live_name(name)?)?;
        return live.ok_or_else(|| unknown(&reader, name));
    }
    let sql = "SELECT digest, name FROM project_releases ORDER BY at DESC, digest";
    let mut hits = BTreeSet::new();
    let prefix = word.strip_prefix("sha256:").unwrap_or(word);
    for row in reader.query(sql, &[])? {
        let digest = row.digest(0)?;
        if row.text(1)? == word {
            return Ok(digest);
        }
        if prefix.len() >= 4 && digest.hex().starts_with(prefix) {
            hits.insert(digest);
        }
    }
    match hits.len() {
        1 => hits.pop_first().ok_or_else(|| unknown(&reader, word)),
        _ => Err(unknown(&reader, word)),
    }
}

fn unknown(reader: &Reader, word: &str) -> Failure {
    let rows = reader.query("SELECT DISTINCT name FROM project_releases", &[]).unwrap_or_default();
    let names: Vec<&str> = rows.iter().filter_map(|row| row.text(0).ok()).collect();
    ReleaseError::Unknown { name: word.to_owned(), near: nearest(word, names) }.into()
}
