#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use sextant_core::{Cancel, Silent};
use sextant_lineage::{OpenOptions, Store};
use sextant_project::InputVersion;

use super::*;
use crate::{AgentKind, Passage, PromptKind, ServingConfig, extract::tests_support::passage};

/// BM25 finds section B first; hybrid finds A first, whose heading is in two passages.
struct Fake;

impl PassageSearch for Fake {
    fn search(&self, _query: &str, _k: usize, mode: Mode) -> Result<Vec<Passage>, Failure> {
        let [a, again, b] =
            [passage("a.md", "A", "x"), passage("a.md", "A", "y"), passage("b.md", "B", "z")];
        Ok(if mode == Mode::Bm25 { vec![b, a] } else { vec![a, again, b] })
    }
}

impl Searchers for Fake {
    fn open(&self, _meta: &Value) -> Result<Arc<dyn PassageSearch>, Failure> {
        Ok(Arc::new(Fake))
    }
}

fn build(
    store: &Store,
    root: &Path,
    kind: &dyn AssetKind,
    path: &str,
    text: &str,
    inputs: &[(&str, Digest, Value)],
) -> Built {
    let file = AssetFile { root: root.to_owned(), path: path.into(), text: text.into() };
    let asset = kind.load(&file).unwrap().remove(0);
    let inputs: BTreeMap<AssetId, InputVersion> = inputs
        .iter()
        .map(|(id, version, meta)| {
            let asset: AssetId = id.parse().unwrap();
            (asset.clone(), InputVersion { asset, version: *version, meta: meta.clone() })
        })
        .collect();
    let context = BuildContext {
        store,
        root,
        asset: asset.id(),
        inputs: &inputs,
        previous: None,
        events: &Silent,
        cancel: &Cancel::new(),
    };
    let mut act = store.begin(ActivityKind::Author, "build");
    inputs.values().for_each(|input| act.used(input.version));
    let built = asset.build(&context, &mut act).unwrap();
    act.commit().unwrap();
    built
}

#[test]
fn a_report_is_bound_to_what_it_judged_and_decides_the_mode() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join(".sextant"), OpenOptions::default()).unwrap();
    std::fs::create_dir(dir.path().join("evals")).unwrap();
    let lines = r#"{"id":"1","question":"a?","path":"a.md","heading":"A"}"#;
    std::fs::write(dir.path().join("evals/q.jsonl"), lines).unwrap();
    let mut act = store.begin(ActivityKind::Embed, "an index");
    act.opaque("rows");
    let index = act.manifest(ArtifactKind::IndexSnapshot, &json!({"chunks": 3}), &[]).unwrap();
    act.commit().unwrap();

    let kind = EvalKind::new(Arc::new(Fake));
    let text = "questions='q.jsonl'\nindex='manual'\n";
    let index_input = ("indexes/manual", index, json!({}));
    let eval =
        build(&store, dir.path(), &kind, "evals/e.toml", text, std::slice::from_ref(&index_input));
    let metrics = &eval.meta["metrics"];
    assert_eq!(metrics["retrieval.hybrid.ndcg@10"], 1.0);
    assert!((metrics["retrieval.bm25.ndcg@10"].as_f64().unwrap() - 0.630_929_753_571).abs() < 1e-9);
    assert_eq!(metrics["retrieval.bm25.recall@10"], 1.0);
    assert_eq!(eval.meta["index"], json!(index));
    let rows: Digest = eval.meta["rows"].as_str().unwrap().parse().unwrap();
    let report: Value = serde_json::from_slice(&store.blob(&rows).unwrap()).unwrap();
    assert_eq!(report["rows"][1]["rank"], 1);
    assert_eq!(report["rows"][1]["found"].as_array().unwrap().len(), 2);

    let text = "+++\n+++\n{{ passages }}";
    let prompt = build(&store, dir.path(), &PromptKind, "prompts/p.md", text, &[]);
    let inputs = [
        index_input,
        ("prompts/p", prompt.version, prompt.meta.clone()),
        ("evals/e", eval.version, eval.meta.clone()),
    ];
    let text = "index='manual'\nprompt='p'\neval='e'\n";
    let agent = build(&store, dir.path(), &AgentKind, "agents/a.toml", text, &inputs);
    let config = ServingConfig::from_bytes(&store.blob(&agent.version).unwrap()).unwrap();
    // One question proves nothing, however well hybrid does on it.
    assert_eq!(config.retrieval.mode, Mode::Bm25);
    assert!(config.retrieval.reason.contains("by chance"), "{}", config.retrieval.reason);
    assert_eq!(config.prompt, prompt.version);
    let stored = crate::Prompt::from_bytes(&store.blob(&prompt.version).unwrap()).unwrap();
    assert_eq!(stored.template, "{{ passages }}");
}
