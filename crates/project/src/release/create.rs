//! How is a release made? From versions that are up to date, whose checks hold, and whose chain has
//! no hole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sextant_core::{
    ActivityId, ActivityKind, ArtifactKind, Digest, EdgeKind, Failure, canonical_json,
};
use sextant_lineage::{Reader, Store};

use super::{Part, ReleaseManifest, ReleaseSpec, Role};
use crate::{
    AssetId, Graph, ReleaseError, State,
    state::{AssetState, AssetStatus, status},
};

/// What goes into a release.
#[derive(Debug, Clone)]
pub struct NewRelease<'a> {
    /// The release file.
    pub spec: &'a ReleaseSpec,
    /// Which asset fills which part. The serving part is the agent's asset: its version becomes the
    /// digest of `serving`.
    pub assets: BTreeMap<Role, AssetId>,
    /// How it answers.
    pub serving: Value,
}

/// Creates a release from the newest versions and returns its digest. The same parts give the same
/// release.
///
/// # Errors
/// When a part is missing or stale, a check behind it fails, or something behind it has an unknown
/// origin.
pub fn create(store: &Store, graph: &Graph, new: &NewRelease<'_>) -> Result<Digest, Failure> {
    let state = State::load(store)?;
    let reader = store.read()?;
    let release = &new.spec.name;
    let mut parts = BTreeMap::new();
    for (role, asset) in new.assets.iter().filter(|(role, _)| **role != Role::Serving) {
        let version = state
            .version(asset)
            .ok_or_else(|| missing(release, *role, format!("asset {asset} was never built")))?;
        let kind = reader.artifact(&version)?.map_or(ArtifactKind::Opaque, |found| found.kind);
        parts.insert(*role, Part { asset: asset.clone(), version, kind });
    }
    let agent = require_parts(new, &parts)?;
    let behind = everything_behind(graph, new.assets.values());
    refuse_unsettled(release, &status(graph, &state), &behind)?;
    let created_from: BTreeMap<AssetId, Digest> = behind
        .iter()
        .filter_map(|id| state.version(id).map(|version| (id.clone(), version)))
        .collect();
    refuse_holes(release, &reader, &state, &created_from)?;

    let mut act = store.begin(ActivityKind::Deploy, format!("create release {release}"));
    for version in created_from.values() {
        act.used(*version);
    }
    let sources: Vec<Digest> = parts.values().map(|part| part.version).collect();
    let config = act.manifest(ArtifactKind::ServingConfig, &serving_manifest(new), &sources)?;
    let serving = Part { asset: agent, version: config, kind: ArtifactKind::ServingConfig };
    parts.insert(Role::Serving, serving);
    let manifest = ReleaseManifest {
        name: release.clone(),
        parts,
        serving: new.serving.clone(),
        created_from,
    };
    let pinned: Vec<Digest> = manifest.parts.values().map(|part| part.version).collect();
    let digest = act.manifest(ArtifactKind::Release, &manifest, &pinned)?;
    let known =
        reader.query("SELECT 1 FROM project_releases WHERE digest = ?1", &[digest.into()])?;
    if !known.is_empty() {
        return Ok(digest);
    }
    act.note("release", release);
    act.execute(
        "INSERT INTO project_releases (digest, name, at, activity) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (digest) DO NOTHING",
        vec![digest.into(), release.into(), store.now().into(), act.id().into()],
    );
    act.commit()?;
    Ok(digest)
}

/// The serving configuration names its release, so that two agents never share a node by chance.
fn serving_manifest(new: &NewRelease<'_>) -> Value {
    serde_json::json!({ "kind": "serving_config", "name": new.spec.name, "serving": new.serving })
}

fn missing(release: &str, role: Role, message: String) -> ReleaseError {
    ReleaseError::PartMissing { release: release.to_owned(), role: role.as_str().into(), message }
}

