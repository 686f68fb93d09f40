//! Which asset may run now? Those whose inputs, and the checks of those inputs, are settled.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use super::report::{AssetReport, Outcome};
use crate::{AssetId, Graph, State, state::VersionRow};

/// The turns of a build, shared by its workers.
pub(super) struct Schedule {
    inner: Mutex<Inner>,
    changed: Condvar,
}

/// What the workers share.
struct Inner {
    /// How many selected assets each selected asset still waits for.
    waiting: BTreeMap<AssetId, usize>,
    /// Who waits for an asset.
    later: BTreeMap<AssetId, Vec<AssetId>>,
    /// Assets that may run, by their place in the graph's order.
    ready: BTreeSet<(usize, AssetId)>,
    place: BTreeMap<AssetId, usize>,
    running: usize,
    state: State,
    reports: BTreeMap<AssetId, AssetReport>,
}

impl Schedule {
    pub(super) fn new(graph: &Graph, selected: &BTreeSet<AssetId>, state: State) -> Self {
        let mut inner = Inner {
            waiting: BTreeMap::new(),
            later: BTreeMap::new(),
            ready: BTreeSet::new(),
            place: BTreeMap::new(),
            running: 0,
            state,
            reports: BTreeMap::new(),
        };
        for (place, id) in graph.order().iter().enumerate() {
            let Some(node) = graph.get(id).filter(|_| selected.contains(id)) else { continue };
            let before: Vec<_> = node.after.iter().filter(|id| selected.contains(*id)).collect();
            inner.place.insert(id.clone(), place);
            if before.is_empty() {
                inner.ready.insert((place, id.clone()));
            }
            inner.waiting.insert(id.clone(), before.len());
            for earlier in before {
                inner.later.entry(earlier.clone()).or_default().push(id.clone());
            }
        }
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next asset; `None` when there is no more.
    pub(super) fn next(&self) -> Option<AssetId> {
        let mut inner = self.lock();
        loop {
            if let Some((_, id)) = inner.ready.pop_first() {
                inner.running += 1;
                return Some(id);
            }
            if inner.running == 0 {
                self.changed.notify_all();
                return None;
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Settles an asset, with its new version when it has one, and frees those that wait for it.
    pub(super) fn settle(&self, report: AssetReport, version: Option<VersionRow>) {
        let mut inner = self.lock();
        let id = report.asset.clone();
        if let Some(row) = version {
            inner.state.failures.remove(&id);
            inner.state.latest.insert(id.clone(), row);
        }
        inner.reports.insert(id.clone(), report);
        inner.running -= 1;
        for later in inner.later.remove(&id).unwrap_or_default() {
            let left = inner.waiting.get_mut(&later).map(|left| {
                *left -= 1;
                *left
            });
            if left == Some(0) {
                let place = inner.place.get(&later).copied().unwrap_or_default();
                inner.ready.insert((place, later));
            }
        }
        self.changed.notify_all();
    }

    /// How an asset's turn ended, when it has had one.
    pub(super) fn outcome(&self, id: &AssetId) -> Option<Outcome> {
        self.lock().reports.get(id).map(|report| report.outcome)
    }

    /// Looks at the state as it is now.
    pub(super) fn with_state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock().state)
    }

    /// The reports, in the graph's order.
    pub(super) fn into_reports(self, graph: &Graph) -> Vec<AssetReport> {
        let mut inner = self.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        graph.order().iter().filter_map(|id| inner.reports.remove(id)).collect()
    }
}
