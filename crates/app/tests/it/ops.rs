//! Is every operation one JSON object, read strictly?

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sextant_app::Op;
use sextant_core::{ExitKind, limits};

use crate::{World, kind};

fn all() -> Vec<Op> {
    let text = |word: &str| word.to_owned();
    vec![
        Op::Build { select: vec![text("+x")], exclude: vec![text("tag:y")], full: true },
        Op::Status {},
        Op::Versions { asset: text("a") },
        Op::Ask { question: text("q"), release: Some(text("r")) },
        Op::Answers { limit: 7, skip: 3 },
        Op::Answer { id: text("last") },
        Op::Why { id: text("last") },
        Op::Impact { id: text("x") },
        Op::Diff { a: text("a"), b: text("b") },
        Op::Rollback { release: None },
        Op::ReleaseCreate { name: None },
        Op::ReleaseGate { id: text("x") },
        Op::ReleasePromote { id: text("x"), force: Some(text("because")) },
        Op::ReleaseList {},
        Op::ReleaseShow { id: text("x") },
        Op::Runs {},
        Op::Run { id: text("x") },
        Op::Best { metric: None, asset: None, experiment: None, min: None },
        Op::DataTables {},
        Op::DataQuery { sql: text("select 1"), limit: 1 },
        Op::Sql { sql: text("select 1"), limit: 1 },
        Op::DataHistory { table: text("t"), limit: 1 },
        Op::DataShow { table: text("t@v1"), limit: 1 },
        Op::DataRestore { table: text("t"), version: text("1") },
        Op::DataRestoreTag { name: text("n") },
        Op::DataReplace { table: text("t"), predicate: text("a = 1"), sql: text("select 1") },
        Op::DataCompact { table: text("t"), file_megabytes: Some(8) },
        Op::DataZorder { table: text("t"), columns: vec![text("a")] },
        Op::DataTag { name: text("n"), tables: vec![text("t")], branch: true },
        Op::DataTags {},
        Op::DataSources {},
        Op::DataSource { source: text("x") },
        Op::DataFiles { source: text("x@v"), path: Some(text("a.md")) },
        Op::DataUntag { name: text("n") },
        Op::DataGc { dry_run: true, older_than_s: 1 },
        Op::DataSchema { source: text("x") },
        Op::DataQuarantine { source: text("x"), limit: 1, skip: 2 },
        Op::DataReplay { source: text("x"), limit: None },
        Op::CheckFailures { asset: text("x") },
        Op::DatasetShow { id: text("x"), split: None, limit: 1 },
        Op::Search { query: text("q"), index: None, k: 3, mode: text("bm25") },
        Op::Passage { chunk: text("x") },
        Op::EvalShow { name: None },
        Op::Replay { id: text("x") },
        Op::Doctor {},
        Op::Fsck { repair: true },
        Op::Holes {},
        Op::Explain { code: text("SXT-1004") },
        Op::ConfigShow {},
        Op::ConfigCheck {},
        Op::ConfigSchema {},
    ]
}

#[test]
fn every_operation_survives_its_json_form() {
    for op in all() {
        let json = serde_json::to_value(&op).unwrap();
        assert_eq!(Op::from_json(json.clone()).unwrap(), op, "{json}");
    }
}

