//! Are queries answered and refused as stock MLflow does it? A case is a query and the answer.

#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};
use sextant_lineage::{OpenOptions, Store};

use crate::{Found, Mlflow, call::find, graphql::ask};

struct Bench {
    _folder: tempfile::TempDir,
    mlflow: Mlflow,
    run: String,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), OpenOptions::default()).unwrap();
        let mlflow = Mlflow::open(&store).unwrap();
        let mut bench = Self { _folder: folder, mlflow, run: String::new() };
        let made = json!({ "experiment_id": "0", "run_name": "one", "start_time": 7 });
        let made = bench.call(("POST", "2.0/mlflow/runs/create"), &made);
        bench.run = made["run"]["info"]["run_id"].as_str().unwrap().to_owned();
        let point = |key: &str, value: Value| json!({ "key": key, "value": value, "timestamp": 1 });
        let batch = json!({
            "run_id": bench.run,
            "metrics": [point("a", json!(1)), point("n", json!("NaN"))],
            "params": [{ "key": "p", "value": "1" }],
        });
        bench.call(("POST", "2.0/mlflow/runs/log-batch"), &batch);
        bench
    }

    fn call(&self, call: (&str, &str), fields: &Value) -> Value {
        ask(&self.mlflow, call, fields.as_object().unwrap()).unwrap()
    }

    fn asked(&self, query: &str, variables: &Value) -> Value {
        let query = query.replace("$RUN", &self.run);
        let mut answer =
            self.call(("POST", "graphql"), &json!({ "query": query, "variables": variables }));
        // What this run is called in the cases.
        answer = serde_json::from_str(&answer.to_string().replace(&self.run, "$RUN")).unwrap();
        answer
    }
}

#[test]
fn questions_are_answered_with_what_they_choose() {
    let bench = Bench::new();
    let run = r#"mlflowGetRun(input: {runId: "$RUN"})"#;
    for (query, expected) in [
        (
            format!("{{ {run} {{ apiError {{ code }} run {{ info {{ runName startTime endTime status }} }} }} }}"),
            json!({ "mlflowGetRun": { "apiError": null, "run": { "info": {
                "runName": "one", "startTime": "7", "endTime": "0", "status": "RUNNING",
            } } } }),
        ),
        (
            format!("{{ r: {run} {{ ...F __typename }} }} fragment F on MlflowGetRunResponse {{ run {{ data {{ metrics {{ key value modelId }} }} ... on MlflowRunExtension {{ data {{ params {{ key value }} }} }} }} }}"),
            json!({ "r": {
                "run": { "data": {
                    "metrics": [
                        { "key": "a", "value": 1.0, "modelId": "" },
                        { "key": "n", "value": null, "modelId": "" },
                    ],
                    "params": [{ "key": "p", "value": "1" }],
                } },
                "__typename": "MlflowGetRunResponse",
            } }),
        ),
        (
            format!("{{ {run} {{ run {{ experiment {{ name workspace }} inputs {{ datasetInputs {{ dataset {{ name }} }} }} }} }} }}"),
            json!({ "mlflowGetRun": { "run": {
                "experiment": { "name": "Default", "workspace": "default" },
                "inputs": { "datasetInputs": [] },
            } } }),
        ),
        (
            r#"mutation { mlflowSearchRuns(input: {experimentIds: "0", runViewType: ALL}) { runs { info { runUuid } } } }"#.to_owned(),
            json!({ "mlflowSearchRuns": { "runs": [{ "info": { "runUuid": "$RUN" } }] } }),
        ),
        (
            r#"query A @component(name: "x") { mlflowGetMetricHistoryBulkInterval(input: {runIds: ["$RUN"], metricKey: "a", maxResults: 320}) { metrics { step value } } }"#.to_owned(),
            json!({ "mlflowGetMetricHistoryBulkInterval": { "metrics": [{ "step": "0", "value": 1.0 }] } }),
        ),
    ] {
        let answer = bench.asked(&query, &Value::Null);
        assert_eq!(answer, json!({ "data": expected, "errors": null }), "{query}");
    }
}

#[test]
fn one_question_may_fail_among_others() {
    let bench = Bench::new();
    let query = r#"{ a: mlflowGetExperiment(input: {experimentId: "0"}) { experiment { name } }
                     b: mlflowGetExperiment(input: {experimentId: "9"}) { experiment { name } } }"#;
    let answer = bench.asked(query, &Value::Null);
    let data = json!({ "a": { "experiment": { "name": "Default" } }, "b": null });
    assert_eq!(answer, json!({ "data": data, "errors": ["No Experiment with id=9 exists"] }));
    let query = r#"{ mlflowGetMetricHistoryBulkInterval(input: {runIds: ["$RUN"], metricKey: "n"}) { metrics { value } } }"#;
    let answer = bench.asked(query, &Value::Null);
    assert_eq!(answer["errors"], json!(["Float cannot represent non numeric value: nan"]));
    assert_eq!(
        answer["data"]["mlflowGetMetricHistoryBulkInterval"]["metrics"][0]["value"],
        Value::Null
    );
}

