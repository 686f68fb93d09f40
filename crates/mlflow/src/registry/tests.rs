//! Do the registry's calls answer as stock MLflow does? What the judge asks of a running server is not
//! asked again here.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use sextant_core::ArtifactKind;

use crate::tests::Bench;

const PROMPT: &str = "mlflow.prompt.is_prompt";

impl Bench {
    fn registers(&self, name: &str, tags: Value) {
        let fields = json!({ "name": name, "tags": tags });
        self.good("POST", "registered-models/create", fields);
    }

    /// The number of a new version.
    fn version(&self, name: &str, source: &str, tags: Value) -> String {
        let fields = json!({ "name": name, "source": source, "tags": tags });
        let made = self.good("POST", "model-versions/create", fields);
        made["model_version"]["version"].as_str().unwrap().to_owned()
    }

    /// What a search finds, as name or name and version.
    fn finds(&self, what: &str, filter: &str, order: &[&str]) -> String {
        let list = if what == "registered-models" { "registered_models" } else { "model_versions" };
        let fields = json!({ "filter": filter, "order_by": order });
        let found = self.good("GET", &format!("{what}/search"), fields);
        let found = found[list].as_array().cloned().unwrap_or_default();
        let name = |one: &Value| match one["version"].as_str() {
            Some(version) => format!("{}/{version}", one["name"].as_str().unwrap()),
            None => one["name"].as_str().unwrap().to_owned(),
        };
        found.iter().map(name).collect::<Vec<_>>().join(" ")
    }
}

fn filled() -> Bench {
    let bench = Bench::new();
    bench.registers("cats", json!([{ "key": "team", "value": "blue" }]));
    bench.registers("dogs", json!([]));
    bench.registers("greeting", json!([{ "key": PROMPT, "value": "true" }]));
    bench.version("cats", "s3://bucket/1", json!([{ "key": "checked", "value": "yes" }]));
    bench.version("cats", "s3://bucket/2", json!([]));
    bench.version("dogs", "models:/cats/1", json!([]));
    let text =
        json!([{ "key": PROMPT, "value": "true" }, { "key": "mlflow.prompt.text", "value": "Hi" }]);
    bench.version("greeting", "prompt-template", text);
    bench
}

#[test]
fn searches_find_prompts_only_when_asked_for_them() {
    let bench = filled();
    let is = |value: &str, operator: &str| format!("tags.`{PROMPT}` {operator} '{value}'");
    for (what, filter, found) in [
        ("registered-models", String::new(), "cats dogs"),
        ("registered-models", is("true", "="), "greeting"),
        ("registered-models", is("true", "!="), "cats dogs"),
        ("registered-models", is("false", "!="), "greeting"),
        ("registered-models", "name = 'greeting'".to_owned(), ""),
        ("registered-models", "name ILIKE 'CA%' AND tags.team != 'red'".to_owned(), "cats"),
        ("registered-models", "name NOT IN ('cats')".to_owned(), "dogs"),
        ("model-versions", String::new(), "cats/2 cats/1 dogs/1"),
        ("model-versions", is("true", "="), "greeting/1"),
        ("model-versions", "version_number < '2' AND name = 'cats'".to_owned(), "cats/1"),
        ("model-versions", "source_path LIKE 's3:%2'".to_owned(), "cats/2"),
        ("model-versions", "tags.checked = 'yes'".to_owned(), "cats/1"),
    ] {
        let order = if what == "model-versions" { &["name"][..] } else { &[] };
        assert_eq!(bench.finds(what, &filter, order), found, "{what} {filter}");
    }
}

#[test]
fn sources_that_lead_elsewhere_are_refused() {
    let bench = filled();
    for source in [
        "",
        "model",
        "/etc/passwd",
        "file:///etc/passwd",
        "s3://bucket/../other",
        "s3://bucket/%252e%252e/other",
        "s3://bucket/a/./b",
        "s3://bucket",
        "s3://bucket/a%00",
        "http://169.254.169.254/latest",
        "mlflow-artifacts://host/a",
        "mlflow-artifacts:/0/a",
        "runs:/0123/model",
        "models:/m-1",
        "models://host/cats/1",
        "models:/cats/1/2",
        "models:/cats@",
        "models:/greeting/1",
        "dummy-source",
    ] {
        let fields = json!({ "name": "cats", "source": source });
        let (status, body) = bench.call("POST", "model-versions/create", fields);
        assert_eq!(status, 400, "{source}: {body}");
    }
    for (source, status) in [
        ("models:/cats/99", 404),
        ("models:/nobody/1", 404),
        ("models:/cats/Production", 404),
        ("models:/cats/latest", 200),
        ("models:/cats@latest", 200),
        ("models:/cats/none", 200),
        ("dbfs:/a/b c", 200),
    ] {
        let fields = json!({ "name": "dogs", "source": source });
        assert_eq!(bench.call("POST", "model-versions/create", fields).0, status, "{source}");
    }
}

#[test]
fn a_number_is_given_once_and_what_is_gone_is_not_shown() {
    let bench = filled();
    let alias = json!({ "name": "cats", "alias": "best", "version": "2" });
    for _ in 0..2 {
        bench.good("POST", "registered-models/alias", alias.clone());
    }
    bench.good("DELETE", "model-versions/delete", json!({ "name": "cats", "version": "2" }));
    assert_eq!(bench.call("GET", "registered-models/alias", alias).0, 400);
    assert_eq!(bench.version("cats", "s3://bucket/3", json!([])), "3");
    bench.good("POST", "registered-models/rename", json!({ "name": "cats", "new_name": "lions" }));
    let bench = bench.again();
    assert_eq!(
        bench.finds("model-versions", "name = 'lions'", &["version_number"]),
        "lions/1 lions/3"
    );
    bench.good("DELETE", "registered-models/delete", json!({ "name": "lions" }));
    assert_eq!(bench.finds("model-versions", "name = 'lions'", &[]), "");
    bench.registers("lions", json!([]));
    assert_eq!(bench.version("lions", "s3://bucket/1", json!([])), "1");
}

#[test]
fn a_version_is_a_node_of_the_chain_and_a_copy_comes_from_it() {
    let bench = filled();
    let reader = bench.mlflow.store().read().unwrap();
    let node = |text: &str| {
        reader.artifact(&bench.mlflow.version_node(text).unwrap().unwrap()).unwrap().unwrap()
    };
    let (cats, dogs, prompt) = (node("cats/1"), node("dogs@latest"), node("greeting/1"));
    assert!(bench.mlflow.version_node("cats/9").unwrap().is_none());
    assert_eq!((cats.kind, prompt.kind), (ArtifactKind::ModelVersion, ArtifactKind::PromptVersion));
    assert_eq!(cats.meta["source"], "s3://bucket/1");
    let from = reader.edges_from(&dogs.digest.to_string()).unwrap();
    assert!(from.iter().any(|edge| edge.to == cats.digest.to_string()), "{from:?}");
    let text = prompt.meta["text"].as_str().unwrap().parse().unwrap();
    assert_eq!(bench.mlflow.store().blob(&text).unwrap(), b"Hi");
}
