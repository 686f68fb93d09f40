//! How is a selection of assets brought up to date? In dependency order on a bounded pool of
//! threads, each asset in its own act: what finished before a crash is kept, and a later build goes
//! on from there.
//!
//! The failure of one asset skips what depends on it; the rest goes on. A failing check holds back
//! what reads the asset it guards. One build at a time runs on a data folder.

mod log;
mod report;
mod run;
mod schedule;
mod watch;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use sextant_core::{Cancel, Events, Failure};
use sextant_lineage::Store;

pub use self::report::{AssetReport, BuildReport, Outcome};
use self::{run::Runner, schedule::Schedule, watch::Watch};
use crate::{Project, ProjectError, State, config::BuildSettings};

/// What to build and how.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// Selectors; all assets when empty.
    pub select: Vec<String>,
    /// Selectors of what to leave out.
    pub exclude: Vec<String>,
    /// Makes the named assets again even when they are up to date; all of them when none is named.
    pub full: bool,
    /// Jobs, retries, timeouts.
    pub settings: BuildSettings,
}

/// Brings the selected assets up to date.
///
/// # Errors
/// When a selector matches nothing, another build runs on the same data folder, or the catalog
/// cannot be read. The failure of an asset is not an error of the build: it is in the report.
pub fn build(
    project: &Project,
    store: &Store,
    options: &BuildOptions,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<BuildReport, Failure> {
    let began = Instant::now();
    let selection = project.graph.select(&options.select, &options.exclude)?;
    let _turn = BuildTurn::take(store)?;
    let state = State::load(store)?;
    let forced = match (options.full, selection.named.is_empty()) {
        (false, _) => BTreeSet::new(),
        (true, true) => selection.all.clone(),
        (true, false) => selection.named.clone(),
    };
    let watch = Watch::new(cancel.clone());
    let schedule = Schedule::new(&project.graph, &selection.all, state);
    let runner = Runner {
        project,
        store,
        settings: &options.settings,
        forced,
        named: selection.named,
        events,
        watch: &watch,
        schedule: &schedule,
    };
    let jobs = options.settings.jobs.clamp(1, selection.all.len().max(1));
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch.run());
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(|| runner.work())).collect();
        for worker in workers {
            // A worker never panics by itself: builds are caught inside. If one does, its assets
            // are reported as not run.
            let _ = worker.join();
        }
        watch.stop();
        let _ = watcher.join();
    });
    Ok(BuildReport::new(schedule.into_reports(&project.graph), began.elapsed()))
}

/// The right to build on a data folder, given back when dropped. Other processes are kept out by
/// the lock of the data folder itself.
#[derive(Debug)]
pub struct BuildTurn(PathBuf);

static RUNNING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

impl BuildTurn {
    /// Takes the turn; it ends when the value is dropped.
    ///
    /// # Errors
    /// `SXT-2021` when a build is under way.
    pub fn take(store: &Store) -> Result<Self, ProjectError> {
        let dir = store.dir().to_owned();
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if running.insert(dir.clone()) {
            return Ok(Self(dir));
        }
        Err(ProjectError::Busy { holder: format!("process {}", std::process::id()) })
    }
}

impl Drop for BuildTurn {
    fn drop(&mut self) {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}
