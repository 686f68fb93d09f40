//! What was built, from what, and is it still up to date? The versions of each asset, the last
//! failure, and the reason, in words, why an asset is stale.

mod judge;
mod status;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sextant_core::{ActivityId, Code, Digest, Failure, Place, Timestamp};
use sextant_lineage::{Reader, Row, Store};

pub use self::{
    judge::{Fingerprint, Verdict, judge},
    status::{AssetState, AssetStatus, status},
};
use crate::{AssetId, InputVersion, ProjectError};

/// This crate's tables. Never edit a step that was released.
pub const MIGRATIONS: &[&str] = &["
CREATE TABLE project_versions (
    asset    TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    version  TEXT NOT NULL,
    recipe   TEXT NOT NULL,
    inputs   TEXT NOT NULL,
    outside  TEXT,
    activity TEXT NOT NULL,
    at       INTEGER NOT NULL,
    summary  TEXT NOT NULL,
    meta     TEXT NOT NULL,
    PRIMARY KEY (asset, seq)
) WITHOUT ROWID;
CREATE INDEX project_versions_by_version ON project_versions (version);
CREATE TABLE project_failures (
    asset   TEXT PRIMARY KEY,
    recipe  TEXT NOT NULL,
    inputs  TEXT NOT NULL,
    outside TEXT,
    error   TEXT NOT NULL,
    at      INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE project_releases (
    digest   TEXT PRIMARY KEY,
    name     TEXT NOT NULL,
    at       INTEGER NOT NULL,
    activity TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX project_releases_by_name ON project_releases (name, at);
CREATE TABLE project_gates (
    digest   TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    passed   INTEGER NOT NULL,
    verdict  TEXT NOT NULL,
    at       INTEGER NOT NULL,
    activity TEXT NOT NULL,
    PRIMARY KEY (digest, seq)
) WITHOUT ROWID;
CREATE TABLE project_switches (
    name     TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    action   TEXT NOT NULL,
    target   TEXT NOT NULL,
    reason   TEXT NOT NULL,
    at       INTEGER NOT NULL,
    activity TEXT NOT NULL,
    PRIMARY KEY (name, seq)
) WITHOUT ROWID;
"];

/// The key of [`crate::Built::meta`] by which a guard says that its checks do not hold:
/// `{"passed": false}`. A guard without it has passed.
pub const PASSED: &str = "passed";

/// One version of an asset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionRow {
    /// The asset.
    pub asset: AssetId,
    /// Counts the asset's builds from 1.
    pub seq: u64,
    /// The version: the digest of what was made.
    pub version: Digest,
    /// The recipe it was made by.
    pub recipe: Digest,
    /// The versions it was made from.
    pub inputs: BTreeMap<AssetId, Digest>,
    /// The fingerprint of what was read outside the project.
    pub outside: Option<Digest>,
    /// The activity that made it.
    pub activity: ActivityId,
    /// When.
    pub at: Timestamp,
    /// One line: counts, sizes.
    pub summary: String,
    /// What consumers need to read it.
    pub meta: Value,
}

impl VersionRow {
    /// As an input of a build.
    pub fn as_input(&self) -> InputVersion {
        InputVersion { asset: self.asset.clone(), version: self.version, meta: self.meta.clone() }
    }

    /// Whether this is the version of a guard whose checks do not hold.
    pub fn fails(&self) -> bool {
        self.meta.get(PASSED).and_then(Value::as_bool) == Some(false)
    }
}

/// An error as it is kept and sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// `SXT-nnnn`.
    pub code: String,
    /// The message with its causes.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// File, line and column.
    pub place: Option<String>,
    /// The exit status it leads to.
    pub exit: u8,
}

impl From<&Failure> for ErrorReport {
    fn from(failure: &Failure) -> Self {
        let code: &Code = failure.code();
        Self {
            code: code.to_string(),
            message: failure.chain(),
            hint: failure.hint(),
            place: failure.place().map(|place: Place| place.to_string()),
            exit: code.kind.exit_code(),
        }
    }
}

/// The last failed try to build an asset.
#[derive(Debug, Clone, PartialEq)]
pub struct FailureRow {
    /// What it was tried with.
    pub tried: Fingerprint,
    /// Why it failed.
    pub error: ErrorReport,
    /// When.
    pub at: Timestamp,
}

/// The newest version and the last failure of each asset.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// By asset.
    pub latest: BTreeMap<AssetId, VersionRow>,
    /// By asset; an asset that was built since is not here.
    pub failures: BTreeMap<AssetId, FailureRow>,
}

