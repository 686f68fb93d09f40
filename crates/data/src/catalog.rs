//! Which rows of our own does the data layer keep in the catalog? What it read from files, which
//! Delta version holds which table version, and which report holds which failing rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sextant_core::Digest;
use sextant_lineage::{Act, Cell, Reader, Row};

use crate::{
    arrival::Recorded,
    error::{DataError, Result},
    table::TableMeta,
};

/// The steps that make our tables, in order.
pub(crate) const MIGRATIONS: &[&str] = &[
    "CREATE TABLE data_files (
        asset TEXT NOT NULL, path TEXT NOT NULL, bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL, read_ns INTEGER NOT NULL, raw_digest TEXT NOT NULL,
        doc_version TEXT NOT NULL, PRIMARY KEY (asset, path)) WITHOUT ROWID",
    "CREATE TABLE data_table_versions (
        asset TEXT NOT NULL, delta_version INTEGER NOT NULL, version TEXT NOT NULL,
        meta TEXT NOT NULL, built_at INTEGER NOT NULL,
        PRIMARY KEY (asset, delta_version)) WITHOUT ROWID",
    "CREATE INDEX data_table_versions_by_version ON data_table_versions (version)",
    "CREATE TABLE data_tables (
        asset TEXT PRIMARY KEY, version TEXT NOT NULL, delta_version INTEGER NOT NULL)
        WITHOUT ROWID",
    "CREATE TABLE data_check_reports (
        asset TEXT NOT NULL, at INTEGER NOT NULL, report TEXT NOT NULL, table_version TEXT NOT NULL,
        passed INTEGER NOT NULL, PRIMARY KEY (asset, at, report)) WITHOUT ROWID",
    "CREATE TABLE data_arrivals (asset TEXT PRIMARY KEY, recorded TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE data_record_files (
        asset TEXT NOT NULL, path TEXT NOT NULL, file TEXT NOT NULL,
        PRIMARY KEY (asset, path)) WITHOUT ROWID",
];

/// What we knew of a file when we last read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRow {
    pub(crate) path: String,
    pub(crate) bytes: i64,
    pub(crate) mtime_ns: i64,
    pub(crate) inode: i64,
    pub(crate) read_ns: i64,
    pub(crate) raw_digest: Digest,
    pub(crate) doc_version: Digest,
}

pub(crate) fn files(reader: &Reader, asset: &str) -> Result<Vec<FileRow>> {
    let rows = reader.query(
        "SELECT path, bytes, mtime_ns, inode, read_ns, raw_digest, doc_version
         FROM data_files WHERE asset = ?1 ORDER BY path",
        &[asset.into()],
    )?;
    let file = |row: &Row| -> Result<FileRow> {
        Ok(FileRow {
            path: row.text(0)?.to_owned(),
            bytes: row.int(1)?,
            mtime_ns: row.int(2)?,
            inode: row.int(3)?,
            read_ns: row.int(4)?,
            raw_digest: row.digest(5)?,
            doc_version: row.digest(6)?,
        })
    };
    rows.iter().map(file).collect()
}

