//! In which order are assets made? The graph of a project: every input exists, and nothing depends
//! on itself.

mod select;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use sextant_core::Failure;

pub use self::select::Selection;
use crate::{Asset, AssetFile, AssetId, GraphError, nearest, project::place_of_word};

/// One asset and its place in the graph.
pub struct Node {
    /// The asset.
    pub asset: Arc<dyn Asset>,
    /// What it reads, sorted.
    pub inputs: Vec<AssetId>,
    /// What reads it, sorted.
    pub consumers: Vec<AssetId>,
    /// The checks that guard it.
    pub guards: Vec<AssetId>,
    /// What must be settled before it: its inputs and, unless it is a guard itself, their guards.
    pub after: BTreeSet<AssetId>,
}

/// The assets of a project.
pub struct Graph {
    nodes: BTreeMap<AssetId, Node>,
    order: Vec<AssetId>,
}

impl Graph {
    /// Joins assets by their inputs. Each comes with the file that describes it, for the places of
    /// errors.
    ///
    /// # Errors
    /// Two assets with one id, an input that does not exist, or a circle.
    pub fn new(assets: Vec<(AssetFile, Arc<dyn Asset>)>) -> Result<Self, Failure> {
        let mut nodes: BTreeMap<AssetId, Node> = BTreeMap::new();
        let mut files = BTreeMap::new();
        for (file, asset) in assets {
            let id = asset.id().clone();
            if let Some(first) = nodes.get(&id) {
                let first = first.asset.file().to_owned();
                let second = file.place(None, None);
                return Err(GraphError::Duplicate { id, first, second }.into());
            }
            let inputs: BTreeSet<AssetId> = asset.inputs().into_iter().collect();
            files.insert(id.clone(), file);
            nodes.insert(
                id,
                Node {
                    asset,
                    inputs: inputs.into_iter().collect(),
                    consumers: Vec::new(),
                    guards: Vec::new(),
                    after: BTreeSet::new(),
                },
            );
        }
        let mut graph = Self { nodes, order: Vec::new() };
        graph.join(&files)?;
        graph.sort()?;
        Ok(graph)
    }

    fn join(&mut self, files: &BTreeMap<AssetId, AssetFile>) -> Result<(), Failure> {
        let ids: Vec<AssetId> = self.nodes.keys().cloned().collect();
        for id in &ids {
            let node = &self.nodes[id];
            let guarded = node.asset.guards();
            let inputs = node.inputs.clone();
            for input in inputs.iter().chain(&guarded) {
                if !self.nodes.contains_key(input) {
                    let place = place_of_word(&files[id], input.stem());
                    let near = nearest(input.as_str(), ids.iter().map(AssetId::as_str));
                    let (asset, input) = (id.clone(), input.clone());
                    return Err(GraphError::UnknownInput { asset, input, place, near }.into());
                }
            }
            for input in &inputs {
                if let Some(node) = self.nodes.get_mut(input) {
                    node.consumers.push(id.clone());
                }
            }
            if let Some(node) = guarded.and_then(|guarded| self.nodes.get_mut(&guarded)) {
                node.guards.push(id.clone());
            }
        }
        for id in &ids {
            let after = self.settled_before(id);
            if let Some(node) = self.nodes.get_mut(id) {
                node.after = after;
            }
        }
        Ok(())
    }

    fn settled_before(&self, id: &AssetId) -> BTreeSet<AssetId> {
        let node = &self.nodes[id];
        let mut after: BTreeSet<AssetId> = node.inputs.iter().cloned().collect();
        if node.asset.guards().is_none() {
            for input in &node.inputs {
                after.extend(self.nodes[input].guards.iter().cloned());
            }
        }
        after
    }

    /// Orders the assets, inputs first; ties by id, so that the order never changes by chance.
    fn sort(&mut self) -> Result<(), Failure> {
        let mut waiting: BTreeMap<AssetId, usize> =
            self.nodes.iter().map(|(id, node)| (id.clone(), node.after.len())).collect();
        let mut before: BTreeMap<&AssetId, Vec<&AssetId>> = BTreeMap::new();
        for (id, node) in &self.nodes {
            for earlier in &node.after {
                before.entry(earlier).or_default().push(id);
            }
        }
        let mut ready: BTreeSet<AssetId> =
            waiting.iter().filter(|(_, left)| **left == 0).map(|(id, _)| id.clone()).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(id) = ready.pop_first() {
            for later in before.get(&id).into_iter().flatten() {
                if let Some(left) = waiting.get_mut(*later) {
                    *left -= 1;
                    if *left == 0 {
                        ready.insert((*later).clone());
                    }
                }
            }
            waiting.remove(&id);
            order.push(id);
        }
        if waiting.is_empty() {
            self.order = order;
            return Ok(());
        }
        Err(self.cycle(&waiting.into_keys().collect()).into())
    }

    /// Finds one circle among the assets that could not be ordered: each of them waits for another
    /// of them, so following the first such wait must come back.
    fn cycle(&self, stuck: &BTreeSet<AssetId>) -> GraphError {
        let mut path: Vec<AssetId> = Vec::new();
        let mut here = stuck.first();
        while let Some(id) = here {
            if let Some(start) = path.iter().position(|seen| seen == id) {
                path.drain(..start);
                path.reverse();
                break;
            }
            path.push(id.clone());
            here = self.nodes[id].after.iter().find(|input| stuck.contains(*input));
        }
        path.extend(path.first().cloned());
        let file = path.first().map(|id| self.nodes[id].asset.file().to_owned());
        let place =
            sextant_core::Place { file: file.unwrap_or_default(), line: None, column: None };
        GraphError::Cycle { path: path.iter().map(ToString::to_string).collect(), place }
    }

    /// All ids, inputs before what reads them.
    pub fn order(&self) -> &[AssetId] {
        &self.order
    }

    /// One asset's node.
    pub fn get(&self, id: &AssetId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// All nodes by id.
    pub fn nodes(&self) -> impl Iterator<Item = (&AssetId, &Node)> {
        self.nodes.iter()
    }

    /// How many assets there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The assets described by this file.
    pub fn described_by(&self, file: &Path) -> Vec<AssetId> {
        let described = self.nodes.iter().filter(|(_, node)| node.asset.file() == file);
        described.map(|(id, _)| id.clone()).collect()
    }

    /// An asset by its whole id, or by its stem when only one asset has it.
    ///
    /// # Errors
    /// When nothing, or more than one asset, has that name.
    pub fn find(&self, text: &str) -> Result<&AssetId, Failure> {
        let hits: Vec<&AssetId> =
            self.nodes.keys().filter(|id| id.as_str() == text || id.stem() == text).collect();
        match hits[..] {
            [only] => Ok(only),
            [] => Err(self.unknown_selector(text).into()),
            _ => {
                let names: Vec<&str> = hits.iter().map(|id| id.as_str()).collect();
                let message = format!("it could mean {}", names.join(" or "));
                Err(GraphError::BadSelector { selector: text.to_owned(), message }.into())
            }
        }
    }
}
