//! Do calls answer as stock MLflow does? A case is a call, its fields, and what must be in the answer.

#![allow(clippy::unwrap_used, clippy::panic)]

mod best;
mod chain;
mod models;
mod table;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use serde_json::{Value, json};
use sextant_core::{Clock, SystemClock, Timestamp};
use sextant_lineage::{OpenOptions, Store};

use super::{Found, Mlflow, Reply, find};

pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) mlflow: Mlflow,
}

/// The clock, but another millisecond whenever it is asked: what comes later is later.
#[derive(Debug)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let now = SystemClock.now().micros();
        let next = |last: i64| now.max(last + 1000);
        let last =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        Timestamp::from_micros(next(last.unwrap_or_else(|last| last)))
    }
}

fn open(folder: &std::path::Path) -> Mlflow {
    let clock = Arc::new(Ticking(AtomicI64::default()));
    Mlflow::open(&Store::open(folder, OpenOptions { clock }).unwrap()).unwrap()
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mlflow = open(folder.path());
        Self { folder, mlflow }
    }

    /// The same folder, opened by another process.
    pub(crate) fn again(self) -> Self {
        let Self { folder, mlflow } = self;
        drop(mlflow);
        let mlflow = open(folder.path());
        Self { folder, mlflow }
    }

    pub(crate) fn call(&self, method: &str, path: &str, fields: Value) -> (u16, Value) {
        let Found::Call(call, places) = find(method, &format!("2.0/mlflow/{path}")) else {
            panic!("there is no {method} {path}");
        };
        let fields = fields.as_object().unwrap();
        match call.answer(&self.mlflow, fields, &places, &mut std::io::empty()) {
            Ok(Reply::Said(body)) => (200, body),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => (refusal.status(), refusal.body()),
        }
    }

    pub(crate) fn good(&self, method: &str, path: &str, fields: Value) -> Value {
        let (status, body) = self.call(method, path, fields);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) fn run(&self, name: &str, started: i64) -> String {
        let fields = json!({ "experiment_id": "0", "run_name": name, "start_time": started });
        let body = self.good("POST", "runs/create", fields);
        body["run"]["info"]["run_id"].as_str().unwrap().to_owned()
    }

    fn found(&self, filter: &str, order: &[&str]) -> Vec<String> {
        let fields = json!({ "experiment_ids": ["0"], "filter": filter, "order_by": order });
        let body = self.good("POST", "runs/search", fields);
        let runs = body["runs"].as_array().cloned().unwrap_or_default();
        let name = |run: &Value| run["info"]["run_name"].as_str().unwrap().to_owned();
        runs.iter().map(name).collect()
    }
}

/// Four runs as in the reference recordings.
fn filled() -> Bench {
    let bench = Bench::new();
    let ids: Vec<String> = [("alpha", 1000), ("beta", 2000), ("gamma_1", 3000), ("gamma%2", 3000)]
        .iter()
        .map(|(name, started)| bench.run(name, *started))
        .collect();
    let log = |run: &str, metrics: Value, params: Value, tags: Value| {
        let fields = json!({ "run_id": run, "metrics": metrics, "params": params, "tags": tags });
        bench.good("POST", "runs/log-batch", fields);
    };
    let acc = |value: Value, step: i64| json!({ "key": "acc", "value": value, "timestamp": step, "step": step });
    let lr = |value: &str| json!([{ "key": "lr", "value": value }]);
    let team = |value: &str| json!([{ "key": "team", "value": value }]);
    let loss = json!({ "key": "val/loss", "value": 1, "timestamp": 1, "step": 0 });
    log(&ids[0], json!([acc(json!(0.9), 0), acc(json!(0.5), 1), loss]), lr("0.1"), team("blue"));
    log(&ids[1], json!([acc(json!(0.7), 0)]), lr("0.01"), team("Red"));
    log(&ids[2], json!([acc(json!("NaN"), 0)]), lr("abc"), json!([]));
    log(&ids[3], json!([acc(json!("Infinity"), 0)]), json!([]), json!([]));
    bench
}

