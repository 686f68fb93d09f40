//! A backend that answers with made-up, realistic JSON.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use sextant_core::{Cancel, Code, Event, Events, ExitKind, Explain, Failure, Place};
use sextant_server::{
    Backend, ChatRequest, IngestReply, IngestRequest, MlflowFile, MlflowReply, MlflowRequest,
    OtlpBody, OtlpReply, OtlpRequest, PinnedRelease,
};

#[derive(Default)]
pub struct Fake {
    /// A project in which nothing was ever built.
    pub empty: bool,
    /// Titles that try to break out of the page.
    pub hostile: bool,
    /// Whether a file that was sent broke off.
    pub broken_off: AtomicBool,
    /// Whether `slow` saw that it was cancelled.
    pub cancelled: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub &'static str, pub &'static Code);

pub static NOT_FOUND: Code =
    Code { number: 9404, kind: ExitKind::NotFound, title: "not there", help: "" };
pub static FAILED: Code =
    Code { number: 9500, kind: ExitKind::Failure, title: "it failed", help: "" };

impl Explain for Broken {
    fn code(&self) -> &'static Code {
        self.1
    }
    fn hint(&self) -> Option<String> {
        Some("look elsewhere".to_owned())
    }
    fn place(&self) -> Option<Place> {
        None
    }
}

pub fn digest(seed: &str) -> String {
    sextant_core::Digest::of(seed).to_string()
}

pub const NASTY: &str = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>";
const RUN_A: &str = "0193a7c2-1111-7abc-8def-0123456789ab";
const RUN_B: &str = "0193a7c2-2222-7abc-8def-0123456789cd";
pub const ANSWER: &str = "0193a7c2-3333-7abc-8def-0123456789ef";

/// name, kind, state, why, inputs
type Row = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);
const ASSETS: &[Row] = &[
    ("sources/manual", "files", "fresh", "nothing changed", &[]),
    (
        "models/sections",
        "sql",
        "stale",
        "input sources/manual has a new version",
        &["sources/manual"],
    ),
    ("checks/sections", "checks", "failed", "unique(chunk): 3 failing rows", &["models/sections"]),
    (
        "models/training_pairs",
        "sql",
        "stale",
        "input models/sections is stale",
        &["models/sections"],
    ),
    ("datasets/pairs", "dataset", "fresh", "nothing changed", &["models/training_pairs"]),
    ("train/embedder", "train", "held", "refresh is manual", &["datasets/pairs"]),
    ("prompts/answer", "prompt", "fresh", "nothing changed", &[]),
    ("indexes/manual", "index", "fresh", "nothing changed", &["models/sections", "train/embedder"]),
    ("evals/retrieval", "eval", "never", "never built", &["indexes/manual"]),
    (
        "agents/assistant",
        "agent",
        "fresh",
        "nothing changed",
        &["indexes/manual", "prompts/answer", "evals/retrieval"],
    ),
];

impl Fake {
    fn status(&self) -> Value {
        if self.empty {
            return json!({ "project": "empty", "assets": [], "releases": [], "counts": {}, "holes": 0 });
        }
        let assets: Vec<Value> = ASSETS
            .iter()
            .map(|(asset, kind, state, why, inputs)| {
                let version = (*state != "never").then(|| digest(asset));
                json!({ "asset": asset, "kind": kind, "state": state, "why": why, "version": version,
                    "built_at": version.is_some().then_some("2026-11-23T11:40:00Z"),
                    "tags": if *kind == "sql" { json!(["nightly"]) } else { json!([]) },
                    "description": if self.hostile { NASTY } else { "one asset of the example" },
                    "inputs": inputs })
            })
            .collect();
        let project = if self.hostile { NASTY } else { "sextant-demo" };
        json!({ "project": project, "assets": assets, "releases": self.releases_json(), "counts": {}, "holes": 1 })
    }

