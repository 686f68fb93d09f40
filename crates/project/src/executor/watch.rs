//! Who stops a build that takes too long, or that the user cancelled? One thread that looks at all
//! running builds, several times a second.

use std::{
    collections::BTreeMap,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sextant_core::Cancel;

use crate::AssetId;

/// How often running builds are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The running builds with their deadlines.
pub(super) struct Watch {
    /// Raised by the user.
    cancel: Cancel,
    running: Mutex<BTreeMap<AssetId, Running>>,
    over: Mutex<bool>,
    stop: Condvar,
}

struct Running {
    cancel: Cancel,
    deadline: Instant,
    late: std::sync::Arc<AtomicBool>,
}

/// One asset under watch; leaves the watch when dropped.
pub(super) struct Watched<'a> {
    watch: &'a Watch,
    asset: AssetId,
    /// Given to the build.
    pub(super) cancel: Cancel,
    late: std::sync::Arc<AtomicBool>,
}

impl Watch {
    pub(super) fn new(cancel: Cancel) -> Self {
        Self { cancel, running: Mutex::default(), over: Mutex::new(false), stop: Condvar::new() }
    }

    /// Whether the user cancelled the whole build.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Watches one try to build an asset.
    pub(super) fn start(&self, asset: &AssetId, timeout: Duration) -> Watched<'_> {
        let cancel = Cancel::new();
        let late = std::sync::Arc::new(AtomicBool::new(false));
        let deadline = Instant::now() + timeout;
        let entry = Running { cancel: cancel.clone(), deadline, late: late.clone() };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(asset.clone(), entry);
        Watched { watch: self, asset: asset.clone(), cancel, late }
    }

    /// Looks until [`Watch::stop`].
    pub(super) fn run(&self) {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        while !*over {
            self.look();
            let waited = self.stop.wait_timeout(over, LOOK_EVERY);
            over = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the watch.
    pub(super) fn stop(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.notify_all();
    }

    /// Sleeps before a retry; wakes early when the build is cancelled.
    pub(super) fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_cancelled() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }

    fn look(&self) {
        let now = Instant::now();
        let cancelled = self.is_cancelled();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in running.values() {
            if now >= entry.deadline {
                entry.late.store(true, Ordering::SeqCst);
                entry.cancel.cancel();
            } else if cancelled {
                entry.cancel.cancel();
            }
        }
    }
}

impl Watched<'_> {
    /// Whether the deadline passed.
    pub(super) fn is_late(&self) -> bool {
        self.late.load(Ordering::SeqCst)
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let mut running = self.watch.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.asset);
    }
}