/// A query of a run that chooses this.
fn got(inner: &str) -> String {
    format!(r#"{{ mlflowGetRun(input: {{runId: "x"}}) {{ {inner} }} }}"#)
}

#[test]
fn a_query_that_asks_for_too_much_is_refused() {
    let bench = Bench::new();
    let many = |what: &str, count: usize| {
        let fields: Vec<String> = (0..count).map(|at| what.replace('#', &at.to_string())).collect();
        fields.join(" ")
    };
    let root = r#"a#: mlflowGetRun(input: {runId: "x"}) { __typename }"#;
    for (query, error) in [
        (
            many(root, 11).replacen("a0", "{ a0", 1) + " }",
            "GraphQL queries should have at most 10 root fields, got 11 root fields. To increase the limit, set the MLFLOW_SERVER_GRAPHQL_MAX_ROOT_FIELDS environment variable.",
        ),
        (
            got(&many("a#: __typename", 11)),
            "GraphQL queries should have at most 10 aliases, got 11 aliases. To increase the limit, set the MLFLOW_SERVER_GRAPHQL_MAX_ALIASES environment variable.",
        ),
        (got(&many("__typename", 1000)), "Query exceeds maximum total selections of 1000"),
        (many("{ a", 11) + &many("}", 11), "Query exceeds maximum depth of 10"),
    ] {
        let answer = bench.asked(&query, &Value::Null);
        assert_eq!(answer, json!({ "data": null, "errors": [error] }), "{query}");
    }
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_the_reference() {
    let bench = Bench::new();
    for (query, error) in [
        ("{ nothing }".to_owned(), "Cannot query field 'nothing' on type 'Query'."),
        (
            "mutation { mlflowGetRun { run } }".to_owned(),
            "Cannot query field 'mlflowGetRun' on type 'Mutation'.",
        ),
        (
            "subscription { a }".to_owned(),
            "Schema is not configured to execute subscription operation.",
        ),
        (got("run { nope }"), "Cannot query field 'nope' on type 'MlflowRunExtension'."),
        (
            got("run"),
            "Field 'run' of type 'MlflowRunExtension' must have a selection of subfields. Did you mean 'run { ... }'?",
        ),
        (
            got("run { info { runId { x } } }"),
            "Field 'runId' must not have a selection since type 'String' has no subfields.",
        ),
        (
            got("run { info { a: runId a: status } }"),
            "Fields 'a' conflict because they are different fields. Use different aliases on the fields to fetch both if this was intentional.",
        ),
        (got("...G"), "Unknown fragment 'G'."),
        (
            got("...F") + " fragment F on MlflowGetRunResponse { ...F }",
            "Cannot spread fragment 'F' within itself.",
        ),
        (got("__typename") + " fragment F on Query { __typename }", "Fragment 'F' is never used."),
        (
            got("... on Query { __typename }"),
            "Fragment cannot be spread here as objects of type 'MlflowGetRunResponse' can never be of type 'Query'.",
        ),
        (got("run @skip(if: true) { __typename }"), "Unknown directive '@skip'."),
        (
            "query A { __typename } query B { __typename }".to_owned(),
            "Must provide operation name if query contains multiple operations.",
        ),
        (
            r#"{ mlflowGetRun(input: {runId: 5}) { __typename } }"#.to_owned(),
            "String cannot represent a non string value: 5",
        ),
        (
            r#"{ mlflowGetRun(input: {nope: 5}) { __typename } }"#.to_owned(),
            "Field 'nope' is not defined by type 'MlflowGetRunInput'.",
        ),
        (
            r#"{ mlflowGetRun(input: $x) { __typename } }"#.to_owned(),
            "Variable '$x' is not defined.",
        ),
        ("query ($x: Int) { __typename }".to_owned(), "Variable '$x' is never used."),
    ] {
        let answer = bench.asked(&query, &Value::Null);
        assert_eq!(answer, json!({ "data": null, "errors": [error] }), "{query}");
    }
}

#[test]
fn variables_are_read_by_their_types() {
    let bench = Bench::new();
    let query =
        "query Q($d: MlflowGetRunInput!) { mlflowGetRun(input: $d) { run { info { runName } } } }";
    for (variables, error) in [
        (json!({ "d": { "runId": "$RUN" } }), None),
        (json!({}), Some("Variable '$d' of required type 'MlflowGetRunInput!' was not provided.")),
        (
            json!({ "d": null }),
            Some("Variable '$d' of non-null type 'MlflowGetRunInput!' must not be null."),
        ),
        (
            json!({ "d": { "runId": 5 } }),
            Some(
                "Variable '$d' got invalid value 5 at 'd.runId'; String cannot represent a non string value: 5",
            ),
        ),
        (
            json!({ "d": { "nope": "5" } }),
            Some(
                "Variable '$d' got invalid value {'nope': '5'}; Field 'nope' is not defined by type 'MlflowGetRunInput'.",
            ),
        ),
    ] {
        let text = variables.to_string().replace("$RUN", &bench.run);
        let answer = bench.asked(query, &serde_json::from_str(&text).unwrap());
        assert_eq!(
            answer["errors"],
            error.map_or(Value::Null, |error| json!([error])),
            "{variables}"
        );
    }
    let runs = "query ($d: [String]) { mlflowSearchRuns(input: {experimentIds: $d, maxResults: 1}) { runs { info { runName } } } }";
    let answer = bench.asked(runs, &json!({ "d": ["0"] }));
    assert_eq!(answer["data"]["mlflowSearchRuns"]["runs"][0]["info"]["runName"], "one");
    let wrong = "query ($d: Int) { mlflowSearchRuns(input: {filter: $d}) { __typename } }";
    let told = json!(["Variable '$d' of type 'Int' used in position expecting type 'String'."]);
    assert_eq!(bench.asked(wrong, &json!({ "d": 1 }))["errors"], told);
}

#[test]
fn what_is_no_query_is_refused() {
    let bench = Bench::new();
    let Found::Call(call, places) = find("POST", "graphql") else { panic!("no call") };
    let deep = "{a".repeat(100_000);
    for query in ["query {", "", "{ a(b: [[[[[ }", "}", &"[".repeat(60), &deep] {
        let fields = json!({ "query": query });
        let answer =
            call.answer(&bench.mlflow, fields.as_object().unwrap(), &places, &mut std::io::empty());
        assert_eq!(answer.unwrap_err().status(), 400, "{query:.40}");
    }
}
