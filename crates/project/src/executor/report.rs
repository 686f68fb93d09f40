//! What did a build do? One entry for each selected asset, and the counts.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use sextant_core::Digest;

use crate::{AssetId, state::ErrorReport};

/// How an asset's turn in a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was made, and its version is new.
    Built,
    /// It was up to date, or making it again gave the same version.
    Unchanged,
    /// It could not be made, or its checks do not hold.
    Failed,
    /// Something it needs failed.
    Skipped,
    /// Its inputs changed, but it waits until it is named.
    Held,
    /// The build was cancelled before its turn, or during it.
    Cancelled,
}

impl Outcome {
    /// The word shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Held => "held",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether what depends on the asset can go on.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Built | Self::Unchanged | Self::Held)
    }
}

/// One asset of a build.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AssetReport {
    /// The asset.
    pub asset: AssetId,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ran or did not run.
    pub why: String,
    /// What was made, in one line.
    pub summary: String,
    /// How long it took.
    pub seconds: f64,
    /// Its version afterwards.
    pub version: Option<Digest>,
    /// Whether its build ran at all.
    pub ran: bool,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
}

/// A build.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BuildReport {
    /// The selected assets, inputs before what reads them.
    pub assets: Vec<AssetReport>,
    /// How many were made anew.
    pub built: usize,
    /// How many were up to date.
    pub unchanged: usize,
    /// How many failed.
    pub failed: usize,
    /// How many were skipped.
    pub skipped: usize,
    /// How many wait to be named.
    pub held: usize,
    /// How many were cancelled.
    pub cancelled: usize,
    /// How long it took.
    pub seconds: f64,
    /// What was released afterwards; filled in by the caller that releases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Value>,
}

impl BuildReport {
    pub(super) fn new(assets: Vec<AssetReport>, took: Duration) -> Self {
        let count = |outcome| assets.iter().filter(|asset| asset.outcome == outcome).count();
        Self {
            built: count(Outcome::Built),
            unchanged: count(Outcome::Unchanged),
            failed: count(Outcome::Failed),
            skipped: count(Outcome::Skipped),
            held: count(Outcome::Held),
            cancelled: count(Outcome::Cancelled),
            seconds: took.as_secs_f64(),
            release: None,
            assets,
        }
    }

    /// Whether everything selected is up to date now (held assets count as such).
    pub fn is_good(&self) -> bool {
        self.failed == 0 && self.skipped == 0 && self.cancelled == 0
    }

    /// The entry of an asset.
    pub fn get(&self, asset: &str) -> Option<&AssetReport> {
        self.assets.iter().find(|report| report.asset.as_str() == asset)
    }
}
