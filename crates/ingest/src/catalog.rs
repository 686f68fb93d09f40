//! Which rows of our own do the sources keep in the catalog? What the last act recorded of each, and
//! which files of records it had read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sextant_core::Digest;
use sextant_data::FileRow;
use sextant_lineage::{Act, Reader, Row};

use crate::{
    arrival::Recorded,
    error::{DataError, Result},
};

/// The steps that make our tables, in order.
pub(crate) const MIGRATIONS: &[&str] = &[
    "CREATE TABLE ingest_arrivals (asset TEXT PRIMARY KEY, recorded TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE ingest_record_files (
        asset TEXT NOT NULL, path TEXT NOT NULL, file TEXT NOT NULL,
        PRIMARY KEY (asset, path)) WITHOUT ROWID",
];

/// What the last act recorded of a source in which data arrives.
pub(crate) fn arrival(reader: &Reader, asset: &str) -> Result<Option<Recorded>> {
    let sql = "SELECT recorded FROM ingest_arrivals WHERE asset = ?1";
    let rows = reader.query(sql, &[asset.into()])?;
    let Some(row) = rows.first() else { return Ok(None) };
    serde_json::from_value(row.json(0)?).map(Some).map_err(DataError::engine)
}

/// Records how a source in which data arrives stands.
pub(crate) fn put_arrival(act: &mut Act, asset: &str, recorded: &Recorded) {
    let text = serde_json::to_string(recorded).unwrap_or_default();
    act.execute(
        "INSERT INTO ingest_arrivals (asset, recorded) VALUES (?1, ?2)
         ON CONFLICT (asset) DO UPDATE SET recorded = excluded.recorded",
        vec![asset.into(), text.into()],
    );
}

/// What we knew of a file of records when we last read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordFile {
    pub(crate) file: FileRow,
    /// How it was read: the recipe of the source then.
    pub(crate) reader: Digest,
    pub(crate) landed: u64,
    pub(crate) quarantined: u64,
}

/// The files of records of a source, by path.
pub(crate) fn record_files(reader: &Reader, asset: &str) -> Result<BTreeMap<String, RecordFile>> {
    let sql = "SELECT path, file FROM ingest_record_files WHERE asset = ?1";
    let rows = reader.query(sql, &[asset.into()])?;
    let file = |row: &Row| -> Result<(String, RecordFile)> {
        let file = serde_json::from_value(row.json(1)?).map_err(DataError::engine)?;
        Ok((row.text(0)?.to_owned(), file))
    };
    rows.iter().map(file).collect()
}

/// Remembers a file of records.
pub(crate) fn put_record_file(act: &mut Act, asset: &str, file: &RecordFile) {
    let text = serde_json::to_string(file).unwrap_or_default();
    act.execute(
        "INSERT INTO ingest_record_files (asset, path, file) VALUES (?1, ?2, ?3)
         ON CONFLICT (asset, path) DO UPDATE SET file = excluded.file",
        vec![asset.into(), (&file.file.path).into(), text.into()],
    );
}

/// Forgets a file of records.
pub(crate) fn remove_record_file(act: &mut Act, asset: &str, path: &str) {
    act.execute(
        "DELETE FROM ingest_record_files WHERE asset = ?1 AND path = ?2",
        vec![asset.into(), path.into()],
    );
}