    fn releases_json(&self) -> Value {
        if self.empty {
            return json!([]);
        }
        let release = |seed: &str, live: bool, gate: &str, at: &str, reason: &str| {
            json!({ "name": "assistant", "digest": digest(seed), "created_at": at, "live": live, "gate": gate,
                "mode": "hybrid", "reason": if self.hostile { NASTY } else { reason },
                "parts": { "documents": digest("docs"), "model": digest("model"), "prompt": digest("prompt"),
                    "index": digest(seed), "evaluation": digest("eval"), "serving": null } })
        };
        json!([
            release(
                "r3",
                false,
                "refused",
                "2026-11-23T11:50:00Z",
                "retrieval.hybrid.ndcg@10 0.41 < 0.62 of bm25"
            ),
            release(
                "r2",
                true,
                "passed",
                "2026-11-23T11:40:00Z",
                "retrieval.hybrid.ndcg@10 0.71 > 0.62 of bm25"
            ),
            release(
                "r1",
                false,
                "passed",
                "2026-11-22T09:00:00Z",
                "retrieval.hybrid.ndcg@10 0.66 > 0.62 of bm25"
            ),
        ])
    }

    fn run_json(&self, id: &str, lift: f64) -> Value {
        let curve = |f: &dyn Fn(f64) -> f64| -> Vec<Value> {
            (0..300)
                .map(|step| {
                    let x = f64::from(step);
                    let noise = (x * 12.9898).sin() * 0.08 * (1.0 - x / 420.0);
                    json!([
                        step,
                        f(x) + noise,
                        1_763_900_000_000_000_i64 + i64::from(step) * 150_000
                    ])
                })
                .collect()
        };
        json!({ "id": id, "asset": "train/embedder", "status": "finished", "started_at": "2026-11-23T11:30:00Z",
            "seconds": 44.8, "params": { "hidden": 128, "layers": 2, "learning_rate": 0.001 * lift, "batch": 64 },
            "metrics": { "loss": 0.31 / lift, "accuracy": 0.84 }, "seed": 7, "dataset": digest("pairs"),
            "checkpoint": digest(id), "best": { "metric": "loss", "value": 0.29 / lift, "step": 280, "checkpoint": digest(id) },
            "curves": { "loss": curve(&|x| 3.2 * (-x / 70.0).exp() + 0.3 / lift), "pairs/s": curve(&|_| 812.0 * lift),
                "accuracy": curve(&|x| 0.9 - 0.85 * (-x / 60.0).exp()) },
            "machine": { "cpu": "2 cores", "memory_gb": 8 }, "code": { "commit": "a1b2c3d", "dirty": false, "binary": digest("bin") },
            "checkpoints": [ { "step": 150, "digest": digest("c1") }, { "step": 299, "digest": digest(id) } ] })
    }

    fn source_json(&self) -> Value {
        let words = |plain: &'static str| if self.hostile { NASTY } else { plain };
        json!({ "source": "sources/orders", "name": "orders", "kind": "kafka", "table": "orders", "uri": "kafka:orders",
            "file": "sources/orders.toml", "lands": "server", "description": words("what customers buy"),
            "rows": 90, "arrived": 120, "landed": 90, "waiting": 30, "replayed": 2, "per_minute": 412.4,
            "landed_at": "2026-11-23T11:40:00Z", "lag": 17,
            "error": { "code": "SXT-3040", "message": words("no broker of Kafka answers"), "at": "2026-11-23T11:30:00Z", "over": true },
            "partitions": [ { "partition": "orders-0", "landed": 811, "end": 829, "lag": 17 } ],
            "columns": [ { "name": "total", "type": "bigint", "origin": "file" } ],
            "commits": [ { "delta_version": 3, "at": "2026-11-23T11:40:00Z", "landed": 40, "quarantined": 2, "replayed": 0,
                "offsets": [ { "partition": "orders-0", "from": 770, "to": 811 } ] } ] })
    }

