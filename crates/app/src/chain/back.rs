//! Where did this come from? From an artifact back to the bytes: to what it is derived from, and
//! to what the activity that made it used.

use std::collections::{BTreeMap, BTreeSet};

use sextant_core::{ActivityKind, ArtifactKind, Digest, EdgeKind, limits};
use sextant_lineage::{Activity, Artifact, LineageError, Reader};

use super::{
    Branch, Node,
    label::{activity_label, label},
};

/// More inputs of one kind than this are shown as one node with their count.
const SIBLINGS_MAX: usize = 40;

/// A table that grows comes from the version before it, which comes from the one before: so many of
/// them are opened, the rest is one node with all that went into them.
const EARLIER_MAX: usize = 8;

/// The tree from an artifact back to its sources. `names` maps versions to the assets they are of.
pub fn why_artifact(
    reader: &Reader,
    digest: &Digest,
    names: &BTreeMap<Digest, String>,
) -> Result<Option<Node>, LineageError> {
    Walk::new(reader, names).open(digest)
}

/// One walk: each node is opened once, however many trees are asked of it.
pub struct Walk<'a> {
    reader: &'a Reader,
    names: &'a BTreeMap<Digest, String>,
    seen: BTreeSet<String>,
    /// What was drawn directly below each node.
    steps: BTreeMap<String, Vec<String>>,
    /// How many earlier versions of one table lie between here and the newest one.
    earlier: usize,
}

impl<'a> Walk<'a> {
    /// A walk that has been nowhere yet.
    pub fn new(reader: &'a Reader, names: &'a BTreeMap<Digest, String>) -> Self {
        Self { reader, names, seen: BTreeSet::new(), steps: BTreeMap::new(), earlier: 0 }
    }

    /// The tree of one artifact, without what this walk has opened before.
    pub fn open(&mut self, digest: &Digest) -> Result<Option<Node>, LineageError> {
        self.artifact(digest, 0)
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
        let mut derived: BTreeMap<Digest, &'static str> = BTreeMap::new();
        for edge in self.reader.edges_from(&node.id)? {
            if let (EdgeKind::DerivedFrom | EdgeKind::EvaluatedOn, Ok(source)) =
                (edge.kind, edge.to.parse::<Digest>())
            {
                derived.insert(source, edge.kind.as_str());
            }
        }
        derived.remove(digest);
        // The same content may come out of many activities; the first one's inputs are not its own.
        let shared = named_by_content(artifact.kind)
            && (!derived.is_empty()
                || matches!(artifact.kind, ArtifactKind::Code | ArtifactKind::EvalSet));
        let mut activity = None;
        let mut used = BTreeSet::new();
        if !shared {
            activity = self.reader.activity(&artifact.activity)?;
            used.extend(self.reader.used_by(&artifact.activity)?);
            used.remove(digest);
        }
        if let Some(activity) = activity.as_ref().filter(|activity| shows_as_node(activity.kind)) {
            derived.retain(|input, _| !used.contains(input));
            let run = self.run(activity, std::mem::take(&mut used), depth)?;
            node.holes += run.holes;
            self.below(&node.id, &run.id);
            node.inputs.push(Branch { edge: "made by".to_owned(), node: run });
        }
        used.retain(|input| !derived.contains_key(input));
        self.branches(&mut node, derived, depth)?;
        // What is reached through the others is not drawn again.
        let reached = self.reached(&node.id);
        used.retain(|input| !reached.contains(&input.to_string()));
        self.branches(&mut node, used.into_iter().map(|input| (input, "used")).collect(), depth)?;
        Ok(Some(node))
    }

    /// An activity as a node of its own, with what it used.
    fn run(
        &mut self,
        activity: &Activity,
        used: BTreeSet<Digest>,
        depth: usize,
    ) -> Result<Node, LineageError> {
        let mut run = Node {
            id: activity.id.to_string(),
            kind: activity.kind.to_string(),
            label: activity_label(activity),
            detail: activity.meta.clone(),
            at: Some(activity.started_at.to_string()),
            ..Node::default()
        };
        if self.seen.insert(run.id.clone()) {
            let used = used.into_iter().map(|input| (input, "used")).collect();
            self.branches(&mut run, used, depth + 1)?;
        } else {
            run.seen = true;
        }
        Ok(run)
    }

