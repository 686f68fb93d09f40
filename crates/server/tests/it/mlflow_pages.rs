//! Are MLflow's own pages as safe as ours? They have a port of their own, with the same keys and rules.

use std::net::SocketAddr;

use sextant_server::{AuthMode, MlflowPages};

use crate::{World, client::Ask, fake::Fake};

/// A server with a port for the pages of a made-up package.
async fn world(auth: AuthMode) -> (World, SocketAddr) {
    let mut world = World::new(auth, Fake::default()).await;
    let build = world.folder.path().join("mlflow/server/js/build");
    std::fs::create_dir_all(build.join("static/js")).unwrap();
    for (name, text) in
        [("index.html", "<title>MLflow"), ("static/js/main.1.js", "go()"), ("a.json", "{}")]
    {
        std::fs::write(build.join(name), text).unwrap();
    }
    let pages = MlflowPages::at(&world.folder.path().join("mlflow")).unwrap();
    let addr = world.running.open_mlflow_pages(([127, 0, 0, 1], 0).into(), pages).await.unwrap();
    (world, addr)
}

#[tokio::test]
async fn the_pages_have_mlflows_paths_and_nothing_else_of_the_server() {
    let (world, addr) = world(AuthMode::TrustedLoopback).await;
    for (path, status, kind, kept) in [
        ("/", 200, "text/html", "no-cache"),
        ("/static-files/static/js/main.1.js", 200, "text/javascript", "immutable"),
        ("/static-files/a.json", 200, "application/json", "no-cache"),
        ("/static-files/b.json", 404, "", ""),
        ("/static-files/%2e%2e%2f%2e%2e%2fkeys.json", 404, "", ""),
        ("/static-files/..%2f..%2f..%2f..%2fadmin.key", 404, "", ""),
        ("/static-files//etc/hostname", 404, "", ""),
        ("/health", 200, "text/plain", "no-store"),
        ("/api/v1/keys", 404, "", ""),
        ("/assets", 404, "", ""),
        ("/metrics", 404, "", ""),
    ] {
        let reply = Ask::get(path).send(addr).await;
        assert_eq!(reply.status, status, "{path} {}", reply.body);
        assert!(
            reply.header("content-type").is_some_and(|found| found.starts_with(kind)),
            "{path}"
        );
        assert!(reply.header("cache-control").is_some_and(|found| found.contains(kept)), "{path}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    // The weaker policy is theirs alone.
    for (addr, weaker) in [(addr, true), (world.addr, false)] {
        let reply = Ask::get("/").send(addr).await;
        let policy = reply.header("content-security-policy").unwrap();
        assert_eq!(policy.contains("unsafe"), weaker, "{policy}");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    }
    assert_eq!(Ask::get("/static-files/a.json").send(world.addr).await.status, 404);
}

#[tokio::test]
async fn the_pages_need_what_the_server_needs() {
    let (world, addr) = world(AuthMode::Required).await;
    let key = format!("Bearer {}", world.admin_key());
    for (ask, status) in [
        (Ask::get("/"), 303),
        (Ask::get("/static-files/a.json"), 401),
        (Ask::post("/graphql", "{}"), 401),
        (Ask::get("/login"), 200),
        (Ask::get("/").with("authorization", &key), 200),
        (Ask::get("/").with("host", "evil.example"), 403),
        (
            Ask::post("/graphql", "{}")
                .with("authorization", &key)
                .with("origin", "http://evil.example"),
            403,
        ),
    ] {
        let (path, headers) = (ask.path, format!("{:?}", ask.headers));
        let reply = ask.send(addr).await;
        assert_eq!(reply.status, status, "{path} {headers} {}", reply.body);
    }
    let World { running, .. } = world;
    running.shutdown().await;
    assert!(std::net::TcpStream::connect(addr).is_err(), "the port is closed with the server");
}