/// Remembers a file.
pub(crate) fn put_file(act: &mut Act, asset: &str, file: &FileRow) {
    let params: Vec<Cell> = vec![
        asset.into(),
        (&file.path).into(),
        file.bytes.into(),
        file.mtime_ns.into(),
        file.inode.into(),
        file.read_ns.into(),
        file.raw_digest.into(),
        file.doc_version.into(),
    ];
    act.execute(
        "INSERT INTO data_files
         (asset, path, bytes, mtime_ns, inode, read_ns, raw_digest, doc_version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (asset, path) DO UPDATE SET bytes = excluded.bytes,
         mtime_ns = excluded.mtime_ns, inode = excluded.inode, read_ns = excluded.read_ns,
         raw_digest = excluded.raw_digest, doc_version = excluded.doc_version",
        params,
    );
}

/// Forgets a file.
pub(crate) fn remove_file(act: &mut Act, asset: &str, path: &str) {
    act.execute(
        "DELETE FROM data_files WHERE asset = ?1 AND path = ?2",
        vec![asset.into(), path.into()],
    );
}

/// Records which Delta version holds this table version, and that it is now the latest.
pub(crate) fn put_table(act: &mut Act, version: Digest, meta: &TableMeta) {
    let at = act.started_at();
    let asset = meta.asset.as_str();
    act.execute(
        "INSERT INTO data_table_versions (asset, delta_version, version, meta, built_at)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (asset, delta_version) DO UPDATE SET version = excluded.version,
         meta = excluded.meta",
        vec![
            asset.into(),
            meta.delta_version.cast_signed().into(),
            version.into(),
            (&meta.to_value()).into(),
            at.into(),
        ],
    );
    act.execute(
        "INSERT INTO data_tables (asset, version, delta_version) VALUES (?1, ?2, ?3)
         ON CONFLICT (asset) DO UPDATE SET version = excluded.version,
         delta_version = excluded.delta_version",
        vec![asset.into(), version.into(), meta.delta_version.cast_signed().into()],
    );
}

/// A table's latest committed version.
#[derive(Debug, Clone)]
pub(crate) struct LatestTable {
    pub(crate) version: Digest,
    pub(crate) meta: TableMeta,
    pub(crate) built_at: sextant_core::Timestamp,
}

pub(crate) fn latest_tables(reader: &Reader) -> Result<Vec<LatestTable>> {
    let rows = reader.query(
        "SELECT t.version, v.meta, v.built_at FROM data_tables t JOIN data_table_versions v
         ON v.asset = t.asset AND v.delta_version = t.delta_version ORDER BY t.asset",
        &[],
    )?;
    rows.iter().map(latest).collect()
}

/// The newest Delta version that holds this table version.
pub(crate) fn table_version(reader: &Reader, version: &Digest) -> Result<Option<LatestTable>> {
    let rows = reader.query(
        "SELECT version, meta, built_at FROM data_table_versions WHERE version = ?1
         ORDER BY delta_version DESC LIMIT 1",
        &[version.into()],
    )?;
    rows.first().map(latest).transpose()
}

/// Whether this Delta version was recorded by an act that committed.
pub(crate) fn knows_delta_version(reader: &Reader, asset: &str, delta: u64) -> Result<bool> {
    let rows = reader.query(
        "SELECT 1 FROM data_table_versions WHERE asset = ?1 AND delta_version = ?2",
        &[asset.into(), delta.cast_signed().into()],
    )?;
    Ok(!rows.is_empty())
}

fn latest(row: &Row) -> Result<LatestTable> {
    let version = row.digest(0)?;
    let meta = TableMeta::from_value(&row.json(1)?)?;
    Ok(LatestTable { version, meta, built_at: row.time(2)? })
}

/// A table's latest version.
pub(crate) fn latest_table(reader: &Reader, asset: &str) -> Result<Option<LatestTable>> {
    let rows = reader.query(
        "SELECT t.version, v.meta, v.built_at FROM data_tables t JOIN data_table_versions v
         ON v.asset = t.asset AND v.delta_version = t.delta_version WHERE t.asset = ?1",
        &[asset.into()],
    )?;
    rows.first().map(latest).transpose()
}

/// What the last act recorded of a source in which data arrives.
pub(crate) fn arrival(reader: &Reader, asset: &str) -> Result<Option<Recorded>> {
    let sql = "SELECT recorded FROM data_arrivals WHERE asset = ?1";
    let rows = reader.query(sql, &[asset.into()])?;
    let Some(row) = rows.first() else { return Ok(None) };
    serde_json::from_value(row.json(0)?).map(Some).map_err(DataError::engine)
}

/// Records how a source in which data arrives stands.
pub(crate) fn put_arrival(act: &mut Act, asset: &str, recorded: &Recorded) {
    let text = serde_json::to_string(recorded).unwrap_or_default();
    act.execute(
        "INSERT INTO data_arrivals (asset, recorded) VALUES (?1, ?2)
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
    let sql = "SELECT path, file FROM data_record_files WHERE asset = ?1";
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
        "INSERT INTO data_record_files (asset, path, file) VALUES (?1, ?2, ?3)
         ON CONFLICT (asset, path) DO UPDATE SET file = excluded.file",
        vec![asset.into(), (&file.file.path).into(), text.into()],
    );
}

/// Forgets a file of records.
pub(crate) fn remove_record_file(act: &mut Act, asset: &str, path: &str) {
    act.execute(
        "DELETE FROM data_record_files WHERE asset = ?1 AND path = ?2",
        vec![asset.into(), path.into()],
    );
}

/// Records the report of an asset's checks.
pub(crate) fn put_report(act: &mut Act, asset: &str, report: Digest, table: Digest, passed: bool) {
    let at = act.started_at();
    act.execute(
        "INSERT INTO data_check_reports (asset, at, report, table_version, passed)
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        vec![asset.into(), at.into(), report.into(), table.into(), passed.into()],
    );
}

/// The newest report of an asset's checks: its digest and when it was made.
pub(crate) fn latest_report(reader: &Reader, asset: &str) -> Result<Option<(Digest, Value)>> {
    let rows = reader.query(
        "SELECT report, at FROM data_check_reports WHERE asset = ?1 ORDER BY at DESC LIMIT 1",
        &[asset.into()],
    )?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some((row.digest(0)?, Value::from(row.time(1)?.to_string()))))
}
