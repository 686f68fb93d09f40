//! Files of records in, rows out: every format, what changes with a file, and what a stop leaves.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, Int32Array, StringArray, TimestampMicrosecondArray},
        ipc::writer::{FileWriter, StreamWriter},
        record_batch::RecordBatch,
    },
    parquet::arrow::ArrowWriter,
};
use serde_json::{Value, json};
use sextant_core::Cancel;

use super::{Bench, failure, of, stop_next_at};

fn bench(toml: &str, files: &[(&str, &str)]) -> Bench {
    let toml = format!("type = \"files\"\npath = \"data\"\n{toml}");
    let mut all = vec![("sources/orders.toml", toml.as_str()), ("docs/a.md", "# A\n")];
    all.extend_from_slice(files);
    let bench = Bench::new(&all);
    tick();
    bench
}

/// Files written just before they are read are read again next time.
fn tick() {
    std::thread::sleep(std::time::Duration::from_millis(30));
}

fn rows(bench: &Bench) -> Vec<Vec<Value>> {
    bench.query("select _file, _line, n from orders order by _file, _line")
}

fn even(bench: &Bench) {
    let balance = bench.source("orders").balance(&Cancel::new()).unwrap();
    assert!(balance.is_even(), "{balance:?}");
}

fn held(bench: &Bench) -> Vec<(String, i64, String)> {
    let page = bench.source("orders").quarantine(0, 99, &Cancel::new()).unwrap();
    page.rows.into_iter().map(|row| (row.partition, row.offset, row.rule)).collect()
}

fn typed() -> RecordBatch {
    let n: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let s: ArrayRef = Arc::new(StringArray::from(vec!["007", "x"]));
    let t: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0, 1]).with_timezone("UTC"));
    RecordBatch::try_from_iter([("n", n), ("s", s), ("t", t)]).unwrap()
}

