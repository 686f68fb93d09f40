//! What is a release? One manifest that pins a version of everything a feature needs, and the only
//! thing that serves.
//!
//! A release is created from assets that are up to date, judged by the rules of its gate, and made
//! live by moving one pointer, `release/<name>@live`, in one transaction.

mod create;
mod diff;
mod gate;
mod list;
mod spec;
mod switch;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sextant_core::{ArtifactKind, Digest, Failure, Name, Timestamp};
use sextant_lineage::Reader;

pub use self::{
    create::{NewRelease, create},
    diff::{Change, ChangeKind, PartDetails, ReleaseDiff, diff},
    gate::{Evidence, GateVerdict, RuleResult, RuleVerdict, flatten_metrics, gate, last_verdict},
    list::{GateState, ReleaseRow, list, live, resolve, show},
    spec::{Gate, ReleaseSpec, Rule},
    switch::{Promote, Switch, promote, rollback, switches},
};
use crate::{AssetId, ProjectError, ReleaseError};

/// What a part is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The documents that answers come from.
    Documents,
    /// The trained model, where retrieval uses one.
    Model,
    /// The prompt.
    Prompt,
    /// The index.
    Index,
    /// The report that judged the index.
    Evaluation,
    /// How it answers.
    Serving,
}

impl Role {
    /// Every role, in the order in which parts are shown.
    pub const ALL: &'static [Self] =
        &[Self::Documents, Self::Model, Self::Prompt, Self::Index, Self::Evaluation, Self::Serving];

    /// The word shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::Model => "model",
            Self::Prompt => "prompt",
            Self::Index => "index",
            Self::Evaluation => "evaluation",
            Self::Serving => "serving",
        }
    }
}

/// One pinned version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The asset.
    pub asset: AssetId,
    /// Its version.
    pub version: Digest,
    /// What the version is.
    pub kind: ArtifactKind,
}

/// A release: its digest is the digest of this as canonical JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseManifest {
    /// The release's name; many releases share it, at most one of them is live.
    pub name: String,
    /// The pinned parts.
    pub parts: BTreeMap<Role, Part>,
    /// How it answers: reader, retrieval mode, limits.
    pub serving: Value,
    /// The version of every asset behind the parts.
    pub created_from: BTreeMap<AssetId, Digest>,
}

impl ReleaseManifest {
    /// Reads a release from the catalog.
    ///
    /// # Errors
    /// When there is no such release or its manifest cannot be read.
    pub fn read(reader: &Reader, digest: &Digest) -> Result<(Self, Timestamp), Failure> {
        let unknown = || ReleaseError::Unknown { name: digest.to_string(), near: None };
        let artifact = reader
            .artifact(digest)?
            .filter(|artifact| artifact.kind == ArtifactKind::Release)
            .ok_or_else(unknown)?;
        let manifest = serde_json::from_value(artifact.meta).map_err(|error| {
            let (key, message) = (digest.to_string(), error.to_string());
            ProjectError::BrokenRow { what: "release manifest", key, message }
        })?;
        Ok((manifest, artifact.created_at))
    }

    /// The retrieval mode in its serving configuration.
    pub fn mode(&self) -> Option<&str> {
        self.serving.get("mode").and_then(Value::as_str)
    }
}

/// The pointer that says which release of a name serves.
pub(crate) fn live_name(name: &str) -> Result<Name, Failure> {
    Name::of(&format!("release/{name}"), "live").map_err(|_| {
        let unknown = ReleaseError::Unknown { name: name.to_owned(), near: None };
        Failure::from(unknown)
    })
}
