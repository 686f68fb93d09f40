//! How is a run kept in the catalog?

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sextant_core::{ActivityId, Digest, Timestamp};
use sextant_lineage::Row;

use crate::TrackError;

/// The steps that make this layer's tables.
pub(crate) const MIGRATIONS: &[&str] = &["
    CREATE TABLE track_runs (
        id TEXT PRIMARY KEY, asset TEXT NOT NULL, status TEXT NOT NULL, owner TEXT NOT NULL,
        started_at INTEGER NOT NULL, ended_at INTEGER, attempts INTEGER NOT NULL DEFAULT 1,
        params TEXT NOT NULL, machine TEXT NOT NULL, code TEXT NOT NULL, seed INTEGER,
        dataset TEXT, recipe TEXT, activity TEXT NOT NULL, error TEXT, model TEXT, summary TEXT
    );
    CREATE INDEX track_runs_asset ON track_runs (asset, started_at);
    CREATE TABLE track_checkpoints (
        run TEXT NOT NULL, step INTEGER NOT NULL, checkpoint TEXT NOT NULL,
        PRIMARY KEY (run, step)
    );
    CREATE INDEX track_checkpoints_digest ON track_checkpoints (checkpoint);
"];

/// The columns of [`run_from_row`], in its order.
pub(crate) const COLUMNS: &str = "id, asset, status, owner, started_at, ended_at, attempts, params, \
     machine, code, seed, dataset, recipe, activity, error, model, summary";

/// What state a run is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Under way.
    Running,
    /// Its process died; it goes on when its asset is built again.
    Interrupted,
    /// It came to its end.
    Finished,
    /// It ended with an error.
    Failed,
    /// Somebody stopped it.
    Killed,
}

impl RunStatus {
    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Killed => "killed",
        }
    }

    fn parse(text: &str) -> Result<Self, TrackError> {
        [Self::Running, Self::Interrupted, Self::Finished, Self::Failed, Self::Killed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| broken(format!("no such status: `{text}`")))
    }
}

/// A checkpoint that a run kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRow {
    /// After how many steps.
    pub step: u64,
    /// The artifact.
    pub checkpoint: Digest,
}

/// A run as the catalog has it.
#[derive(Debug, Clone)]
pub(crate) struct RunRow {
    pub id: ActivityId,
    pub asset: String,
    pub status: RunStatus,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub attempts: i64,
    pub params: Value,
    pub machine: Value,
    pub code: Value,
    pub seed: Option<i64>,
    pub dataset: Option<Digest>,
    pub recipe: Option<Digest>,
    pub activity: ActivityId,
    pub error: Option<String>,
    pub model: Option<Digest>,
    pub summary: Option<Value>,
}

fn broken(reason: impl ToString) -> TrackError {
    TrackError::Stored { what: "run", reason: reason.to_string() }
}

/// Reads a row. One that runs in another process than `owner` is interrupted: the data folder has
/// one process at a time, so the other is gone.
pub(crate) fn run_from_row(row: &Row, owner: &str) -> Result<RunRow, TrackError> {
    let json = |column: usize| serde_json::from_str(row.text(column)?).map_err(broken);
    let digest = |column: usize| -> Result<Option<Digest>, TrackError> {
        row.opt_text(column)?.map(|text| text.parse().map_err(broken)).transpose()
    };
    let mut status = RunStatus::parse(row.text(2)?)?;
    if status == RunStatus::Running && row.text(3)? != owner {
        status = RunStatus::Interrupted;
    }
    Ok(RunRow {
        id: row.text(0)?.parse().map_err(broken)?,
        asset: row.text(1)?.to_owned(),
        status,
        started_at: Timestamp::from_micros(row.int(4)?),
        ended_at: row.opt_int(5)?.map(Timestamp::from_micros),
        attempts: row.int(6)?,
        params: json(7)?,
        machine: json(8)?,
        code: json(9)?,
        seed: row.opt_int(10)?,
        dataset: digest(11)?,
        recipe: digest(12)?,
        activity: row.text(13)?.parse().map_err(broken)?,
        error: row.opt_text(14)?.map(str::to_owned),
        model: digest(15)?,
        summary: row.opt_text(16)?.map(serde_json::from_str).transpose().map_err(broken)?,
    })
}
