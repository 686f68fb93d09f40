//! What would a build do now, and why? One line for each asset, without building anything.

use std::collections::BTreeSet;

use serde::Serialize;
use sextant_core::{Digest, Timestamp};

use super::{Fingerprint, State, Verdict, judge};
use crate::{AssetId, Graph, Refresh, graph::Node};

/// How an asset stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AssetState {
    /// Up to date.
    Fresh,
    /// Would be made again.
    Stale,
    /// Was never made.
    Never,
    /// The last try with the same inputs failed, or its checks do not hold.
    Failed,
    /// Its inputs changed, but it waits until it is named.
    Held,
}

/// One asset for lists and pages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AssetStatus {
    /// Its id.
    pub asset: AssetId,
    /// Its noun: source, model, checks, …
    pub kind: String,
    /// How it stands.
    pub state: AssetState,
    /// Why; empty when it is fresh.
    pub why: String,
    /// Its newest version.
    pub version: Option<Digest>,
    /// When that was made.
    pub built_at: Option<Timestamp>,
    /// One line about that version.
    pub summary: String,
    /// Words to select by.
    pub tags: Vec<String>,
    /// What a person wrote about it.
    pub description: String,
    /// Who answers for it.
    pub owner: String,
    /// What it reads.
    pub inputs: Vec<AssetId>,
    /// What it guards.
    pub guards: Option<AssetId>,
    /// The file that describes it.
    pub file: String,
}

/// The status of every asset, inputs before what reads them.
pub fn status(graph: &Graph, state: &State) -> Vec<AssetStatus> {
    let mut unsettled: BTreeSet<&AssetId> = BTreeSet::new();
    let mut list = Vec::with_capacity(graph.len());
    for id in graph.order() {
        let Some(node) = graph.get(id) else { continue };
        let (standing, why) = stand(node, state, &unsettled);
        if matches!(standing, AssetState::Stale | AssetState::Never)
            || (standing == AssetState::Failed && !still_failing(id, state))
        {
            unsettled.insert(id);
        }
        let why = held_back(graph, node, state, standing, why);
        let about = node.asset.about();
        let latest = state.latest.get(id);
        list.push(AssetStatus {
            asset: id.clone(),
            kind: node.asset.noun().to_owned(),
            state: standing,
            why,
            version: latest.map(|row| row.version),
            built_at: latest.map(|row| row.at),
            summary: latest.map(|row| row.summary.clone()).unwrap_or_default(),
            tags: about.tags.clone(),
            description: about.description.clone(),
            owner: about.owner.clone(),
            inputs: node.inputs.clone(),
            guards: node.asset.guards(),
            file: node.asset.file().display().to_string(),
        });
    }
    list
}

fn stand(node: &Node, state: &State, unsettled: &BTreeSet<&AssetId>) -> (AssetState, String) {
    let id = node.asset.id();
    let before = state.latest.get(id);
    let stale_input = node.inputs.iter().find(|input| unsettled.contains(input));
    if before.is_none() && node.inputs.iter().any(|input| !state.latest.contains_key(input)) {
        return (AssetState::Never, "never built".to_owned());
    }
    let now = match Fingerprint::take(&*node.asset, &node.inputs, &|input| state.version(input)) {
        Ok(now) => now,
        Err(failure) => return (AssetState::Failed, failure.chain()),
    };
    let failed = state.failures.get(id).filter(|failure| failure.tried == now);
    match (judge(&*node.asset, &now, before, false), failed) {
        (Verdict::Fresh, _) => match (before, stale_input) {
            (_, Some(input)) if node.asset.refresh() == Refresh::Manual => {
                (AssetState::Held, format!("input {input} is stale"))
            }
            (_, Some(input)) => (AssetState::Stale, format!("input {input} is stale")),
            (Some(row), None) if row.fails() && node.asset.guards().is_some() => {
                (AssetState::Failed, row.summary.clone())
            }
            _ => (AssetState::Fresh, String::new()),
        },
        (_, Some(failure)) => (AssetState::Failed, failure.error.message.clone()),
        (Verdict::Never, None) => (AssetState::Never, "never built".to_owned()),
        (Verdict::Stale(why), None) => (AssetState::Stale, why),
        (Verdict::Held(why), None) => (AssetState::Held, why),
    }
}

/// A guard whose newest version is up to date and says that its checks do not hold.
fn still_failing(id: &AssetId, state: &State) -> bool {
    state.latest.get(id).is_some_and(super::VersionRow::fails) && !state.failures.contains_key(id)
}

/// Adds the failing check that holds a stale asset back.
fn held_back(
    graph: &Graph,
    node: &Node,
    state: &State,
    standing: AssetState,
    why: String,
) -> String {
    let waits = matches!(standing, AssetState::Stale | AssetState::Never);
    match node.failing_guard(graph, state) {
        Some(guard) if waits => format!("{why}; held back: check {guard} failed"),
        _ => why,
    }
}

impl Node {
    /// The first failing check of an input of this asset; none for checks themselves.
    pub fn failing_guard<'a>(&self, graph: &'a Graph, state: &State) -> Option<&'a AssetId> {
        if self.asset.guards().is_some() {
            return None;
        }
        let inputs = self.inputs.iter().filter_map(|input| graph.get(input));
        inputs.flat_map(|input| &input.guards).find(|guard| {
            let fails = state.latest.get(*guard).is_some_and(super::VersionRow::fails);
            fails || state.failures.contains_key(*guard)
        })
    }
}
