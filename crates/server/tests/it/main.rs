//! Does the server keep its promises to strangers, to programs and to people? Driven over a real
//! socket, with a made-up backend.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod artifacts;
mod client;
mod fake;
mod logged;
mod mlflow_pages;
mod openai;
mod pages;
mod security;
mod tracking;

use std::{net::SocketAddr, sync::Arc};

use fake::Fake;
use sextant_server::{AuthMode, Running, ServerConfig, serve};

/// A server on a free port with a data directory of its own.
pub struct World {
    pub addr: SocketAddr,
    pub folder: tempfile::TempDir,
    pub fake: Arc<Fake>,
    pub running: Running,
}

impl World {
    pub async fn new(auth: AuthMode, fake: Fake) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fake = Arc::new(fake);
        let config = ServerConfig {
            addr: ([127, 0, 0, 1], 0).into(),
            data_dir: folder.path().to_owned(),
            auth,
            allowed_hosts: vec!["box.example".to_owned()],
        };
        let running = serve(config, Arc::clone(&fake) as _).await.unwrap();
        Self { addr: running.addr, folder, fake, running }
    }

    /// A server that trusts the user who runs these tests.
    pub async fn open() -> Self {
        Self::new(AuthMode::TrustedLoopback, Fake::default()).await
    }

    /// The first admin key.
    pub fn admin_key(&self) -> String {
        std::fs::read_to_string(&self.running.admin_key).unwrap().trim().to_owned()
    }
}
