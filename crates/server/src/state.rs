//! What do all requests share? The backend, the keys, the slots that bound what runs at once, and
//! the counters.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use sextant_core::{Clock, SystemClock, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{
    config::AuthMode, error::ServerError, keys::KeyRing, limits, port::Backend, sessions::Sessions,
};

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Taking requests.
    Serving,
    /// Taking none, finishing those in progress.
    Draining,
    /// Streams end now with an error.
    Ending,
}

/// What all requests share.
pub(crate) struct Shared {
    pub backend: Arc<dyn Backend>,
    pub auth: AuthMode,
    /// Lower-case host names (without port) by which we may be called.
    pub hosts: Vec<String>,
    pub keys: KeyRing,
    pub sessions: Sessions,
    pub slots: Slots,
    pub counters: Counters,
    pub phase: watch::Receiver<Phase>,
    pub started: Instant,
}

impl Shared {
    pub fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

/// What the server counts of itself.
#[derive(Default)]
pub(crate) struct Counters {
    /// Replies by hundreds of their status: `[1xx, 2xx, 3xx, 4xx, 5xx]`.
    pub replies: [AtomicU64; 5],
    /// Requests told 429 or 503 for want of a slot.
    pub shed: AtomicU64,
    /// Handlers that panicked.
    pub panics: AtomicU64,
}

impl Counters {
    pub fn count_reply(&self, status: u16) {
        let hundreds = usize::from(status / 100).saturating_sub(1);
        if let Some(counter) = self.replies.get(hundreds) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Bounds what runs at once, in all and per caller.
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    per_caller: Arc<Mutex<HashMap<String, usize>>>,
}

impl Default for Slots {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(limits::REQUESTS_MAX)), per_caller: Arc::default() }
    }
}

impl Slots {
    /// Takes a slot or says whose bound is reached. It is given back when the last clone of the
    /// slot is dropped: a stream holds one until it ends.
    pub fn take(&self, caller: &str) -> Result<Arc<Slot>, ServerError> {
        let permit = Arc::clone(&self.all)
            .try_acquire_owned()
            .map_err(|_| ServerError::Overloaded { whose: "in all" })?;
        let mut callers = self.per_caller.lock().unwrap_or_else(PoisonError::into_inner);
        let held = callers.entry(caller.to_owned()).or_default();
        if *held >= limits::REQUESTS_PER_CALLER_MAX {
            return Err(ServerError::Overloaded { whose: "of this key" });
        }
        *held += 1;
        drop(callers);
        Ok(Arc::new(Slot {
            _permit: permit,
            caller: caller.to_owned(),
            per_caller: Arc::clone(&self.per_caller),
        }))
    }

    /// How many requests are in progress.
    pub fn in_progress(&self) -> usize {
        limits::REQUESTS_MAX - self.all.available_permits()
    }
}

/// The right to run one request.
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
    caller: String,
    per_caller: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut callers = self.per_caller.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = callers.get_mut(&self.caller) {
            *held -= 1;
            if *held == 0 {
                callers.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_caller_cannot_take_every_slot() {
        let slots = Slots::default();
        let held: Vec<_> =
            (0..limits::REQUESTS_PER_CALLER_MAX).map(|_| slots.take("a").unwrap()).collect();
        assert!(matches!(slots.take("a"), Err(ServerError::Overloaded { whose: "of this key" })));
        let others: Vec<_> = (0..limits::REQUESTS_MAX - held.len())
            .map(|caller| slots.take(&caller.to_string()).unwrap())
            .collect();
        assert!(matches!(slots.take("z"), Err(ServerError::Overloaded { whose: "in all" })));
        drop((held, others));
        assert_eq!(slots.in_progress(), 0);
        assert!(slots.take("a").is_ok());
    }
}
