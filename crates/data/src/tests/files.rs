//! Files in, documents out: what is read again, what is removed, and what is refused.

use serde_json::json;
use sextant_core::Digest;

use super::{Bench, failure, of};
use crate::DataEngine;

#[test]
fn only_what_changed_is_read_and_removal_reaches_downstream() {
    let bench = Bench::manual(&[("docs/c.md", "# Delta\nFive.\n"), ("docs/x.txt", "not taken")]);
    std::thread::sleep(std::time::Duration::from_millis(30));
    let first = bench.good();
    let summary = &of(&first, "sources/manual").summary;
    assert_eq!(summary, "3 documents: 3 read, 0 unchanged, 3 added, 0 changed, 0 removed");
    let first_version = bench.version("sources/manual").version;
    assert!(!of(&bench.good(), "sources/manual").ran, "nothing is stale");

    bench.write("docs/a.md", "# Alpha\nOne again.\n");
    std::fs::remove_file(bench.root().join("docs/c.md")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(30));
    let second = bench.good();
    let summary = &of(&second, "sources/manual").summary;
    assert_eq!(summary, "2 documents: 1 read, 1 unchanged, 0 added, 1 changed, 1 removed");
    assert_eq!(
        bench.query("select heading, body from sections order by heading"),
        [[json!("Alpha"), json!("One again.")], [json!("Gamma"), json!("Four.")]]
    );
    assert_ne!(bench.version("sources/manual").version, first_version);
    let old = bench.engine.table_version(&first_version).unwrap();
    assert_eq!(bench.engine.rows(&old, &["path"]).unwrap().len(), 3, "the old version stays");
    assert!(bench.engine.verify(&old).unwrap());
}

#[test]
fn a_touched_file_and_a_copy_back_change_nothing() {
    let bench = Bench::manual(&[]);
    bench.good();
    let before = bench.version("sources/manual").version;
    let text = std::fs::read(bench.root().join("docs/a.md")).unwrap();
    bench.write("docs/new.md", &text);
    std::fs::rename(bench.root().join("docs/new.md"), bench.root().join("docs/a.md")).unwrap();
    let report = bench.good();
    assert!(of(&report, "sources/manual").ran, "its inode is new");
    assert!(!of(&report, "models/sections").ran, "its content is not");
    assert_eq!(bench.version("sources/manual").version, before);
    assert_eq!(bench.meta("sources/manual").delta_version, 0, "no commit for nothing");
}

#[test]
fn documents_carry_their_chain() {
    let bench = Bench::manual(&[]);
    bench.good();
    let rows = bench.query(
        "select path, title, bytes, raw_digest, doc_version from documents \
                            order by path",
    );
    let text = "# Gamma\nFour.\n";
    assert_eq!(
        rows[1][..4],
        [json!("b.md"), json!("Gamma"), json!(text.len()), json!(Digest::of(text).to_string())]
    );
    let doc_version: Digest = rows[1][4].as_str().unwrap().parse().unwrap();
    assert_eq!(bench.store.blob(&Digest::of(text)).unwrap(), text.as_bytes());
    let reader = bench.store.read().unwrap();
    let artifact = reader.artifact(&doc_version).unwrap().unwrap();
    assert_eq!(artifact.kind.as_str(), "doc_version");
    let table = bench.version("sources/manual").version.to_string();
    let from_table = reader.edges_from(&table).unwrap();
    assert!(from_table.iter().any(|edge| edge.to == doc_version.to_string()), "{from_table:?}");
    let from_doc = reader.edges_from(&doc_version.to_string()).unwrap();
    assert!(from_doc.iter().any(|edge| edge.kind.as_str() == "derived_from"));
}

