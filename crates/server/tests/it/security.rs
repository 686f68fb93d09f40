//! Who is let in, and what is refused before it does anything?

use std::time::Duration;

use serde_json::json;
use sextant_server::{
    AuthMode, CODES, Discovery, Policy, ServerConfig, ServerError, route_table, serve,
};
use tokio::io::AsyncReadExt as _;

use crate::{World, client::Ask, fake::Fake};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Nobody,
    Wrong,
    Foreign,
    Reader,
    Writer,
    Admin,
    Cookie,
    Proxied,
}

async fn credentials(world: &World) -> impl Fn(Ask<'static>, Who) -> Ask<'static> + use<> {
    let admin = world.admin_key();
    let mut keys = Vec::new();
    for role in ["read", "write"] {
        let ask = Ask::post("/api/v1/keys", json!({ "name": role, "role": role }))
            .with("authorization", format!("Bearer {admin}"));
        keys.push(ask.send(world.addr).await.json()["key"].as_str().unwrap().to_owned());
    }
    let login = Ask::form("/login", &format!("key={}&next=/runs", keys[1])).send(world.addr).await;
    assert_eq!((login.status, login.header("location")), (303, Some("/runs")));
    let cookie = login.header("set-cookie").unwrap().to_owned();
    assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    move |ask, who| match who {
        Who::Nobody => ask,
        Who::Wrong => {
            ask.with("authorization", format!("Bearer {}", admin.replace("sxt_", "sxt_0")))
        }
        Who::Foreign => ask.with("authorization", "Bearer sk-unused"),
        Who::Reader => ask.with("authorization", format!("Bearer {}", keys[0])),
        Who::Writer => ask.with("authorization", format!("Bearer {}", keys[1])),
        Who::Admin => ask.with("authorization", format!("bearer {admin}")),
        Who::Cookie => ask.with("cookie", format!("a=b; {cookie}")),
        Who::Proxied => ask.with("x-forwarded-for", "10.0.0.9"),
    }
}

/// One route of each policy, and what each caller gets: public, read, write, admin.
#[tokio::test]
async fn the_matrix_of_callers_and_policies() {
    use AuthMode::{Required, TrustedLoopback};
    #[rustfmt::skip]
    let table = [
        (Required,        Who::Nobody,  [200, 401, 401, 401]),
        (Required,        Who::Wrong,   [200, 401, 401, 401]),
        (Required,        Who::Foreign, [200, 401, 401, 401]),
        (Required,        Who::Reader,  [200, 200, 403, 403]),
        (Required,        Who::Writer,  [200, 200, 303, 403]),
        (Required,        Who::Admin,   [200, 200, 303, 200]),
        (Required,        Who::Cookie,  [200, 200, 303, 403]),
        (Required,        Who::Proxied, [200, 401, 401, 401]),
        (TrustedLoopback, Who::Nobody,  [200, 200, 303, 200]),
        (TrustedLoopback, Who::Wrong,   [200, 401, 401, 401]),
        (TrustedLoopback, Who::Foreign, [200, 200, 303, 200]),
        (TrustedLoopback, Who::Reader,  [200, 200, 403, 403]),
        (TrustedLoopback, Who::Writer,  [200, 200, 303, 403]),
        (TrustedLoopback, Who::Admin,   [200, 200, 303, 200]),
        (TrustedLoopback, Who::Proxied, [200, 401, 401, 401]),
    ];
    for mode in [Required, TrustedLoopback] {
        let world = World::new(mode, Fake::default()).await;
        let dress = credentials(&world).await;
        for (_, who, expected) in table.iter().filter(|(row, _, _)| *row == mode) {
            let asks = [
                Ask::get("/livez"),
                Ask::get("/v1/models"),
                Ask::form("/releases/rollback", "release=assistant"),
                Ask::get("/api/v1/keys"),
            ];
            for (ask, expected) in asks.into_iter().zip(expected) {
                let path = ask.path;
                let reply = dress(ask, *who).send(world.addr).await;
                assert_eq!(reply.status, *expected, "{mode:?} {who:?} {path}\n{}", reply.body);
            }
        }
    }
}

/// Nothing in the table that is not public is reachable without a key, whatever its method.
#[tokio::test]
async fn every_route_keeps_its_policy() {
    let world = World::new(AuthMode::Required, Fake::default()).await;
    for route in route_table() {
        let path: String = route.path.replace("{*", "{").replace(['{', '}'], "");
        let mut ask = Ask::get(&path);
        ask.method = route.method.as_str();
        let reply = ask.send(world.addr).await;
        let turned_away = reply.status == 401
            || (reply.status == 303
                && reply.header("location").is_some_and(|to| to.starts_with("/login?next=")));
        let public = route.policy == Policy::Public;
        assert_eq!(
            turned_away,
            !public && path != "/logout",
            "{} {path}: {}",
            route.method,
            reply.status
        );
        assert!(reply.header("content-security-policy").is_some(), "{path}");
        assert_eq!(reply.header("x-frame-options"), Some("DENY"));
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn operations_need_roles_of_their_own() {
    let world = World::new(AuthMode::Required, Fake::default()).await;
    let dress = credentials(&world).await;
    #[rustfmt::skip]
    let table = [
        (Who::Reader, json!({ "op": "status" }), 200),
        (Who::Reader, json!({ "op": "build", "select": [] }), 403),
        (Who::Writer, json!({ "op": "build", "select": [] }), 200),
        (Who::Writer, json!({ "op": "release_promote", "digest": "x" }), 200),
        (Who::Writer, json!({ "op": "release_promote", "digest": "x", "force": "because" }), 403),
        (Who::Writer, json!({ "op": "nobody_thought_of_it" }), 403),
        (Who::Admin,  json!({ "op": "nobody_thought_of_it" }), 200),
        (Who::Admin,  json!({ "no": "op" }), 400),
    ];
    for (who, op, expected) in table {
        let reply = dress(Ask::post("/api/v1/ops", &op), who).send(world.addr).await;
        assert_eq!(reply.status, expected, "{who:?} {op} {}", reply.body);
    }
}

#[tokio::test]
async fn a_revoked_key_and_a_closed_session_are_out_at_once() {
    let world = World::new(AuthMode::Required, Fake::default()).await;
    let admin = format!("Bearer {}", world.admin_key());
    let dress = credentials(&world).await;
    let keys = Ask::get("/api/v1/keys").with("authorization", &admin).send(world.addr).await.json();
    let id = keys["keys"][2]["id"].as_str().unwrap();
    let path = format!("/api/v1/keys/{id}");
    let mut ask = Ask::get(&path).with("authorization", &admin);
    ask.method = "DELETE";
    assert_eq!(ask.send(world.addr).await.status, 200);
    for who in [Who::Writer, Who::Cookie] {
        assert_eq!(
            dress(Ask::get("/v1/models"), who).send(world.addr).await.status,
            401,
            "{who:?}"
        );
    }
}

#[tokio::test]
async fn strangers_are_refused_before_anything_else() {
    let world = World::open().await;
    let build = json!({ "op": "build" });
    for (ask, expected) in [
        (Ask::get("/").with("host", "evil.example"), 403),
        (Ask::get("/livez").with("host", "127.0.0.1.evil.example"), 403),
        (Ask::get("/livez").with("host", "box.example:80"), 200),
        (Ask::post("/api/v1/ops", &build).with("origin", "http://evil.example"), 403),
        (Ask::post("/api/v1/ops", &build).with("origin", "null"), 403),
        (Ask::post("/api/v1/ops", &build).with("sec-fetch-site", "cross-site"), 403),
        (Ask::post("/api/v1/ops", &build).with("sec-fetch-site", "same-origin"), 200),
        (
            Ask::form("/releases/rollback", "release=assistant")
                .with("sec-fetch-site", "cross-site"),
            403,
        ),
    ] {
        let (path, headers) = (ask.path, format!("{:?}", ask.headers));
        let reply = ask.send(world.addr).await;
        assert_eq!(reply.status, expected, "{path} {headers} {}", reply.body);
        if expected == 403 {
            assert_eq!(reply.code(), "SXT-7012");
        }
    }
    // What a page could send without asking first is not JSON.
    let mut plain = Ask::post("/api/v1/ops", &build);
    plain.headers = vec![("content-type", "text/plain".to_owned())];
    assert_eq!(plain.send(world.addr).await.status, 400);
}

#[tokio::test]
async fn bodies_and_heads_have_bounds() {
    let world = World::open().await;
    let big = format!("{{\"model\":\"{}\"}}", "x".repeat(5 << 20));
    let deep = format!("{{\"op\":{}{}}}", "[".repeat(65), "]".repeat(65));
    let mut announced = Ask::post("/api/v1/ops", "{}");
    announced.headers.push(("content-length", "999999999".to_owned()));
    for (ask, status) in [
        (Ask::post("/v1/chat/completions", big), 413),
        (announced, 413),
        (Ask::post("/api/v1/ops", deep), 400),
        (Ask::post("/api/v1/ops", "{not json"), 400),
        (Ask::form("/login", &"k=v&".repeat(10_000)), 413),
        (Ask::get("/livez").with("x-long", "x".repeat(40_000)), 431),
    ] {
        let path = ask.path;
        let reply = ask.send(world.addr).await;
        assert_eq!(reply.status, status, "{path} {}", reply.body);
    }
    let many = (0..150).fold(Ask::get("/livez"), |ask, _| ask.with("x-a", "b"));
    assert_eq!(many.send(world.addr).await.status, 431);
}

#[tokio::test]
async fn unknown_paths_methods_and_defects_have_codes() {
    let world = World::open().await;
    let reply = Ask::get("/nowhere").send(world.addr).await;
    assert_eq!((reply.status, reply.code().as_str()), (404, "SXT-7020"));
    let mut ask = Ask::get("/v1/models");
    ask.method = "OPTIONS";
    assert_eq!(ask.send(world.addr).await.status, 405, "there is no CORS preflight");
    // The fake panics on `doctor`.
    let reply = Ask::post("/api/v1/ops", json!({ "op": "doctor" })).send(world.addr).await;
    let last: serde_json::Value = serde_json::from_str(reply.body.lines().last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "SXT-7040");
    assert_eq!(Ask::get("/livez").send(world.addr).await.status, 200);
}

#[tokio::test]
async fn the_server_refuses_to_be_exposed_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let start = |addr: &str, auth| {
        let config = ServerConfig {
            addr: addr.parse().unwrap(),
            data_dir: folder.path().to_owned(),
            auth,
            allowed_hosts: Vec::new(),
        };
        serve(config, std::sync::Arc::new(Fake::default()))
    };
    let error = start("0.0.0.0:0", AuthMode::TrustedLoopback).await.err().unwrap();
    assert!(matches!(error, ServerError::Exposed { .. }), "{error}");
    let first = start("127.0.0.1:0", AuthMode::TrustedLoopback).await.unwrap();
    let error = start(&first.addr.to_string(), AuthMode::TrustedLoopback).await.err().unwrap();
    assert!(error.to_string().contains("Sextant server of this project"), "{error}");
    assert!(start("0.0.0.0:0", AuthMode::Required).await.is_ok());
}

#[tokio::test]
async fn the_discovery_file_comes_and_goes_and_streams_are_drained() {
    let world = World::open().await;
    let found = Discovery::read(world.folder.path()).unwrap();
    assert_eq!((found.pid, found.addr), (std::process::id(), world.addr));
    let body = json!({ "model": "assistant", "stream": true, "messages": [{ "role": "user", "content": "slowly please" }] });
    let mut stream = Ask::post("/v1/chat/completions", body).begin(world.addr).await;
    let mut first = [0_u8; 64];
    stream.read_exact(&mut first).await.unwrap();
    let World { addr, folder, running, .. } = world;
    let stop = tokio::spawn(running.shutdown());
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("data: [DONE]"), "the stream was finished: {rest}");
    stop.await.unwrap();
    assert!(Discovery::read(folder.path()).is_none());
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_reader_that_leaves_stops_what_only_reads() {
    let world = World::open().await;
    // `search` is slow in the fake until it is cancelled.
    let ask = Ask::post("/api/v1/ops", json!({ "op": "search" }));
    let mut stream = ask.begin(world.addr).await;
    let mut head = [0_u8; 16];
    stream.read_exact(&mut head).await.unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200"));
    drop(stream);
    for _ in 0..250 {
        if world.fake.cancelled.load(std::sync::atomic::Ordering::SeqCst) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the operation was not cancelled");
}

#[test]
fn codes_are_ours_and_differ() {
    let mut numbers: Vec<u16> = CODES.iter().map(|code| code.number).collect();
    assert!(numbers.iter().all(|number| (7000..8000).contains(number)));
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), CODES.len());
}

/// Sending records changes something: a reader may not. A full source says when to come again.
#[tokio::test]
async fn records_are_taken_from_writers() {
    let world = World::new(AuthMode::Required, Fake::default()).await;
    let with = credentials(&world).await;
    for (path, who, status) in [
        ("/ingest/orders", Who::Nobody, 401),
        ("/ingest/orders", Who::Reader, 403),
        ("/ingest/orders", Who::Writer, 200),
        ("/ingest/none", Who::Writer, 404),
        ("/ingest/full", Who::Writer, 429),
    ] {
        let reply = with(Ask::post(path, json!({ "n": 1 })), who).send(world.addr).await;
        assert_eq!(reply.status, status, "{path} {who:?}: {}", reply.body);
        assert_eq!(reply.header("retry-after").is_some(), status == 429);
        if status == 200 {
            assert_eq!(reply.json(), json!({ "accepted": 7, "offset": 7 }));
        }
    }
    let long = with(Ask::post("/ingest/orders", "{}"), Who::Writer);
    let reply = long.with("idempotency-key", "k".repeat(300)).send(world.addr).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "SXT-7022"));
}