    fn why(&self) -> Value {
        let leaf = |kind: &str, label: &str| json!({ "id": digest(label), "kind": kind, "label": label, "detail": { "bytes": 4096 }, "holes": 0, "inputs": [] });
        let node = |kind: &str, label: &str, inputs: Vec<Value>| {
            let inputs: Vec<Value> =
                inputs.into_iter().map(|node| json!({ "edge": "used", "node": node })).collect();
            json!({ "id": digest(label), "kind": kind, "label": label, "detail": null, "at": "2026-11-23T11:40:00Z", "holes": 0, "inputs": inputs })
        };
        let mut seen = leaf("table_version", "models/sections");
        seen["seen"] = json!(true);
        let title = if self.hostile { NASTY } else { "How do I roll a release back?" };
        let training = node(
            "model_version",
            "train/embedder",
            vec![
                node(
                    "dataset_snapshot",
                    "datasets/pairs",
                    vec![node("table_version", "models/training_pairs", vec![seen])],
                ),
                leaf("code", "a1b2c3d"),
                leaf("opaque", "weights copied by hand"),
            ],
        );
        let chunk = node(
            "chunk",
            "releases.md › Rolling back",
            vec![node(
                "doc_version",
                "releases.md 120–480",
                vec![leaf("source_batch", "docs/releases.md")],
            )],
        );
        let release = node(
            "release",
            "assistant",
            vec![
                leaf("prompt_version", "prompts/answer"),
                node(
                    "index_snapshot",
                    "indexes/manual",
                    vec![
                        node(
                            "table_version",
                            "models/sections",
                            vec![leaf("source_batch", "docs/**/*.md")],
                        ),
                        training,
                    ],
                ),
                leaf("eval_report", "evals/retrieval"),
            ],
        );
        let mut root = node("answer", title, vec![chunk, release]);
        root["id"] = json!(ANSWER);
        root["detail"] = json!({ "question": title, "model": "extractive", "seconds": 0.021 });
        root
    }

    pub fn answer(&self, id: &str, question: &str) -> Value {
        json!({ "id": id, "question": question, "abstained": question.contains("weather"),
            "answer": "To undo a release, run `sextant rollback`: the pointer moves back in one transaction [1]. Requests in progress stay with the release they began with [2].",
            "citations": [
                { "n": 1, "chunk": digest("chunk-1"), "path": "guide/releases.md", "heading": "Rolling back",
                  "quote": "run `sextant rollback`: the pointer moves back in one transaction", "byte_start": 120, "byte_end": 480, "doc_version": digest("doc"), "score": 0.91 },
                { "n": 2, "chunk": digest("chunk-2"), "path": "guide/serving.md", "heading": "Pinned requests",
                  "quote": "Requests in progress stay with the release they began with", "byte_start": 10, "byte_end": 90, "doc_version": digest("doc2"), "score": 0.78 } ],
            "release": digest("r2"), "release_name": "assistant", "mode": "hybrid", "model": "extractive", "seconds": 0.021 })
    }

    fn build(&self, events: &dyn Events) -> Value {
        for step in ["sources/manual", "models/sections"] {
            events.emit(Event::StepStarted {
                step: step.to_owned(),
                why: "input changed".to_owned(),
            });
            events.emit(Event::Progress {
                step: step.to_owned(),
                done: 1,
                total: Some(2),
                detail: "half".to_owned(),
            });
            events.emit(Event::StepFinished {
                step: step.to_owned(),
                outcome: "built".to_owned(),
                detail: "27 rows".to_owned(),
                seconds: 0.2,
            });
        }
        json!({ "assets": [], "built": 2, "unchanged": 8, "failed": 0, "skipped": 0, "held": 1, "seconds": 0.4 })
    }
}