#[test]
fn every_format_gives_the_same_rows() {
    let batch = typed();
    let mut parquet = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut parquet, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let mut file = Vec::new();
    let mut writer = FileWriter::try_new(&mut file, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let csv = "n,s,t\n1,007,1970-01-01T00:00:00Z\n,x,1970-01-01 00:00:00.000001\n";
    let jsonl = "{\"n\":1,\"s\":\"007\",\"t\":\"1970-01-01T00:00:00Z\"}\n\
                 {\"n\":null,\"s\":\"x\",\"t\":\"1970-01-01T00:00:00.000001Z\"}\n";
    for (name, bytes) in [
        ("a.parquet", parquet.as_slice()),
        ("a.arrow", file.as_slice()),
        ("a.arrow", stream.as_slice()),
        ("a.csv", csv.as_bytes()),
        ("a.tsv", csv.replace(',', "\t").as_bytes()),
        ("a.jsonl", jsonl.as_bytes()),
    ] {
        let text = name.ends_with('v') || name.ends_with('l');
        let schema = if text { "[schema]\nt = \"timestamp\"\ns = \"text\"\n" } else { "" };
        let bench = bench(&format!("format = \"records\"\n{schema}"), &[]);
        bench.write(&format!("data/{name}"), bytes);
        bench.good();
        let found = bench.query("select n, s, cast(t as bigint) from orders order by _line");
        let expected = [[json!(1), json!("007"), json!(0)], [json!(null), json!("x"), json!(1)]];
        assert_eq!(found, expected, "{name}");
        even(&bench);
        assert!(bench.engine.verify(&bench.meta("sources/orders")).unwrap(), "{name}");
    }
}

#[test]
fn a_file_that_changes_replaces_its_rows_and_one_that_goes_takes_them_away() {
    let bench = bench(
        "format = \"csv\"\n",
        &[("data/a.csv", "n\n1\n2\n"), ("data/b.csv", "n\n3\nx\n4,5\n")],
    );
    let first = bench.good();
    let summary = &of(&first, "sources/orders").summary;
    assert_eq!(summary, "2 files: 2 read, 0 removed; 4 rows, 1 in quarantine", "all is text here");
    assert_eq!(held(&bench), [("b.csv".to_owned(), 4, "csv".to_owned())]);
    let before = bench.version("sources/orders").version;
    assert!(!of(&bench.good(), "sources/orders").ran);

    bench.write("data/a.csv", "n\n7\n");
    bench.write("data/c.csv", "n\n9\n");
    std::fs::remove_file(bench.root().join("data/b.csv")).unwrap();
    tick();
    let summary = of(&bench.good(), "sources/orders").summary.clone();
    assert_eq!(summary, "2 files: 2 read, 1 removed; 2 rows, 0 in quarantine");
    assert_eq!(
        rows(&bench),
        [[json!("a.csv"), json!(2), json!("7")], [json!("c.csv"), json!(2), json!("9")]]
    );
    even(&bench);
    assert_ne!(bench.version("sources/orders").version, before);
    let old = bench.engine.table_version(&before).unwrap();
    assert_eq!(bench.engine.rows(&old, &["n"]).unwrap().len(), 4, "the old version stays");

    let text = std::fs::read(bench.root().join("data/a.csv")).unwrap();
    bench.write("data/new", &text);
    std::fs::rename(bench.root().join("data/new"), bench.root().join("data/a.csv")).unwrap();
    let version = bench.version("sources/orders").version;
    bench.good();
    assert_eq!(bench.version("sources/orders").version, version, "a copy changes nothing");
}

#[test]
fn a_stop_at_any_step_leaves_what_the_folder_has() {
    for step in [
        "data.arrival.before_quarantine",
        "data.arrival.after_quarantine",
        "data.arrival.after_commit",
    ] {
        let bench =
            bench("format = \"csv\"\n[schema]\nn = \"bigint\"\n", &[("data/a.csv", "n\n1\nx\n")]);
        bench.good();
        bench.write("data/b.csv", "n\n2\ny\n");
        bench.write("data/a.csv", "n\n5\n");
        tick();
        super::build_until(&bench, "sources/orders", step);
        let bench = bench.reopen();
        // What the stopped build had read is gone before the next one.
        std::fs::remove_file(bench.root().join("data/b.csv")).unwrap();
        bench.good();
        assert_eq!(rows(&bench), [[json!("a.csv"), json!(2), json!(5)]], "{step}");
        assert_eq!(held(&bench), [], "{step}");
        even(&bench);
    }
    stop_next_at("");
}

#[test]
fn another_way_of_reading_reads_every_file_again() {
    let bench = bench("format = \"csv\"\n", &[("data/a.csv", "n;m\n1;2\nx;3\n")]);
    bench.good();
    bench.write(
        "sources/orders.toml",
        "type = \"files\"\npath = \"data\"\nformat = \"csv\"\ndelimiter = \";\"\n\
         null_words = [\"x\"]\n",
    );
    bench.good();
    assert_eq!(
        bench.query("select n, m from orders order by _line"),
        [[json!(1), json!(2)], [json!(null), json!(3)]]
    );
    even(&bench);
}

#[test]
fn a_bucket_is_named_in_full_and_its_secrets_are_not() {
    for (toml, part) in [
        ("path = \"s3://\"\n", "no bucket"),
        ("path = \"data\"\n[s3]\n", "s3://"),
        ("path = \"s3://b/p\"\n[s3]\nsecret_access_key = \"hunter2\"\n", "secret"),
    ] {
        let bench = Bench::new(&[("docs/a.md", "# A\n")]);
        bench.write("sources/orders.toml", format!("type = \"files\"\nformat = \"csv\"\n{toml}"));
        let error = bench.load().err().unwrap();
        let text = error.chain();
        assert!(text.contains(part) && !text.contains("hunter2"), "{text}");
    }
    let bench = bench("format = \"csv\"\n", &[]);
    let toml = "type = \"files\"\nformat = \"csv\"\npath = \"s3://b/p\"\n[s3]\n\
                secret_access_key = { env = \"SEXTANT_NO_SUCH\" }\n\
                access_key_id = { file = \"sextant.toml\" }\n";
    bench.write("sources/orders.toml", toml);
    let report = bench.build();
    let error = of(&report, "sources/orders").error.as_ref().unwrap();
    assert!(error.message.contains("SEXTANT_NO_SUCH"), "{error:?}");
}

#[test]
fn held_rows_pass_when_the_schema_is_wider_and_damage_is_named() {
    let bench = bench(
        "format = \"jsonl\"\non_new_column = \"quarantine\"\n[schema]\nn = \"bigint\"\n",
        &[("data/a.jsonl", "{\"n\":1}\n{\"n\":2,\"m\":3}\n")],
    );
    bench.good();
    assert_eq!(held(&bench), [("a.jsonl".to_owned(), 2, "new_column".to_owned())]);
    assert_eq!(bench.source("orders").replay(9, &Cancel::new()).unwrap().failed, 1);
    let toml = "type = \"files\"\npath = \"data\"\nformat = \"jsonl\"\n[schema]\nn = \"bigint\"\n";
    bench.write("sources/orders.toml", toml);
    assert_eq!(bench.source("orders").replay(9, &Cancel::new()).unwrap().passed, 1);
    even(&bench);
    bench.good();
    even(&bench);
    assert_eq!(rows(&bench).len(), 2, "read again by the new rules, once");

    bench.write("data/bad.jsonl", "");
    bench.write("sources/orders.toml", toml.replace("jsonl", "parquet"));
    let (code, text) = failure(&bench.build(), "sources/orders");
    assert_eq!(code, "SXT-3007");
    assert!(text.contains("a.jsonl"), "{text}");
    assert_eq!(rows(&bench).len(), 2, "the table keeps what it had");
}
