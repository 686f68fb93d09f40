//! Serves a made-up project on a port, to look at the pages: `cargo run -p sextant-server
//! --example preview -- 7799 [empty]`.
#![allow(clippy::print_stdout, clippy::expect_used)]

use std::sync::Arc;

use sextant_server::{AuthMode, ServerConfig, serve};

#[path = "../tests/it/fake.rs"]
mod fake;
#[path = "../tests/it/logged.rs"]
mod logged;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().and_then(|port| port.parse().ok()).unwrap_or(7799);
    let empty = arguments.next().is_some_and(|word| word == "empty");
    let data_dir = std::env::temp_dir().join(format!("sextant-preview-{port}"));
    let config = ServerConfig {
        addr: ([127, 0, 0, 1], port).into(),
        data_dir,
        auth: AuthMode::TrustedLoopback,
        allowed_hosts: Vec::new(),
    };
    let backend = fake::Fake { empty, ..fake::Fake::default() };
    let running = serve(config, Arc::new(backend)).await.expect("the server starts");
    println!("http://{}", running.addr);
    tokio::signal::ctrl_c().await.expect("signals work");
    running.shutdown().await;
}
