//! How does a query run while its client is watched? The engine works on a thread of its own and
//! hands batches over a short queue. A client that leaves drops the stream, and with it the query; a
//! deadline and the server's end stop it too, also when nobody reads.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use arrow::datatypes::SchemaRef;
use futures::{Stream, stream};
use sextant_core::Cancel;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinHandle},
    time::Instant,
};
use tonic::Status;

use crate::{
    batches,
    door::Door,
    error::FlightError,
    limits,
    messages::Data,
    port::{Fault, Portion, Query},
};

/// The messages of a result.
pub(crate) type Messages = Pin<Box<dyn Stream<Item = Result<Data, Status>> + Send>>;

/// Stops the work it belongs to when it is dropped, and at its deadline.
pub(crate) struct Guard {
    pub cancel: Cancel,
    pub deadline: Instant,
    watchdog: AbortHandle,
}

impl Guard {
    /// For work that begins now.
    pub fn new() -> Self {
        let cancel = Cancel::new();
        let deadline = Instant::now() + Duration::from_secs(limits::STATEMENT_SECONDS);
        let late = cancel.clone();
        let watchdog = tokio::spawn(async move {
            tokio::time::sleep_until(deadline).await;
            late.cancel();
        });
        Self { cancel, deadline, watchdog: watchdog.abort_handle() }
    }

    /// Waits for a step of the work, unless its time or the server ends first.
    pub async fn watched<T>(
        &self,
        stopping: &mut watch::Receiver<bool>,
        step: impl Future<Output = T>,
    ) -> Result<T, FlightError> {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(self.deadline) => Err(FlightError::TooSlow),
            () = stopped(stopping) => Err(FlightError::Ending),
            done = step => Ok(done),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.watchdog.abort();
        self.cancel.cancel();
    }
}

/// Ends when the server does.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is an end as well.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// A query that runs. Dropping it stops it.
pub(crate) struct Run {
    portions: mpsc::Receiver<Portion>,
    task: Option<JoinHandle<Result<(), Fault>>>,
    guard: Guard,
    stopping: watch::Receiver<bool>,
    columns: Option<SchemaRef>,
    waiting: VecDeque<Data>,
    rows: u64,
    over: bool,
}

impl Run {
    /// Starts a query and waits for its columns, so that what cannot be planned fails at once.
    pub async fn start(door: &Door, query: Query) -> Result<Self, Status> {
        let seat = door.seat()?;
        let (sender, portions) = mpsc::channel(limits::PORTIONS_WAITING_MAX);
        let guard = Guard::new();
        let (engine, seen) = (Arc::clone(&door.engine), guard.cancel.clone());
        let task = tokio::task::spawn_blocking(move || {
            let _seat = seat;
            engine.run(&query, sender, &seen)
        });
        let mut run = Self {
            portions,
            task: Some(task),
            guard,
            stopping: door.stopping.clone(),
            columns: None,
            waiting: VecDeque::new(),
            rows: 0,
            over: false,
        };
        while run.columns.is_none() && !run.over {
            run.more().await?;
        }
        Ok(run)
    }

    /// The result as it comes.
    pub fn messages(self) -> Messages {
        let next = |mut run: Self| async move { run.next().await.map(|item| (item, run)) };
        Box::pin(stream::unfold(self, next))
    }

    async fn next(&mut self) -> Option<Result<Data, Status>> {
        while self.waiting.is_empty() && !self.over {
            if let Err(status) = self.more().await {
                self.over = true;
                return Some(Err(status));
            }
        }
        self.waiting.pop_front().map(Ok)
    }

    /// Takes one portion from the engine, or its end.
    async fn more(&mut self) -> Result<(), Status> {
        match self.guard.watched(&mut self.stopping, self.portions.recv()).await? {
            Some(Portion::Columns(columns)) => {
                let columns = batches::plain(&columns);
                self.waiting.push_back(batches::first(&columns));
                self.columns = Some(columns);
            }
            Some(Portion::Rows(batch)) => {
                let unnamed = || FlightError::Internal("the engine named no columns".to_owned());
                let columns = Arc::clone(self.columns.as_ref().ok_or_else(unnamed)?);
                self.rows += batch.num_rows() as u64;
                if self.rows > limits::ROWS_MAX {
                    let limit = format!("{} rows", limits::ROWS_MAX);
                    return Err(FlightError::TooLarge { what: "the result", limit }.into());
                }
                // Writing a batch takes longer than a thread of the network may be kept.
                let encode = move || batches::encode(&batch, &columns);
                let encoded = tokio::task::spawn_blocking(encode);
                let encoded = self.guard.watched(&mut self.stopping, encoded).await?;
                let encoded = encoded.map_err(|_| panicked())?;
                self.waiting.extend(encoded.map_err(FlightError::from)?);
            }
            None => {
                self.over = true;
                let Some(task) = self.task.take() else { return Ok(()) };
                let ended = self.guard.watched(&mut self.stopping, task).await?;
                ended.map_err(|_| panicked())??;
            }
        }
        Ok(())
    }
}

/// What is said when a thread of ours broke.
pub(crate) fn panicked() -> FlightError {
    FlightError::Internal("the engine panicked".to_owned())
}
