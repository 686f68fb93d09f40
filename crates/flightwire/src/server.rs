//! How does the Flight SQL port start, accept and stop? Bounded connections, each a task of its own
//! that ends when its client is silent for too long, and a drain.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Request,
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use sextant_core::Gatekeeper;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tonic::Status;

use crate::{
    door::Door, error::FlightError, limits, port::FlightEngine, run::stopped, service::answer,
    statements::Statements,
};

/// A Flight SQL port that listens. Dropping it stops it at once.
pub struct FlightServer {
    /// Where it listens, with the port that was taken.
    pub addr: SocketAddr,
    stopping: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl FlightServer {
    /// Takes no more connections, stops what runs, and tells every client.
    pub async fn shutdown(mut self) {
        self.stopping.send_replace(true);
        let limit = Duration::from_secs(limits::DRAIN_SECONDS);
        // Past the bound it is stopped by being dropped.
        let _ = tokio::time::timeout(limit, &mut self.accepting).await;
    }
}

impl Drop for FlightServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Listens for clients; runs until [`FlightServer`] is shut down or dropped. Needs a tokio runtime.
///
/// # Errors
/// When the address is not of loopback, is taken, or cannot be used.
pub async fn serve(
    addr: SocketAddr,
    engine: Arc<dyn FlightEngine>,
    gate: Arc<dyn Gatekeeper>,
) -> Result<FlightServer, FlightError> {
    if !addr.ip().is_loopback() {
        return Err(FlightError::Exposed { addr });
    }
    let failed = |source| FlightError::Bind { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let (stopping, seen) = watch::channel(false);
    let door = Door {
        engine,
        gate,
        statements: Statements::default(),
        seats: Arc::new(Semaphore::new(limits::QUERIES_MAX)),
        stopping: seen,
    };
    let accepting = tokio::spawn(accept(listener, Arc::new(door)));
    tracing::info!(%addr, "listening for Flight SQL clients");
    Ok(FlightServer { addr, stopping, accepting })
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    let room = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let mut stopping = door.stopping.clone();
    let mut connections = JoinSet::new();
    loop {
        // No more connections than this: the rest waits in the kernel's queue.
        let place = tokio::select! {
            place = Arc::clone(&room).acquire_owned() => place,
            () = stopped(&mut stopping) => break,
        };
        let Ok(place) = place else { break };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = stopped(&mut stopping) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let door = Arc::clone(&door);
        connections.spawn(async move {
            if let Err(error) = connection(stream, peer, door).await {
                tracing::debug!(%peer, %error, "a Flight SQL connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn connection(stream: TcpStream, peer: SocketAddr, door: Arc<Door>) -> Ended {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let gate = Arc::clone(&door.gate);
    let trusted = tokio::task::spawn_blocking(move || gate.trusts(peer, local)).await?;
    let activity = Arc::new(Activity::new());
    let mut stopping = door.stopping.clone();
    let seen = Arc::clone(&activity);
    let service = service_fn(move |request: Request<Incoming>| {
        let (door, seen) = (Arc::clone(&door), Arc::clone(&seen));
        async move {
            let call = seen.begin();
            let (response, admitted) = answer(door, trusted, request).await;
            if admitted {
                seen.admit();
            }
            Ok::<_, Infallible>(response.map(|body| Counted { body, _call: call }))
        }
    });
    let mut connection = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits::CALLS_PER_CONNECTION_MAX)
            .max_header_list_size(limits::HEADER_BYTES_MAX)
            .keep_alive_interval(Duration::from_secs(limits::PING_SECONDS))
            .keep_alive_timeout(Duration::from_secs(limits::PING_SECONDS))
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        ended = &mut connection => return Ok(ended?),
        () = activity.silent() => {}
        () = stopped(&mut stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    let rest = Duration::from_secs(limits::DRAIN_SECONDS);
    match tokio::time::timeout(rest, connection).await {
        Ok(ended) => Ok(ended?),
        Err(_) => Ok(()),
    }
}

/// What happens on a connection: how many calls are in progress, and since when there was none.
struct Activity(Mutex<Quiet>);

struct Quiet {
    calls: usize,
    since: Instant,
    /// Whether any call was let in.
    admitted: bool,
}

impl Activity {
    fn new() -> Self {
        Self(Mutex::new(Quiet { calls: 0, since: Instant::now(), admitted: false }))
    }

    fn state(&self) -> MutexGuard<'_, Quiet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>) -> Progress {
        self.state().calls += 1;
        Progress(Arc::clone(self))
    }

    fn admit(&self) {
        self.state().admitted = true;
    }

    /// Ends when there was no call for too long, which is sooner for one who was never let in.
    async fn silent(&self) {
        loop {
            let (calls, end) = {
                let quiet = self.state();
                let seconds =
                    if quiet.admitted { limits::IDLE_SECONDS } else { limits::LOGIN_SECONDS };
                (quiet.calls, quiet.since + Duration::from_secs(seconds))
            };
            let now = Instant::now();
            if calls == 0 && now >= end {
                return;
            }
            // A call in progress has an end of its own: look again after a while.
            let look = now + Duration::from_secs(1);
            tokio::time::sleep_until(end.max(look)).await;
        }
    }
}

/// A call in progress, until its last message went out.
struct Progress(Arc<Activity>);

impl Drop for Progress {
    fn drop(&mut self) {
        let mut quiet = self.0.state();
        quiet.calls -= 1;
        if quiet.admitted {
            quiet.since = Instant::now();
        }
    }
}

/// A reply whose call is in progress as long as it is sent.
struct Counted {
    body: tonic::body::Body,
    _call: Progress,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
