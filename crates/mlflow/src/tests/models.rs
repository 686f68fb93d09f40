//! Are logged models, and the inputs and outputs of runs, answered as stock MLflow answers?

use serde_json::{Value, json};

use super::Bench;

impl Bench {
    /// A logged model of this name, made by this run; its id.
    pub(super) fn model(&self, name: &str, run: &str) -> String {
        let fields = json!({ "experiment_id": "0", "name": name, "source_run_id": run });
        let body = self.good("POST", "logged-models", fields);
        body["model"]["info"]["model_id"].as_str().unwrap().to_owned()
    }

    pub(super) fn log(&self, run: &str, metric: Value) {
        self.good("POST", "runs/log-batch", json!({ "run_id": run, "metrics": [metric] }));
    }

    /// A point about a logged model, on a dataset as `name/digest`.
    fn about(&self, run: &str, value: f64, step: i64, model: &str, dataset: &str) {
        let (name, digest) = dataset.split_once('/').unwrap_or_default();
        self.log(
            run,
            json!({
                "key": "acc", "value": value, "timestamp": step, "step": step, "model_id": model,
                "dataset_name": name, "dataset_digest": digest,
            }),
        );
    }

    fn models(&self, search: Value) -> String {
        let mut fields = json!({ "experiment_ids": ["0"], "order_by": [{ "field_name": "name" }] });
        fields.as_object_mut().unwrap().extend(search.as_object().unwrap().clone());
        let body = self.good("POST", "logged-models/search", fields);
        let models = body["models"].as_array().cloned().unwrap_or_default();
        let name = |model: &Value| model["info"]["name"].as_str().unwrap().to_owned();
        models.iter().map(name).collect::<Vec<_>>().join(" ")
    }
}

/// Three models; `a` was measured twice on the rows `r`, and on others.
fn filled() -> (Bench, String, Vec<String>) {
    let bench = Bench::new();
    let run = bench.run("maker", 1);
    let ids: Vec<String> = ["a", "b", "c"].iter().map(|name| bench.model(name, &run)).collect();
    bench.about(&run, 0.9, 1, &ids[0], "r/1");
    bench.about(&run, 0.4, 2, &ids[0], "r/1");
    bench.about(&run, 0.8, 1, &ids[0], "r/2");
    bench.about(&run, 0.7, 3, &ids[1], "/");
    let path = format!("logged-models/{}/params", ids[1]);
    let fields = json!({ "model_id": ids[1], "params": [{ "key": "depth", "value": "3" }] });
    bench.good("POST", &path, fields);
    let tag = json!({ "tags": [{ "key": "team", "value": "Blue" }] });
    bench.good("PATCH", &format!("logged-models/{}/tags", ids[2]), tag);
    let ready = json!({ "model_id": ids[2], "status": "LOGGED_MODEL_READY" });
    bench.good("PATCH", &format!("logged-models/{}", ids[2]), ready);
    (bench, run, ids)
}

#[test]
fn filters_and_orders_find_logged_models() {
    let (bench, run, ids) = filled();
    for (filter, found) in [
        ("", "a b c"),
        ("name LIKE '%'", "a b c"),
        ("name != 'b'", "a c"),
        ("metrics.acc > 0.5", "a b"),
        ("metrics.acc < 0.5", "a"),
        ("metrics.acc > 0.85", ""),
        ("params.depth = '3'", "b"),
        ("tags.team ILIKE 'blue'", "c"),
        ("status = 'READY'", "c"),
        ("status IN ('PENDING', 'READY') AND creation_timestamp > 0", "a b c"),
        (&format!("model_id IN ('{}', '{}')", ids[0], ids[1]), "a b"),
        (&format!("source_run_id = '{run}'"), "a b c"),
    ] {
        assert_eq!(bench.models(json!({ "filter": filter })), found, "{filter}");
    }
    for (datasets, filter, found) in [
        (json!([{ "dataset_name": "r" }]), "", "a"),
        (json!([{ "dataset_name": "r", "dataset_digest": "1" }]), "metrics.acc > 0.5", ""),
        (json!([{ "dataset_name": "r", "dataset_digest": "2" }]), "metrics.acc > 0.5", "a"),
        (json!([{ "dataset_name": "x" }, { "dataset_name": "r" }]), "metrics.acc > 0.5", "a"),
        (json!([{ "dataset_name": "x" }]), "", ""),
    ] {
        let search = json!({ "filter": filter, "datasets": datasets });
        assert_eq!(bench.models(search), found, "{datasets} {filter}");
    }
    for (order, found) in [
        (json!({ "field_name": "metrics.acc" }), "a b c"),
        (json!({ "field_name": "metrics.acc", "ascending": false }), "b a c"),
        (
            json!({ "field_name": "metrics.acc", "dataset_name": "r", "dataset_digest": "2" }),
            "a c b",
        ),
        (json!({ "field_name": "name", "ascending": false }), "c b a"),
    ] {
        assert_eq!(bench.models(json!({ "order_by": [order] })), found, "{order}");
    }
}

