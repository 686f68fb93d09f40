//! Rows that break a promise: counted, stored, shown, and in the way of what depends on them.

use serde_json::json;

use super::{Bench, failure, of};

const SCHEMA: &str = "models:
  - name: sections
    data_tests:
      - row_count: {min: 1, max: 1000}
    columns:
      - name: chunk
        data_tests: [not_null, unique]
      - name: heading
        data_tests:
          - accepted_values: {values: [Alpha, Beta, Gamma], severity: warn}
      - name: path
        data_tests:
          - relationships: {to: ref('pages'), field: path}
";
const PAGES: &str = "select distinct path from {{ source('manual', 'documents') }}";

#[test]
fn good_rows_pass_and_a_warning_does_not_stop() {
    let bench = Bench::manual(&[("models/schema.yml", SCHEMA), ("models/pages.sql", PAGES)]);
    let report = bench.good();
    assert_eq!(of(&report, "checks/sections").summary, "5 checks passed on 3 rows");
    bench.write("docs/b.md", "# Other\nText.\n");
    let report = bench.good();
    assert_eq!(of(&report, "checks/sections").summary, "4 of 5 checks passed, 1 warned");
    let failures = bench.engine.check_failures(&"checks/sections".parse().unwrap()).unwrap();
    assert_eq!(failures["passed"], json!(true));
    assert_eq!(failures["checks"][3]["rows"][0]["heading"], json!("Other"));
}

#[test]
fn failing_rows_are_stored_and_hold_back_what_depends_on_them() {
    let schema = "models:
  - name: sections
    data_tests: [{row_count: {max: 2}}]
    columns:
      - {name: level, data_tests: [unique, not_null]}
";
    let sections =
        "select * from (values ('a', 1), ('b', 1), ('c', 2), ('d', null)) t(path, level)";
    let bench = Bench::new(&[
        ("docs/a.md", "# A\n"),
        ("models/sections.sql", sections),
        ("models/schema.yml", schema),
        ("models/after.sql", "select path from {{ ref('sections') }}"),
    ]);
    let report = bench.build();
    let (code, text) = failure(&report, "checks/sections");
    assert_eq!(code, "SXT-3011");
    for part in [
        "3 of 3",
        "row_count (1)",
        "unique_level (2)",
        "not_null_level (1)",
        "sextant data failures checks/sections",
    ] {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
    assert_eq!(of(&report, "models/after").outcome.as_str(), "skipped");
    let failures = bench.engine.check_failures(&"checks/sections".parse().unwrap()).unwrap();
    assert_eq!(failures["passed"], json!(false));
    assert_eq!(failures["checks"][0]["rows"], json!([{ "rows": 4, "min": null, "max": 2 }]));
    assert_eq!(failures["checks"][1]["rows"].as_array().unwrap().len(), 2);
    assert_eq!(failures["checks"][2]["rows"], json!([{ "path": "d", "level": null }]));
    let report_id: sextant_core::Digest = failures["report"].as_str().unwrap().parse().unwrap();
    let reader = bench.store.read().unwrap();
    assert!(reader.generator_of(&report_id).unwrap().is_some(), "the report has an activity");
    // Repaired rows let the build go on.
    bench.write("models/sections.sql", "select * from (values ('a', 1), ('b', 2)) t(path, level)");
    assert_eq!(of(&bench.good(), "models/after").outcome.as_str(), "built");
}

#[test]
fn a_missing_column_is_explained() {
    let bench = Bench::manual(&[(
        "models/schema.yml",
        "models:\n  - name: sections\n    columns:\n      - {name: headin, data_tests: [unique]}\n",
    )]);
    let (code, text) = failure(&bench.build(), "checks/sections");
    assert_eq!(code, "SXT-3001");
    assert!(text.contains("schema.yml:4") && text.contains("did you mean `heading`"), "{text}");
}