impl Fake {
    /// What is asked of tables and sources.
    fn data(&self, which: &str, op: &Value) -> Result<Value, Failure> {
        let text = |name: &str| op[name].as_str().unwrap_or_default().to_owned();
        let missing = || Err(Broken("there is no such thing", &NOT_FOUND).into());
        Ok(match which {
            "data_tables" if self.empty => json!({ "tables": [] }),
            "data_tables" => {
                json!({ "tables": [ { "name": "sections", "asset": "models/sections", "version": digest("v2"), "delta_version": 1, "rows": 2,
                "columns": [ { "name": "heading", "type": "text" } ], "built_at": "2026-11-23T11:40:00Z" } ] })
            }
            "data_history" => json!({ "asset": text("table"), "versions": [
                { "delta_version": 1, "version": digest("v2"), "at": "2026-11-23T11:40:00Z", "action": "build", "rows": 2, "tags": ["before-launch"] },
                { "delta_version": 0, "version": digest("v1"), "at": "2026-11-22T11:40:00Z", "action": "build", "rows": 1, "tags": [], "removed_at": "2026-11-23T11:50:00Z" } ] }),
            "data_show" if text("table").ends_with("@0") => return missing(),
            "data_show" => {
                json!({ "asset": "models/sections", "delta_version": 1, "version": digest("v2"), "total": 2,
                "columns": [ { "name": "heading", "type": "text" } ], "rows": [[if self.hostile { NASTY } else { "Rolling back" }], [null]], "truncated": false })
            }
            "data_gc" => {
                json!({ "dry_run": true, "held": [ { "asset": "models/sections", "delta_version": 1, "version": digest("v2"), "by": ["newest", "release assistant"] } ] })
            }
            "data_sources" if self.empty => json!({ "sources": [] }),
            "data_sources" => {
                json!({ "sources": [self.source_json(), { "source": "sources/manual", "name": "manual", "kind": "files", "table": "documents", "rows": 12, "lands": "build", "landed_at": "2026-11-23T11:40:00Z" }] })
            }
            "data_source" if text("source") != "sources/orders" => return missing(),
            "data_source" => self.source_json(),
            "data_quarantine" => {
                json!({ "source": text("source"), "waiting": 30, "replayed": 2, "more": true, "rows": [
                { "partition": "orders-0", "offset": 812, "rule": "type", "reason": "`total` must be bigint, not \"x\"", "format": "kafka",
                  "payload": if self.hostile { NASTY.to_owned() } else { "{\"value\":\"a\u{202e}b\"}".to_owned() }, "arrived_at": "2026-11-23T11:40:00Z" } ] })
            }
            "data_replay" => json!({ "tried": 3, "passed": 2, "failed": 1, "finished": 0 }),
            _ => return missing(),
        })
    }
}

