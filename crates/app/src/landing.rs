//! What lands while a server runs? Records that were pushed, whenever enough of them wait or one has
//! waited long enough, and topics of Kafka and changes of PostgreSQL every few seconds, each on a thread
//! of its own: one whose brokers or database do not answer keeps nobody else waiting.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread::{Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use serde::Serialize;
use sextant_core::{Cancel, Digest, Events, ExitKind, Failure, Silent, Timestamp};
use sextant_ingest::{Follower, Source};
use sextant_project::{AssetId, BuildOptions};

use crate::{App, arrivals::Stamp};

/// How often the server looks whether something is to be landed.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long it leaves a source alone that could not be landed or recorded.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The first and the longest pause after a source could not be landed; it doubles in between.
const BACK_OFF: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// Most topics and tables that one server follows.
const FOLLOWERS_MAX: usize = 64;

/// A thread that follows one topic or table.
struct Worker<'scope> {
    stamp: Option<Stamp>,
    cancel: Cancel,
    thread: ScopedJoinHandle<'scope, ()>,
}

/// What came of recording what had landed.
pub(crate) enum Recorded {
    /// It has this version now.
    As(Option<Digest>),
    /// Another build is running: it is recorded after that.
    Later,
    /// Its build failed.
    Failed {
        /// `SXT-nnnn`.
        code: String,
        /// What went wrong.
        message: String,
    },
}

/// The last time that a source could not be landed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Trouble {
    code: String,
    message: String,
    at: String,
    /// Whether it has landed since.
    pub(crate) over: bool,
}

impl Trouble {
    fn of(failure: &Failure, at: Timestamp) -> Self {
        Self::new(failure.code().to_string(), failure.chain(), at)
    }

    fn new(code: String, message: String, at: Timestamp) -> Self {
        Self { code, message, at: at.to_string(), over: false }
    }
}

impl App {
    /// Lands what arrives, until `cancel` is raised.
    pub fn land_as_it_comes(&self, events: &dyn Events, cancel: &Cancel) {
        std::thread::scope(|scope| {
            let mut workers = BTreeMap::new();
            let mut pushes = Pushes::default();
            let mut broken = None;
            while !cancel.is_cancelled() {
                std::thread::sleep(LOOK_EVERY);
                if let Err(failure) = self.look_again() {
                    let text = failure.to_string();
                    // A project file that is being edited is told once, not five times a second.
                    if broken.replace(text.clone()) != Some(text.clone()) {
                        events.warn(format!("sources cannot be read: {text}"));
                    }
                    continue;
                }
                broken = None;
                self.follow_sources(scope, &mut workers, events);
                self.land_pushes(&mut pushes, events, cancel);
            }
            for worker in workers.values() {
                worker.cancel.cancel();
            }
        });
    }

