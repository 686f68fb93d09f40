//! Are traces kept and found? A case is a call or a filter, and what must come of it.

#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};
use sextant_lineage::{OpenOptions, Store};

use crate::{Found, Mlflow, Reply, SpansBody, find};

struct Bench {
    folder: tempfile::TempDir,
    mlflow: Mlflow,
}

fn open(folder: &std::path::Path) -> Mlflow {
    Mlflow::open(&Store::open(folder, OpenOptions::default()).unwrap()).unwrap()
}

/// The id of a trace of tests.
fn id(n: u8) -> String {
    format!("tr-{n:032x}")
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mlflow = open(folder.path());
        Self { folder, mlflow }
    }

    /// The same folder, opened by another process.
    fn again(self) -> Self {
        let Self { folder, mlflow } = self;
        drop(mlflow);
        let mlflow = open(folder.path());
        Self { folder, mlflow }
    }

    fn call(&self, method: &str, path: &str, fields: Value) -> (u16, Value) {
        let Found::Call(call, places) = find(method, &format!("3.0/mlflow/{path}")) else {
            panic!("there is no {method} {path}");
        };
        let fields = fields.as_object().unwrap();
        match call.answer(&self.mlflow, fields, &places, &mut std::io::empty()) {
            Ok(Reply::Said(body)) => (200, body),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => (refusal.status(), refusal.body()),
        }
    }

    fn good(&self, method: &str, path: &str, fields: Value) -> Value {
        let (status, body) = self.call(method, path, fields);
        assert_eq!(status, 200, "{method} {path}: {body}");
        body
    }

    /// Tells of a trace as a whole.
    fn start(&self, n: u8, more: Value) -> Value {
        let mut info = json!({
            "trace_id": id(n), "request_time": format!("2026-01-0{n}T00:00:00Z"), "state": "OK",
            "trace_location": { "mlflow_experiment": { "experiment_id": "0" } },
        });
        info.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.good("POST", "traces", json!({ "trace": { "trace_info": info } }))
    }

    fn otlp(&self, spans: &Value) -> Result<(), u16> {
        let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] });
        let taken = self.mlflow.take_spans("0", None, &SpansBody::Json(body));
        taken.map_err(|refused| refused.status())
    }

    fn spans(&self, spans: &Value) {
        self.otlp(spans).unwrap();
    }

    fn found(&self, filter: &str, order: &[&str]) -> String {
        let fields = json!({
            "locations": [{ "mlflow_experiment": { "experiment_id": "0" } }],
            "filter": filter, "order_by": order,
        });
        let body = self.good("POST", "traces/search", fields);
        let last = |trace: &Value| trace["trace_id"].as_str().unwrap()[34..].to_owned();
        let traces = body["traces"].as_array().cloned().unwrap_or_default();
        traces.iter().map(last).collect::<Vec<_>>().join(" ")
    }

    fn trace(&self, n: u8) -> Value {
        let asked = json!({ "trace_id": id(n), "allow_partial": true });
        self.good("GET", "traces/get", asked)["trace"].clone()
    }
}

/// A span as OTLP has it: its trace, its number, its parent's, its name, its attributes.
fn span(trace: u8, n: u8, parent: u8, name: &str, attributes: Value) -> Value {
    let attributes: Vec<Value> = attributes
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| match value {
            Value::Number(number) => json!({ "key": key, "value": { "intValue": number } }),
            text => json!({ "key": key, "value": { "stringValue": text } }),
        })
        .collect();
    let parent = if parent == 0 { String::new() } else { format!("{parent:016x}") };
    json!({
        "traceId": format!("{trace:032x}"), "spanId": format!("{n:016x}"), "parentSpanId": parent,
        "name": name, "startTimeUnixNano": u64::from(n) * 1_000_000_000,
        "endTimeUnixNano": u64::from(n + 1) * 1_000_000_000, "attributes": attributes,
        "status": { "code": if name == "broken" { 2 } else { 1 } },
    })
}