#[test]
fn what_is_no_search_of_models_is_refused() {
    let (bench, ..) = filled();
    for (search, told) in [
        (json!({ "filter": "colour = 'x'" }), "Invalid attribute key 'colour' specified."),
        (json!({ "filter": "name = 'a' OR name = 'b'" }), "Invalid filter string: \"name"),
        (json!({ "filter": "dataset.name = 'a'" }), "Invalid entity type: 'dataset'"),
        (json!({ "datasets": [{}] }), "`dataset_name` in the `datasets` clause"),
        (
            json!({ "order_by": [{ "field_name": "colour" }] }),
            "Invalid order by field name: colour",
        ),
        (
            json!({ "order_by": [{ "field_name": "params.a" }] }),
            "Invalid order by field name: params",
        ),
        (json!({ "experiment_ids": [] }), "Missing value for required parameter 'experiment_ids'"),
    ] {
        let mut fields = json!({ "experiment_ids": ["0"] });
        fields.as_object_mut().unwrap().extend(search.as_object().unwrap().clone());
        let (status, body) = bench.call("POST", "logged-models/search", fields);
        let message = body["message"].as_str().unwrap_or_default();
        assert!(status == 400 && message.starts_with(told), "{search}: {status} {message}");
    }
}

#[test]
fn a_model_shows_its_latest_metrics_by_dataset_also_after_a_crash() {
    let (bench, run, ids) = filled();
    let bench = bench.again();
    let seen = bench.good("GET", &format!("logged-models/{}", ids[0]), json!({}));
    let metrics = seen["model"]["data"]["metrics"].as_array().unwrap();
    let told: Vec<Value> = metrics
        .iter()
        .map(|m| json!([m["value"], m["step"], m["dataset_digest"], m["run_id"]]))
        .collect();
    assert_eq!(told, [json!([0.8, 1, "2", run]), json!([0.4, 2, "1", run])]);
    let history = json!({ "run_id": run, "metric_key": "acc" });
    let history = bench.good("GET", "metrics/get-history", history);
    assert_eq!(history["metrics"].as_array().unwrap().len(), 4);
    assert!(history["metrics"][0].get("model_id").is_none(), "as stock shows it");
    let unknown =
        json!({ "run_id": run, "key": "a", "value": 1, "timestamp": 1, "model_id": "m-0" });
    assert_eq!(bench.call("POST", "runs/log-metric", unknown).0, 400);
}

#[test]
fn a_number_comes_back_as_it_was_sent() {
    let bench = Bench::new();
    let run = bench.run("one", 1);
    for (step, text) in
        ["0.9130434782608695", "5e-324", "1.7976931348623157e308"].iter().enumerate()
    {
        let sent = format!("{{\"key\": \"m{step}\", \"value\": {text}, \"timestamp\": 1}}");
        bench.log(&run, serde_json::from_str(&sent).unwrap());
        let asked = json!({ "run_id": run, "metric_key": format!("m{step}") });
        let seen = bench.good("GET", "metrics/get-history", asked);
        assert_eq!(seen["metrics"][0]["value"].as_f64(), text.parse().ok(), "{text}");
    }
}

