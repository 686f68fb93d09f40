//! Do files go in and out whole, only for those who may, and so that no browser shows them?

use std::{sync::atomic::Ordering, time::Duration};

use sextant_server::AuthMode;

use crate::{World, client::Ask, fake::Fake};

const SERVED: &str = "/api/2.0/mlflow-artifacts/artifacts/file";

fn put(path: &'static str, body: &str) -> Ask<'static> {
    Ask { method: "PUT", path, headers: Vec::new(), body: body.to_owned() }
}

#[tokio::test]
async fn files_are_stored_by_writers_and_sent_to_readers() {
    let world = World::new(AuthMode::Required, Fake::default()).await;
    let admin = world.admin_key();
    let bearer = |key: &str| format!("Bearer {key}");
    let mut keys = vec![String::new()];
    for role in ["read", "write"] {
        let body = serde_json::json!({ "name": role, "role": role });
        let ask = Ask::post("/api/v1/keys", body).with("authorization", bearer(&admin));
        keys.push(ask.send(world.addr).await.json()["key"].as_str().unwrap().to_owned());
    }
    // What nobody, a reader and a writer is answered.
    for (method, path, statuses) in [
        ("PUT", SERVED, [401, 403, 200]),
        ("PUT", "/ajax-api/2.0/mlflow-artifacts/artifacts/file", [401, 403, 200]),
        ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/none", [401, 403, 404]),
        ("POST", "/api/2.0/mlflow-artifacts/mpu/create/begin", [401, 403, 200]),
        ("POST", "/api/2.0/mlflow-artifacts/mpu/complete/echo", [401, 403, 200]),
        ("POST", "/ajax-api/2.0/mlflow/upload-artifact", [401, 403, 404]),
        ("GET", "/get-artifact", [401, 200, 200]),
        ("HEAD", "/get-artifact", [401, 200, 200]),
        ("GET", "/model-versions/get-artifact", [401, 200, 200]),
        ("PUT", "/api/2.0/mlflow-artifacts/parts/secret/file", [200, 200, 200]),
        ("GET", "/api/2.0/mlflow-artifacts/parts/secret/file", [405, 405, 405]),
    ] {
        for (key, status) in keys.iter().zip(statuses) {
            let mut ask = Ask::post(path, "{}");
            ask.method = method;
            if !key.is_empty() {
                ask = ask.with("authorization", bearer(key));
            }
            let reply = ask.send(world.addr).await;
            assert_eq!(reply.status, status, "{method} {path}: {}", reply.body);
        }
    }
}

#[tokio::test]
async fn no_browser_shows_a_file() {
    let world = World::open().await;
    for (headers, status, body, range) in [
        (vec![], 200, "<script>xy", None),
        (vec![("range", "bytes=1-6")], 206, "script", Some("bytes 1-6/10")),
        (vec![("range", "bytes=-2")], 206, "xy", Some("bytes 8-9/10")),
        (vec![("range", "bytes=10-")], 416, "", Some("bytes */10")),
        (vec![("range", "bytes=0-1,4-5")], 200, "<script>xy", None),
        (vec![("range", "bytes=0-0"), ("if-range", "\"abc\"")], 206, "<", Some("bytes 0-0/10")),
        (vec![("range", "bytes=0-0"), ("if-range", "\"old\"")], 200, "<script>xy", None),
    ] {
        let mut ask = Ask::get("/get-artifact?run_id=1&path=page.html");
        for (name, value) in headers {
            ask = ask.with(name, value);
        }
        let reply = ask.send(world.addr).await;
        assert_eq!((reply.status, reply.body.as_str()), (status, body));
        assert_eq!(reply.header("content-range"), range);
        for (name, value) in [
            ("content-disposition", "attachment; filename=\"page \\\".html\""),
            ("content-security-policy", "default-src 'none'; sandbox; frame-ancestors 'none'"),
            ("x-content-type-options", "nosniff"),
            ("content-type", "text/html"),
            ("etag", "\"abc\""),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{name}");
        }
        assert_eq!(reply.header("content-length"), Some(body.len().to_string().as_str()));
    }
    // One that ends too early breaks the connection, perhaps before its head was sent.
    let reply = Ask::get("/get-artifact?short=1").send(world.addr).await;
    assert!(matches!(reply.header("content-length"), None | Some("99")), "{}", reply.head);
    assert!(reply.body.len() < 99, "{}", reply.body);
}

#[tokio::test]
async fn a_file_is_taken_whole_or_broken_off() {
    let world = World::open().await;
    let large = "x".repeat(3 << 20);
    for body in ["", "x", &large] {
        let reply = put(SERVED, body).send(world.addr).await;
        let etag = format!("\"{}\"", body.len());
        assert_eq!((reply.status, reply.header("etag")), (200, Some(etag.as_str())));
    }
    let too_large = put(SERVED, "x").with("content-length", (65_u64 << 30).to_string());
    assert_eq!(too_large.send(world.addr).await.status, 413);
    assert!(!world.fake.broken_off.load(Ordering::SeqCst));
    // With a key, since who sent it cannot be looked up any more.
    let half = put(SERVED, "half of it").with("content-length", "99");
    let half = half.with("authorization", format!("Bearer {}", world.admin_key()));
    drop(half.begin(world.addr).await);
    for _ in 0..100 {
        if world.fake.broken_off.load(Ordering::SeqCst) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the backend did not learn that the caller went away");
}

#[tokio::test]
async fn parts_are_sent_to_the_server_that_was_called() {
    let world = World::open().await;
    let path = "/api/2.0/mlflow-artifacts/mpu/create/begin";
    for (name, value, origin) in [
        ("host", "localhost:1", "http://localhost:1"),
        ("host", "box.example", "http://box.example"),
        ("x-forwarded-proto", "gopher", "http://"),
        ("x-forwarded-proto", "https", "https://"),
    ] {
        let reply = Ask::post(path, "{}").with(name, value).send(world.addr).await;
        let url = reply.json()["credentials"][1]["url"].as_str().unwrap().to_owned();
        assert!(url.starts_with(origin) && url.ends_with("/parts/2"), "{url}");
    }
}
