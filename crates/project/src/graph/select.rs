//! Which assets does a selector mean? The words of dbt: `name`, `folder/name`, `+x`, `x+`, `2+x`,
//! `x+1`, `tag:word`, `path:glob`; a comma joins conditions that must all hold, several selectors
//! add up.

use std::collections::{BTreeSet, VecDeque};

use globset::GlobBuilder;
use sextant_core::Failure;

use super::Graph;
use crate::{AssetId, GraphError, nearest};

/// What selectors mean in one graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Everything selected.
    pub all: BTreeSet<AssetId>,
    /// The part that the user named, without what `+` added. Empty when nothing was named and so
    /// everything is selected.
    pub named: BTreeSet<AssetId>,
}

/// One condition: a method, and how far it reaches up and down the graph.
struct Condition<'a> {
    up: Option<usize>,
    core: &'a str,
    down: Option<usize>,
}

impl Graph {
    /// The assets that the selectors mean, without the excluded ones; all assets when there is no
    /// selector.
    ///
    /// # Errors
    /// When a selector cannot be read or matches nothing.
    pub fn select(&self, select: &[String], exclude: &[String]) -> Result<Selection, Failure> {
        let mut selection = Selection::default();
        if select.is_empty() {
            selection.all = self.nodes.keys().cloned().collect();
        }
        for selector in select {
            let (all, named) = self.matches(selector)?;
            selection.all.extend(all);
            selection.named.extend(named);
        }
        for selector in exclude {
            let (all, _) = self.matches(selector)?;
            selection.all.retain(|id| !all.contains(id));
        }
        selection.named.retain(|id| selection.all.contains(id));
        Ok(selection)
    }

    fn matches(&self, selector: &str) -> Result<(BTreeSet<AssetId>, BTreeSet<AssetId>), Failure> {
        let mut sets: Option<(BTreeSet<AssetId>, BTreeSet<AssetId>)> = None;
        for part in selector.split(',') {
            let condition = Condition::read(selector, part.trim())?;
            let named = self.named_by(selector, condition.core)?;
            let mut all = named.clone();
            for (depth, up) in [(condition.up, true), (condition.down, false)] {
                if let Some(depth) = depth {
                    all.extend(self.reach(&named, depth, up));
                }
            }
            sets = Some(match sets {
                None => (all, named),
                Some((before, named_before)) => (&before & &all, &named_before & &named),
            });
        }
        match sets {
            Some((all, named)) if !all.is_empty() => Ok((all, named)),
            _ => {
                Err(GraphError::UnknownSelector { selector: selector.to_owned(), near: None }
                    .into())
            }
        }
    }

    fn named_by(&self, selector: &str, core: &str) -> Result<BTreeSet<AssetId>, Failure> {
        let hits: BTreeSet<AssetId> = if let Some(tag) = core.strip_prefix("tag:") {
            let has = |id: &&AssetId| self.nodes[*id].asset.about().tags.iter().any(|t| t == tag);
            self.nodes.keys().filter(has).cloned().collect()
        } else if let Some(pattern) = core.strip_prefix("path:") {
            self.at_path(selector, pattern)?
        } else {
            let is = |id: &&AssetId| id.as_str() == core || id.stem() == core;
            self.nodes.keys().filter(is).cloned().collect()
        };
        if hits.is_empty() { Err(self.unknown_selector(core).into()) } else { Ok(hits) }
    }

    fn at_path(&self, selector: &str, pattern: &str) -> Result<BTreeSet<AssetId>, Failure> {
        let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
        let bad = |error: globset::Error| bad_selector(selector, error.kind().to_string());
        let build = |glob: &str| {
            let glob = GlobBuilder::new(glob).literal_separator(true).build();
            glob.map(|glob| glob.compile_matcher()).map_err(bad)
        };
        let (exact, below) = (build(pattern)?, build(&format!("{pattern}/**"))?);
        let fits = |file: &std::path::Path| exact.is_match(file) || below.is_match(file);
        let nodes = self.nodes.iter().filter(|(_, node)| fits(node.asset.file()));
        Ok(nodes.map(|(id, _)| id.clone()).collect())
    }

    /// Everything within `depth` steps up (what they need) or down (what needs them).
    fn reach(&self, from: &BTreeSet<AssetId>, depth: usize, up: bool) -> BTreeSet<AssetId> {
        let mut seen = from.clone();
        let mut queue: VecDeque<(&AssetId, usize)> = from.iter().map(|id| (id, 0)).collect();
        while let Some((id, steps)) = queue.pop_front() {
            if steps >= depth {
                continue;
            }
            let Some(node) = self.nodes.get(id) else { continue };
            for next in if up { &node.inputs } else { &node.consumers } {
                if seen.insert(next.clone()) {
                    queue.push_back((next, steps + 1));
                }
            }
        }
        // What builds on a table is held back by its checks, so they come along.
        if up {
            let inputs = seen.iter().filter_map(|id| self.nodes.get(id));
            let guards: Vec<AssetId> = inputs
                .flat_map(|node| node.guards.iter())
                .filter(|guard| self.nodes[*guard].inputs.iter().all(|input| seen.contains(input)))
                .cloned()
                .collect();
            seen.extend(guards);
        }
        seen
    }

    /// The error for a word that matches nothing, with the nearest word that would.
    pub(super) fn unknown_selector(&self, word: &str) -> GraphError {
        let tags = self.nodes.values().flat_map(|node| &node.asset.about().tags);
        let near = match word.strip_prefix("tag:") {
            Some(tag) => nearest(tag, tags.map(String::as_str)).map(|tag| format!("tag:{tag}")),
            None if word.starts_with("path:") => None,
            None if word.contains('/') => nearest(word, self.nodes.keys().map(AssetId::as_str)),
            None => nearest(word, self.nodes.keys().map(AssetId::stem)),
        };
        GraphError::UnknownSelector { selector: word.to_owned(), near }
    }
}

impl<'a> Condition<'a> {
    fn read(selector: &str, text: &'a str) -> Result<Self, Failure> {
        let bad = |message: &str| bad_selector(selector, message.to_owned());
        let depth = |digits: &str| -> Result<Option<usize>, Failure> {
            match digits {
                "" => Ok(Some(usize::MAX)),
                _ => digits.parse().map(Some).map_err(|_| bad("the number of steps is too large")),
            }
        };
        let is_number = |part: &str| part.chars().all(|c| c.is_ascii_digit());
        let (up, rest) = match text.split_once('+') {
            Some((digits, rest)) if is_number(digits) => (depth(digits)?, rest),
            _ => (None, text),
        };
        let (core, down) = match rest.rsplit_once('+') {
            Some((core, digits)) if is_number(digits) => (core, depth(digits)?),
            _ => (rest, None),
        };
        if core.is_empty() || core.contains('+') {
            return Err(bad("expected a name between the signs"));
        }
        Ok(Self { up, core, down })
    }
}

fn bad_selector(selector: &str, message: String) -> Failure {
    GraphError::BadSelector { selector: selector.to_owned(), message }.into()
}