fn filled() -> Bench {
    let bench = Bench::new();
    let tags = |name: &str, colour: &str| json!({ "mlflow.traceName": name, "colour": colour });
    let session = json!({ "mlflow.trace.session": "s1" });
    bench.start(1, json!({ "tags": tags("answer", "red"), "trace_metadata": session }));
    bench.start(2, json!({ "tags": tags("answer two", "Blue"), "state": "ERROR" }));
    bench.start(
        3,
        json!({
            "trace_metadata": { "mlflow.trace.session": "s1", "mlflow.sourceRun": "r1" },
            "execution_duration": "2.5s", "client_request_id": "mine",
        }),
    );
    bench.spans(&json!([
        span(1, 1, 0, "root", json!({ "mlflow.spanInputs": "{\"q\": \"why?\"}", "rows": 5 })),
        span(1, 2, 1, "search", json!({ "mlflow.spanType": "RETRIEVER", "kind": "5 apples" })),
        span(2, 1, 0, "broken", json!({ "mlflow.spanOutputs": "because", "rows": 50 })),
    ]));
    let assess = |n: u8, name: &str, said: Value| {
        let mut assessment = json!({
            "assessment_name": name, "source": { "source_type": "HUMAN", "source_id": "anna" },
        });
        assessment.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        let path = format!("traces/{}/assessments", id(n));
        bench.good("POST", &path, json!({ "assessment": assessment }));
    };
    assess(1, "good", json!({ "feedback": { "value": true } }));
    assess(2, "score", json!({ "feedback": { "value": 0.5 } }));
    assess(2, "wanted", json!({ "expectation": { "value": "because" } }));
    let metadata = json!({ "mlflow.trace.session": "s1" });
    assess(3, "polite", json!({ "feedback": { "value": "yes" }, "metadata": metadata }));
    let link = json!({ "trace_ids": [id(1)], "run_id": "r1" });
    bench.good("POST", "traces/link-to-run", link);
    bench
}

#[test]
fn filters_find_what_mlflow_finds() {
    let bench = filled();
    for (filter, found) in [
        ("", "3 2 1"),
        ("status = 'ERROR'", "2"),
        ("trace.status IN ('OK', 'IN_PROGRESS')", "3 1"),
        ("timestamp_ms > 1767300000000 AND execution_time >= 2500", "3"),
        ("client_request_id = 'mine'", "3"),
        ("trace.name LIKE 'answer%'", "2 1"),
        ("name RLIKE 'wer$'", "1"),
        ("tag.colour = 'red'", "1"),
        ("tags.colour ILIKE 'BL%'", "2"),
        ("tag.colour IS NULL", "3"),
        ("metadata.`mlflow.trace.session` = 's1'", "3 1"),
        ("request_metadata.`mlflow.trace.session` RLIKE '^s[12]$'", "3 1"),
        ("run_id = 'r1'", "3 1"),
        ("span.name = 'search'", "1"),
        ("span.name IN ('search', 'broken')", "2 1"),
        ("span.name RLIKE '^bro'", "2"),
        ("span.type = 'RETRIEVER' AND span.name = 'search'", "1"),
        // Both must be true of one span.
        ("span.type = 'RETRIEVER' AND span.name = 'root'", ""),
        ("span.name = 'root' AND span.content LIKE '%why?%'", "1"),
        ("span.name = 'search' AND span.content LIKE '%why?%'", ""),
        ("span.content ILIKE '%BECAUSE%'", "2"),
        ("trace.text LIKE '%why%'", "1"),
        ("span.attributes.rows = '5'", "1"),
        ("span.attributes.rows LIKE '5%'", "2 1"),
        ("span.attributes.kind RLIKE '^5 a'", "1"),
        ("feedback.good = 'true'", "1"),
        ("feedback.score > 0.4", "2"),
        ("feedback.score > 0.5", ""),
        ("feedback.good IS NULL", "3 2"),
        ("expectation.wanted = 'because'", "2"),
        // What was said of a session.
        ("feedback.polite = 'yes'", "3 1"),
        ("prompt = 'greeting/1'", ""),
        ("issue.id = 'none'", ""),
    ] {
        assert_eq!(bench.found(filter, &[]), found, "{filter}");
    }
    for (order, found) in [
        (&["timestamp_ms ASC"][..], "1 2 3"),
        (&["execution_time_ms DESC"], "3 2 1"),
        (&["tag.colour"], "2 1 3"),
        (&["name DESC", "request_id"], "2 1 3"),
    ] {
        assert_eq!(bench.found("", order), found, "{order:?}");
    }
}