#[test]
fn filters_find_what_mlflow_finds() {
    let bench = filled();
    for (filter, found) in [
        ("", "gamma%2 gamma_1 beta alpha"),
        ("metrics.acc > 0.6", "gamma%2 beta"),
        ("metrics.acc <= 0.5", "alpha"),
        ("metrics.acc != 0.7", "gamma%2 gamma_1 alpha"),
        ("metrics.acc > -1", "gamma%2 beta alpha"),
        ("metric.acc > 6e-1", "gamma%2 beta"),
        ("metrics.`val/loss` < 2", "alpha"),
        ("metrics.\"val/loss\" < 2", "alpha"),
        ("params.lr = '0.1'", "alpha"),
        ("params.lr != '0.1'", "gamma_1 beta"),
        ("params.lr LIKE '0.%'", "beta alpha"),
        ("parameters.lr ILIKE 'AB%'", "gamma_1"),
        ("params.lr IS NULL", "gamma%2"),
        ("tags.team LIKE 'red'", ""),
        ("tags.team ILIKE 'red'", "beta"),
        ("tag.team is not null", "beta alpha"),
        ("attributes.run_name LIKE 'gamma_1'", "gamma_1"),
        ("attributes.run_name LIKE 'gamma%2'", "gamma%2"),
        ("attr.`Run name` = 'beta'", "beta"),
        ("start_time >= 3000", "gamma%2 gamma_1"),
        ("status != 'RUNNING'", ""),
        ("metrics.acc > 0.1 and params.lr = '0.01' AND tags.team = 'Red'", "beta"),
        ("metrics.acc > 0.6 AND", "gamma%2 beta"),
    ] {
        let mut names = bench.found(filter, &[]);
        let mut wanted: Vec<String> = found.split_whitespace().map(str::to_owned).collect();
        // The two that began together are ordered by their ids, which chance made.
        names.sort();
        wanted.sort();
        assert_eq!(names, wanted, "{filter}");
    }
}

#[test]
fn what_is_no_filter_is_refused_in_mlflows_words() {
    let bench = filled();
    for (filter, told) in [
        ("metrics.acc > 0.6 OR params.lr = '0.1'", "Invalid clause(s) in filter string: 'OR'"),
        ("(metrics.acc > 0.6)", "Invalid clause(s) in filter string: '(metrics.acc > 0.6)'"),
        ("metrics.acc >", "Invalid clause(s) in filter string: 'metrics.acc', '>'"),
        ("metrics.acc > '0.6'", "Expected numeric value type for metric. Found '0.6'"),
        (
            "params.lr = 0.1",
            "Expected a quoted string value for parameter (e.g. 'my-value'). Got value 0.1",
        ),
        ("things.acc > 0.6", "Invalid entity type 'things'."),
        ("colour = 'red'", "Invalid attribute key 'colour' specified."),
        ("metrics.acc > 0.6; DELETE FROM runs", "Search filter contained multiple expression"),
        ("0.6 < metrics.acc", "Invalid comparison clause. Expected 'Identifier' found '0.6'"),
        ("run_id IN ()", "While parsing a list in the query, expected a non-empty list"),
        ("   ", "Invalid filter '   '. Could not be parsed."),
        ("tags.team = 'blue", "Invalid clause(s)"),
        (&"(".repeat(100_000), "Invalid clause(s)"),
    ] {
        let fields = json!({ "experiment_ids": ["0"], "filter": filter });
        let (status, body) = bench.call("POST", "runs/search", fields);
        let message = body["message"].as_str().unwrap_or_default();
        assert!(status == 400 && message.starts_with(told), "{filter}: {status} {message}");
    }
}

#[test]
fn orders_put_what_is_no_number_after_numbers() {
    let bench = filled();
    for (order, wanted) in [
        (&["metrics.acc"][..], "alpha beta gamma%2 gamma_1"),
        (&["metrics.acc DESC"], "gamma%2 beta alpha gamma_1"),
        (&["params.lr", "run_name"], "beta alpha gamma_1 gamma%2"),
        (&["attributes.run_name DESC"], "gamma_1 gamma%2 beta alpha"),
        (&["tags.team", "run_name"], "beta alpha gamma%2 gamma_1"),
    ] {
        assert_eq!(bench.found("", order).join(" "), wanted, "{order:?}");
    }
}

