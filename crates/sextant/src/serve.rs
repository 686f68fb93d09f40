//! How does the server run? `serve` serves what is released; `dev` also watches the project and
//! rebuilds what is stale.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use sextant_app::{App, Op, OpenProject};
use sextant_core::{Cancel, ExitKind, Gatekeeper};
use sextant_flightwire::FlightServer;
use sextant_server::{AuthMode, Gate, MlflowPages, Running, ServerConfig};
use sextant_sqlwire::SqlServer;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    backend::AppBackend,
    cli::{Global, ServeArgs},
    progress::Screen,
    render::Style,
    session::{io_trouble, project_root},
    trouble::Trouble,
};

/// Serves until Ctrl-C or SIGTERM.
pub fn run(global: &Global, args: &ServeArgs, watch: bool) -> Result<u8, Trouble> {
    let root = project_root(global)?;
    let app = Arc::new(App::open(&root, &OpenProject { profile: global.profile.clone() })?);
    let screen = Arc::new(Screen::new(global.quiet, global.verbose > 0));
    let runtime = server_runtime()?;
    // Before anybody can know that the server is there: a signal must never find no listener.
    let signals = runtime.block_on(async { StopSignals::listen() });
    let mut signals = signals.map_err(|error| io_trouble("listen for signals", &error))?;
    let pages = mlflow_pages(args)?;
    let mut running = runtime.block_on(start(&app, args))?;
    let pages = runtime.block_on(mlflow_door(pages, &mut running))?;
    let door = runtime.block_on(sql_door(&app, args, &running))?;
    let flights = runtime.block_on(flight_door(&app, args, &running))?;
    announce(&app, &running);
    if let Some(door) = &door {
        anstream::eprintln!("  postgres postgresql://{}/sextant (read only)", door.addr);
    }
    if let Some(door) = &flights {
        anstream::eprintln!("  flight   grpc://{} (read only)", door.addr);
    }
    if let Some(line) = &pages {
        anstream::eprintln!("  mlflow   {line}");
    }
    let cancel = Cancel::new();
    let lander = land_in_the_background(&app, &screen, &cancel)?;
    deliver_in_the_background(&app, &screen, &cancel)?;
    let watcher = if watch { Some(watch_project(&app, &screen, &cancel)?) } else { None };
    runtime.block_on(async {
        signals.wait().await;
        screen.line("stopping: finishing the requests in progress");
        cancel.cancel();
        if let Some(door) = door {
            door.shutdown().await;
        }
        if let Some(door) = flights {
            door.shutdown().await;
        }
        running.shutdown().await;
    });
    if let Some(watcher) = watcher {
        let _ = watcher.join();
    }
    let _ = lander.join();
    Ok(0)
}

/// The runtime that the server's tasks run on.
pub fn server_runtime() -> Result<tokio::runtime::Runtime, Trouble> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("server")
        .build()
        .map_err(|error| io_trouble("start the server", &error))
}

/// Starts the server for an open application.
pub async fn start(app: &Arc<App>, args: &ServeArgs) -> Result<Running, Trouble> {
    let port = args.port.unwrap_or_else(|| app.port());
    let host = args.host.trim_matches(['[', ']']);
    let ip = if host == "localhost" { "127.0.0.1" } else { host };
    let ip = ip.parse().map_err(|_| {
        Trouble::new("SXT-8006", ExitKind::Usage, format!("`{host}` is not an IP address"))
            .hint("use 127.0.0.1, ::1 or 0.0.0.0")
    })?;
    let config = ServerConfig {
        addr: SocketAddr::new(ip, port),
        data_dir: app.data_dir().to_owned(),
        auth: if args.require_auth { AuthMode::Required } else { AuthMode::TrustedLoopback },
        allowed_hosts: args.allowed_host.clone(),
    };
    let backend = Arc::new(AppBackend(app.clone()));
    sextant_server::serve(config, backend)
        .await
        .map_err(|error| Trouble::from(sextant_core::Failure::from(error)))
}

/// The rules of HTTP, for the clients of the other doors.
struct SameRules(Gate);

impl Gatekeeper for SameRules {
    fn trusts(&self, peer: SocketAddr, local: SocketAddr) -> bool {
        self.0.trusts(peer, local)
    }

    fn may_read(&self, key: &str) -> bool {
        self.0.may_read(key)
    }
}

/// Opens the port for PostgreSQL clients, when one was asked for.
async fn sql_door(
    app: &Arc<App>,
    args: &ServeArgs,
    running: &Running,
) -> Result<Option<SqlServer>, Trouble> {
    let Some(port) = args.pg_port else { return Ok(None) };
    let addr = SocketAddr::new(running.addr.ip(), port);
    let gate = Arc::new(SameRules(running.gate()));
    let door = sextant_sqlwire::serve(addr, app.sql_engine(), gate).await;
    door.map(Some).map_err(|error| Trouble::from(sextant_core::Failure::from(error)))
}

