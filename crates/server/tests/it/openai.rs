//! Does an OpenAI client get what it expects?

use serde_json::{Value, json};
use sextant_core::ActivityId;

use crate::{World, client::Ask, fake::digest};

fn question(text: &str, stream: bool) -> Value {
    json!({ "model": "assistant", "stream": stream, "messages": [{ "role": "user", "content": text }] })
}

fn events(body: &str) -> Vec<&str> {
    body.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect()
}

#[tokio::test]
async fn an_answer_that_does_not_stream() {
    let world = World::open().await;
    let reply = Ask::post("/v1/chat/completions", question("how?", false)).send(world.addr).await;
    let body = reply.json();
    assert_eq!(reply.status, 200, "{body}");
    assert_eq!(body["object"], "chat.completion");
    let id = body["id"].as_str().unwrap();
    assert!(id.parse::<ActivityId>().is_ok());
    assert_eq!(reply.header("x-sextant-answer-id"), Some(id));
    assert_eq!(reply.header("x-sextant-release"), Some(digest("r2").as_str()));
    let message = &body["choices"][0]["message"];
    assert!(message["content"].as_str().unwrap().contains("[1]"));
    assert_eq!(message["sextant"]["citations"][0]["n"], 1);
    assert_eq!(message["sextant"]["id"], id);
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let usage = &body["usage"];
    let sum =
        usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], sum);
}

#[tokio::test]
async fn a_stream_has_one_id_and_ends_with_done() {
    let world = World::open().await;
    let mut body = question("how?", true);
    body["stream_options"] = json!({ "include_usage": true });
    let reply = Ask::post("/v1/chat/completions", body).send(world.addr).await;
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    let events = events(&reply.body);
    assert_eq!(events.last(), Some(&"[DONE]"));
    let chunks: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|event| serde_json::from_str(event).unwrap())
        .collect();
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let id = reply.header("x-sextant-answer-id").unwrap();
    assert!(
        chunks.iter().all(|chunk| chunk["id"] == id && chunk["object"] == "chat.completion.chunk")
    );
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert!(text.starts_with("To undo a release") && text.ends_with("[2]."), "{text}");
    let end = &chunks[chunks.len() - 2];
    assert_eq!(end["choices"][0]["finish_reason"], "stop");
    assert_eq!(end["sextant"]["answer"], text);
    let usage = chunks.last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["total_tokens"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn failures_of_a_stream() {
    let world = World::open().await;
    // Before the first word: an ordinary error.
    let reply =
        Ask::post("/v1/chat/completions", question("fail at once", true)).send(world.addr).await;
    assert_eq!((reply.status, reply.code().as_str()), (500, "SXT-9500"));
    // After it: an error event and no [DONE].
    for (text, code) in [("fail midway", "SXT-9500"), ("defect", "SXT-7040")] {
        let reply = Ask::post("/v1/chat/completions", question(text, true)).send(world.addr).await;
        assert_eq!(reply.status, 200);
        let events = events(&reply.body);
        let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
        assert_eq!(last["error"]["code"], code, "{text}");
        assert_eq!(last["error"]["type"], "server_error");
    }
}

#[tokio::test]
async fn requests_that_are_refused() {
    let world = World::open().await;
    let said = |field: &str, value: Value| {
        let mut body = question("how?", false);
        body[field] = value;
        body
    };
    #[rustfmt::skip]
    let table = [
        (said("model", json!("nobody")), 404, "model", "model_not_found"),
        (said("n", json!(3)), 400, "n", "SXT-7022"),
        (said("tools", json!([{ "type": "function" }])), 400, "tools", "SXT-7022"),
        (said("messages", json!([])), 400, "messages", "SXT-7022"),
        (said("messages", json!([{ "role": "assistant", "content": "hi" }])), 400, "messages", "SXT-7022"),
        (said("messages", json!([{ "role": "user", "content": " " }])), 400, "messages", "SXT-7022"),
        (said("messages", json!([{ "role": "user", "content": "x".repeat(20_000) }])), 400, "messages", "SXT-7022"),
        (said("messages", json!([{ "role": "user", "content": [{ "type": "image_url" }] }])), 400, "messages", "SXT-7022"),
    ];
    for (body, status, param, code) in table {
        let reply = Ask::post("/v1/chat/completions", &body).send(world.addr).await;
        let error = &reply.json()["error"];
        assert_eq!(reply.status, status, "{body} {error}");
        assert_eq!(
            (error["param"].as_str(), error["code"].as_str()),
            (Some(param), Some(code)),
            "{body}"
        );
        assert!(error["message"].is_string() && error["type"].is_string());
    }
}

#[tokio::test]
async fn models_are_releases() {
    let world = World::open().await;
    let list = Ask::get("/v1/models").send(world.addr).await.json();
    assert_eq!((&list["object"], &list["data"][0]["id"]), (&json!("list"), &json!("assistant")));
    assert_eq!(Ask::get("/v1/models/assistant@sha256:abc").send(world.addr).await.status, 200);
    assert_eq!(Ask::get("/v1/models/nobody").send(world.addr).await.code(), "model_not_found");
}

#[tokio::test]
async fn operations_stream_their_events() {
    let world = World::open().await;
    let reply = Ask::post("/api/v1/ops", json!({ "op": "build" })).send(world.addr).await;
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> =
        reply.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["event"], "step_started");
    assert_eq!(lines.last().unwrap()["result"]["built"], 2);
    let reply = Ask::post("/api/v1/ops", json!({ "op": "nothing" })).send(world.addr).await;
    let error = &reply.json()["error"];
    assert_eq!((&error["code"], &error["exit"]), (&json!("SXT-9404"), &json!(4)));
    let why = Ask::get("/api/v1/answers/last/why").send(world.addr).await;
    assert_eq!(why.json()["kind"], "answer");
}