    /// Starts a thread for every topic or table that has none, and stops those whose file is another now.
    fn follow_sources<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        workers: &mut BTreeMap<String, Worker<'scope>>,
        events: &'scope dyn Events,
    ) {
        let sources = self.arrivals.stamped();
        for (name, worker) in workers.extract_if(.., |_, worker| worker.thread.is_finished()) {
            // It only ends when it was told to, or by a defect; then another one takes its place.
            if worker.thread.join().is_err() {
                events.warn(format!("sources/{name}: landing hit a defect and begins again"));
            }
        }
        workers.retain(|name, worker| {
            let same = sources.get(name).is_some_and(|(stamp, _)| *stamp == worker.stamp);
            if !same {
                worker.cancel.cancel();
            }
            same
        });
        for (name, (stamp, source)) in sources {
            if workers.contains_key(&name) || workers.len() >= FOLLOWERS_MAX {
                continue;
            }
            let Some(follower) = source.follower() else { continue };
            let (cancel, own) = (Cancel::new(), name.clone());
            let stop = cancel.clone();
            let spawned = std::thread::Builder::new()
                .name("follow".to_owned())
                .spawn_scoped(scope, move || self.follow(&own, &source, follower, events, &stop));
            // Without a thread it is tried again at the next look.
            if let Ok(thread) = spawned {
                workers.insert(name, Worker { stamp, cancel, thread });
            }
        }
    }

    /// Lands one of them again and again.
    fn follow(
        &self,
        name: &str,
        source: &Source,
        mut follower: Follower,
        events: &dyn Events,
        cancel: &Cancel,
    ) {
        let (mut pause, mut told) = (BACK_OFF, String::new());
        // What landed before this process began may not be recorded.
        let mut unrecorded = true;
        while !cancel.is_cancelled() {
            match self.follow_once(source, &mut follower, &mut unrecorded, cancel) {
                Ok(()) => {
                    self.arrivals.well(name);
                    told.clear();
                    pause = BACK_OFF;
                    wait(follower.pause(), cancel);
                }
                Err(_) if cancel.is_cancelled() => return,
                Err(trouble) => {
                    let text = format!("{}: {}", source.asset(), trouble.message);
                    if told != text {
                        events.warn(text.clone());
                    }
                    told = text;
                    self.arrivals.troubled(name, trouble);
                    wait(pause, cancel);
                    pause = (pause * 2).min(BACK_OFF_MAX);
                }
            }
        }
    }

    fn follow_once(
        &self,
        source: &Source,
        follower: &mut Follower,
        unrecorded: &mut bool,
        cancel: &Cancel,
    ) -> Result<(), Trouble> {
        let now = || self.store.now();
        let landed = follower.land(cancel).map_err(|error| Trouble::of(&error.into(), now()))?;
        *unrecorded |= landed > 0;
        if *unrecorded {
            let recorded = self.record(source.asset(), &Silent, cancel);
            match recorded.map_err(|failure| Trouble::of(&failure, now()))? {
                Recorded::As(_) => *unrecorded = false,
                Recorded::Later => {}
                Recorded::Failed { code, message } => {
                    return Err(Trouble::new(code, message, now()));
                }
            }
        }
        Ok(())
    }

    /// Lands what was pushed to the sources for which it is time.
    fn land_pushes(&self, pushes: &mut Pushes, events: &dyn Events, cancel: &Cancel) {
        for (name, (_, source)) in self.arrivals.stamped() {
            if source.push().is_none() {
                continue;
            }
            let wait = pushes.later.get(&name).is_some_and(|until| Instant::now() < *until);
            if wait || cancel.is_cancelled() {
                continue;
            }
            match self.land_pushed(&name, &source, pushes, cancel) {
                Ok(None) => self.arrivals.well(&name),
                Ok(Some(trouble)) => {
                    // It is tried again every few seconds, and told when it is another one.
                    let told = pushes.told.insert(name.clone(), trouble.message.clone());
                    if told.as_ref() != Some(&trouble.message) {
                        events.warn(format!("{}: {}", source.asset(), trouble.message));
                    }
                    self.arrivals.troubled(&name, trouble);
                }
                Err(failure) => {
                    pushes.later.insert(name.clone(), Instant::now() + TRY_AGAIN_AFTER);
                    if !cancel.is_cancelled() {
                        events.warn(format!("{}: {failure}", source.asset()));
                        self.arrivals.troubled(&name, Trouble::of(&failure, self.store.now()));
                    }
                }
            }
        }
    }

    /// Lands what was pushed to one source when it is due, and records it.
    fn land_pushed(
        &self,
        name: &str,
        source: &Source,
        pushes: &mut Pushes,
        cancel: &Cancel,
    ) -> Result<Option<Trouble>, Failure> {
        let Some(config) = source.push() else { return Ok(None) };

        let waiting = source.waiting()?;
        // What landed before the last end may not be recorded.
        if pushes.seen.insert(name.to_owned()) && waiting.landed + waiting.quarantined > 0 {
            pushes.unrecorded.insert(name.to_owned());
        }
        let late = waiting.oldest_us >= config.flush_seconds.saturating_mul(1_000_000);
        if waiting.records > 0 && (late || waiting.records >= config.flush_rows) {
            source.land(cancel)?;
            pushes.unrecorded.insert(name.to_owned());
        }
        if pushes.unrecorded.contains(name) {
            match self.record(source.asset(), &Silent, cancel)? {
                Recorded::Later => {
                    pushes.later.insert(name.to_owned(), Instant::now() + TRY_AGAIN_AFTER);
                }
                Recorded::As(_) => drop(pushes.unrecorded.remove(name)),
                Recorded::Failed { code, message } => {
                    pushes.later.insert(name.to_owned(), Instant::now() + TRY_AGAIN_AFTER);
                    return Ok(Some(Trouble::new(code, message, self.store.now())));
                }
            }
        }
        Ok(None)
    }

    /// Builds one source alone, so that what its tables have is recorded.
    pub(crate) fn record(
        &self,
        id: &AssetId,
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<Recorded, Failure> {
        let project = self.project()?;
        let settings = project.config.build.clone();
        let select = vec![id.to_string()];
        let options = BuildOptions { select, exclude: Vec::new(), full: true, settings };
        match sextant_project::build(&project, &self.store, &options, events, cancel) {
            Ok(report) => {
                let Some(asset) = report.assets.into_iter().next() else {
                    return Ok(Recorded::As(None));
                };
                Ok(match asset.error {
                    None => Recorded::As(asset.version),
                    Some(error) => Recorded::Failed { code: error.code, message: error.message },
                })
            }
            Err(failure) if failure.code().kind == ExitKind::Conflict => Ok(Recorded::Later),
            Err(failure) => Err(failure),
        }
    }
}

/// Waits, but not once somebody asked to stop.
fn wait(pause: Duration, cancel: &Cancel) {
    let until = Instant::now() + pause;
    while !cancel.is_cancelled() && Instant::now() < until {
        std::thread::sleep(LOOK_EVERY.min(pause));
    }
}

/// What is known of the sources that are pushed to between two looks.
#[derive(Default)]
struct Pushes {
    /// Until when each is left alone.
    later: BTreeMap<String, Instant>,
    /// Those of which something has landed that no act has recorded.
    unrecorded: BTreeSet<String>,
    /// Those that were looked at since the start.
    seen: BTreeSet<String>,
    /// What was last told of each that could not be recorded.
    told: BTreeMap<String, String>,
}