/// Documents, an index and a prompt always; a report when the gate has rules. Returns the agent.
fn require_parts(new: &NewRelease<'_>, parts: &BTreeMap<Role, Part>) -> Result<AssetId, Failure> {
    let release = &new.spec.name;
    for role in [Role::Documents, Role::Prompt, Role::Index] {
        if !parts.contains_key(&role) {
            let message = format!("agent {} names none", new.spec.agent);
            return Err(missing(release, role, message).into());
        }
    }
    if !new.spec.gate.is_empty() && !parts.contains_key(&Role::Evaluation) {
        let message = "its gate has rules, so it needs a report to judge".to_owned();
        return Err(missing(release, Role::Evaluation, message).into());
    }
    canonical_json(&new.serving)
        .map_err(|error| missing(release, Role::Serving, error.to_string()))?;
    match new.assets.get(&Role::Serving) {
        Some(agent) => Ok(agent.clone()),
        None => new.spec.agent_asset(),
    }
}

/// The parts, all that they need, and the checks of all that.
fn everything_behind<'a>(
    graph: &Graph,
    parts: impl Iterator<Item = &'a AssetId>,
) -> BTreeSet<AssetId> {
    let mut behind = BTreeSet::new();
    let mut queue: Vec<AssetId> = parts.cloned().collect();
    while let Some(id) = queue.pop() {
        let Some(node) = graph.get(&id) else { continue };
        if behind.insert(id) {
            queue.extend(node.inputs.iter().chain(&node.guards).cloned());
        }
    }
    behind
}

fn refuse_unsettled(
    release: &str,
    all: &[AssetStatus],
    behind: &BTreeSet<AssetId>,
) -> Result<(), ReleaseError> {
    let (mut stale, mut checks) = (Vec::new(), Vec::new());
    for asset in all.iter().filter(|asset| behind.contains(&asset.asset)) {
        let line = format!("{}: {}", asset.asset, asset.why);
        match asset.state {
            AssetState::Fresh | AssetState::Held => {}
            AssetState::Failed if asset.guards.is_some() => checks.push(line),
            AssetState::Failed | AssetState::Stale | AssetState::Never => stale.push(line),
        }
    }
    let release = release.to_owned();
    if !checks.is_empty() {
        return Err(ReleaseError::ChecksFailed { release, checks });
    }
    if !stale.is_empty() {
        return Err(ReleaseError::Dirty { release, stale });
    }
    Ok(())
}

/// Walks from the versions back to the sources. Free when the whole store has no hole.
fn refuse_holes(
    release: &str,
    reader: &Reader,
    state: &State,
    versions: &BTreeMap<AssetId, Digest>,
) -> Result<(), Failure> {
    let holes: BTreeMap<Digest, String> =
        reader.holes()?.into_iter().map(|hole| (hole.digest, hole.what)).collect();
    if holes.is_empty() {
        return Ok(());
    }
    // A version that was made again is judged by its newest making, not by its first.
    let mut makers: BTreeMap<Digest, ActivityId> = BTreeMap::new();
    for id in versions.keys() {
        makers.extend(state.latest.get(id).map(|row| (row.version, row.activity)));
    }
    let mut seen: BTreeSet<Digest> = versions.values().copied().collect();
    let mut queue: Vec<Digest> = seen.iter().copied().collect();
    let mut activities = BTreeSet::new();
    while let Some(digest) = queue.pop() {
        let maker = match makers.get(&digest) {
            Some(maker) => Some(*maker),
            None => reader.generator_of(&digest)?,
        };
        let mut next = Vec::new();
        if let Some(maker) = maker.filter(|maker| activities.insert(*maker)) {
            next.extend(reader.used_by(&maker)?);
        }
        for edge in reader.edges_from(&digest.to_string())? {
            if edge.kind == EdgeKind::DerivedFrom {
                next.extend(edge.to.parse::<Digest>());
            }
        }
        queue.extend(next.into_iter().filter(|digest| seen.insert(*digest)));
    }
    let found: Vec<String> =
        holes.into_iter().filter(|(hole, _)| seen.contains(hole)).map(|(_, what)| what).collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(ReleaseError::Opaque { release: release.to_owned(), holes: found }.into())
}
