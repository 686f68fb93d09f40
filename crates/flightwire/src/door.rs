//! What do all connections share? The engine, the keys, the prepared statements, and the seats that
//! bound how many queries run at once.

use std::sync::Arc;

use sextant_core::{Cancel, Gatekeeper};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::Status;

use crate::{
    error::FlightError,
    port::{Fault, FlightEngine},
    run::{Guard, panicked},
    statements::Statements,
};

pub(crate) struct Door {
    pub engine: Arc<dyn FlightEngine>,
    pub gate: Arc<dyn Gatekeeper>,
    pub statements: Statements,
    pub seats: Arc<Semaphore>,
    pub stopping: watch::Receiver<bool>,
}

impl Door {
    /// The right to run one query.
    pub fn seat(&self) -> Result<OwnedSemaphorePermit, FlightError> {
        Arc::clone(&self.seats).try_acquire_owned().map_err(|_| FlightError::Crowded)
    }

    /// Asks the engine something small, on a thread where it may block.
    pub async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn FlightEngine, &Cancel) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Status> {
        let seat = self.seat()?;
        let guard = Guard::new();
        let (engine, cancel) = (Arc::clone(&self.engine), guard.cancel.clone());
        let task = tokio::task::spawn_blocking(move || {
            let _seat = seat;
            work(&*engine, &cancel)
        });
        let done = guard.watched(&mut self.stopping.clone(), task).await?;
        Ok(done.map_err(|_| panicked())??)
    }
}
