//! How is the chain walked? Backwards for `why`, forwards for `impact`, as trees that the command
//! line prints and the pages draw.

mod back;
mod forward;
mod label;
mod resolve;

pub use back::{Walk, why_artifact};
pub use forward::impact;
pub use resolve::{Target, resolve};

use serde::Serialize;
use serde_json::{Value, json};
use sextant_core::ArtifactKind;

/// A node of the tree.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Node {
    /// Digest or activity id.
    pub id: String,
    /// The kind of artifact or activity.
    pub kind: String,
    /// One line for people.
    pub label: String,
    /// What was recorded about it.
    pub detail: Value,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The activity that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    /// Holes at or below it.
    pub holes: usize,
    /// It stands elsewhere in the tree with its branches.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub seen: bool,
    /// What it came from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Branch>,
    /// What came from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Branch>,
}

impl Node {
    /// One node in place of many of a kind, below `parent`.
    fn of_many(parent: &str, kind: ArtifactKind, count: usize) -> Self {
        Self {
            id: format!("{parent}#{kind}"),
            kind: kind.to_string(),
            label: format!("{count} × {}", kind.as_str().replace('_', " ")),
            detail: json!({ "count": count }),
            ..Self::default()
        }
    }
}

/// A node below another, and how they are related.
#[derive(Debug, Clone, Serialize)]
pub struct Branch {
    /// The relation.
    pub edge: String,
    /// The node.
    pub node: Node,
}