#[test]
fn inputs_and_outputs_are_shown_once_however_often_they_are_sent() {
    let bench = Bench::new();
    let run = bench.run("one", 1);
    let (made, read) = (bench.model("made", &run), bench.model("read", ""));
    let rows = json!({ "name": "rows", "digest": "ab", "source_type": "local", "source": "{}" });
    let context = json!([{ "key": "mlflow.data.context", "value": "training" }]);
    for _ in 0..2 {
        let fields = json!({
            "run_id": run, "models": [{ "model_id": read }],
            "datasets": [{ "dataset": rows, "tags": context }, { "dataset": rows }],
        });
        bench.good("POST", "runs/log-inputs", fields);
        let fields = json!({ "run_id": run, "models": [{ "model_id": made, "step": 4 }] });
        bench.good("POST", "runs/outputs", fields);
    }
    let seen = bench.good("GET", "runs/get", json!({ "run_id": run }));
    let inputs = json!({
        "dataset_inputs": [{ "dataset": rows, "tags": context }],
        "model_inputs": [{ "model_id": read }],
    });
    assert_eq!(seen["run"]["inputs"], inputs);
    let outputs = json!({ "model_outputs": [{ "model_id": made, "step": 4 }] });
    assert_eq!(seen["run"]["outputs"], outputs);
    let other = json!({ "run_id": run, "models": [{ "model_id": made, "step": 5 }] });
    assert_eq!(bench.call("POST", "runs/outputs", other).0, 400);

    bench.run("two", 2);
    for (filter, found) in [
        ("dataset.name = 'rows'", "one"),
        ("datasets.digest IN ('ab', 'x')", "one"),
        ("dataset.context LIKE 'train%' AND dataset.name ILIKE 'ROWS'", "one"),
        ("dataset.context = 'testing'", ""),
        ("dataset.name NOT IN ('rows')", ""),
    ] {
        assert_eq!(bench.found(filter, &[]).join(" "), found, "{filter}");
    }
    let asked = json!({ "experiment_ids": ["0"] });
    let found = bench.good("POST", "experiments/search-datasets", asked);
    let summary =
        json!({ "experiment_id": "0", "name": "rows", "digest": "ab", "context": "training" });
    assert_eq!(found, json!({ "dataset_summaries": [summary] }));
    bench.good("POST", "runs/delete", json!({ "run_id": run }));
    let deleted = json!({ "run_id": run, "models": [{ "model_id": read }] });
    assert_eq!(bench.call("POST", "runs/log-inputs", deleted).0, 400);
}

#[test]
fn parameters_of_a_model_never_change_and_tags_may_go() {
    let (bench, _, ids) = filled();
    let id = &ids[1];
    let params = format!("logged-models/{id}/params");
    for (value, status) in [("3", 200), ("4", 400)] {
        let fields = json!({ "model_id": id, "params": [{ "key": "depth", "value": value }] });
        assert_eq!(bench.call("POST", &params, fields).0, status, "{value}");
    }
    let tag = format!("logged-models/{}/tags/team", ids[2]);
    assert_eq!(bench.call("DELETE", &tag, json!({})).0, 200);
    assert_eq!(bench.call("DELETE", &tag, json!({})).0, 404);
    let path = format!("logged-models/{id}");
    bench.good("DELETE", &path, json!({}));
    assert_eq!(bench.call("GET", &path, json!({})).0, 404);
    assert_eq!(bench.call("GET", &path, json!({ "allow_deleted": "true" })).0, 200);
    assert_eq!(bench.models(json!({})), "a c");
    for (name, status) in [("a/b", 400), ("it's", 400), ("plain", 200), ("", 200)] {
        let fields = json!({ "experiment_id": "0", "name": name });
        assert_eq!(bench.call("POST", "logged-models", fields).0, status, "{name}");
    }
}

#[test]
fn the_old_list_of_a_runs_models_grows_by_what_is_new() {
    let bench = Bench::new();
    let run = bench.run("one", 1);
    let model = |name: &str| {
        json!({
            "run_id": run, "artifact_path": name, "utc_time_created": "2026", "signature": "x",
            "flavors": { "sklearn": { "version": "1", "config": { "token": "t" } } },
        })
        .to_string()
    };
    for name in ["a", "a", "b"] {
        let fields = json!({ "run_id": run, "model_json": model(name) });
        bench.good("POST", "runs/log-model", fields);
    }
    let seen = bench.good("GET", "runs/get", json!({ "run_id": run }));
    let tags = seen["run"]["data"]["tags"].as_array().unwrap().clone();
    let list = tags.iter().find(|tag| tag["key"] == "mlflow.log-model.history").unwrap();
    let list: Value = serde_json::from_str(list["value"].as_str().unwrap()).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(list[1]["artifact_path"], "b");
    assert_eq!(list[0]["flavors"], json!({ "sklearn": { "version": "1" } }));
}
