//! What did clients of MLflow log to the made-up backend?

use serde_json::{Value, json};
use sextant_server::MlflowRequest;

use crate::fake::NASTY;

/// What the made-up backend says to a call; none when it has no such call.
pub fn answer(request: &MlflowRequest, hostile: bool, empty: bool) -> Option<(u16, Value)> {
    let call = request.path.split_once("/mlflow/").or_else(|| request.path.split_once("/sextant/"));
    let words = |plain: &str| if hostile { NASTY.to_owned() } else { plain.to_owned() };
    let pairs = |plain: &str| json!([{ "key": words(plain), "value": words(plain) }]);
    let of_fields =
        |name: &str| request.fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let experiment = json!({ "experiment_id": "1", "name": words("answers"), "lifecycle_stage": "active",
        "creation_time": 1_763_898_000_000_i64, "last_update_time": 1_763_898_000_000_i64,
        "tags": [{ "key": "mlflow.note.content", "value": words("about") }] });
    let version = json!({ "name": words("cats"), "version": "2", "current_stage": words("Staging"),
        "status": "READY", "source": words("s3://bucket"), "run_id": "a1", "description": words("try") });
    let model = json!({ "name": words("cats"), "latest_versions": [version], "tags": pairs("team"),
        "aliases": [{ "alias": words("best"), "version": "2" }], "description": words("of cats") });
    let span = json!({ "span_id": "AQ==", "name": words("look"), "start_time_unix_nano": 5, "end_time_unix_nano": 9,
        "status": { "code": "STATUS_CODE_ERROR", "message": words("lost") },
        "attributes": [{ "key": "mlflow.spanInputs", "value": { "string_value": words("in") } },
                       { "key": words("k"), "value": { "kvlist_value": { "values": [{ "key": words("x"), "value": {} }] } } }],
        "events": [{ "name": words("event"), "attributes": [] }] });
    let info = json!({ "trace_id": "tr-1", "state": "OK", "request_time": "2026-01-01T00:00:00Z",
        "execution_duration": "1.5s", "request_preview": words("asked"), "response_preview": words("said"),
        "tags": { "mlflow.traceName": words("agent") }, "trace_metadata": { "mlflow.sourceRun": words("a1") },
        "trace_location": { "mlflow_experiment": { "experiment_id": "1" } },
        "assessments": [{ "assessment_name": words("good"), "feedback": { "value": words("yes") }, "rationale": words("so") }] });
    Some((
        200,
        match call?.1 {
            "experiments/search" | "experiments/counts" if empty => json!({}),
            "experiments/search" => {
                json!({ "experiments": [experiment], "next_page_token": words("next") })
            }
            "experiments/counts" => json!({ "counts": [{ "experiment_id": "1", "runs": 12 }] }),
            "experiments/get" if of_fields("experiment_id") == "1" => {
                json!({ "experiment": experiment })
            }
            "runs/get" if of_fields("run_id").starts_with('a') => {
                json!({ "run": run(of_fields("run_id"), &words) })
            }
            "registered-models/search" | "traces/search" if empty => json!({}),
            "traces/search" if request.fields["filter"].is_string() => {
                return Some((400, json!({ "message": words("no such word") })));
            }
            "registered-models/search" => json!({ "registered_models": [model] }),
            "registered-models/get" => json!({ "registered_model": model }),
            "model-versions/search" => json!({ "model_versions": [version] }),
            "traces/search" => json!({ "traces": [info] }),
            "traces/get" if of_fields("trace_id") == "tr-1" => {
                json!({ "trace": { "trace_info": info, "spans": [span] } })
            }
            "experiments/get" | "runs/get" | "traces/get" => {
                return Some((404, json!({ "message": words("not found") })));
            }
            _ => return None,
        },
    ))
}

fn run(id: &str, words: &dyn Fn(&str) -> String) -> Value {
    let rate = if id == "a1" { "0.1" } else { "0.2" };
    json!({
        "info": { "run_id": id, "run_name": words("first"), "experiment_id": "1", "status": "FINISHED",
            "start_time": 1_763_898_000_000_i64, "end_time": 1_763_898_060_000_i64, "user_id": words("ann"),
            "artifact_uri": words("mlflow-artifacts:/1") },
        "data": {
            "params": [{ "key": "rate", "value": rate }, { "key": words("same"), "value": words("same") }],
            "metrics": [{ "key": words("loss"), "value": 0.25, "step": 3 }, { "key": "odd", "value": "NaN" }],
            "tags": [{ "key": words("team"), "value": words("blue") }, { "key": "mlflow.source.name", "value": words("train.py") }],
        },
        "inputs": { "dataset_inputs": [{ "dataset": { "name": words("rows"), "digest": words("abc") }, "tags": [] }] },
        "outputs": { "model_outputs": [{ "model_id": words("m-1"), "step": 4 }] },
    })
}
