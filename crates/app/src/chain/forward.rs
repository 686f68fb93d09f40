//! What was made from this? From artifacts forward: what is derived from them, and what the
//! activities that used them made.

use std::collections::{BTreeMap, BTreeSet};

use sextant_core::{ArtifactKind, Digest, EdgeKind, limits};
use sextant_lineage::{LineageError, Reader};

use super::{
    Branch, Node,
    back::{named_by_content, node_of},
};

/// More outputs of one kind than this are shown as one node with their count.
const SIBLINGS_MAX: usize = 12;

/// A node, what came from it, and which releases and chunks were reached.
pub struct Impact {
    /// The tree.
    pub node: Node,
    /// Releases that contain it.
    pub releases: BTreeSet<Digest>,
    /// The chunks that were cut from it, when it is a document; itself, when it is a chunk.
    pub chunks: BTreeSet<Digest>,
}

/// The tree forward from an artifact; `None` when there is no such artifact.
pub fn impact(
    reader: &Reader,
    digest: &Digest,
    names: &BTreeMap<Digest, String>,
) -> Result<Option<Impact>, LineageError> {
    let mut walk = Forward { reader, names, seen: BTreeSet::new(), releases: BTreeSet::new() };
    let Some(node) = walk.artifact(digest, 0)? else { return Ok(None) };
    let chunks = chunks_of(reader, digest)?;
    Ok(Some(Impact { node, releases: walk.releases, chunks }))
}

/// Not what the walk reaches: an index that holds a document's chunks holds all others as well.
fn chunks_of(reader: &Reader, digest: &Digest) -> Result<BTreeSet<Digest>, LineageError> {
    let mut candidates = vec![*digest];
    for edge in reader.edges_to(&digest.to_string())? {
        if edge.kind == EdgeKind::DerivedFrom {
            candidates.extend(edge.from.parse::<Digest>());
        }
    }
    let mut chunks = BTreeSet::new();
    for candidate in candidates {
        let artifact = reader.artifact(&candidate)?;
        if artifact.is_some_and(|artifact| artifact.kind == ArtifactKind::Chunk) {
            chunks.insert(candidate);
        }
    }
    Ok(chunks)
}

fn ids_below(node: &Node, into: &mut BTreeSet<String>) {
    for branch in &node.outputs {
        into.insert(branch.node.id.clone());
        ids_below(&branch.node, into);
    }
}

struct Forward<'a> {
    reader: &'a Reader,
    names: &'a BTreeMap<Digest, String>,
    seen: BTreeSet<Digest>,
    releases: BTreeSet<Digest>,
}

impl Forward<'_> {
    fn artifact(&mut self, digest: &Digest, depth: usize) -> Result<Option<Node>, LineageError> {
        let Some(artifact) = self.reader.artifact(digest)? else { return Ok(None) };
        let mut node = node_of(&artifact, self.names);
        if artifact.kind == ArtifactKind::Opaque {
            node.holes = 1;
        }
        if artifact.kind == ArtifactKind::Release {
            self.releases.insert(*digest);
        }
        let full = self.seen.len() >= limits::WHY_NODES_MAX || depth >= limits::WHY_DEPTH_MAX;
        if !self.seen.insert(*digest) || full {
            node.seen = true;
            return Ok(Some(node));
        }
        let steps = self.made_from(digest)?;
        node.outputs = self.outputs(&node.id, steps, depth + 1)?;
        Ok(Some(node))
    }

    /// The branches to what was made; many of one kind become one node with their count, and what
    /// was made from all of them follows below it.
    fn outputs(
        &mut self,
        parent: &str,
        steps: BTreeMap<Digest, String>,
        depth: usize,
    ) -> Result<Vec<Branch>, LineageError> {
        let mut by_kind: BTreeMap<ArtifactKind, Vec<(Digest, String)>> = BTreeMap::new();
        for (next, edge) in steps {
            if let Some(artifact) = self.reader.artifact(&next)? {
                by_kind.entry(artifact.kind).or_default().push((next, edge));
            }
        }
        let (few, many): (Vec<_>, Vec<_>) =
            by_kind.into_iter().partition(|(_, steps)| steps.len() <= SIBLINGS_MAX);
        let mut branches = Vec::new();
        for (next, edge) in few.into_iter().flat_map(|(_, steps)| steps) {
            if let Some(node) = self.artifact(&next, depth)? {
                branches.push(Branch { edge, node });
            }
        }
        for (kind, steps) in many {
            let edge = steps.first().map(|(_, edge)| edge.clone()).unwrap_or_default();
            let mut node = Node::of_many(parent, kind, steps.len());
            let mut beyond = BTreeMap::new();
            for (next, _) in steps {
                if kind == ArtifactKind::Release {
                    self.releases.insert(next);
                }
                if self.seen.insert(next) {
                    beyond.extend(self.made_from(&next)?);
                }
            }
            node.outputs = self.outputs(&node.id, beyond, depth + 1)?;
            branches.push(Branch { edge, node });
        }
        // What stands below a sibling already is not said again.
        let mut below = BTreeSet::new();
        for branch in &branches {
            ids_below(&branch.node, &mut below);
        }
        branches.retain(|branch| !(branch.node.seen && below.contains(&branch.node.id)));
        Ok(branches)
    }

    /// The artifacts that were made directly from this one, each once.
    fn made_from(&self, digest: &Digest) -> Result<BTreeMap<Digest, String>, LineageError> {
        let mut found: BTreeMap<Digest, String> = BTreeMap::new();
        for edge in self.reader.edges_to(&digest.to_string())? {
            match edge.kind {
                EdgeKind::DerivedFrom | EdgeKind::EvaluatedOn => {
                    if let Ok(next) = edge.from.parse() {
                        found.insert(next, edge.kind.to_string());
                    }
                }
                EdgeKind::Used => {
                    for made in self.reader.edges_from(&edge.from)? {
                        if let (EdgeKind::Generated, Ok(next)) = (made.kind, made.to.parse()) {
                            self.add_made(next, &mut found)?;
                        }
                    }
                }
                _ => {}
            }
        }
        found.remove(digest);
        Ok(found)
    }

    fn add_made(
        &self,
        next: Digest,
        found: &mut BTreeMap<Digest, String>,
    ) -> Result<(), LineageError> {
        if !found.contains_key(&next)
            && let Some(artifact) = self.reader.artifact(&next)?
            && !named_by_content(artifact.kind)
        {
            found.insert(next, "used by".to_owned());
        }
        Ok(())
    }
}