impl Backend for Fake {
    fn run(&self, op: Value, events: &dyn Events, cancel: &Cancel) -> Result<Value, Failure> {
        let text = |name: &str| op[name].as_str().unwrap_or_default().to_owned();
        let missing = || Err(Broken("there is no such thing", &NOT_FOUND).into());
        Ok(match op["op"].as_str().unwrap_or_default() {
            "status" => self.status(),
            "release_list" => json!({ "releases": self.releases_json() }),
            "release_show" if !self.empty => self.releases_json()[1].clone(),
            "answers" if self.empty => json!({ "answers": [] }),
            "answers" => json!({ "answers": [
                { "id": ANSWER, "at": 1_763_898_000_000_000_i64, "question": if self.hostile { NASTY } else { "How do I roll a release back?" }, "answer": "To undo a release, run `sextant rollback`…", "release": digest("r2"), "abstained": false },
                { "id": RUN_B, "at": "2026-11-23T10:00:00Z", "question": "What is the weather?", "answer": "Nothing in the documents supports an answer.", "release": digest("r2"), "abstained": true } ] }),
            "versions" => json!({ "asset": text("asset"), "versions": [
                { "version": digest("v2"), "at": "2026-11-23T11:40:00Z", "activity": RUN_A, "recipe": digest("rec"), "inputs": [digest("i1")] },
                { "version": digest("v1"), "at": "2026-11-22T11:40:00Z", "activity": RUN_B, "recipe": digest("rec"), "inputs": [digest("i0")] } ] }),
            "why" if self.empty || text("id") == "missing" => return missing(),
            "why" => self.why(),
            "impact" => {
                json!({ "id": digest("x"), "kind": "chunk", "label": "releases.md", "outputs": [ { "edge": "used", "node": { "id": digest("r2"), "kind": "release", "label": "assistant" } } ],
                "answers": { "count": 12, "sample": [ { "id": ANSWER, "question": "How do I roll a release back?" } ] } })
            }
            "runs" if self.empty => json!({ "runs": [] }),
            "runs" => json!({ "runs": [ self.run_json(RUN_A, 1.0), self.run_json(RUN_B, 1.2) ] }),
            "best" => json!({ "run": RUN_B, "asset": "train/embedder", "metric": "loss",
                "value": 0.2417, "step": 280, "checkpoint": digest(RUN_B), "direction": "min", "compared": 2 }),
            "run" if text("id") == RUN_A => self.run_json(RUN_A, 1.0),
            "run" if text("id") == RUN_B => self.run_json(RUN_B, 1.2),
            "diff" => json!({ "a": text("a"), "b": text("b"), "changes": [
                { "part": "documents", "before": digest("docs1"), "after": digest("docs"), "kind": "changed", "detail": ["guide/releases.md changed", "guide/new.md added"] },
                { "part": "index", "before": digest("r1"), "after": digest("r2"), "kind": "changed", "detail": ["+4 −2 chunks"] },
                { "part": "model", "before": digest("model"), "after": digest("model"), "kind": "same", "detail": [] },
                { "part": "evaluation", "before": null, "after": digest("eval"), "kind": "added", "detail": [] } ] }),
            "passage" => {
                json!({ "chunk": text("chunk"), "path": "guide/releases.md", "heading": "Rolling back",
                "body": "Releases are pointers.\n\nWhen something is wrong, run `sextant rollback`: the pointer moves back in one transaction. Nothing is rebuilt.\n\nRequests in progress stay with the release they began with." })
            }
            data if data.starts_with("data_") => self.data(data, &op)?,
            "build" => self.build(events),
            "rollback" => json!({ "name": "assistant", "from": digest("r2"), "to": digest("r1") }),
            "release_promote" if text("digest") == digest("r3") => {
                return Err(Broken("the gate refused it", &FAILED).into());
            }
            "release_promote" => json!({}),
            "slow" | "search" => {
                for _ in 0..1000 {
                    if cancel.is_cancelled() {
                        self.cancelled.store(true, Ordering::SeqCst);
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                json!({})
            }
            "doctor" => panic!("a defect"),
            _ => return missing(),
        })
    }

    fn pin(&self, model: &str) -> Result<PinnedRelease, Failure> {
        match model.split('@').next() {
            Some("assistant") if !self.empty => {
                Ok(PinnedRelease { name: "assistant".to_owned(), digest: digest("r2") })
            }
            _ => Err(Broken("there is no release of this name", &NOT_FOUND).into()),
        }
    }

    fn chat(
        &self,
        request: ChatRequest,
        on_delta: &mut dyn FnMut(&str),
        cancel: &Cancel,
    ) -> Result<Value, Failure> {
        if request.question().contains("fail at once") {
            return Err(Broken("no generator", &FAILED).into());
        }
        let mut answer = self.answer(&request.answer_id.to_string(), request.question());
        if request.question().contains("weather") {
            answer["answer"] = json!("Nothing in the documents supports an answer.");
            answer["citations"] = json!([]);
        }
        for piece in answer["answer"].as_str().unwrap_or_default().split_inclusive(' ') {
            if cancel.is_cancelled() {
                self.cancelled.store(true, Ordering::SeqCst);
                break;
            }
            on_delta(piece);
            if request.question().contains("fail midway") {
                return Err(Broken("the generator broke", &FAILED).into());
            }
            if request.question().contains("defect") {
                panic!("a defect");
            }
            if request.question().contains("slowly") {
                std::thread::sleep(Duration::from_millis(40));
            }
        }
        Ok(answer)
    }

    fn mlflow(
        &self,
        request: &MlflowRequest,
        body: &mut dyn std::io::Read,
    ) -> Result<MlflowReply, Failure> {
        let said = |status, body| Ok(MlflowReply::Said { status, body });
        let call = request.path.rsplit('/').next().unwrap_or_default();
        match (request.method.as_str(), call) {
            ("POST", "echo") if !request.may_change => Ok(MlflowReply::Forbidden),
            ("GET" | "POST", "echo") => said(200, json!(request.fields)),
            ("PUT" | "POST", "file") => {
                let mut bytes = Vec::new();
                match body.read_to_end(&mut bytes) {
                    Ok(count) => Ok(MlflowReply::Taken { etag: count.to_string() }),
                    Err(_) => {
                        self.broken_off.store(true, Ordering::SeqCst);
                        said(400, json!({}))
                    }
                }
            }
            ("GET", "get-artifact") => Ok(MlflowReply::File(MlflowFile {
                name: "page \".html".to_owned(),
                media_type: "text/html",
                etag: "abc".to_owned(),
                bytes: if request.fields.contains_key("short") { 99 } else { 10 },
                content: Box::new(std::io::Cursor::new(b"<script>xy")),
            })),
            ("POST", "begin") => {
                said(200, json!({ "credentials": [{ "url": "/parts/1" }, { "url": "/parts/2" }] }))
            }
            ("POST", "refused") => said(404, json!({ "error_code": "RESOURCE_DOES_NOT_EXIST" })),
            (_, "refused") => Ok(MlflowReply::NoSuchCall { allowed: vec!["POST"] }),
            _ => match crate::logged::answer(request, self.hostile, self.empty) {
                Some((status, body)) => said(status, body),
                None => Ok(MlflowReply::NoSuchCall { allowed: Vec::new() }),
            },
        }
    }

    fn otlp(&self, request: OtlpRequest) -> Result<OtlpReply, Failure> {
        let refused = |status, body| Ok(OtlpReply::Refused { status, body });
        match (request.experiment.as_str(), request.body) {
            ("0", OtlpBody::Protobuf(bytes)) if bytes == b"spans" => Ok(OtlpReply::Taken),
            ("0", OtlpBody::Json(json)) if json == json!({ "spans": 1 }) => Ok(OtlpReply::Taken),
            ("0", body) => refused(400, json!({ "detail": format!("{body:?}") })),
            _ => refused(404, json!({ "error_code": "RESOURCE_DOES_NOT_EXIST" })),
        }
    }

    fn ingest(&self, request: &IngestRequest) -> Result<IngestReply, Failure> {
        match request.source.as_str() {
            "orders" => {
                Ok(IngestReply::Accepted { records: request.body.len() as u64, offset: Some(7) })
            }
            "full" => Ok(IngestReply::Full { waiting_bytes: 9, limit_bytes: 9 }),
            _ => Err(Broken("no such source", &NOT_FOUND).into()),
        }
    }

    fn releases(&self) -> Vec<String> {
        if self.empty { Vec::new() } else { vec!["assistant".to_owned()] }
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn metrics(&self) -> Vec<(String, String, f64)> {
        vec![("sextant_answers_total".to_owned(), "Answers recorded.".to_owned(), 12.0)]
    }

    fn manual(&self) -> Vec<(String, String)> {
        if self.empty {
            return Vec::new();
        }
        vec![
            ("index.md".to_owned(), "# Sextant\n\nFrom documents to *cited* answers. See [releases](guide/releases.md).\n\n## Start\n\n```\nsextant demo\n```\n\n| command | what |\n|---|---|\n| `build` | makes what is stale |\n\n<script>alert(1)</script>".to_owned()),
            ("guide/releases.md".to_owned(), "# Releases\n\nA release pins everything.\n\n## Rolling back\n\nRun `sextant rollback`.".to_owned()),
        ]
    }

    fn op_schema(&self) -> Value {
        json!({ "type": "object", "required": ["op"] })
    }
}
