//! How does a statement run while its client is watched? The engine works on a thread of its own and
//! hands rows over a short queue; a client that leaves, a cancel request, a deadline or the server's
//! end stops it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use sextant_core::Cancel;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use crate::{
    error::WireError,
    input::Input,
    limits,
    output::{Gone, Output},
    port::{Column, Parameter, Portion, Row, SqlEngine, SqlFault},
};

/// Why a step of a connection did not finish.
pub(crate) enum Stop {
    /// The client left.
    Gone,
    /// The statement failed; the connection goes on.
    Fault(SqlFault),
    /// The statement failed, and the client was told.
    Said,
    /// The connection ends with this.
    Fatal(SqlFault),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Self::Fault(error.into())
    }
}

/// Both directions of a connection, and what may interrupt it.
pub(crate) struct Link {
    pub input: Input,
    pub output: Output,
    /// Changes with each cancel request for this connection.
    pub cancels: watch::Receiver<u64>,
    /// Becomes true when the server ends.
    pub stopping: watch::Receiver<bool>,
}

impl Link {
    /// Waits for part of a statement, unless something stops the statement first.
    pub async fn watched<T>(
        &mut self,
        deadline: Instant,
        work: impl Future<Output = T>,
    ) -> Result<T, Stop> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.input.gone() => Err(Stop::Gone),
            Ok(()) = self.cancels.changed() => Err(WireError::Cancelled("user request").into()),
            () = tokio::time::sleep_until(deadline) => {
                Err(WireError::Cancelled("statement timeout").into())
            }
            () = stopped(&mut self.stopping) => {
                Err(Stop::Fatal(WireError::Ending("the server stops").into()))
            }
        }
    }
}

/// Ends when the server does.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is an end as well.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// When a statement that begins now must be over.
pub(crate) fn deadline(ms_max: Option<u64>) -> Instant {
    let most = Duration::from_secs(limits::STATEMENT_SECONDS);
    Instant::now() + ms_max.map_or(most, |ms| Duration::from_millis(ms).min(most))
}

/// A query that runs. Dropping it stops it.
pub(crate) struct Run {
    portions: mpsc::Receiver<Portion>,
    task: Option<JoinHandle<Result<(), SqlFault>>>,
    cancel: Cancel,
    waiting: VecDeque<Row>,
    deadline: Instant,
    /// Rows handed over so far.
    pub count: u64,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Run {
    pub fn start(
        engine: &Arc<dyn SqlEngine>,
        sql: &str,
        parameters: Vec<Parameter>,
        deadline: Instant,
    ) -> Self {
        let (sender, portions) = mpsc::channel(limits::PORTIONS_WAITING_MAX);
        let (engine, sql, cancel) = (Arc::clone(engine), sql.to_owned(), Cancel::new());
        let seen = cancel.clone();
        let task = tokio::task::spawn_blocking(move || engine.run(&sql, parameters, sender, &seen));
        let waiting = VecDeque::new();
        Self { portions, task: Some(task), cancel, waiting, deadline, count: 0 }
    }

    /// The columns, which come before all rows.
    pub async fn columns(&mut self, link: &mut Link) -> Result<Vec<Column>, Stop> {
        match self.portion(link).await? {
            Some(Portion::Columns(columns)) => Ok(columns),
            _ => Err(WireError::Internal("the engine named no columns".to_owned()).into()),
        }
    }

    /// The next row, or `None` at the end.
    pub async fn row(&mut self, link: &mut Link) -> Result<Option<Row>, Stop> {
        loop {
            if let Some(row) = self.waiting.pop_front() {
                self.count += 1;
                if self.count > limits::ROWS_MAX {
                    let limit = format!("{} rows", limits::ROWS_MAX);
                    return Err(WireError::TooLarge { what: "the result", limit }.into());
                }
                return Ok(Some(row));
            }
            match self.portion(link).await? {
                Some(Portion::Rows(rows)) => self.waiting.extend(rows),
                Some(Portion::Columns(_)) => {}
                None => return Ok(None),
            }
        }
    }

    async fn portion(&mut self, link: &mut Link) -> Result<Option<Portion>, Stop> {
        if let Some(portion) = link.watched(self.deadline, self.portions.recv()).await? {
            return Ok(Some(portion));
        }
        let Some(task) = self.task.take() else { return Ok(None) };
        match link.watched(self.deadline, task).await? {
            Ok(Ok(())) => Ok(None),
            Ok(Err(fault)) => Err(Stop::Fault(fault)),
            Err(_) => Err(WireError::Internal("the engine panicked".to_owned()).into()),
        }
    }
}