#[test]
fn bad_files_are_named_and_nothing_is_lost() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret.md"), "# Secret\n").unwrap();
    let bench = Bench::manual(&[]);
    bench.good();
    let before = bench.version("sources/manual").version;
    let bad = bench.root().join("docs/bad.md");

    bench.write("docs/bad.md", b"ok \xff\xfe");
    let (code, text) = failure(&bench.build(), "sources/manual");
    assert_eq!(code, "SXT-3006");
    assert!(text.contains("bad.md") && text.contains("offset 3"), "{text}");
    std::fs::remove_file(&bad).unwrap();

    std::os::unix::fs::symlink(outside.path().join("secret.md"), &bad).unwrap();
    let (code, text) = failure(&bench.build(), "sources/manual");
    assert_eq!(code, "SXT-3005");
    assert!(text.contains("bad.md") && text.contains("secret.md"), "{text}");
    std::fs::remove_file(&bad).unwrap();

    std::os::unix::fs::symlink(outside.path(), &bad).unwrap();
    assert_eq!(failure(&bench.build(), "sources/manual").0, "SXT-3005", "a folder too");
    std::fs::remove_file(&bad).unwrap();

    std::os::unix::fs::symlink(bench.root().join("docs/a.md"), &bad).unwrap();
    bench.good();
    assert_eq!(bench.query("select count(*) from documents"), [[json!(2)]], "an alias is no page");
    assert_eq!(bench.version("sources/manual").version, before);

    bench.write("sources/manual.toml", format!("{}max_file_bytes = 10\n", super::SOURCE));
    let (code, text) = failure(&bench.build(), "sources/manual");
    assert_eq!(code, "SXT-3008");
    assert!(text.contains("10 bytes"), "{text}");
}

#[test]
fn an_unknown_key_has_a_line() {
    let bench = Bench::manual(&[]);
    bench.write("sources/manual.toml", "type = \"files\"\npath = \"docs\"\ninclud = []\n");
    let error = bench.load().err().unwrap();
    assert_eq!(error.place().unwrap().to_string().split(':').nth(1), Some("3"), "{error}");
    assert!(format!("{} {:?}", error.chain(), error.hint()).contains("include"), "{error}");
}

#[test]
fn a_crash_between_the_two_commits_is_harmless() {
    let bench = Bench::manual(&[]);
    let project = bench.load().unwrap();
    let asset = &project.graph.get(&"sources/manual".parse().unwrap()).unwrap().asset;
    let id = asset.id().clone();
    let cancel = sextant_core::Cancel::new();
    let inputs = std::collections::BTreeMap::new();
    let mut act = bench.store.begin(sextant_core::ActivityKind::Ingest, "killed");
    let context = sextant_project::BuildContext {
        store: &bench.store,
        root: bench.root(),
        asset: &id,
        inputs: &inputs,
        previous: None,
        events: &sextant_core::Silent,
        cancel: &cancel,
    };
    asset.build(&context, &mut act).unwrap();
    drop(act);
    assert!(bench.engine.tables().unwrap().is_empty(), "nothing became visible");
    bench.good();
    let meta = bench.meta("sources/manual");
    assert_eq!(meta.delta_version, 0, "the commit left behind is used");

    // Left behind with other rows: written over.
    bench.write("docs/c.md", "# Later\n");
    let previous = Some(sextant_project::InputVersion {
        asset: id.clone(),
        version: bench.version("sources/manual").version,
        meta: bench.version("sources/manual").meta,
    });
    let mut act = bench.store.begin(sextant_core::ActivityKind::Ingest, "killed");
    asset.build(&sextant_project::BuildContext { previous, ..context }, &mut act).unwrap();
    drop(act);
    std::fs::remove_file(bench.root().join("docs/c.md")).unwrap();
    bench.write("docs/b.md", "# Gamma\nSix.\n");
    bench.good();
    let meta = bench.meta("sources/manual");
    assert_eq!((meta.delta_version, meta.rows), (2, 2));
    assert!(bench.engine.verify(&meta).unwrap());
}

#[test]
fn the_engine_works_and_dies_inside_another_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let bench = Bench::manual(&[]);
        bench.good();
        assert_eq!(bench.query("select count(*) from sections"), [[json!(3)]]);
        let engine: DataEngine = bench.engine.clone();
        drop(bench);
        drop(engine);
    });
}