    fn below(&mut self, node: &str, input: &str) {
        self.steps.entry(node.to_owned()).or_default().push(input.to_owned());
    }

    /// Everything below a node, as far as it was walked.
    fn reached(&self, node: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![node];
        while let Some(next) = waiting.pop() {
            for input in self.steps.get(next).into_iter().flatten() {
                if reached.insert(input.clone()) {
                    waiting.push(input);
                }
            }
        }
        reached
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
                node.inputs.push(Branch {
                    edge: inputs.first().map_or("", |(_, edge)| edge).to_owned(),
                    node: Node::of_many(&node.id, kind, inputs.len()),
                });
                continue;
            }
            for (input, edge) in inputs {
                let earlier = kind == ArtifactKind::TableVersion && self.is_before(&input, node)?;
                if earlier && self.earlier == EARLIER_MAX {
                    node.inputs.extend(self.and_before(&input, edge, depth + 1)?);
                    continue;
                }
                let level = self.earlier;
                self.earlier = if earlier { level + 1 } else { 0 };
                let below = self.artifact(&input, depth + 1)?;
                self.earlier = level;
                if let Some(below) = below {
                    node.holes += below.holes;
                    self.below(&node.id, &below.id);
                    node.inputs.push(Branch { edge: edge.to_owned(), node: below });
                }
            }
        }
        Ok(())
    }
}

impl Walk<'_> {
    /// Whether this is an earlier version of the table that the node is.
    fn is_before(&self, input: &Digest, node: &Node) -> Result<bool, LineageError> {
        let Some(artifact) = self.reader.artifact(input)? else { return Ok(false) };
        let table = ArtifactKind::TableVersion.as_str();
        Ok(node.kind == table && artifact.meta["asset"] == node.detail["asset"])
    }

    /// An earlier version and those before it as one node, with what they come from beside each other.
    fn and_before(
        &mut self,
        input: &Digest,
        edge: &str,
        depth: usize,
    ) -> Result<Option<Branch>, LineageError> {
        let Some(artifact) = self.reader.artifact(input)? else { return Ok(None) };
        let mut node = node_of(&artifact, self.names);
        let mut others = BTreeMap::new();
        let (mut versions, mut waiting) = (BTreeSet::new(), vec![*input]);
        while let Some(version) = waiting.pop() {
            if versions.len() == limits::WHY_NODES_MAX || !versions.insert(version) {
                continue;
            }
            for source in self.sources_of(&version)? {
                if self.is_before(&source, &node)? {
                    waiting.push(source);
                } else if source != version {
                    others.insert(source, "used");
                }
            }
        }
        node.label.push_str(&match versions.len() - 1 {
            0 => String::new(),
            1 => ", and the version before it".to_owned(),
            before => format!(", and the {before} versions before it"),
        });
        self.branches(&mut node, others, depth)?;
        Ok(Some(Branch { edge: edge.to_owned(), node }))
    }

    /// What a version of a table is derived from, and what its activity used.
    fn sources_of(&self, version: &Digest) -> Result<BTreeSet<Digest>, LineageError> {
        let Some(artifact) = self.reader.artifact(version)? else { return Ok(BTreeSet::new()) };
        let mut sources = BTreeSet::from_iter(self.reader.used_by(&artifact.activity)?);
        for edge in self.reader.edges_from(&version.to_string())? {
            if edge.kind == EdgeKind::DerivedFrom {
                sources.extend(edge.to.parse::<Digest>());
            }
        }
        Ok(sources)
    }
}

/// Whether equal content from different activities is one artifact, as it often is for these: what
/// such an activity used is not where they come from.
pub(super) fn named_by_content(kind: ArtifactKind) -> bool {
    matches!(
        kind,
        ArtifactKind::Chunk
            | ArtifactKind::Code
            | ArtifactKind::DocVersion
            | ArtifactKind::EmbedSpec
            | ArtifactKind::EvalSet
    )
}

/// Activities worth a node of their own between what they made and what they used.
fn shows_as_node(kind: ActivityKind) -> bool {
    matches!(kind, ActivityKind::Train | ActivityKind::Evaluate)
}

/// A node without branches.
pub(super) fn node_of(artifact: &Artifact, names: &BTreeMap<Digest, String>) -> Node {
    let label = label(artifact, names.get(&artifact.digest).map(String::as_str));
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
