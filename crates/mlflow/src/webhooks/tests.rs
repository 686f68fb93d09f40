//! Does what happened reach those who want to be told, signed, again when it fails, and also after a
//! restart?

#![allow(clippy::unwrap_used)]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use super::{Message, NotPosted, Post, Posted, events::Event};
use crate::tests::Bench;

/// Takes down what is sent, and answers as it is told to; with 200 when it was told nothing.
#[derive(Debug, Default)]
struct Memory {
    sent: Mutex<Vec<Message>>,
    replies: Mutex<VecDeque<Result<Posted, NotPosted>>>,
}

impl Memory {
    fn on(bench: &Bench) -> Arc<Self> {
        let memory = Arc::new(Self::default());
        bench.mlflow.plug(memory.clone());
        memory
    }

    fn replies(&self, status: u16) {
        self.replies.lock().unwrap().push_back(Ok(Posted { status, body: "said".to_owned() }));
    }

    fn bodies(&self) -> Vec<Value> {
        let sent = self.sent.lock().unwrap();
        sent.iter().map(|message| serde_json::from_str(&message.body).unwrap()).collect()
    }
}

impl Post for Memory {
    fn check(&self, url: &str) -> Result<(), String> {
        if url.starts_with("https://") { Ok(()) } else { Err("not there".to_owned()) }
    }

    fn post(&self, message: &Message) -> Result<Posted, NotPosted> {
        self.sent.lock().unwrap().push(message.clone());
        let reply = self.replies.lock().unwrap().pop_front();
        reply.unwrap_or(Ok(Posted { status: 200, body: String::new() }))
    }
}

fn hook(bench: &Bench, events: &[(&str, &str)], secret: &str) -> String {
    let events: Vec<Value> = events
        .iter()
        .map(|(entity, action)| json!({ "entity": entity, "action": action }))
        .collect();
    let fields = json!({ "name": "a", "url": "https://x/", "events": events, "secret": secret });
    let made = bench.good("POST", "webhooks", fields);
    assert!(!made.to_string().contains("sesame"), "the secret is not shown");
    made["webhook"]["webhook_id"].as_str().unwrap().to_owned()
}

fn register(bench: &Bench, name: &str) {
    bench.good("POST", "registered-models/create", json!({ "name": name }));
}

#[test]
fn what_happened_is_told_as_mlflow_tells_it() {
    let bench = Bench::new();
    let memory = Memory::on(&bench);
    let all = [
        ("REGISTERED_MODEL", "CREATED"),
        ("MODEL_VERSION", "CREATED"),
        ("MODEL_VERSION_TAG", "SET"),
        ("MODEL_VERSION_TAG", "DELETED"),
        ("MODEL_VERSION_ALIAS", "CREATED"),
        ("MODEL_VERSION_ALIAS", "DELETED"),
    ];
    hook(&bench, &all, "");
    register(&bench, "cats");
    let version =
        json!({ "name": "cats", "version": "1", "key": "k", "value": "v", "alias": "best" });
    for (method, path, fields, event, data) in [
        (
            "POST",
            "model-versions/create",
            json!({ "name": "cats", "source": "s3://a/b" }),
            "model_version.created",
            json!({ "name": "cats", "version": "1", "tags": {}, "description": null,
                    "source": "s3://a/b", "run_id": null }),
        ),
        (
            "POST",
            "model-versions/set-tag",
            version.clone(),
            "model_version_tag.set",
            json!({ "name": "cats", "version": "1", "key": "k", "value": "v" }),
        ),
        (
            "DELETE",
            "model-versions/delete-tag",
            version.clone(),
            "model_version_tag.deleted",
            json!({ "name": "cats", "version": "1", "key": "k" }),
        ),
        (
            "POST",
            "registered-models/alias",
            version.clone(),
            "model_version_alias.created",
            json!({ "name": "cats", "alias": "best", "version": "1" }),
        ),
        (
            "DELETE",
            "registered-models/alias",
            version,
            "model_version_alias.deleted",
            json!({ "name": "cats", "alias": "best" }),
        ),
    ] {
        bench.mlflow.deliver_due().unwrap();
        bench.good(method, path, fields);
        assert_eq!(bench.mlflow.deliver_due().unwrap(), 1, "{event}");
        let told = memory.bodies().pop().unwrap();
        let named =
            format!("{}.{}", told["entity"].as_str().unwrap(), told["action"].as_str().unwrap());
        assert_eq!((named.as_str(), &told["data"]), (event, &data));
    }
}