/// Clients of MLflow search by POST, which a reader may; what changes something takes a writer. What is
/// unknown is never answered in JSON, by which they would take it for a call that there is.
#[tokio::test]
async fn mlflow_clients_may_what_their_key_may() {
    let world = World::new(AuthMode::Required, Fake::default()).await;
    let with = credentials(&world).await;
    for (method, call, who, status) in [
        ("POST", "/api/2.0/mlflow/echo", Who::Nobody, 401),
        ("GET", "/api/2.0/mlflow/echo", Who::Nobody, 401),
        ("POST", "/api/2.0/mlflow/echo", Who::Reader, 403),
        ("GET", "/api/2.0/mlflow/echo?a=1&b=x&b=y", Who::Reader, 200),
        ("POST", "/api/2.0/mlflow/echo", Who::Writer, 200),
        ("POST", "/api/2.0mlflow/echo", Who::Nobody, 401),
        ("POST", "/api/2.0/mlflow/refused", Who::Writer, 404),
        ("GET", "/api/2.0/mlflow/refused", Who::Reader, 405),
        ("POST", "/api/2.0/mlflow/runs/search", Who::Reader, 404),
        ("GET", "/api/2.0/mlflow/none", Who::Reader, 404),
    ] {
        let ask = match method {
            "GET" => Ask::get(call),
            _ => Ask::post(call, json!({ "a": 1 })),
        };
        let reply = with(ask, who).send(world.addr).await;
        assert_eq!(reply.status, status, "{method} {call} {who:?}: {}", reply.body);
        let is_page = call.ends_with("/none") || call.ends_with("/search") || status == 405;
        let kind = reply.header("content-type").unwrap_or_default();
        assert_eq!(kind.starts_with("text/html"), is_page, "{method} {call} {who:?}: {kind}");
        if call.contains("?a=1") {
            assert_eq!(reply.json(), json!({ "a": "1", "b": ["x", "y"] }));
        }
    }
    let plain = with(Ask::post("/api/2.0/mlflow/echo", "text"), Who::Writer);
    let reply = plain.with("content-type", "text/plain").send(world.addr).await;
    assert_eq!(reply.status, 400, "{}", reply.body);
    for (path, said) in [("/health", "OK"), ("/version", "3.17.2")] {
        let reply = with(Ask::get(path), Who::Nobody).send(world.addr).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, said));
    }
}

