//! Does a model lead back to its run, the run's code, and the data that it read?

use serde_json::json;
use sextant_core::{ActivityKind, ArtifactKind, Digest, EdgeKind};

use super::Bench;

impl Bench {
    /// A dataset of ours, cut from a table.
    fn snapshot(&self) -> Digest {
        let mut act = self.mlflow.store().begin(ActivityKind::Ingest, "take in rows");
        let table = act.manifest(ArtifactKind::TableVersion, &json!({ "table": "rows" }), &[]);
        let body = json!({ "name": "pairs" });
        let kind = ArtifactKind::DatasetSnapshot;
        let snapshot = act.manifest(kind, &body, &[table.unwrap()]).unwrap();
        act.commit().unwrap();
        snapshot
    }

    fn log_input(&self, run: &str, source: &str, digest: &str) {
        let dataset =
            json!({ "name": "d", "digest": digest, "source_type": "local", "source": source });
        let fields = json!({ "run_id": run, "datasets": [{ "dataset": dataset }] });
        self.good("POST", "runs/log-inputs", fields);
    }

    fn finalize(&self, model: &str) -> Digest {
        let ready = json!({ "model_id": model, "status": "LOGGED_MODEL_READY" });
        self.good("PATCH", &format!("logged-models/{model}"), ready);
        self.mlflow.node_named(model).unwrap().unwrap()
    }

    /// What an artifact comes from, kind by kind, nearest first.
    fn origins(&self, of: Digest) -> String {
        let reader = self.mlflow.store().read().unwrap();
        let (mut told, mut waiting) = (Vec::new(), vec![of]);
        while let Some(next) = waiting.pop() {
            told.push(reader.artifact(&next).unwrap().unwrap().kind.to_string());
            let mut edges = reader.edges_from(&next.to_string()).unwrap();
            edges.retain(|edge| edge.kind == EdgeKind::DerivedFrom);
            let mut below: Vec<Digest> = edges.iter().map(|e| e.to.parse().unwrap()).collect();
            below.sort_by_key(|digest| reader.artifact(digest).unwrap().unwrap().kind);
            waiting.extend(below);
        }
        told.join(" ")
    }
}

#[test]
fn a_model_leads_to_its_run_its_code_and_the_versions_of_its_data() {
    let bench = Bench::new();
    let snapshot = bench.snapshot();
    for (source, digest, origins) in [
        (
            format!("{{\"uri\":\"pairs@{snapshot}\"}}"),
            "ab12cd34".to_owned(),
            "dataset_snapshot table_version",
        ),
        ("x".to_owned(), snapshot.to_string()[..36].to_owned(), "dataset_snapshot table_version"),
        ("{\"uri\":\"rows.csv\"}".to_owned(), "ab12cd34".to_owned(), "opaque"),
        (format!("pairs@sha256:{}", "0".repeat(64)), "ab12cd34".to_owned(), "opaque"),
        (snapshot.to_string()[..15].to_owned(), "ab12cd34".to_owned(), "opaque"),
    ] {
        let run = bench.run("one", 1);
        let tag = json!({ "run_id": run, "key": "mlflow.source.name", "value": "train.py" });
        bench.good("POST", "runs/set-tag", tag);
        bench.log_input(&run, &source, &digest);
        let model = bench.finalize(&bench.model("m", &run));
        let wanted = match origins {
            "opaque" => "model_version run opaque code".to_owned(),
            of_ours => format!("model_version run code {of_ours}"),
        };
        assert_eq!(bench.origins(model), wanted, "{source} {digest}");
    }
}

#[test]
fn what_nobody_named_is_a_hole() {
    let bench = Bench::new();
    let model = bench.finalize(&bench.model("m", ""));
    assert_eq!(bench.origins(model), "model_version opaque");
    let id = bench.model("m", "");
    let tag = json!({ "tags": [{ "key": "mlflow.source.name", "value": "train.py" }] });
    bench.good("PATCH", &format!("logged-models/{id}/tags"), tag);
    assert_eq!(bench.origins(bench.finalize(&id)), "model_version opaque code");
    let model = bench.finalize(&bench.model("m", &bench.run("one", 1)));
    assert_eq!(bench.origins(model), "model_version run opaque");
    let holes = bench.mlflow.store().read().unwrap().holes().unwrap();
    let what = |part: &str| holes.iter().any(|hole| hole.what.contains(part));
    assert!(what("no run was named") && what("no dataset was logged"), "{holes:?}");
}

#[test]
fn a_run_is_made_again_only_when_it_changed() {
    let bench = Bench::new();
    let run = bench.run("one", 1);
    bench.log_input(&run, &bench.snapshot().to_string(), "x");
    let named = format!("runs:/{run}/model");
    let node = || bench.mlflow.node_named(&named).unwrap().unwrap();
    let first = node();
    assert_eq!(node(), first);
    let fields = json!({ "run_id": run, "key": "lr", "value": "0.1" });
    bench.good("POST", "runs/log-parameter", fields);
    let second = node();
    assert_ne!(second, first);
    let reader = bench.mlflow.store().read().unwrap();
    let edges = reader.edges_from(&second.to_string()).unwrap();
    let before = edges.iter().find(|edge| edge.kind == EdgeKind::Supersedes).unwrap();
    assert_eq!(before.to, first.to_string());
    assert_eq!(bench.mlflow.node_named("runs:/00").unwrap(), None);
    assert_eq!(bench.mlflow.node_named("models:/none/1").unwrap(), None);
}

#[test]
fn a_model_that_was_read_is_an_origin_unless_it_is_the_runs_own() {
    let bench = Bench::new();
    let (first, second) = (bench.run("first", 1), bench.run("second", 2));
    let base = bench.model("base", &first);
    bench.finalize(&base);
    let own = bench.model("tuned", &second);
    let fields = json!({ "run_id": second, "models": [{ "model_id": base }, { "model_id": own }] });
    bench.good("POST", "runs/log-inputs", fields);
    let tuned = bench.finalize(&own);
    assert_eq!(bench.origins(tuned), "model_version run model_version run opaque");
    assert_eq!(bench.finalize(&own), tuned, "its own artifact changes nothing");
}
