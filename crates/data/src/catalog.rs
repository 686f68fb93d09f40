//! Which rows of our own does the data layer keep in the catalog? What it read from files, which
//! Delta version holds which table version, and which report holds which failing rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sextant_core::{Digest, Timestamp};
use sextant_lineage::{Act, Cell, Reader, Row};
use sextant_project::AssetId;

use crate::{
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
];

/// The steps that make the tables about tables that are changed in place, in order.
pub(crate) const TABLE_MIGRATIONS: &[&str] = &[
    "CREATE TABLE data_tables_commits (
        asset TEXT NOT NULL, delta_version INTEGER NOT NULL, action TEXT NOT NULL,
        detail TEXT NOT NULL, activity TEXT NOT NULL,
        PRIMARY KEY (asset, delta_version)) WITHOUT ROWID",
    "CREATE TABLE data_tables_files (
        asset TEXT NOT NULL, path TEXT NOT NULL, bytes INTEGER NOT NULL, digest TEXT NOT NULL,
        PRIMARY KEY (asset, path)) WITHOUT ROWID",
    "CREATE TABLE data_tables_removed (
        asset TEXT NOT NULL, delta_version INTEGER NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY (asset, delta_version)) WITHOUT ROWID",
    "CREATE TABLE data_tables_tags (
        name TEXT NOT NULL, asset TEXT NOT NULL, kind TEXT NOT NULL, version TEXT NOT NULL,
        delta_version INTEGER NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY (name, asset)) WITHOUT ROWID",
    "CREATE TABLE data_tables_place (
        only_one INTEGER PRIMARY KEY CHECK (only_one = 1), url TEXT NOT NULL, owner TEXT NOT NULL)",
    "CREATE TABLE data_tables_tagged (
        name TEXT NOT NULL, asset TEXT NOT NULL, kind TEXT NOT NULL, version TEXT NOT NULL,
        at INTEGER NOT NULL, PRIMARY KEY (name, asset)) WITHOUT ROWID",
    "CREATE TABLE data_tables_prepared (
        set_id TEXT NOT NULL, ordinal INTEGER NOT NULL, asset TEXT NOT NULL,
        delta_version INTEGER NOT NULL, base INTEGER, entry TEXT NOT NULL,
        PRIMARY KEY (set_id, ordinal)) WITHOUT ROWID",
];

/// A commit of a transaction that is to be put into a table's log.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) asset: AssetId,
    pub(crate) delta_version: u64,
    /// The version of the table before the transaction; none for a table that it made.
    pub(crate) base: Option<u64>,
    /// The commit, as the log has it.
    pub(crate) entry: String,
}

/// What we knew of a file when we last read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRow {
    /// Relative to the source's folder.
    pub path: String,
    /// Its size.
    pub bytes: i64,
    /// When it was written, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Its inode.
    pub inode: i64,
    /// When we read it, in nanoseconds since 1970.
    pub read_ns: i64,
    /// The digest of its bytes.
    pub raw_digest: Digest,
    /// What it became.
    pub doc_version: Digest,
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
pub struct LatestTable {
    /// Its id.
    pub version: Digest,
    /// Where it is and what it holds.
    pub meta: TableMeta,
    /// When it was recorded.
    pub built_at: sextant_core::Timestamp,
}

pub(crate) fn latest_tables(reader: &Reader) -> Result<Vec<LatestTable>> {
    let rows = reader.query(
        "SELECT t.version, v.meta, v.built_at FROM data_tables t JOIN data_table_versions v
         ON v.asset = t.asset AND v.delta_version = t.delta_version ORDER BY t.asset",
        &[],
    )?;
    rows.iter().map(latest).collect()
}