/// Spans are taken from writers, read as their headers say, and refused in MLflow's words.
#[tokio::test]
async fn spans_are_taken_from_writers() {
    let world = World::new(AuthMode::Required, Fake::default()).await;
    let with = credentials(&world).await;
    let (json, protobuf) = ("application/json", "application/x-protobuf");
    let spans = r#"{"spans":1}"#;
    for (who, experiment, kind, coding, body, status, said) in [
        (Who::Nobody, "0", json, "", spans, 401, ""),
        (Who::Reader, "0", json, "", spans, 403, ""),
        (Who::Writer, "0", json, "", spans, 200, ""),
        (Who::Writer, "0", "application/json; charset=utf-8", "identity", spans, 200, ""),
        (Who::Writer, "0", protobuf, "", "spans", 200, ""),
        (Who::Writer, "", json, "", spans, 422, "Field required"),
        (Who::Writer, "9", json, "", spans, 404, "RESOURCE_DOES_NOT_EXIST"),
        (Who::Writer, "0", "text/plain", "", spans, 400, "Invalid Content-Type: text/plain."),
        (Who::Writer, "0", json, "", "{", 400, "Invalid OpenTelemetry format"),
        (Who::Writer, "0", json, "br", spans, 400, "Unsupported Content-Encoding: br"),
        (Who::Writer, "0", protobuf, "gzip", "no", 400, "Failed to decompress gzip payload"),
        (Who::Writer, "0", protobuf, "deflate", "no", 400, "Failed to decompress deflate payload"),
    ] {
        let mut ask = Ask::post("/v1/traces", body);
        ask.headers = vec![("content-type", kind.to_owned())];
        for (name, value) in [("x-mlflow-experiment-id", experiment), ("content-encoding", coding)]
        {
            if !value.is_empty() {
                ask = ask.with(name, value);
            }
        }
        let reply = with(ask, who).send(world.addr).await;
        let told = format!("{who:?} {kind} {coding} {body}: {} {}", reply.status, reply.body);
        assert!(reply.status == status && reply.body.contains(said), "{told}");
        if status == 200 {
            assert_eq!((reply.header("content-type"), reply.body.as_str()), (Some(protobuf), ""));
        }
    }
}

#[tokio::test]
async fn only_admins_see_who_keeps_a_version() {
    let world = World::new(AuthMode::Required, Fake::default()).await;
    let with = credentials(&world).await;
    for (who, sees) in [(Who::Reader, false), (Who::Writer, false), (Who::Admin, true)] {
        let reply = with(Ask::get("/tables/sections"), who).send(world.addr).await;
        assert_eq!((reply.status, reply.body.contains("release assistant")), (200, sees));
    }
}

#[tokio::test]
async fn only_writers_put_a_quarantine_through_again() {
    let world = World::new(AuthMode::Required, Fake::default()).await;
    let with = credentials(&world).await;
    for (who, status, sees) in [(Who::Reader, 403, false), (Who::Writer, 303, true)] {
        let page = with(Ask::get("/sources/orders"), who).send(world.addr).await;
        assert_eq!(page.body.contains("Put through again"), sees);
        let reply = with(Ask::form("/sources/orders/replay", ""), who).send(world.addr).await;
        assert_eq!(reply.status, status, "{who:?}");
    }
}
