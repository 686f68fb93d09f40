//! Does a table of runs get the rows, cells and keys that it asks for, and no more?

use serde_json::{Value, json};

use super::{Bench, Found, Reply, filled, find};

fn ask(bench: &Bench, call: &str, fields: &Value) -> Value {
    let Found::Call(call, places) = find("POST", &format!("2.0/sextant/{call}")) else {
        panic!("there is no {call}");
    };
    assert!(!call.changes);
    let fields = fields.as_object().unwrap();
    match call.answer(&bench.mlflow, fields, &places, &mut std::io::empty()) {
        Ok(Reply::Said(body)) => body,
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => json!({ "refused": refusal.message }),
    }
}

/// Asks for rows of the default experiment: their names with their cells, and how many there are in all.
fn rows(bench: &Bench, mut fields: Value) -> (i64, Vec<Value>) {
    fields["experiment_ids"] = json!(["0"]);
    let body = ask(bench, "runs/rows", &fields);
    let runs = body["runs"].as_array().unwrap_or_else(|| panic!("{body}"));
    let shown = |run: &Value| json!([run["info"]["run_name"], run["cells"]]);
    (body["total"].as_i64().unwrap(), runs.iter().map(shown).collect())
}

#[test]
fn rows_have_the_cells_of_the_columns_alone() {
    let bench = filled();
    let columns = json!(["metrics.acc", "params.lr", "tags.team", "metrics.none"]);
    let (total, shown) =
        rows(&bench, json!({ "columns": columns, "order_by": ["attributes.run_name"] }));
    assert_eq!(total, 4);
    assert_eq!(shown[0], json!(["alpha", [0.5, "0.1", "blue", null]]));
    // Rows are found by their place, in any order, under any filter, and counted whole.
    let order = json!(["metrics.acc DESC"]);
    for offset in 0..4 {
        let one =
            json!({ "columns": columns, "order_by": order, "offset": offset, "max_results": 1 });
        let all = json!({ "columns": columns, "order_by": order });
        assert_eq!(rows(&bench, one).1[0], rows(&bench, all).1[offset]);
    }
    let filter = json!({ "filter": "attributes.run_name = 'beta'", "order_by": ["metrics.acc"] });
    let (total, shown) = rows(&bench, filter);
    assert_eq!((total, shown.len(), &shown[0][0]), (1, 1, &json!("beta")));
    assert_eq!(rows(&bench, json!({ "offset": 99 })), (4, Vec::new()));
}

#[test]
fn columns_are_chosen_when_none_is_named() {
    let body = ask(&filled(), "runs/rows", &json!({ "experiment_ids": ["0"] }));
    assert_eq!(body["columns"], json!(["metrics.acc", "metrics.val/loss", "params.lr"]));
    let empty = ask(&Bench::new(), "runs/rows", &json!({ "experiment_ids": ["0"] }));
    assert_eq!(empty, json!({ "total": 0, "columns": [], "runs": [] }));
}

#[test]
fn keys_are_those_of_the_runs_that_are_named() {
    let bench = filled();
    let found = rows(&bench, json!({ "filter": "attributes.run_name = 'alpha'" }));
    assert_eq!(found.0, 1);
    let body = ask(&bench, "runs/rows", &json!({ "experiment_ids": ["0"] }));
    let ids: Vec<&Value> =
        body["runs"].as_array().unwrap().iter().map(|run| &run["info"]["run_id"]).collect();
    let keys = ask(&bench, "runs/keys", &json!({ "run_ids": ids, "contains": "LOSS" }));
    assert_eq!(keys["metrics"], json!(["val/loss"]));
    assert_eq!((&keys["params"], &keys["more"]), (&json!([]), &json!([])));
    assert_eq!(ask(&bench, "runs/keys", &json!({}))["metrics"], json!([]));
}

#[test]
fn active_runs_are_counted() {
    let bench = filled();
    let gone = bench.run("gone", 9000);
    bench.good("POST", "runs/delete", json!({ "run_id": gone }));
    let counts = ask(&bench, "experiments/counts", &json!({ "experiment_ids": ["0", "77"] }));
    let expected = json!([{ "experiment_id": "0", "runs": 4, "last_start_time": 3000 }]);
    assert_eq!(counts["counts"], expected);
}

#[test]
fn what_is_too_much_or_not_understood_is_refused() {
    let bench = Bench::new();
    let many = |count: usize, item: &str| vec![item.to_owned(); count];
    for (call, fields, words) in [
        ("runs/rows", json!({ "columns": ["acc"] }), "a column is metrics.KEY"),
        ("runs/rows", json!({ "columns": ["metrics."] }), "a column is metrics.KEY"),
        ("runs/rows", json!({ "columns": ["runs.id"] }), "a column is metrics.KEY"),
        ("runs/rows", json!({ "columns": many(101, "tags.a") }), "at most 100"),
        ("runs/rows", json!({ "max_results": 501 }), "at most 500"),
        ("runs/rows", json!({ "offset": -1 }), "not negative"),
        ("runs/rows", json!({ "filter": "metrics.a = 'x'" }), "Expected numeric value"),
        ("runs/keys", json!({ "run_ids": many(501, "a") }), "at most 500"),
        ("experiments/counts", json!({ "experiment_ids": many(1001, "1") }), "at most 1000"),
    ] {
        let refused = ask(&bench, call, &fields)["refused"].to_string();
        assert!(refused.contains(words), "{call} {fields}: {refused}");
    }
}
