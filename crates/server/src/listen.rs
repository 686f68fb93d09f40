//! How does the server start, accept and stop? Bounded connections, bounded heads, and a drain.

use std::{
    convert::Infallible,
    fs,
    net::{SocketAddr, TcpListener as StdListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, http::Request};
use futures::future::join_all;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use serde::{Deserialize, Serialize};
use sextant_core::{Clock as _, SystemClock, Timestamp};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
};
use tower::Service as _;

use crate::{
    config::{AuthMode, ServerConfig},
    error::ServerError,
    keys::{self, KeyRing, Role},
    limits, peer,
    port::Backend,
    routes,
    sessions::Sessions,
    state::{Counters, Phase, Shared, Slots},
};

/// The file in the data directory by which the command line finds a running server.
pub const DISCOVERY_FILE: &str = "server.json";

/// What [`DISCOVERY_FILE`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    /// The server's process.
    pub pid: u32,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Since when.
    pub started_at: Timestamp,
}

impl Discovery {
    /// Reads the file of a data directory, if there is one. A server that was killed leaves its
    /// file behind: connect to know.
    pub fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(data_dir.join(DISCOVERY_FILE)).ok()?).ok()
    }
}

/// A server that runs. Dropping it stops it at once; [`Running::shutdown`] drains it first.
pub struct Running {
    /// Where it listens, with the port that was taken.
    pub addr: SocketAddr,
    /// Where the first admin key is.
    pub admin_key: PathBuf,
    phase: watch::Sender<Phase>,
    /// One for each port.
    accepting: Vec<JoinHandle<()>>,
    pub(crate) data_dir: PathBuf,
    pub(crate) shared: Arc<Shared>,
}

/// Who may come in, for other doors of the same server: the rules are those of HTTP.
#[derive(Clone)]
pub struct Gate(Arc<Shared>);

impl Gate {
    /// Whether the other end of a connection needs no key. Reads a file of the kernel: call it
    /// where blocking is allowed.
    pub fn trusts(&self, peer: SocketAddr, local: SocketAddr) -> bool {
        self.0.auth == AuthMode::TrustedLoopback && peer::identify(peer, local).same_user
    }

    /// Whether a key is valid now. Every role may read.
    pub fn may_read(&self, key: &str) -> bool {
        self.0.keys.verify(key, self.0.now()).is_some_and(|record| record.role >= Role::Read)
    }
}

impl Running {
    /// The rules by which callers are let in.
    pub fn gate(&self) -> Gate {
        Gate(Arc::clone(&self.shared))
    }

    /// Takes no more requests, waits up to [`limits::DRAIN_SECONDS`] for those in progress, ends
    /// the streams that are left with an error, and removes the discovery file.
    pub async fn shutdown(mut self) {
        let _ = self.phase.send(Phase::Draining);
        let limit = Duration::from_secs(limits::DRAIN_SECONDS);
        if tokio::time::timeout(limit, join_all(&mut self.accepting)).await.is_err() {
            let _ = self.phase.send(Phase::Ending);
            let rest = self.accepting.iter_mut().filter(|accepting| !accepting.is_finished());
            let _ = tokio::time::timeout(Duration::from_secs(2), join_all(rest)).await;
        }
    }

    /// Accepts connections on one more port until the server is shut down.
    pub(crate) fn open(&mut self, listener: TcpListener, addr: SocketAddr, router: Router) {
        let phase = self.shared.phase.clone();
        self.accepting.push(tokio::spawn(accept(listener, addr, router, phase)));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.accepting.iter().for_each(JoinHandle::abort);
        let ours = |found: &Discovery| found.pid == std::process::id() && found.addr == self.addr;
        if Discovery::read(&self.data_dir).as_ref().is_some_and(ours) {
            let _ = fs::remove_file(self.data_dir.join(DISCOVERY_FILE));
        }
    }
}