#[test]
fn what_is_no_filter_is_refused() {
    let bench = filled();
    for (filter, told) in [
        ("status = 'OK' OR status = 'ERROR'", "Invalid clause(s) in filter string: 'OR'"),
        ("colour = 'red'", "Invalid attribute key 'colour' specified."),
        ("things.a = 'b'", "Invalid entity type 'things'."),
        ("span.colour = 'red'", "Invalid span attribute 'colour'."),
        ("timestamp_ms > 'now'", "Expected numeric value type"),
        ("feedback.good > 'a'", "Expected a numeric value for feedback"),
        ("feedback.good = 1", "Expected a quoted string value for feedback"),
        ("prompt = 'greeting'", "Invalid prompts filter value"),
        ("name RLIKE '('", "the pattern of a filter"),
        ("tag.colour IN ('red')", "Invalid comparator 'IN'"),
        ("span.content = 'a'", "span.content comparator '='"),
    ] {
        let fields = json!({
            "locations": [{ "mlflow_experiment": { "experiment_id": "0" } }], "filter": filter,
        });
        let (status, body) = bench.call("POST", "traces/search", fields);
        let message = body["message"].as_str().unwrap_or_default();
        assert!(status == 400 && message.starts_with(told), "{filter}: {status} {message}");
    }
}

