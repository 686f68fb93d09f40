//! What happened to a table, and what did it hold then? Its recorded versions with what made them,
//! and the way from what a person writes (`3`, `v3`, a tag, a time, a digest) to one of them.

use datafusion::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use serde::Serialize;
use serde_json::Value;
use sextant_core::{Digest, Timestamp};
use sextant_lineage::Reader;
use sextant_project::AssetId;

use super::{TableMeta, tags};
use crate::{
    DataEngine, QueryResult,
    catalog::{self, LatestTable},
    content::Column,
    error::{DataError, Result},
};

/// Hexadecimal digits that are enough to mean a version by its digest.
const PREFIX_DIGITS_MIN: usize = 6;

/// One recorded version in the history of a table.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryRow {
    /// The Delta version.
    pub delta_version: u64,
    /// Its id. Equal content has the same one.
    pub version: Digest,
    /// When it was recorded.
    pub at: String,
    /// What was done, in the words of SQL; `build` for a table that an asset makes.
    pub action: String,
    /// How many rows it has.
    pub rows: u64,
    /// The tags and branches that point at it.
    pub tags: Vec<String>,
    /// When its files were removed; its rows cannot be read any more.
    pub removed_at: Option<String>,
    /// What was recorded of the commit: statement, metrics.
    pub detail: Value,
    /// The activity that recorded it.
    pub activity: Option<String>,
}

/// One version of a table with some of its rows.
#[derive(Debug, Clone, Serialize)]
pub struct ShownVersion {
    /// The table's asset.
    pub asset: String,
    /// The Delta version.
    pub delta_version: u64,
    /// Its id.
    pub version: Digest,
    /// How many rows it has.
    pub total: u64,
    /// Its columns with their types.
    pub schema: Vec<Column>,
    /// Some of its rows.
    #[serde(flatten)]
    pub rows: QueryResult,
}

impl DataEngine {
    /// The recorded versions of a table, newest first.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn history(&self, name: &str, limit: usize) -> Result<(AssetId, Vec<HistoryRow>)> {
        let reader = self.store().read()?;
        let asset = find_table(&reader, name)?;
        let tags = tags::pointing_at(&reader, &asset)?;
        let commits = catalog::commits(&reader, &asset)?;
        let removed = catalog::removed(&reader, &asset)?;
        let versions = catalog::table_versions(&reader, &asset)?;
        let row = |row: LatestTable| {
            let delta = row.meta.delta_version;
            let commit = commits.get(&delta);
            HistoryRow {
                delta_version: delta,
                version: row.version,
                at: row.built_at.to_string(),
                action: commit.map_or_else(|| "build".to_owned(), |commit| commit.action.clone()),
                rows: row.meta.rows,
                tags: tags
                    .iter()
                    .filter(|tag| tag.delta_version == Some(delta))
                    .map(|tag| tag.name.clone())
                    .collect(),
                removed_at: removed.get(&delta).map(ToString::to_string),
                detail: commit.map_or(Value::Null, |commit| commit.detail.clone()),
                activity: commit.map(|commit| commit.activity.clone()),
            }
        };
        Ok((asset, versions.into_iter().rev().take(limit).map(row).collect()))
    }

    /// The recorded version that `which` means; the newest when it is absent.
    pub(crate) fn table_version_of(&self, name: &str, which: Option<&str>) -> Result<TableMeta> {
        let reader = self.store().read()?;
        let asset = find_table(&reader, name)?;
        let Some(which) = which else {
            let newest = catalog::newest_table(&reader, &asset)?;
            return newest.map(|row| row.meta).ok_or_else(|| no_version(&asset, "newest"));
        };
        let digits = which.strip_prefix('v').unwrap_or(which);
        if let Ok(delta) = digits.parse::<u64>() {
            let row = catalog::table_at(&reader, &asset, delta)?;
            return row.map(|row| row.meta).ok_or_else(|| no_version(&asset, which));
        }
        let tags = tags::pointing_at(&reader, &asset)?;
        if let Some(delta) =
            tags.iter().find(|tag| tag.name == which).and_then(|tag| tag.delta_version)
        {
            let row = catalog::table_at(&reader, &asset, delta)?;
            return row.map(|row| row.meta).ok_or_else(|| no_version(&asset, which));
        }
        let hex = which.strip_prefix("sha256:").unwrap_or(which);
        if hex.len() >= PREFIX_DIGITS_MIN && hex.chars().all(|c| c.is_ascii_hexdigit()) {
            let versions = catalog::table_versions(&reader, &asset)?;
            let found = versions.into_iter().rev().find(|row| row.version.hex().starts_with(hex));
            return found.map(|row| row.meta).ok_or_else(|| no_version(&asset, which));
        }
        self.table_version_at(name, which)
    }

    /// The version that was the newest at this time.
    pub(crate) fn table_version_at(&self, name: &str, time: &str) -> Result<TableMeta> {
        let reader = self.store().read()?;
        let asset = find_table(&reader, name)?;
        let nanos = string_to_timestamp_nanos(time).map_err(|_| DataError::NotFound {
            what: "version",
            name: format!("{time} of {asset}"),
            known: "versions by number (3), tag, digest, or time (2026-11-23T10:00:00Z)".to_owned(),
        })?;
        // Times are shown in milliseconds: what was made within that one was there.
        let micros = nanos.div_euclid(1000);
        let at = Timestamp::from_micros(match micros.rem_euclid(1000) {
            0 => micros.saturating_add(999),
            _ => micros,
        });
        let versions = catalog::table_versions(&reader, &asset)?;
        let found = versions.into_iter().rev().find(|row| row.built_at <= at);
        found.map(|row| row.meta).ok_or_else(|| no_version(&asset, time))
    }
}

/// The table that a name means: its asset, its name in SQL, or `schema.name`.
pub(crate) fn find_table(reader: &Reader, name: &str) -> Result<AssetId> {
    let mut known = Vec::new();
    let mut found = Vec::new();
    for (asset, table) in catalog::all_tables(reader)? {
        let qualified = match asset.folder() {
            "sources" => format!("{}.{table}", asset.stem()),
            folder => format!("{folder}.{table}"),
        };
        if asset.as_str() == name {
            return Ok(asset);
        }
        if table == name || qualified == name {
            found.push(asset);
        } else {
            known.push(asset.to_string());
        }
    }
    match found.len() {
        1 => Ok(found.swap_remove(0)),
        0 => Err(DataError::NotFound {
            what: "table",
            name: name.to_owned(),
            known: known.join(", "),
        }),
        _ => Err(DataError::NotFound {
            what: "single table",
            name: name.to_owned(),
            known: found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        }),
    }
}

/// When the files of this version were removed, if they were.
pub(crate) fn removed_at(reader: &Reader, meta: &TableMeta) -> Result<Option<Timestamp>> {
    Ok(catalog::removed(reader, &meta.asset)?.get(&meta.delta_version).copied())
}

fn no_version(asset: &AssetId, which: &str) -> DataError {
    DataError::NotFound {
        what: "version",
        name: format!("{which} of {asset}"),
        known: String::new(),
    }
}
