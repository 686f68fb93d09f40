//! Where did this come from? From an artifact back to the bytes: to what it is derived from, and
//! to what the activity that made it used.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sextant_core::{ActivityKind, ArtifactKind, Digest, EdgeKind, limits};
use sextant_lineage::{Artifact, LineageError, Reader};

use super::{Branch, Node, label::label};

/// More inputs of one kind than this are shown as one node with their count.
const SIBLINGS_MAX: usize = 40;

/// The tree from an artifact back to its sources. `names` maps versions to the assets they are of.
pub fn why_artifact(
    reader: &Reader,
    digest: &Digest,
    names: &BTreeMap<Digest, String>,
) -> Result<Option<Node>, LineageError> {
    Walk::new(reader, names).artifact(digest, 0)
}

/// One walk: each node is opened once.
pub(super) struct Walk<'a> {
    reader: &'a Reader,
    names: &'a BTreeMap<Digest, String>,
    seen: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(reader: &'a Reader, names: &'a BTreeMap<Digest, String>) -> Self {
        Self { reader, names, seen: BTreeSet::new() }
    }

    fn artifact(&mut self, digest: &Digest, depth: usize) -> Result<Option<Node>, LineageError> {
        let Some(artifact) = self.reader.artifact(digest)? else { return Ok(None) };
        let mut node = node_of(&artifact, self.names);
        let full = self.seen.len() >= limits::WHY_NODES_MAX || depth >= limits::WHY_DEPTH_MAX;
        if !self.seen.insert(node.id.clone()) || full {
            node.seen = true;
            return Ok(Some(node));
        }
        if artifact.kind == ArtifactKind::Opaque {
            node.holes = 1;
            return Ok(Some(node));
        }
        let mut inputs: BTreeMap<Digest, &'static str> = BTreeMap::new();
        let activity = self.reader.activity(&artifact.activity)?;
        let through = activity.as_ref().filter(|activity| shows_as_node(activity.kind));
        if through.is_none() {
            for input in self.reader.used_by(&artifact.activity)? {
                inputs.insert(input, "used");
            }
        }
        for edge in self.reader.edges_from(&node.id)? {
            if let (EdgeKind::DerivedFrom | EdgeKind::EvaluatedOn, Ok(source)) =
                (edge.kind, edge.to.parse::<Digest>())
            {
                inputs.insert(source, edge.kind.as_str());
            }
        }
        inputs.remove(digest);
        if let Some(activity) = through {
            let mut run = Node {
                id: activity.id.to_string(),
                kind: activity.kind.to_string(),
                label: format!("{} run", activity.label),
                detail: activity.meta.clone(),
                at: Some(activity.started_at.to_string()),
                ..Node::default()
            };
            let used = self.reader.used_by(&activity.id)?;
            for input in &used {
                inputs.remove(input);
            }
            let used = used.into_iter().map(|input| (input, "used")).collect();
            if self.seen.insert(run.id.clone()) {
                self.branches(&mut run, used, depth + 1)?;
            } else {
                run.seen = true;
            }
            node.holes += run.holes;
            node.inputs.push(Branch { edge: "made by".to_owned(), node: run });
        }
        self.branches(&mut node, inputs, depth)?;
        Ok(Some(node))
    }

    /// Adds the inputs below a node; many of one kind become one node with their count.
    fn branches(
        &mut self,
        node: &mut Node,
        inputs: BTreeMap<Digest, &'static str>,
        depth: usize,
    ) -> Result<(), LineageError> {
        let mut by_kind: BTreeMap<ArtifactKind, Vec<(Digest, &'static str)>> = BTreeMap::new();
        for (input, edge) in inputs {
            if let Some(artifact) = self.reader.artifact(&input)? {
                by_kind.entry(artifact.kind).or_default().push((input, edge));
            }
        }
        for (kind, inputs) in by_kind {
            if kind == ArtifactKind::Chunk || inputs.len() > SIBLINGS_MAX {
                let count = inputs.len();
                let words = kind.as_str().replace('_', " ");
                node.inputs.push(Branch {
                    edge: inputs.first().map_or("", |(_, edge)| edge).to_owned(),
                    node: Node {
                        id: format!("{}#{}", node.id, kind),
                        kind: kind.to_string(),
                        label: format!("{count} × {words}"),
                        detail: json!({ "count": count }),
                        ..Node::default()
                    },
                });
                continue;
            }
            for (input, edge) in inputs {
                if let Some(below) = self.artifact(&input, depth + 1)? {
                    node.holes += below.holes;
                    node.inputs.push(Branch { edge: edge.to_owned(), node: below });
                }
            }
        }
        Ok(())
    }
}

/// Activities worth a node of their own between what they made and what they used.
fn shows_as_node(kind: ActivityKind) -> bool {
    matches!(kind, ActivityKind::Train | ActivityKind::Evaluate)
}

/// A node without branches.
pub(super) fn node_of(artifact: &Artifact, names: &BTreeMap<Digest, String>) -> Node {
    let own = label(artifact);
    let label = match names.get(&artifact.digest) {
        Some(name) if own != *name && !own.replace(' ', "_").eq(artifact.kind.as_str()) => {
            format!("{name}: {own}")
        }
        Some(name) => name.clone(),
        None => own,
    };
    Node {
        id: artifact.digest.to_string(),
        kind: artifact.kind.to_string(),
        label,
        detail: artifact.meta.clone(),
        at: Some(artifact.created_at.to_string()),
        activity: Some(artifact.activity.to_string()),
        ..Node::default()
    }
}
