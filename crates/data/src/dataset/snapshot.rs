//! What is in a dataset snapshot, and how is it read again? Each split is one blob of canonical
//! JSON lines in sorted order; the manifest names them. Nothing else is needed to read it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sextant_core::{ActivityKind, ArtifactKind, Digest, canonical_json};
use sextant_lineage::{Act, Store};
use sextant_project::{AssetId, Built, InputVersion};

use super::DatasetAsset;
use crate::{
    error::{DataError, Result},
    table::TableMeta,
};

/// The manifest of a dataset: an artifact of kind `dataset_snapshot`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetSnapshot {
    /// Always `dataset_snapshot`.
    pub kind: String,
    /// The dataset's asset.
    pub dataset: AssetId,
    /// The asset whose table it was taken from.
    pub from: AssetId,
    /// The version of that table.
    pub table_version: Digest,
    /// The seed of the split.
    pub seed: u64,
    /// The column that keeps rows together, when there is one.
    pub group_by: Option<String>,
    /// The share of each split.
    pub split: BTreeMap<String, f64>,
    /// The columns of every row.
    pub columns: Vec<String>,
    /// The rows of each split.
    pub splits: BTreeMap<String, SplitBlob>,
}

/// The rows of one split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitBlob {
    /// How many rows.
    pub rows: u64,
    /// The blob of JSON lines.
    pub blob: Digest,
}

pub(super) fn build(asset: &DatasetAsset, input: &InputVersion, act: &mut Act) -> Result<Built> {
    act.kind(ActivityKind::Snapshot);
    let meta = TableMeta::from_value(&input.meta)?;
    let columns: Vec<String> = meta.columns.iter().map(|column| column.name.clone()).collect();
    if let Some(column) = asset.config.group_by.as_ref().filter(|name| !columns.contains(name)) {
        return Err(DataError::NotFound {
            what: "column to group by",
            name: column.clone(),
            known: columns.join(", "),
        });
    }
    let rows = asset.engine.rows(&meta, &[])?;
    let mut lines: Vec<Vec<Vec<u8>>> = asset.splits.names().map(|_| Vec::new()).collect();
    for row in rows {
        let group = asset.config.group_by.as_ref().and_then(|column| row.get(column)).cloned();
        let line = canonical_json(&row).map_err(DataError::engine)?;
        let split = match group {
            Some(key) => asset.splits.of(&canonical_json(&key).map_err(DataError::engine)?),
            None => asset.splits.of(&line),
        };
        if let Some(lines) = lines.get_mut(split) {
            lines.push(line);
        }
    }
    let mut splits = BTreeMap::new();
    for (name, mut lines) in asset.splits.names().zip(lines) {
        lines.sort_unstable();
        let mut bytes = Vec::new();
        for line in &lines {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        let blob = act.blob(&bytes)?;
        splits.insert(name.to_owned(), SplitBlob { rows: lines.len() as u64, blob });
    }
    record(asset, input, columns, splits, act)
}

fn record(
    asset: &DatasetAsset,
    input: &InputVersion,
    columns: Vec<String>,
    splits: BTreeMap<String, SplitBlob>,
    act: &mut Act,
) -> Result<Built> {
    let counts: BTreeMap<&str, u64> =
        splits.iter().map(|(name, split)| (name.as_str(), split.rows)).collect();
    let words: Vec<String> = counts.iter().map(|(name, rows)| format!("{rows} {name}")).collect();
    let meta = json!({ "name": asset.id.stem(), "counts": counts, "columns": columns, "seed": asset.config.seed });
    let summary = words.join(", ");
    let snapshot = DatasetSnapshot {
        kind: "dataset_snapshot".to_owned(),
        dataset: asset.id.clone(),
        from: asset.from.clone(),
        table_version: input.version,
        seed: asset.config.seed,
        group_by: asset.config.group_by.clone(),
        split: asset.config.split.clone(),
        columns,
        splits,
    };
    let version = act.manifest(ArtifactKind::DatasetSnapshot, &snapshot, &[input.version])?;
    Ok(Built { version, meta, summary })
}

/// The manifest of a dataset version.
///
/// # Errors
/// When its blob is missing or damaged, or is not a dataset.
pub fn read_manifest(store: &Store, version: &Digest) -> Result<DatasetSnapshot> {
    let bytes = store.blob(version)?;
    let snapshot: Option<DatasetSnapshot> = serde_json::from_slice(&bytes).ok();
    snapshot.filter(|snapshot| snapshot.kind == "dataset_snapshot").ok_or_else(|| {
        DataError::NotFound { what: "dataset", name: version.to_string(), known: String::new() }
    })
}

/// The rows of one split of a dataset version, in their fixed order.
///
/// # Errors
/// When the version, the split or its bytes are not there, or are damaged.
pub fn read_dataset(
    store: &Store,
    version: &Digest,
    split: &str,
) -> Result<Vec<Map<String, Value>>> {
    let snapshot = read_manifest(store, version)?;
    let found = snapshot.splits.get(split).ok_or_else(|| DataError::NotFound {
        what: "split",
        name: split.to_owned(),
        known: snapshot.splits.keys().cloned().collect::<Vec<_>>().join(", "),
    })?;
    let bytes = store.blob(&found.blob)?;
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let rows: Result<Vec<_>, _> = lines.map(serde_json::from_slice).collect();
    rows.map_err(DataError::engine)
}
