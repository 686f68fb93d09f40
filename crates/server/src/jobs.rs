//! How does blocking work run under an async server? On its own thread, with a flag that stops it
//! when nobody waits for it any more, and with its panics caught.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use futures::Stream;
use serde_json::{Value, json};
use sextant_core::{Cancel, Event, Events, Failure, Level, Silent};
use tokio::sync::{mpsc, watch};

use crate::{
    error::ServerError,
    limits,
    reply::{Refusal, failure_json},
    state::{Phase, Shared, Slot},
};

/// Raises the flag when it is dropped, unless it was let go.
pub(crate) struct CancelOnDrop(Option<Cancel>);

impl CancelOnDrop {
    pub fn new(cancel: &Cancel) -> Self {
        Self(Some(cancel.clone()))
    }

    /// The work is done or shall go on: do not cancel.
    pub fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(cancel) = &self.0 {
            cancel.cancel();
        }
    }
}

/// Runs blocking work and waits for it. When the caller goes away or runs out of time, the work is
/// asked to stop.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&Cancel) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Refusal> {
    let cancel = Cancel::new();
    let guard = CancelOnDrop::new(&cancel);
    let result = tokio::task::spawn_blocking(move || work(&cancel)).await;
    guard.release();
    match result {
        Ok(result) => result.map_err(Refusal::from),
        Err(_) => Err(defect().into()),
    }
}

/// What a caller learns when the work panicked.
pub(crate) fn defect() -> ServerError {
    ServerError::Internal { what: "the work hit a defect and was stopped".to_owned() }
}

/// Runs one operation to its JSON result, without its events.
pub(crate) async fn run_op(shared: &Arc<Shared>, op: Value) -> Result<Value, Refusal> {
    let backend = Arc::clone(&shared.backend);
    blocking(move |cancel| backend.run(op, &Silent, cancel)).await
}

/// Runs one operation and streams its events as JSON lines; the last line is the result or the
/// error. When the reader goes away the work is asked to stop only if `stops_with_reader`: a build
/// that somebody started goes on.
pub(crate) fn stream_op(
    shared: &Arc<Shared>,
    op: Value,
    stops_with_reader: bool,
    slot: Arc<Slot>,
) -> Body {
    let (sender, receiver) = mpsc::channel::<Bytes>(limits::EVENTS_WAITING_MAX);
    let cancel = Cancel::new();
    let backend = Arc::clone(&shared.backend);
    let stop = cancel.clone();
    let work = tokio::task::spawn_blocking(move || {
        let events = LineEvents { sender, dropped: AtomicU64::new(0) };
        let result = backend.run(op, &events, &stop);
        let dropped = events.dropped.load(Ordering::Relaxed);
        if dropped > 0 {
            let text = format!("{dropped} events were not sent: they were read too slowly");
            let warning = Event::Line { level: Level::Warn, text };
            let _ = events.sender.blocking_send(line(&warning));
        }
        let last = match result {
            Ok(value) => json!({ "result": value }),
            Err(failure) => json!({ "error": failure_json(&failure) }),
        };
        // Nobody there to read it is fine: the result is in the store.
        let _ = events.sender.blocking_send(line(&last));
        drop(slot);
    });
    stop_at_the_end(shared, &cancel, &work);
    let guard = CancelOnDrop::new(&cancel);
    if !stops_with_reader {
        guard.release();
        return Body::from_stream(Pieces::new(shared, receiver, work, None, last_line));
    }
    Body::from_stream(Pieces::new(shared, receiver, work, Some(guard), last_line))
}

/// A server that ends does not wait for a build of hours: it asks it to stop, and the next build
/// goes on from there.
fn stop_at_the_end(shared: &Arc<Shared>, cancel: &Cancel, work: &tokio::task::JoinHandle<()>) {
    let (phase, work) = (shared.phase.clone(), work.abort_handle());
    // Raised also when the runtime ends before this task gets its turn; no harm once work is done.
    let guard = CancelOnDrop::new(cancel);
    tokio::spawn(async move {
        let _guard = guard;
        tokio::select! {
            () = until_ending(phase) => {}
            () = async {
                while !work.is_finished() {
                    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                }
            } => {}
        }
    });
}

fn line(value: &impl serde::Serialize) -> Bytes {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

fn last_line(refusal: &Refusal) -> Bytes {
    line(&json!({ "error": refusal.to_line() }))
}

struct LineEvents {
    sender: mpsc::Sender<Bytes>,
    dropped: AtomicU64,
}

impl Events for LineEvents {
    fn emit(&self, event: Event) {
        let full =
            matches!(self.sender.try_send(line(&event)), Err(mpsc::error::TrySendError::Full(_)));
        if full {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The pieces of a body made by blocking work. It ends with an error piece when the work panics
/// and when the server stops, so that a reader can always tell an end from a break.
pub(crate) struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    work: tokio::task::JoinHandle<()>,
    ending: Pin<Box<dyn Future<Output = ()> + Send>>,
    last: fn(&Refusal) -> Bytes,
    guard: Option<CancelOnDrop>,
    over: bool,
}

impl Pieces {
    pub fn new(
        shared: &Arc<Shared>,
        receiver: mpsc::Receiver<Bytes>,
        work: tokio::task::JoinHandle<()>,
        guard: Option<CancelOnDrop>,
        last: fn(&Refusal) -> Bytes,
    ) -> Self {
        let ending = Box::pin(until_ending(shared.phase.clone()));
        Self { receiver, work, ending, last, guard, over: false }
    }

    fn end_with(&mut self, error: ServerError) -> Poll<Option<Result<Bytes, Infallible>>> {
        self.over = true;
        Poll::Ready(Some(Ok((self.last)(&error.into()))))
    }
}

async fn until_ending(mut phase: watch::Receiver<Phase>) {
    // An error means that the server is gone altogether, which is an end as well.
    let _ = phase.wait_for(|phase| *phase == Phase::Ending).await;
}

impl Stream for Pieces {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        match self.receiver.poll_recv(context) {
            Poll::Ready(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
            Poll::Ready(None) => {
                // The work has let go of its end: it is done, or it panicked.
                return match Pin::new(&mut self.work).poll(context) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Ok(())) => {
                        self.over = true;
                        if let Some(guard) = self.guard.take() {
                            guard.release();
                        }
                        Poll::Ready(None)
                    }
                    Poll::Ready(Err(_)) => self.end_with(defect()),
                };
            }
            Poll::Pending => {}
        }
        match self.ending.as_mut().poll(context) {
            Poll::Ready(()) => {
                self.end_with(ServerError::Overloaded { whose: "before the server stops" })
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