const COLUMNS: &str = "asset, seq, version, recipe, inputs, outside, activity, at, summary, meta";

impl State {
    /// Reads the state from the catalog. Also makes this crate's tables where they are missing.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn load(store: &Store) -> Result<Self, Failure> {
        crate::migrate(store)?;
        Self::read(&store.read()?)
    }

    /// Reads the state from a view.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn read(reader: &Reader) -> Result<Self, Failure> {
        let sql = format!(
            "SELECT {COLUMNS} FROM project_versions AS v WHERE seq =
             (SELECT max(seq) FROM project_versions WHERE asset = v.asset)"
        );
        let mut state = Self::default();
        for row in reader.query(&sql, &[])? {
            let version = version_row(&row)?;
            state.latest.insert(version.asset.clone(), version);
        }
        let sql = "SELECT asset, recipe, inputs, outside, error, at FROM project_failures";
        for row in reader.query(sql, &[])? {
            let asset = asset_id(&row)?;
            let error = serde_json::from_str(row.text(4)?)
                .map_err(|error| broken("failure", &asset, &error))?;
            let tried = Fingerprint {
                recipe: row.digest(1)?,
                inputs: inputs_of(&row, 2, &asset)?,
                outside: outside_of(&row, 3)?,
            };
            state.failures.insert(asset, FailureRow { tried, error, at: row.time(5)? });
        }
        Ok(state)
    }

    /// The newest version of an asset.
    pub fn version(&self, asset: &AssetId) -> Option<Digest> {
        self.latest.get(asset).map(|row| row.version)
    }
}

/// All versions of an asset, newest first, at most `limit`.
///
/// # Errors
/// When the catalog cannot be read.
pub fn versions(store: &Store, asset: &AssetId, limit: u32) -> Result<Vec<VersionRow>, Failure> {
    crate::migrate(store)?;
    let sql = format!(
        "SELECT {COLUMNS} FROM project_versions WHERE asset = ?1 ORDER BY seq DESC LIMIT ?2"
    );
    let rows = store.read()?.query(&sql, &[asset.as_str().into(), limit.into()])?;
    rows.iter().map(version_row).collect()
}

/// The builds that made, or made again, this version; newest first.
///
/// # Errors
/// When the catalog cannot be read.
pub fn builds_of(reader: &Reader, version: &Digest) -> Result<Vec<VersionRow>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM project_versions WHERE version = ?1 ORDER BY at DESC");
    reader.query(&sql, &[version.into()])?.iter().map(version_row).collect()
}

fn version_row(row: &Row) -> Result<VersionRow, Failure> {
    let asset = asset_id(row)?;
    Ok(VersionRow {
        seq: row.int(1)?.unsigned_abs(),
        version: row.digest(2)?,
        recipe: row.digest(3)?,
        inputs: inputs_of(row, 4, &asset)?,
        outside: outside_of(row, 5)?,
        activity: row.activity(6)?,
        at: row.time(7)?,
        summary: row.text(8)?.to_owned(),
        meta: row.json(9)?,
        asset,
    })
}

fn asset_id(row: &Row) -> Result<AssetId, Failure> {
    let text = row.text(0)?;
    text.parse().map_err(|error: String| broken("asset id", &text, &error).into())
}

fn inputs_of(
    row: &Row,
    column: usize,
    asset: &AssetId,
) -> Result<BTreeMap<AssetId, Digest>, Failure> {
    serde_json::from_str(row.text(column)?).map_err(|error| broken("inputs", asset, &error).into())
}

fn outside_of(row: &Row, column: usize) -> Result<Option<Digest>, Failure> {
    match row.opt_text(column)? {
        None => Ok(None),
        Some(_) => Ok(Some(row.digest(column)?)),
    }
}

fn broken(what: &'static str, key: &impl ToString, message: &impl ToString) -> ProjectError {
    ProjectError::BrokenRow { what, key: key.to_string(), message: message.to_string() }
}
