//! How does the PostgreSQL port start, accept and stop? Bounded connections, each a task of its own,
//! and a table by which one connection can stop the statement of another.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::BufMut as _;
use rand::{TryRngCore as _, rngs::OsRng};
use sextant_core::Gatekeeper;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
};

use crate::{
    connection::Connection,
    error::WireError,
    extended::Extended,
    input::Input,
    limits,
    output::Output,
    port::{SqlEngine, SqlFault},
    run::{Link, Stop, stopped},
    startup::{self, Wish},
};

/// Connections beyond the bound that may still cancel a statement or be told why they are refused.
const SPARE_CONNECTIONS: usize = 16;

/// A PostgreSQL port that listens. Dropping it stops it at once.
pub struct SqlServer {
    /// Where it listens, with the port that was taken.
    pub addr: SocketAddr,
    stopping: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl SqlServer {
    /// Takes no more connections, stops what runs, and tells every client.
    pub async fn shutdown(mut self) {
        self.stopping.send_replace(true);
        let limit = Duration::from_secs(limits::WRITE_SECONDS);
        // Past the bound it is stopped by being dropped.
        let _ = tokio::time::timeout(limit, &mut self.accepting).await;
    }
}

impl Drop for SqlServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Shared {
    engine: Arc<dyn SqlEngine>,
    gate: Arc<dyn Gatekeeper>,
    seats: Arc<Semaphore>,
    cancels: Mutex<Cancels>,
    stopping: watch::Receiver<bool>,
}

/// The connections by their id, each with its secret.
#[derive(Default)]
struct Cancels {
    last: i32,
    open: HashMap<i32, (i32, watch::Sender<u64>)>,
}

/// Listens for clients; runs until [`SqlServer`] is shut down or dropped. Needs a tokio runtime.
///
/// # Errors
/// When the address is not of loopback, is taken, or cannot be used.
pub async fn serve(
    addr: SocketAddr,
    engine: Arc<dyn SqlEngine>,
    gate: Arc<dyn Gatekeeper>,
) -> Result<SqlServer, WireError> {
    if !addr.ip().is_loopback() {
        return Err(WireError::Exposed { addr });
    }
    let failed = |source| WireError::Bind { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let (stopping, seen) = watch::channel(false);
    let seats = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let shared = Shared { engine, gate, seats, cancels: Mutex::default(), stopping: seen };
    let accepting = tokio::spawn(accept(listener, Arc::new(shared)));
    tracing::info!(%addr, "listening for PostgreSQL clients");
    Ok(SqlServer { addr, stopping, accepting })
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX + SPARE_CONNECTIONS));
    let mut stopping = shared.stopping.clone();
    let mut connections = JoinSet::new();
    loop {
        // No more connections than this: the rest waits in the kernel's queue.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { break };
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
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            if let Err(error) = connection(stream, peer, &shared).await {
                tracing::debug!(%peer, %error, "a PostgreSQL connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    shared: &Arc<Shared>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let (read, write) = stream.into_split();
    let (sender, cancels) = watch::channel(0);
    let mut link = Link {
        input: Input::new(read),
        output: Output::new(write),
        cancels,
        stopping: shared.stopping.clone(),
    };
    let limit = Duration::from_secs(limits::LOGIN_SECONDS);
    let login = tokio::time::timeout(limit, login(&mut link, shared, (peer, local), sender)).await;
    let (_seat, ticket, session) = match login {
        Ok(Ok(Some(entered))) => entered,
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(stop)) => return end(&mut link.output, stop).await,
        Err(_) => {
            let fault = WireError::Ending("the login took too long");
            return end(&mut link.output, Stop::Fatal(fault.into())).await;
        }
    };
    let (engine, extended) = (Arc::clone(&shared.engine), Extended::default());
    let mut connection = Connection { link, engine, session, extended };
    let outcome = connection.serve().await;
    drop(ticket);
    match outcome {
        Ok(()) => Ok(()),
        Err(stop) => end(&mut connection.link.output, stop).await,
    }
}

async fn end(output: &mut Output, stop: Stop) -> std::io::Result<()> {
    if let Stop::Fatal(fault) | Stop::Fault(fault) = stop {
        output.fault(&fault, "FATAL", "", 0);
        output.flush().await.map_err(|_| std::io::ErrorKind::BrokenPipe)?;
    }
    Ok(())
}

type Entered = (tokio::sync::OwnedSemaphorePermit, Ticket, crate::session::Session);

/// Lets a client in; `None` when it only came to cancel a statement.
async fn login(
    link: &mut Link,
    shared: &Arc<Shared>,
    ends: (SocketAddr, SocketAddr),
    sender: watch::Sender<u64>,
) -> Result<Option<Entered>, Stop> {
    let fatal = |error: WireError| Stop::Fatal(SqlFault::from(error));
    let session = match startup::wish(link).await? {
        Wish::Session(session) => session,
        Wish::Cancel { id, secret } => {
            shared.cancel(id, secret);
            return Ok(None);
        }
    };
    let crowded = |_| fatal(WireError::Crowded { limit: limits::CONNECTIONS_MAX });
    let seat = Arc::clone(&shared.seats).try_acquire_owned().map_err(crowded)?;
    startup::authenticate(link, &shared.gate, &session.user, ends).await?;
    for (name, value) in session.reported() {
        link.output.setting(name, &value);
    }
    link.output.setting("session_authorization", &session.user);
    let secret = OsRng.try_next_u32().map_err(|error| {
        fatal(WireError::Internal(format!("the system gave no random bytes: {error}")))
    })?;
    let ticket = shared.enter(secret.cast_signed(), sender);
    link.output.message(b'K', |out| {
        out.put_i32(ticket.id);
        out.put_u32(secret);
    });
    Ok(Some((seat, ticket, session)))
}

/// A place in the table of connections, given back when it is dropped.
struct Ticket {
    id: i32,
    shared: Arc<Shared>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut cancels = self.shared.cancels.lock().unwrap_or_else(PoisonError::into_inner);
        cancels.open.remove(&self.id);
    }
}

impl Shared {
    fn enter(self: &Arc<Self>, secret: i32, sender: watch::Sender<u64>) -> Ticket {
        let mut cancels = self.cancels.lock().unwrap_or_else(PoisonError::into_inner);
        cancels.last = cancels.last.wrapping_add(1);
        let id = cancels.last;
        cancels.open.insert(id, (secret, sender));
        Ticket { id, shared: Arc::clone(self) }
    }

    fn cancel(&self, id: i32, secret: i32) {
        let cancels = self.cancels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, sender)) = cancels.open.get(&id)
            && *known == secret
        {
            sender.send_modify(|count| *count += 1);
        }
    }
}