/// Opens the port for Flight SQL clients, when one was asked for.
async fn flight_door(
    app: &Arc<App>,
    args: &ServeArgs,
    running: &Running,
) -> Result<Option<FlightServer>, Trouble> {
    let Some(port) = args.flight_port else { return Ok(None) };
    let addr = SocketAddr::new(running.addr.ip(), port);
    let gate = Arc::new(SameRules(running.gate()));
    let door = sextant_flightwire::serve(addr, app.flight_engine(), gate).await;
    door.map(Some).map_err(|error| Trouble::from(sextant_core::Failure::from(error)))
}

/// MLflow's own pages, with their port, when they were asked for.
fn mlflow_pages(args: &ServeArgs) -> Result<Option<(MlflowPages, u16)>, Trouble> {
    let Some(port) = args.mlflow_port else { return Ok(None) };
    let (found, place) = match &args.mlflow_package {
        Some(path) => (MlflowPages::at(path), format!("in {}", path.display())),
        None => (MlflowPages::installed(), "where Python looks for it".to_owned()),
    };
    found.map(|pages| Some((pages, port))).ok_or_else(|| {
        let message = format!("there is no mlflow package {place}");
        Trouble::new("SXT-8015", ExitKind::NotFound, message)
            .hint("pip install mlflow, or name the folder or the virtual environment that has it")
    })
}

/// Opens the port for MLflow's own pages; says where they are and of which version.
async fn mlflow_door(
    pages: Option<(MlflowPages, u16)>,
    running: &mut Running,
) -> Result<Option<String>, Trouble> {
    let Some((pages, port)) = pages else { return Ok(None) };
    let version = pages.version().map_or_else(String::new, |version| format!(" ({version})"));
    let addr = SocketAddr::new(running.addr.ip(), port);
    let opened = running.open_mlflow_pages(addr, pages).await;
    let addr = opened.map_err(|error| Trouble::from(sextant_core::Failure::from(error)))?;
    Ok(Some(format!("http://{addr}/{version}")))
}

/// Says where the server is, on stderr.
pub fn announce(app: &App, running: &Running) {
    anstream::eprintln!(
        "{} http://{}\n  pages    http://{}/\n  OpenAI   http://{}/v1\n  key      {}",
        Style::Good.paint("serving"),
        running.addr,
        running.addr,
        running.addr,
        running.admin_key.display()
    );
    for name in app.live_releases().unwrap_or_default() {
        anstream::eprintln!("  release  {name}");
    }
}

/// Ctrl-C and SIGTERM, heard from the moment this is made.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Lands what is pushed to the sources, as long as the server runs.
pub fn land_in_the_background(
    app: &Arc<App>,
    screen: &Arc<Screen>,
    cancel: &Cancel,
) -> Result<std::thread::JoinHandle<()>, Trouble> {
    let (app, screen, cancel) = (app.clone(), screen.clone(), cancel.clone());
    std::thread::Builder::new()
        .name("land".to_owned())
        .spawn(move || app.land_as_it_comes(&*screen, &cancel))
        .map_err(|error| io_trouble("start landing", &error))
}

/// Delivers messages to webhooks as they are owed. Nobody waits for its end: what is on its way when the
/// process ends is sent again by the next.
pub fn deliver_in_the_background(
    app: &Arc<App>,
    screen: &Arc<Screen>,
    cancel: &Cancel,
) -> Result<(), Trouble> {
    const PAUSE: Duration = Duration::from_secs(5);
    let (app, screen, cancel) = (app.clone(), screen.clone(), cancel.clone());
    std::thread::Builder::new()
        .name("deliver".to_owned())
        .spawn(move || {
            while !cancel.is_cancelled() {
                if let Err(failure) = app.deliver_webhooks(&cancel) {
                    screen.line(Trouble::from(failure).lines().trim_end());
                    std::thread::sleep(PAUSE);
                }
            }
        })
        .map(|_| ())
        .map_err(|error| io_trouble("start delivering", &error))
}

/// Builds once, then again whenever a file of the project changes.
fn watch_project(
    app: &Arc<App>,
    screen: &Arc<Screen>,
    cancel: &Cancel,
) -> Result<std::thread::JoinHandle<()>, Trouble> {
    let (app, screen, cancel) = (app.clone(), screen.clone(), cancel.clone());
    std::thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || {
            let build = || {
                let op = Op::Build { select: Vec::new(), exclude: Vec::new(), full: false };
                match app.run(op.clone(), &*screen, &cancel) {
                    Ok(result) => screen.line(crate::render::render(&op, &result).trim_end()),
                    Err(failure) => screen.line(Trouble::from(failure).lines().trim_end()),
                }
            };
            if let Err(failure) = app.watch(&cancel, &mut || build()) {
                screen.line(Trouble::from(failure).lines().trim_end());
            }
        })
        .map_err(|error| io_trouble("start watching", &error))
}