#[test]
fn what_is_sent_again_changes_nothing_and_is_there_after_a_crash() {
    let bench = Bench::new();
    let run = bench.run("one", 1);
    let point = |value: f64, time: i64, step: i64| json!({ "key": "loss", "value": value, "timestamp": time, "step": step });
    let fields = json!({
        "run_id": run, "params": [{ "key": "lr", "value": "0.1" }], "tags": [{ "key": "t", "value": "x" }],
        "metrics": [point(0.5, 10, 1), point(0.9, 30, 0), point(0.1, 5, 5)],
    });
    for _ in 0..3 {
        bench.good("POST", "runs/log-batch", fields.clone());
    }
    // Nothing asked for the metrics yet: they are in the log alone.
    let bench = bench.again();
    let seen = bench.good("GET", "runs/get", json!({ "run_id": run }));
    assert_eq!(seen["run"]["data"]["metrics"], json!([point(0.1, 5, 5)]), "the last by step");
    assert_eq!(seen["run"]["data"]["params"], json!([{ "key": "lr", "value": "0.1" }]));
    let bench = bench.again();
    let asked = json!({ "run_id": run, "metric_key": "loss", "max_results": 2 });
    let first = bench.good("GET", "metrics/get-history", asked.clone());
    assert_eq!(first["metrics"], json!([point(0.1, 5, 5), point(0.5, 10, 1)]));
    let mut next = asked;
    next["page_token"] = first["next_page_token"].clone();
    let rest = bench.good("GET", "metrics/get-history", next);
    assert_eq!(rest, json!({ "metrics": [point(0.9, 30, 0)] }));
    let changed = json!({ "run_id": run, "params": [{ "key": "lr", "value": "0.2" }] });
    assert_eq!(bench.call("POST", "runs/log-batch", changed).0, 400);
}

#[test]
fn experiments_and_runs_are_deleted_and_come_back() {
    let bench = Bench::new();
    let made = bench.good("POST", "experiments/create", json!({ "name": "first" }));
    assert_eq!(made, json!({ "experiment_id": "1" }));
    let run = json!({ "experiment_id": "1", "start_time": 5 });
    let run = bench.good("POST", "runs/create", run)["run"]["info"]["run_id"].clone();
    let id = json!({ "experiment_id": "1" });
    bench.good("POST", "experiments/delete", id.clone());
    let (status, body) = bench.call("POST", "experiments/delete", id.clone());
    assert_eq!((status, &body["error_code"]), (404, &json!("RESOURCE_DOES_NOT_EXIST")));
    let metric = json!({ "run_id": run, "key": "a", "value": 1, "timestamp": 1 });
    assert_eq!(bench.call("POST", "runs/log-metric", metric.clone()).0, 400);
    assert_eq!(bench.call("POST", "experiments/create", json!({ "name": "first" })).0, 400);
    bench.good("POST", "experiments/restore", id);
    bench.good("POST", "runs/log-metric", metric);
}

#[test]
fn bad_fields_are_refused_by_name() {
    let bench = Bench::new();
    let run = bench.run("one", 1);
    let missing = "Missing value for required parameter";
    for (path, fields, told) in [
        ("experiments/create", json!({}), missing),
        (
            "experiments/create",
            json!({ "name": 123 }),
            "Invalid value 123 for parameter 'name' supplied:  Hint: Value was of type 'int'.",
        ),
        (
            "experiments/create",
            json!({ "name": "n".repeat(501) }),
            "'name' exceeds the maximum length of 500 characters",
        ),
        ("runs/create", json!({ "experiment_id": "abc" }), "Invalid experiment ID 'abc'."),
        ("runs/log-metric", json!({ "run_id": run, "key": "a", "timestamp": 1 }), missing),
        (
            "runs/log-metric",
            json!({ "run_id": run, "key": "a", "value": "much", "timestamp": 1 }),
            "Invalid value \"much\"",
        ),
        (
            "runs/log-metric",
            json!({ "run_id": run, "key": "../a", "value": 1, "timestamp": 1 }),
            "Invalid value \"../a\" for parameter 'name'",
        ),
        (
            "runs/log-batch",
            json!({ "run_id": run, "metrics": [{ "key": "a", "timestamp": 1 }] }),
            "Missing value for required parameter 'metrics[0].value'",
        ),
        (
            "runs/log-batch",
            json!({ "run_id": run, "metrics": "a" }),
            "Invalid value \"a\" for parameter 'metrics'",
        ),
        (
            "runs/log-batch",
            json!({ "run_id": run, "params": [{ "key": "a" }, { "key": "a" }] }),
            "Duplicate parameter keys have been submitted: ['a']",
        ),
        ("runs/search", json!({ "max_results": 0 }), "Invalid value 0 for parameter 'max_results'"),
        ("runs/search", json!({ "page_token": "nonsense!" }), "Invalid page token"),
    ] {
        let (status, body) = bench.call("POST", path, fields.clone());
        let message = body["message"].as_str().unwrap_or_default();
        assert!(status == 400 && message.starts_with(told), "{path} {fields}: {status} {message}");
    }
}