#[test]
fn the_schema_describes_every_operation_of_this_list_and_no_other() {
    let schema = Op::schema();
    let described: BTreeSet<String> = schema["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["properties"]["op"]["const"].as_str().unwrap().to_owned())
        .collect();
    let listed: BTreeSet<String> = all()
        .iter()
        .map(|op| serde_json::to_value(op).unwrap()["op"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(described, listed);
}

#[test]
fn unknown_and_missing_fields_are_refused() {
    for bad in [
        json!({ "op": "status", "extra": 1 }),
        json!({ "op": "why" }),
        json!({ "op": "why", "id": 7 }),
        json!({ "op": "no_such" }),
        json!({ "op": "answers", "limit": -1 }),
        json!({}),
        json!([]),
        Value::Null,
    ] {
        assert_eq!(kind(Op::from_json(bad.clone())), ExitKind::Usage, "{bad}");
    }
}

#[test]
fn only_operations_that_change_something_write() {
    let writing: Vec<_> = all()
        .into_iter()
        .filter(Op::writes)
        .map(|op| serde_json::to_value(op).unwrap()["op"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        writing,
        [
            "build",
            "rollback",
            "release_create",
            "release_gate",
            "release_promote",
            "sql",
            "data_restore",
            "data_restore_tag",
            "data_replace",
            "data_compact",
            "data_zorder",
            "data_tag",
            "data_untag",
            "data_replay",
            "fsck"
        ]
    );
    assert!(Op::DataGc { dry_run: false, older_than_s: 1 }.writes());
    assert!(matches!(Op::of_sql("select 1", 1), Op::DataQuery { .. }));
    for sql in ["insert into t values (1)", "select * from 'x.csv'", "nonsense"] {
        assert!(Op::of_sql(sql, 1).writes(), "{sql}");
    }
    assert!(!Op::Fsck { repair: false }.writes());
}

#[test]
fn a_query_cannot_change_or_reach_anything() {
    let world = World::built();
    for sql in [
        "drop table sections",
        "create table x as select 1",
        "insert into sections select * from sections",
        "copy (select 1) to '/tmp/out.csv'",
        "select * from '/etc/passwd'",
        "set datafusion.execution.batch_size = 1",
    ] {
        assert!(world.run(Op::DataQuery { sql: sql.into(), limit: 1 }).is_err(), "{sql}");
    }
    let sql = "select count(*) as n from sections".to_owned();
    assert_eq!(world.run(Op::DataQuery { sql, limit: 1 }).unwrap()["rows"], json!([[2]]));
}

#[test]
fn a_search_has_bounds() {
    let world = World::built();
    let search = |query: &str, k, mode: &str| {
        let (query, mode) = (query.to_owned(), mode.to_owned());
        world.run(Op::Search { query, index: None, k, mode })
    };
    assert_eq!(kind(search("brakes", 0, "bm25")), ExitKind::Usage);
    assert_eq!(kind(search("brakes", 1001, "bm25")), ExitKind::Usage);
    assert_eq!(kind(search("brakes", 1, "guess")), ExitKind::Usage);
    assert_eq!(search("brake pads", 5, "bm25").unwrap()["hits"][0]["path"], "brakes.md");
}

#[test]
fn an_index_without_vectors_says_so() {
    let world = World::built();
    let (query, mode) = ("brakes".to_owned(), "vector".to_owned());
    assert!(world.run(Op::Search { query, index: None, k: 1, mode }).is_err());
}

#[test]
fn odd_search_words_break_nothing() {
    let world = World::built();
    let long = "brake ".repeat(limits::QUESTION_BYTES_MAX / 6);
    for query in ["AND OR NOT", "a:b", "\"", "+-*?~^()[]{}", "\0", "😀", &long] {
        let query = query.to_owned();
        world.run(Op::Search { query, index: None, k: 3, mode: "bm25".into() }).unwrap();
    }
}

#[test]
fn status_counts_every_asset() {
    let world = World::fresh();
    assert_eq!(world.run(Op::Status {}).unwrap()["counts"], json!({ "never": 5 }));
    world.build();
    let status = world.run(Op::Status {}).unwrap();
    assert_eq!((&status["counts"], &status["holes"]), (&json!({ "fresh": 5 }), &0.into()));
}

#[test]
fn every_error_code_can_be_explained() {
    let world = World::fresh();
    let code = "SXT-8010".to_owned();
    let text = world.run(Op::Explain { code }).unwrap().to_string();
    assert!(text.contains("nothing has this id"), "{text}");
    let code = "SXT-9999".to_owned();
    assert_eq!(kind(world.run(Op::Explain { code })), ExitKind::NotFound);
}
