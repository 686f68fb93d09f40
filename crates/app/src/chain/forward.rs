//! What was made from this? From artifacts forward: what is derived from them, and what the
//! activities that used them made.

use std::collections::{BTreeMap, BTreeSet};

use sextant_core::{ArtifactKind, Digest, EdgeKind, limits};
use sextant_lineage::{LineageError, Reader};

use super::{Branch, Node, back::node_of};

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
    let mut walk = Forward {
        reader,
        names,
        seen: BTreeSet::new(),
        releases: BTreeSet::new(),
    };
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
        for (edge, next) in self.made_from(digest)? {
            if let Some(above) = self.artifact(&next, depth + 1)? {
                node.outputs.push(Branch { edge, node: above });
            }
        }
        Ok(Some(node))
    }

    /// The artifacts that were made directly from this one, each once.
    fn made_from(&self, digest: &Digest) -> Result<Vec<(String, Digest)>, LineageError> {
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
                            found.entry(next).or_insert_with(|| "used by".to_owned());
                        }
                    }
                }
                _ => {}
            }
        }
        found.remove(digest);
        Ok(found.into_iter().map(|(next, edge)| (edge, next)).collect())
    }
}