#[test]
fn spans_sent_again_count_once_and_are_there_after_a_crash() {
    let bench = Bench::new();
    let tokens = |n: i64| json!({ "gen_ai.usage.input_tokens": n });
    for _ in 0..2 {
        bench.spans(&json!([span(1, 2, 1, "child", tokens(3)), span(1, 3, 1, "other", tokens(4))]));
    }
    // The root comes last, and then the whole trace.
    assert_eq!(bench.trace(1)["trace_info"]["state"], "IN_PROGRESS");
    bench.spans(&json!([span(1, 1, 0, "root", json!({}))]));
    bench.spans(&json!([span(1, 2, 1, "child", tokens(5))]));
    let bench = bench.again();
    let trace = bench.trace(1);
    let names: Vec<&Value> =
        trace["spans"].as_array().unwrap().iter().map(|span| &span["name"]).collect();
    assert_eq!(names, ["root", "child", "other"]);
    let info = &trace["trace_info"];
    let told = &info["trace_metadata"]["mlflow.trace.tokenUsage"];
    assert_eq!(told, r#"{"input_tokens": 9, "output_tokens": 0, "total_tokens": 0}"#);
    assert_eq!((&info["state"], &info["execution_duration"]), (&json!("OK"), &json!("3s")));
    let started = bench.start(1, json!({ "execution_duration": "7s" }));
    let again = bench.start(1, json!({ "execution_duration": "7s" }));
    assert_eq!(started, again);
    // What was told of the trace as a whole stays.
    bench.spans(&json!([span(1, 9, 1, "late", json!({}))]));
    assert_eq!(bench.trace(1)["trace_info"]["execution_duration"], "7s");
    assert_eq!(bench.trace(1)["spans"].as_array().unwrap().len(), 4);
}

#[test]
fn what_is_deleted_does_not_come_back() {
    let bench = filled();
    let gone = json!({ "experiment_id": "0", "request_ids": [id(1)] });
    for count in [1, 0] {
        let told = bench.good("POST", "traces/delete-traces", gone.clone());
        assert_eq!(told, json!({ "traces_deleted": count }));
    }
    assert_eq!(bench.call("GET", &format!("traces/{}", id(1)), json!({})).0, 404);
    assert_eq!(bench.found("trace.text LIKE '%why%'", &[]), "");
    // A trace with the same id has none of the old spans, though the log holds them still.
    bench.spans(&json!([span(1, 5, 0, "new", json!({}))]));
    assert_eq!(bench.trace(1)["spans"].as_array().unwrap().len(), 1);
    assert_eq!(bench.found("trace.text LIKE '%why%'", &[]), "");
    let until = json!({ "experiment_id": "0", "max_timestamp_millis": i64::MAX, "max_traces": 10 });
    assert_eq!(bench.good("POST", "traces/delete-traces", until)["traces_deleted"], 3);
    assert_eq!(bench.found("", &[]), "");
}

#[test]
fn the_log_lets_go_of_what_is_deleted() {
    let bench = Bench::new();
    let segments = || {
        let files = std::fs::read_dir(bench.folder.path().join("log/spans")).unwrap();
        files.filter(|file| file.as_ref().unwrap().path().extension().unwrap() == "seg").count()
    };
    for n in 1..=7 {
        bench.spans(&json!([span(n, 1, 0, "large", json!({ "text": "x".repeat(3 << 20) }))]));
    }
    assert_eq!(segments(), 2);
    for (deleted, left) in [(2..=6, 2), (1..=1, 1)] {
        let ids: Vec<String> = deleted.map(id).collect();
        let gone = json!({ "experiment_id": "0", "request_ids": ids });
        bench.good("POST", "traces/delete-traces", gone);
        assert_eq!(segments(), left);
    }
    assert_eq!(bench.found("span.content LIKE '%xxx%'", &[]), "7");
}

#[test]
fn an_assessment_takes_the_place_of_another_and_gives_it_back() {
    let bench = filled();
    let path = format!("traces/{}/assessments", id(1));
    let assessments = || {
        let info = bench.good("GET", &format!("traces/{}", id(1)), json!({}));
        info["trace"]["trace_info"]["assessments"].clone()
    };
    let first = assessments()[0]["assessment_id"].clone();
    let sent = json!({ "assessment_name": "good", "feedback": { "value": 1 }, "overrides": first });
    let made = bench.good("POST", &path, json!({ "assessment": sent }))["assessment"].clone();
    assert_eq!((&made["feedback"]["value"], &made["valid"]), (&json!(1.0), &json!(true)));
    assert_eq!(assessments()[0]["valid"], false);
    assert_eq!(bench.found("feedback.good = 'true'", &[]), "");
    let one = format!("{path}/{}", made["assessment_id"].as_str().unwrap());
    let changed = json!({
        "assessment": { "feedback": { "value": "no" }, "metadata": { "a": "b" } },
        "update_mask": "feedback,metadata",
    });
    let changed = bench.good("PATCH", &one, changed)["assessment"].clone();
    assert_eq!(
        (&changed["feedback"]["value"], &changed["metadata"]["a"]),
        (&json!("no"), &json!("b"))
    );
    let wrong =
        json!({ "assessment": { "expectation": { "value": 1 } }, "update_mask": "expectation" });
    assert_eq!(bench.call("PATCH", &one, wrong).0, 400);
    for _ in 0..2 {
        bench.good("DELETE", &one, json!({}));
    }
    assert_eq!(assessments()[0]["valid"], true);
}

#[test]
fn bad_spans_are_refused_and_none_is_taken() {
    let bench = Bench::new();
    let fine = span(1, 1, 0, "fine", json!({}));
    let mut no_id = fine.clone();
    no_id["spanId"] = json!("");
    let mut long_id = fine.clone();
    long_id["traceId"] = json!("00".repeat(17));
    let large = span(1, 2, 1, "large", json!({ "text": "x".repeat(5 << 20) }));
    let many: Vec<Value> = vec![json!({}); 50_001];
    for (spans, status) in [
        (json!([fine, no_id]), 422),
        (json!([fine, long_id]), 422),
        (json!([fine, large]), 400),
        (json!(many), 413),
        (json!({}), 400),
    ] {
        assert_eq!(bench.otlp(&spans), Err(status));
    }
    assert_eq!(bench.found("", &[]), "");
    let body = SpansBody::Protobuf(b"hello".to_vec());
    assert_eq!(bench.mlflow.take_spans("0", None, &body).unwrap_err().status(), 400);
    let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [fine] }] }] });
    let elsewhere = bench.mlflow.take_spans("99", None, &SpansBody::Json(body));
    assert_eq!(elsewhere.unwrap_err().status(), 404);
}