/// How many rows a table had at this time; nothing when it was not there.
///
/// # Errors
/// When the catalog cannot be read.
pub fn rows_before(reader: &Reader, asset: &str, at: Timestamp) -> Result<Option<u64>> {
    let rows = reader.query(
        "SELECT json_extract(meta, '$.rows') FROM data_table_versions
         WHERE asset = ?1 AND built_at <= ?2 ORDER BY delta_version DESC LIMIT 1",
        &[asset.into(), at.into()],
    )?;
    rows.first().map(|row| Ok(row.int(0)?.cast_unsigned())).transpose()
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

/// The newest recorded Delta version of a table, also when its name was dropped.
pub(crate) fn newest_table(reader: &Reader, asset: &AssetId) -> Result<Option<LatestTable>> {
    let rows = reader.query(
        "SELECT version, meta, built_at FROM data_table_versions WHERE asset = ?1
         ORDER BY delta_version DESC LIMIT 1",
        &[asset.as_str().into()],
    )?;
    rows.first().map(latest).transpose()
}

/// What this Delta version of a table holds.
pub(crate) fn table_at(
    reader: &Reader,
    asset: &AssetId,
    delta: u64,
) -> Result<Option<LatestTable>> {
    let rows = reader.query(
        "SELECT version, meta, built_at FROM data_table_versions
         WHERE asset = ?1 AND delta_version = ?2",
        &[asset.as_str().into(), delta.cast_signed().into()],
    )?;
    rows.first().map(latest).transpose()
}

/// Every recorded Delta version of a table, oldest first.
pub(crate) fn table_versions(reader: &Reader, asset: &AssetId) -> Result<Vec<LatestTable>> {
    let rows = reader.query(
        "SELECT version, meta, built_at FROM data_table_versions WHERE asset = ?1
         ORDER BY delta_version",
        &[asset.as_str().into()],
    )?;
    rows.iter().map(latest).collect()
}

/// Records what a commit did.
pub(crate) fn put_commit(act: &mut Act, asset: &AssetId, delta: u64, action: &str, detail: &Value) {
    let activity = act.id();
    act.execute(
        "INSERT INTO data_tables_commits (asset, delta_version, action, detail, activity)
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        vec![
            asset.as_str().into(),
            delta.cast_signed().into(),
            action.into(),
            detail.into(),
            activity.into(),
        ],
    );
}

/// What was recorded of one commit.
#[derive(Debug, Clone)]
pub(crate) struct CommitRow {
    pub(crate) action: String,
    pub(crate) detail: Value,
    pub(crate) activity: String,
}

/// What was recorded of a table's commits, by Delta version.
pub(crate) fn commits(reader: &Reader, asset: &AssetId) -> Result<HashMap<u64, CommitRow>> {
    let rows = reader.query(
        "SELECT delta_version, action, detail, activity FROM data_tables_commits WHERE asset = ?1",
        &[asset.as_str().into()],
    )?;
    let commit = |row: &Row| -> Result<(u64, CommitRow)> {
        let action = row.text(1)?.to_owned();
        let activity = row.text(3)?.to_owned();
        Ok((row.int(0)?.cast_unsigned(), CommitRow { action, detail: row.json(2)?, activity }))
    };
    rows.iter().map(commit).collect()
}

/// The Delta versions of a table whose files were removed, and when.
pub(crate) fn removed(reader: &Reader, asset: &AssetId) -> Result<HashMap<u64, Timestamp>> {
    let rows = reader.query(
        "SELECT delta_version, at FROM data_tables_removed WHERE asset = ?1",
        &[asset.as_str().into()],
    )?;
    rows.iter().map(|row| Ok((row.int(0)?.cast_unsigned(), row.time(1)?))).collect()
}

/// Notes that the files of this Delta version are removed.
pub(crate) fn put_removed(act: &mut Act, asset: &AssetId, delta: u64) {
    let at = act.started_at();
    act.execute(
        "INSERT INTO data_tables_removed (asset, delta_version, at) VALUES (?1, ?2, ?3)
         ON CONFLICT DO NOTHING",
        vec![asset.as_str().into(), delta.cast_signed().into(), at.into()],
    );
}

/// Every table that ever had a version, with its name in SQL.
pub(crate) fn all_tables(reader: &Reader) -> Result<Vec<(AssetId, String)>> {
    let rows = reader.query(
        "SELECT asset, json_extract(meta, '$.table'), max(delta_version)
         FROM data_table_versions GROUP BY asset ORDER BY asset",
        &[],
    )?;
    let table = |row: &Row| -> Result<(AssetId, String)> {
        let asset = row.text(0)?.parse().map_err(DataError::engine)?;
        Ok((asset, row.text(1)?.to_owned()))
    };
    rows.iter().map(table).collect()
}

/// The commit that carries this note: its Delta version and what was recorded of it.
pub(crate) fn commit_of(
    reader: &Reader,
    asset: &AssetId,
    id: &str,
) -> Result<Option<(u64, Value)>> {
    let rows = reader.query(
        "SELECT delta_version, detail FROM data_tables_commits
         WHERE asset = ?1 AND json_extract(detail, '$.id') = ?2
         ORDER BY delta_version DESC LIMIT 1",
        &[asset.as_str().into(), id.into()],
    )?;
    rows.first().map(|row| Ok((row.int(0)?.cast_unsigned(), row.json(1)?))).transpose()
}

/// Records the data files that a commit added.
pub(crate) fn put_table_files(act: &mut Act, asset: &AssetId, files: &[(String, u64, Digest)]) {
    for (path, bytes, digest) in files {
        act.execute(
            "INSERT INTO data_tables_files (asset, path, bytes, digest) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
            vec![asset.as_str().into(), path.into(), bytes.cast_signed().into(), digest.into()],
        );
    }
}

/// The data files of a table that is changed in place: size and digest by path.
pub(crate) fn table_files(
    reader: &Reader,
    asset: &AssetId,
) -> Result<HashMap<String, (u64, Digest)>> {
    let sql = "SELECT path, bytes, digest FROM data_tables_files WHERE asset = ?1";
    let rows = reader.query(sql, &[asset.as_str().into()])?;
    let file =
        |row: &Row| Ok((row.text(0)?.to_owned(), (row.int(1)?.cast_unsigned(), row.digest(2)?)));
    rows.iter().map(file).collect()
}

/// Remembers a commit that is to be put, behind those of the same set.
pub(crate) fn put_prepared(act: &mut Act, set: &str, row: &Prepared) {
    let base = row.base.map_or(Cell::Null, |base| base.cast_signed().into());
    act.execute(
        "INSERT INTO data_tables_prepared (set_id, ordinal, asset, delta_version, base, entry)
         SELECT ?1, count(*), ?2, ?3, ?4, ?5 FROM data_tables_prepared WHERE set_id = ?1",
        vec![
            set.into(),
            row.asset.as_str().into(),
            row.delta_version.cast_signed().into(),
            base,
            row.entry.as_str().into(),
        ],
    );
}

/// Forgets the prepared commits of a set.
pub(crate) fn forget_prepared(act: &mut Act, set: &str) {
    act.execute("DELETE FROM data_tables_prepared WHERE set_id = ?1", vec![set.into()]);
}

/// The prepared commits of a set, in order.
pub(crate) fn prepared(reader: &Reader, set: &str) -> Result<Vec<Prepared>> {
    let rows = reader.query(
        "SELECT asset, delta_version, base, entry FROM data_tables_prepared WHERE set_id = ?1
         ORDER BY ordinal",
        &[set.into()],
    )?;
    let commit = |row: &Row| -> Result<Prepared> {
        Ok(Prepared {
            asset: row.text(0)?.parse().map_err(DataError::engine)?,
            delta_version: row.int(1)?.cast_unsigned(),
            base: row.opt_int(2)?.map(i64::cast_unsigned),
            entry: row.text(3)?.to_owned(),
        })
    };
    rows.iter().map(commit).collect()
}

/// The sets that are prepared and not finished, with their tables.
pub(crate) fn prepared_sets(reader: &Reader) -> Result<BTreeMap<String, BTreeSet<AssetId>>> {
    let rows = reader.query("SELECT DISTINCT set_id, asset FROM data_tables_prepared", &[])?;
    let mut sets: BTreeMap<String, BTreeSet<AssetId>> = BTreeMap::new();
    for row in &rows {
        let asset = row.text(1)?.parse().map_err(DataError::engine)?;
        sets.entry(row.text(0)?.to_owned()).or_default().insert(asset);
    }
    Ok(sets)
}

/// The address of the tables, empty for the data folder, and the id by which places know this data
/// folder. Nothing when they were always in the data folder.
pub(crate) fn tables_place(reader: &Reader) -> Result<Option<(String, String)>> {
    let rows = reader.query("SELECT url, owner FROM data_tables_place", &[])?;
    rows.first().map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned()))).transpose()
}

/// Notes where the tables are, as [`tables_place`] has it.
pub(crate) fn put_tables_place(act: &mut Act, url: &str, owner: &str) {
    act.execute(
        "INSERT INTO data_tables_place (only_one, url, owner) VALUES (1, ?1, ?2)
         ON CONFLICT (only_one) DO UPDATE SET url = excluded.url, owner = excluded.owner",
        vec![url.into(), owner.into()],
    );
}

/// Takes a table's name away; its versions stay.
pub(crate) fn drop_table(act: &mut Act, asset: &AssetId) {
    act.execute("DELETE FROM data_tables WHERE asset = ?1", vec![asset.as_str().into()]);
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
///
/// # Errors
/// When the catalog cannot be read.
pub fn latest_table(reader: &Reader, asset: &str) -> Result<Option<LatestTable>> {
    let rows = reader.query(
        "SELECT t.version, v.meta, v.built_at FROM data_tables t JOIN data_table_versions v
         ON v.asset = t.asset AND v.delta_version = t.delta_version WHERE t.asset = ?1",
        &[asset.into()],
    )?;
    rows.first().map(latest).transpose()
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