#[test]
fn a_message_is_signed_and_sent_again_until_it_is_taken_also_after_a_restart() {
    let bench = Bench::new();
    let memory = Memory::on(&bench);
    hook(&bench, &[("REGISTERED_MODEL", "CREATED")], "sesame");
    register(&bench, "cats");
    memory.replies(503);
    assert_eq!(bench.mlflow.deliver_due().unwrap(), 1);
    assert_eq!(bench.mlflow.deliver_due().unwrap(), 0, "not before its time");
    let bench = bench.again();
    let again = Memory::on(&bench);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(bench.mlflow.deliver_due().unwrap(), 1);
    assert_eq!(bench.mlflow.deliver_due().unwrap(), 0, "it was taken");
    let (first, second) =
        (memory.sent.lock().unwrap().remove(0), again.sent.lock().unwrap().remove(0));
    let header = |message: &Message, name: &str| {
        message.headers.iter().find(|(known, _)| *known == name).unwrap().1.clone()
    };
    assert_eq!(header(&first, "X-MLflow-Delivery-Id"), header(&second, "X-MLflow-Delivery-Id"));
    assert_eq!(first.body, second.body);
    assert_ne!(header(&first, "X-MLflow-Signature"), header(&second, "X-MLflow-Signature"));
}

#[test]
fn the_signature_is_mlflows() {
    // Made with Python's hmac: what MLflow's server signs of the same.
    let message = Message::new("https://x/", "sesame", "d-1", 1_700_000_000, "{}".to_owned());
    let (name, value) = message.headers.last().unwrap();
    assert_eq!(
        (*name, value.as_str()),
        ("X-MLflow-Signature", "v1,nwJOUq+CJKdgKEYrP3BbAuhrgMB7MfRZEjNe4nI9t/I=")
    );
    assert_eq!(Message::new("https://x/", "", "d", 1, String::new()).headers.len(), 3);
}

#[test]
fn what_cannot_arrive_is_given_up() {
    let bench = Bench::new();
    let memory = Memory::on(&bench);
    let id = hook(&bench, &[("REGISTERED_MODEL", "CREATED")], "");
    let given_up = || {
        let reader = bench.mlflow.store().read().unwrap();
        let rows = reader.query("SELECT given_up FROM outbox ORDER BY seq DESC LIMIT 1", &[]);
        rows.unwrap()[0].opt_text(0).unwrap().map(str::to_owned)
    };
    for (reply, told) in [
        (Ok(Posted { status: 410, body: String::new() }), Some("status 410")),
        (Ok(Posted { status: 302, body: String::new() }), None),
        (Err(NotPosted { reason: "guarded".to_owned(), again: false }), Some("guarded")),
        (Err(NotPosted { reason: "later".to_owned(), again: true }), None),
    ] {
        memory.replies.lock().unwrap().push_back(reply);
        register(&bench, &format!("m{}", memory.sent.lock().unwrap().len()));
        bench.mlflow.deliver_due().unwrap();
        assert_eq!(given_up().as_deref(), told);
    }
    bench.good("PATCH", &format!("webhooks/{id}"), json!({ "status": "DISABLED" }));
    register(&bench, "quiet");
    assert_eq!(bench.mlflow.deliver_due().unwrap(), 0, "who is disabled is owed nothing");
}

#[test]
fn a_webhook_is_tried_with_made_up_data_of_every_event() {
    let bench = Bench::new();
    let memory = Memory::on(&bench);
    let id = hook(&bench, &[("PROMPT_VERSION", "CREATED")], "");
    let path = format!("webhooks/{id}/test");
    memory.replies(404);
    let tried = bench.good("POST", &path, json!({}));
    let wanted = json!({ "success": false, "response_status": 404, "response_body": "said" });
    assert_eq!(tried["result"], wanted);
    for (name, keys) in [
        ("registered_model.created", "description name tags"),
        ("model_version.created", "description name run_id source tags version"),
        ("model_version_tag.set", "key name value version"),
        ("model_version_tag.deleted", "key name version"),
        ("model_version_alias.deleted", "alias name"),
        ("prompt.created", "description name tags"),
        ("prompt_version.created", "description name tags template version"),
        ("prompt_tag.set", "key name value"),
        ("prompt_tag.deleted", "key name"),
        ("prompt_version_tag.deleted", "key name version"),
        ("prompt_alias.created", "alias name version"),
    ] {
        let event = Event::named(name).unwrap().shown();
        bench.good("POST", &path, json!({ "event": event }));
        let told = memory.bodies().pop().unwrap();
        let mut found: Vec<&String> = told["data"].as_object().unwrap().keys().collect();
        found.sort();
        let found: Vec<&str> = found.into_iter().map(String::as_str).collect();
        assert_eq!(found.join(" "), keys, "{name}");
    }
}