/// Starts the server; it runs until [`Running`] is shut down or dropped. Needs a tokio runtime.
///
/// # Errors
/// When the address is taken, cannot be used, or could be reached by others without a key; when
/// keys or the discovery file cannot be read or written.
pub async fn serve(
    config: ServerConfig,
    backend: Arc<dyn Backend>,
) -> Result<Running, ServerError> {
    let (listener, addr) = bind(config.addr, config.auth, &config.data_dir)?;
    let now = SystemClock.now();
    let keys = KeyRing::open(&config.data_dir, now)?;
    let (phase, phase_seen) = watch::channel(Phase::Serving);
    let shared = Arc::new(Shared {
        backend,
        auth: config.auth,
        hosts: allowed_hosts(&config),
        keys,
        sessions: Sessions::default(),
        slots: Slots::default(),
        counters: Counters::default(),
        phase: phase_seen,
        started: Instant::now(),
    });
    let router = routes::router(&shared);
    let discovery = Discovery { pid: std::process::id(), addr, started_at: now };
    let path = config.data_dir.join(DISCOVERY_FILE);
    let text = serde_json::to_vec(&discovery)
        .map_err(|error| ServerError::Internal { what: error.to_string() })?;
    keys::write_private(&path, &text)?;
    let mut running = Running {
        addr,
        admin_key: config.data_dir.join("admin.key"),
        phase,
        accepting: Vec::new(),
        data_dir: config.data_dir,
        shared,
    };
    running.open(listener, addr, router);
    tracing::info!(%addr, "listening");
    Ok(running)
}

fn allowed_hosts(config: &ServerConfig) -> Vec<String> {
    let mut hosts = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec();
    let ip = config.addr.ip();
    if !ip.is_unspecified() {
        hosts.push(if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() });
    }
    hosts.extend(config.allowed_hosts.iter().cloned());
    hosts
}

/// Takes an address, with the port that was taken, unless others could reach it without a key.
pub(crate) fn bind(
    addr: SocketAddr,
    auth: AuthMode,
    data_dir: &Path,
) -> Result<(TcpListener, SocketAddr), ServerError> {
    if !addr.ip().is_loopback() && auth != AuthMode::Required {
        return Err(ServerError::Exposed { addr });
    }
    let open = || -> std::io::Result<TcpListener> {
        let listener = StdListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    let listener = open().map_err(|source| {
        if source.kind() != std::io::ErrorKind::AddrInUse {
            return ServerError::Bind { addr, source };
        }
        let holder = match Discovery::read(data_dir) {
            Some(found) if found.addr == addr => {
                format!("the Sextant server of this project (process {})", found.pid)
            }
            _ => "another program".to_owned(),
        };
        ServerError::PortInUse { addr, holder }
    })?;
    let addr = listener.local_addr().map_err(|source| ServerError::Bind { addr, source })?;
    Ok((listener, addr))
}

async fn accept(
    listener: TcpListener,
    local: SocketAddr,
    router: Router,
    mut phase: watch::Receiver<Phase>,
) {
    let room = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        // No more connections than slots: the rest waits in the kernel's queue.
        let Ok(slot) = Arc::clone(&room).acquire_owned().await else { break };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = draining(&mut phase) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let (router, watcher) = (router.clone(), graceful.watcher());
        connections.spawn(async move {
            connection(stream, peer, local, router, watcher).await;
            drop(slot);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn draining(phase: &mut watch::Receiver<Phase>) {
    // An error means that the sender is gone, which is an end as well.
    let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // The connection's own end: `local` has no address when we listen on all.
    let own = stream.local_addr().unwrap_or(local);
    let _ = stream.set_nodelay(true);
    let Ok(identity) = tokio::task::spawn_blocking(move || peer::identify(peer, own)).await else {
        return;
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let mut router = router.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(identity);
        async move {
            match router.call(request).await {
                Ok(response) => Ok::<_, Infallible>(response),
                Err(never) => match never {},
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits::HEADER_READ_SECONDS))
        .max_headers(limits::HEADERS_MAX)
        .max_buf_size(limits::HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%peer, %error, "connection ended");
    }
}
