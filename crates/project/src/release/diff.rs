//! What moved between two releases? Part by part, with details from those who can read the parts.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use sextant_core::{Digest, Failure};
use sextant_lineage::Store;

use super::{Part, ReleaseManifest, Role};
use crate::AssetId;

/// How a part changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Both pin the same version.
    Same,
    /// They pin different versions.
    Changed,
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
}

/// One line of a difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The part: a role, or an asset behind the parts.
    pub part: String,
    /// The version in the first release.
    pub before: Option<Digest>,
    /// The version in the second.
    pub after: Option<Digest>,
    /// How it changed.
    pub kind: ChangeKind,
    /// What changed in it, line by line.
    pub detail: Vec<String>,
}

/// Two releases compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReleaseDiff {
    /// The first.
    pub a: Digest,
    /// The second.
    pub b: Digest,
    /// The parts in their usual order, then the assets behind them that changed.
    pub changes: Vec<Change>,
}

/// Looks inside two versions of a part: which documents were added, which figures moved. The layers
/// that wrote the parts can; this crate cannot.
pub trait PartDetails {
    /// Lines such as `docs/a.md added`; none when there is nothing to add to the digests.
    ///
    /// # Errors
    /// When a version cannot be read.
    fn details(&self, role: Role, before: &Part, after: &Part) -> Result<Vec<String>, Failure>;
}

/// Compares two releases.
///
/// # Errors
/// When one of them is unknown or a part cannot be read.
pub fn diff(
    store: &Store,
    a: &Digest,
    b: &Digest,
    inside: &dyn PartDetails,
) -> Result<ReleaseDiff, Failure> {
    crate::migrate(store)?;
    let reader = store.read()?;
    let (before, _) = ReleaseManifest::read(&reader, a)?;
    let (after, _) = ReleaseManifest::read(&reader, b)?;
    let mut changes = Vec::new();
    for role in Role::ALL {
        let (old, new) = (before.parts.get(role), after.parts.get(role));
        let digests = (old.map(|part| part.version), new.map(|part| part.version));
        let Some(mut change) = change_of(role.as_str().to_owned(), digests) else { continue };
        if let (ChangeKind::Changed, Some(old), Some(new)) = (change.kind, old, new) {
            if *role == Role::Serving {
                change.detail = value_changes(&before.serving, &after.serving);
            }
            change.detail.extend(inside.details(*role, old, new)?);
        }
        changes.push(change);
    }
    let shown: BTreeSet<&AssetId> =
        before.parts.values().chain(after.parts.values()).map(|part| &part.asset).collect();
    let behind: BTreeSet<&AssetId> =
        before.created_from.keys().chain(after.created_from.keys()).collect();
    for asset in behind.difference(&shown) {
        let versions =
            (before.created_from.get(*asset).copied(), after.created_from.get(*asset).copied());
        let change = change_of(asset.to_string(), versions);
        changes.extend(change.filter(|change| change.kind != ChangeKind::Same));
    }
    Ok(ReleaseDiff { a: *a, b: *b, changes })
}

fn change_of(part: String, versions: (Option<Digest>, Option<Digest>)) -> Option<Change> {
    let kind = match versions {
        (None, None) => return None,
        (None, Some(_)) => ChangeKind::Added,
        (Some(_), None) => ChangeKind::Removed,
        (Some(before), Some(after)) if before == after => ChangeKind::Same,
        (Some(_), Some(_)) => ChangeKind::Changed,
    };
    Some(Change { part, before: versions.0, after: versions.1, kind, detail: Vec::new() })
}

/// The places where two JSON values differ, as `path.to.key: before -> after`.
fn value_changes(before: &Value, after: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    leaves("", before, after, &mut lines);
    lines
}

fn leaves(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        if before != after {
            let word = |value: &Value| match value {
                Value::Null => "-".to_owned(),
                value => value.to_string(),
            };
            lines.push(format!("{path}: {} -> {}", word(before), word(after)));
        }
        return;
    };
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
        leaves(&inner, &of(old), &of(new), lines);
    }
}
