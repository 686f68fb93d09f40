//! On which threads does async work run, and who waits for it? [`Workers`] is a runtime that may be
//! called from any thread, also from one of another runtime, where blocking on a future would panic.

use std::{future::Future, sync::mpsc, time::Duration};

use sextant_core::Cancel;
use tokio::{
    runtime::{Handle, Runtime},
    task::JoinHandle,
};

use crate::error::{DataError, Result};

/// Planning recurses deeply, more so in builds without optimisation.
const THREAD_STACK_BYTES: usize = 8 << 20;
/// How often a waiting caller looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// How long the end waits for work that does not yield.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);

/// Threads for one kind of work.
#[derive(Debug)]
pub(crate) struct Workers {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Workers {
    /// So many threads of this name.
    pub(crate) fn new(name: &str, threads: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name(name)
            .thread_stack_size(THREAD_STACK_BYTES)
            .enable_all()
            .build()
            .map_err(DataError::engine)?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs the work and waits for it. After a cancel it is stopped where it next yields.
    pub(crate) fn block<T: Send + 'static>(
        &self,
        cancel: Option<&Cancel>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.start(work)?.wait(cancel)
    }

    /// Begins the work and does not wait for it.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<Started<T>> {
        let runtime = self.runtime.as_ref().ok_or_else(|| DataError::engine("it is stopping"))?;
        let (sender, outcome) = mpsc::sync_channel(1);
        let task = runtime.spawn(async move {
            // The caller may have gone away after a cancel; nobody misses the answer then.
            sender.send(work.await).ok();
        });
        Ok(Started { task, outcome })
    }
}

/// Work that has begun. Whoever drops it stops it where it next yields.
#[derive(Debug)]
pub struct Started<T> {
    task: JoinHandle<()>,
    outcome: mpsc::Receiver<Result<T>>,
}

impl<T> Started<T> {
    /// Waits for what came of it.
    ///
    /// # Errors
    /// Those of the work, and when it is cancelled.
    pub fn wait(self, cancel: Option<&Cancel>) -> Result<T> {
        loop {
            match self.outcome.recv_timeout(CANCEL_POLL) {
                Ok(outcome) => return outcome,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(DataError::engine("a worker thread panicked"));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if cancel.is_some_and(Cancel::is_cancelled) {
                        return Err(DataError::Cancelled);
                    }
                }
            }
        }
    }
}

impl<T> Drop for Started<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        // Waiting for its threads panics inside another runtime. Elsewhere they are waited for:
        // letting go of a thread that is just ending has crashed in the C library.
        if Handle::try_current().is_ok() {
            runtime.shutdown_background();
        } else {
            runtime.shutdown_timeout(SHUTDOWN_MAX);
        }
    }
}
