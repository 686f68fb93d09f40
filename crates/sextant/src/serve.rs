//! How does the server run? `serve` serves what is released; `dev` also watches the project and
//! rebuilds what is stale.

use std::{net::SocketAddr, sync::Arc};

use sextant_app::{App, Op, OpenProject};
use sextant_core::{Cancel, ExitKind};
use sextant_server::{AuthMode, Running, ServerConfig};
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
    let running = runtime.block_on(start(&app, args))?;
    announce(&app, &running);
    let cancel = Cancel::new();
    let watcher = if watch { Some(watch_project(&app, &screen, &cancel)?) } else { None };
    runtime.block_on(async {
        signals.wait().await;
        screen.line("stopping: finishing the requests in progress");
        cancel.cancel();
        running.shutdown().await;
    });
    if let Some(watcher) = watcher {
        let _ = watcher.join();
    }
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
