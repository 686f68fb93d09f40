//! Who may run now? So many at once, so many in the queue, and everyone else is told when to come
//! back. Memory stays flat under any load.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::ServeError;

/// The longest time that a caller is told to stay away.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How much runs and waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionOptions {
    /// How many run at once.
    pub concurrent: usize,
    /// How many wait.
    pub waiting: usize,
    /// How long one waits before it is turned away.
    pub wait: Duration,
}

impl Default for AdmissionOptions {
    fn default() -> Self {
        Self { concurrent: 16, waiting: 64, wait: Duration::from_secs(10) }
    }
}

/// What runs and waits now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Requests that run.
    pub running: usize,
    /// Requests that wait.
    pub waiting: usize,
}

/// The door. Clones share it.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: AdmissionOptions,
    slots: Arc<Semaphore>,
    running: AtomicUsize,
    waiting: AtomicUsize,
    draining: AtomicBool,
    idle: Notify,
    /// A moving mean of how long a request runs.
    typical: Mutex<Duration>,
}

/// A place among those that run; given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    inner: Arc<Inner>,
    since: Instant,
    _slot: OwnedSemaphorePermit,
}

/// Counts one that waits for as long as it lives, however the wait ends.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Admission {
    /// A door with these bounds.
    pub fn new(options: AdmissionOptions) -> Self {
        Self(Arc::new(Inner {
            options,
            slots: Arc::new(Semaphore::new(options.concurrent.max(1))),
            running: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            idle: Notify::new(),
            typical: Mutex::new(Duration::from_secs(1)),
        }))
    }

    /// Lets the caller in, after a wait when all places are taken. Dropping the future leaves the
    /// queue.
    ///
    /// # Errors
    /// When the queue is full, the wait was too long, or the server drains.
    pub async fn admit(&self) -> Result<Permit, ServeError> {
        let inner = &self.0;
        if inner.draining.load(Ordering::SeqCst) {
            return Err(ServeError::Draining);
        }
        if let Ok(slot) = Arc::clone(&inner.slots).try_acquire_owned() {
            return Ok(self.permit(slot));
        }
        let before = inner.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&inner.waiting);
        if before >= inner.options.waiting {
            return Err(self.overloaded());
        }
        let slot = Arc::clone(&inner.slots).acquire_owned();
        match tokio::time::timeout(inner.options.wait, slot).await {
            Ok(Ok(slot)) => Ok(self.permit(slot)),
            Ok(Err(_closed)) => Err(ServeError::Draining),
            Err(_elapsed) => Err(self.overloaded()),
        }
    }

    /// What runs and waits now.
    pub fn load(&self) -> Load {
        Load {
            running: self.0.running.load(Ordering::SeqCst),
            waiting: self.0.waiting.load(Ordering::SeqCst),
        }
    }

    /// Takes nothing new from now on; those that wait are turned away.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
        self.0.slots.close();
    }

    /// Whether the door is closed.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }

    /// Waits until nothing runs, at most so long, and says how many still run.
    pub async fn drained(&self, at_most: Duration) -> usize {
        let idle = async {
            loop {
                let notified = self.0.idle.notified();
                if self.load().running == 0 {
                    return;
                }
                notified.await;
            }
        };
        // Either way the count below is the answer.
        let _ = tokio::time::timeout(at_most, idle).await;
        self.load().running
    }

    fn permit(&self, slot: OwnedSemaphorePermit) -> Permit {
        self.0.running.fetch_add(1, Ordering::SeqCst);
        Permit { inner: Arc::clone(&self.0), since: Instant::now(), _slot: slot }
    }

    fn overloaded(&self) -> ServeError {
        let Load { running, waiting } = self.load();
        let typical = *self.0.typical.lock().unwrap_or_else(PoisonError::into_inner);
        let rounds = (running + waiting).div_ceil(self.0.options.concurrent.max(1));
        let retry_after = typical
            .saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
            .clamp(Duration::from_secs(1), RETRY_AFTER_MAX);
        ServeError::Overloaded { running, waiting, retry_after }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut typical = self.inner.typical.lock().unwrap_or_else(PoisonError::into_inner);
        *typical = (*typical * 7 + self.since.elapsed()) / 8;
        drop(typical);
        if self.inner.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.inner.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn door(concurrent: usize, waiting: usize) -> Admission {
        Admission::new(AdmissionOptions { concurrent, waiting, wait: Duration::from_millis(80) })
    }

    #[tokio::test]
    async fn the_rest_is_turned_away_with_a_time() {
        let door = door(1, 1);
        let first = door.admit().await.unwrap();
        let other = door.clone();
        let second = tokio::spawn(async move { other.admit().await.map(drop) });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(door.load(), Load { running: 1, waiting: 1 });
        let Err(error) = door.admit().await else { panic!("let in") };
        assert!(error.retry_after().is_some_and(|after| after >= Duration::from_secs(1)));
        drop(first);
        second.await.unwrap().unwrap();
        assert_eq!(door.load(), Load { running: 0, waiting: 0 });
    }

    #[tokio::test]
    async fn a_long_wait_ends_and_a_dropped_wait_leaves_the_queue() {
        let door = door(1, 8);
        let _first = door.admit().await.unwrap();
        assert!(matches!(door.admit().await, Err(ServeError::Overloaded { .. })));
        let gone = tokio::time::timeout(Duration::from_millis(5), door.admit()).await;
        assert!(gone.is_err());
        assert_eq!(door.load().waiting, 0);
    }

    #[tokio::test]
    async fn draining_finishes_what_runs_and_takes_nothing_new() {
        let door = door(2, 8);
        let first = door.admit().await.unwrap();
        door.drain();
        assert!(matches!(door.admit().await, Err(ServeError::Draining)));
        assert_eq!(door.drained(Duration::from_millis(10)).await, 1);
        let other = door.clone();
        let waits = tokio::spawn(async move { other.drained(Duration::from_secs(5)).await });
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(first);
        assert_eq!(waits.await.unwrap(), 0);
    }
}
