//! SQL in, tables out: pinned inputs, early cut-off, and SQL that is wrong or not allowed.

use serde_json::json;
use sextant_core::Cancel;

use super::{Bench, failure, of};

#[test]
pub(super) fn the_same_rows_have_the_same_id_and_stop_the_build() {
    let bench = Bench::manual(&[(
        "models/headings.sql",
        "select heading, path from {{ ref('sections') }} order by heading",
    )]);
    bench.good();
    let first = bench.version("models/headings");
    // A body changes: sections changes, headings is made again and stays the same.
    bench.write("docs/b.md", "# Gamma\nChanged.\n");
    let report = bench.good();
    assert_eq!(of(&report, "models/sections").outcome.as_str(), "built");
    assert_eq!(of(&report, "models/headings").outcome.as_str(), "unchanged");
    assert_eq!(bench.version("models/headings").version, first.version);
    assert_eq!(bench.meta("models/headings").delta_version, 0);
    assert_eq!(bench.meta("models/sections").delta_version, 1);
    // Another recipe, other order, same rows.
    bench.write(
        "models/headings.sql",
        "select heading, path from {{ ref('sections') }} order by heading desc",
    );
    bench.good();
    assert_eq!(bench.version("models/headings").version, first.version);
}

#[test]
fn a_model_derives_from_what_it_read() {
    let bench = Bench::manual(&[]);
    bench.good();
    let reader = bench.store.read().unwrap();
    let sections = bench.version("models/sections").version.to_string();
    let source = bench.version("sources/manual").version.to_string();
    assert!(reader.edges_from(&sections).unwrap().iter().any(|edge| edge.to == source));
    let compiled = bench.store.dir().join("compiled/models/sections.sql");
    assert!(std::fs::read_to_string(compiled).unwrap().contains("\"manual\".\"documents\""));
    let chunks =
        bench.query("select chunk, byte_start, byte_end from sections where heading = 'Beta'");
    assert!(chunks[0][0].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(chunks[0][1..], [json!(18), json!(32)]);
}

#[test]
fn wrong_sql_names_the_line_and_the_compiled_file() {
    for (sql, code, parts) in [
        (
            "select\n  nonsense\nfrom {{ ref('sections') }}",
            "SXT-3003",
            &["nonsense", "bad.sql:2", "compiled"][..],
        ),
        ("select *\nform {{ ref('sections') }} x y", "SXT-3003", &["bad.sql:2"]),
        ("select 1/0 as boom from {{ ref('sections') }}", "SXT-3003", &["ivide by zero"]),
        ("select count(*) from {{ ref('sections') }}", "SXT-3003", &["count(*)", "AS name"]),
        ("select 1 as a, 2 as \"A\"", "SXT-3003", &["two columns"]),
        ("drop table x", "SXT-3004", &["DROP TABLE"]),
        ("select 1 as a; select 2 as b", "SXT-3004", &["second statement"]),
        ("copy (select 1) to '/tmp/x.csv'", "SXT-3004", &["COPY"]),
        (
            "create external table t stored as csv location '/etc/passwd'",
            "SXT-3004",
            &["CREATE EXTERNAL"],
        ),
        ("select * into t from {{ ref('sections') }}", "SXT-3004", &["SELECT"]),
        ("select * from '/etc/passwd'", "SXT-3003", &["not found"]),
        ("select * from read_csv('/etc/passwd')", "SXT-3003", &["read_csv"]),
        ("insert into \"sections\" select * from {{ ref('sections') }}", "SXT-3004", &["INSERT"]),
        ("set datafusion.execution.batch_size = 1", "SXT-3004", &["SET"]),
    ] {
        let bench = Bench::manual(&[("models/bad.sql", sql)]);
        let report = bench.build();
        assert_eq!(of(&report, "models/sections").outcome.as_str(), "built");
        let (found, text) = failure(&report, "models/bad");
        assert_eq!(found, code, "{sql}: {text}");
        for part in parts {
            assert!(text.contains(part), "{sql}: no `{part}` in: {text}");
        }
        assert!(!bench.has_version("models/bad"));
    }
}

#[test]
fn a_query_reads_the_latest_tables_and_nothing_else() {
    let bench = Bench::manual(&[]);
    bench.good();
    let cancel = Cancel::new();
    let result = bench.engine.query("select path from documents order by 1", 1, &cancel).unwrap();
    assert_eq!((result.rows, result.truncated), (vec![vec![json!("a.md")]], true));
    assert_eq!(result.columns[0].data_type, "text");
    assert_eq!(bench.query("select d.path, s.path from manual.documents d join sections s on d.path = s.path and s.heading = 'Beta'"), [[json!("a.md"), json!("a.md")]]);
    for sql in ["delete from documents", "create table t as select 1", "explain select 1", ""] {
        let error = bench.engine.query(sql, 10, &cancel).unwrap_err();
        assert!(matches!(error, crate::DataError::StatementRefused { .. }), "{sql}: {error}");
    }
    let error = bench.engine.query("select * from nowhere", 10, &cancel).unwrap_err();
    assert!(error.to_string().contains("'nowhere' not found"), "{error}");
    let tables = bench.engine.tables().unwrap();
    let names: Vec<_> = tables.iter().map(|table| table.names.join(" ")).collect();
    assert_eq!(names, ["sections", "documents manual.documents"]);
    assert_eq!(tables[0].rows, 3);
}

#[test]
fn a_large_result_is_refused_and_memory_stays() {
    let bench = Bench::new(&[("docs/a.md", "# A\n")]);
    let options = crate::EngineOptions { memory_bytes: 4 << 20, threads: 2, tables: None };
    let text = std::sync::Arc::clone(bench.engine.text());
    let engine = crate::DataEngine::with_options(bench.store.clone(), text, &options).unwrap();
    let sql = "select value, repeat('x', 100) as filler from generate_series(1, 1000000)";
    let error = engine.query(sql, 100_000, &Cancel::new()).unwrap_err();
    assert!(matches!(error, crate::DataError::TooLarge { .. }), "{error}");
    // A join whose sides do not fit is done all the same, by sorting on disk.
    let side = "select value as n, repeat('x', 100) as filler from generate_series(1, 100000)";
    let join =
        format!("select count(l.filler || r.filler) from ({side}) l join ({side}) r using (n)");
    let joined = engine.query(&join, 10, &Cancel::new()).unwrap();
    assert_eq!(joined.rows, [[json!(100_000)]]);
    let small = engine.query("select 1 as one", 10, &Cancel::new()).unwrap();
    assert_eq!(small.rows, [[json!(1)]]);
}

#[test]
pub(super) fn an_empty_table_is_a_table() {
    let bench = Bench::manual(&[(
        "models/none.sql",
        "select path, now() as at from {{ ref('sections') }} where false",
    )]);
    bench.good();
    let meta = bench.meta("models/none");
    assert_eq!(meta.rows, 0);
    assert!(bench.engine.rows(&meta, &[]).unwrap().is_empty());
    assert!(bench.engine.verify(&meta).unwrap());
}

#[test]
fn models_are_built_side_by_side() {
    let bench = Bench::manual(&[]);
    for index in 0..6 {
        let sql = format!("select {index} as n, count(*) as rows from {{{{ ref('sections') }}}}");
        bench.write(&format!("models/side_{index}.sql"), sql);
    }
    bench.good();
    for index in 0..6 {
        let rows = bench.query(&format!("select n, rows from side_{index}"));
        assert_eq!(rows, [[json!(index), json!(3)]]);
    }
}
